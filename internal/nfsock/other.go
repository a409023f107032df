//go:build !linux

package nfsock

import (
	"errors"
	"net/netip"
	"os"
	"syscall"
)

// Elsewhere there are no netfilter queues. A Socket comes to be in tests only, by New.

// Dial returns errors.ErrUnsupported.
func Dial(*Options) (*Socket, error) { return nil, errors.ErrUnsupported }

// Adopt returns errors.ErrUnsupported.
func Adopt(*Options, *os.File) (*Socket, error) { return nil, errors.ErrUnsupported }

// Take returns errors.ErrUnsupported.
func Take(*Options, *os.File) (*Socket, error) { return nil, errors.ErrUnsupported }

// HandsOver says whether sockets can be handed over to other processes here.
const HandsOver = false

// File returns errors.ErrUnsupported.
func (*Socket) File() (*os.File, error) { return nil, errors.ErrUnsupported }

// Recv returns ENOSYS.
func Recv(int, []byte, bool) (int, syscall.Errno) { return 0, syscall.ENOSYS }

func (*Socket) look([]byte, bool) (int, error) { return 0, errors.ErrUnsupported }

// SetMark returns errors.ErrUnsupported.
func SetMark(uintptr, uint32) error { return errors.ErrUnsupported }

// Probe returns errors.ErrUnsupported.
func Probe() (Answers, error) { return Answers{}, errors.ErrUnsupported }

// A Raw sends packets that this program makes up.
type Raw struct{}

// DialRaw returns errors.ErrUnsupported.
func (*Socket) DialRaw(uint32) (*Raw, error) { return nil, errors.ErrUnsupported }

// Send returns errors.ErrUnsupported.
func (*Raw) Send([]byte, netip.Addr, int) error { return errors.ErrUnsupported }

// SendICMPv6 returns errors.ErrUnsupported.
func (*Raw) SendICMPv6([]byte, netip.Addr, int) error { return errors.ErrUnsupported }

// Broadcast returns false.
func (*Raw) Broadcast(netip.Addr) bool { return false }

// Close returns nil.
func (*Raw) Close() error { return nil }

// KeepsLabels returns true.
func (*Socket) KeepsLabels() bool { return true }

func (*Socket) lookupName(int) string { return "" }

type tables struct{}

func (*tables) close() {}

func (*tables) owner(uint16) uint32 { return 0 }

func (*tables) read(uint16, uint32) (Counters, bool) { return Counters{}, false }
