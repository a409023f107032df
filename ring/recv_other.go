//go:build !linux

package ring

import "syscall"

type batchSys struct{ lens []int }

func (s *batchSys) link(b *Batch) { s.lens = make([]int, b.slots) }

// Recv needs recvmmsg(2), which this system does not have: it returns ENOSYS,
// which matches [errors.ErrUnsupported].
func (b *Batch) Recv(int) (int, syscall.Errno) { return 0, syscall.ENOSYS }

func (b *Batch) received(i int) int { return b.sys.lens[i] }

// Truncated reports whether datagram i lost its end.
func (b *Batch) Truncated(int) bool { return false }
