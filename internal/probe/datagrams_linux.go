package probe

import (
	"log/slog"
	"os"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/nfsock"
	"github.com/goipq/goipq/internal/nftexpr"
	"github.com/goipq/goipq/internal/zerocopy"
)

// queuedDatagrams sends two datagrams of a new connection, in one that the kernel is to
// cut up, through a queue with these flags. It returns how many of the two came to it. It
// is called in a network namespace that nobody else has.
func queuedDatagrams(nft *nftables.Conn, native bool, flags uint32) (n int, err error) {
	if err := loopbackUp(); err != nil {
		return 0, err
	}
	table := nft.AddTable(&nftables.Table{Name: "goipq_probe", Family: nftables.TableFamilyIPv4})
	chain := nft.AddChain(nftexpr.BaseChain(table, "output", *nftables.ChainHookOutput, 0))
	nft.AddRule(nftexpr.Rule(chain,
		[]expr.Any{&expr.Ct{Key: expr.CtKeyMARK, Register: unix.NFT_REG32_00}}, // so that connections are tracked
		[]expr.Any{nftexpr.Queue{Count: 1}.Expr(native)}))
	if err := nft.Flush(); err != nil {
		return 0, err
	}
	o := &nfsock.Options{CopyMode: zerocopy.CopyMeta, CopyRange: 1, QueueLen: 10, Flags: flags, Logger: slog.New(slog.DiscardHandler)}
	s, err := nfsock.Dial(o)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	if err := s.Bind(o); err != nil {
		return 0, err
	}
	if err := sendTwo(); err != nil {
		return 0, err
	}
	var buf [4096]byte
	var m zerocopy.Message
	for { // the kernel queues within the call that sends
		size, _, err := unix.Recvfrom(s.FD(), buf[:], unix.MSG_DONTWAIT)
		if err != nil {
			return n, nil
		}
		if m.Decode(buf[:size]) == nil {
			n++
		}
	}
}

// sendTwo sends two datagrams as one (UDP_SEGMENT, Linux 4.18).
func sendTwo() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	const each = 100
	if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, each); err != nil {
		return os.NewSyscallError("setsockopt UDP_SEGMENT", err)
	}
	const discard = 9
	to := &unix.SockaddrInet4{Port: discard, Addr: [4]byte{127, 0, 0, 1}}
	return os.NewSyscallError("sendto", unix.Sendto(fd, make([]byte, 2*each), 0, to))
}

// loopbackUp sets the loopback link of the calling thread's network namespace up.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP)
	return os.NewSyscallError("ioctl SIOCSIFFLAGS", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr))
}
