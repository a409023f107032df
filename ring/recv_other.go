//go:build !linux

package ring

import "syscall"

type batchSys struct {
	lens []int
	cut  []bool
}

func (s *batchSys) link(b *Batch) { s.lens, s.cut = make([]int, b.slots), make([]bool, b.slots) }

func (s *batchSys) point(int, []byte) {}

// Recv needs recvmmsg(2), which this system does not have: it returns ENOSYS,
// which matches [errors.ErrUnsupported].
func (b *Batch) Recv(int) (int, syscall.Errno) { return 0, syscall.ENOSYS }

func (b *Batch) received(i int) int { return b.sys.lens[i] }

func (b *Batch) setReceived(i, n int, cut bool) { b.sys.lens[i], b.sys.cut[i] = n, cut }

// Truncated reports whether datagram i lost its end.
func (b *Batch) Truncated(i int) bool { return b.sys.cut[i] }
