package flood

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/goipq/goipq/internal/netlab/labtest"
	"golang.org/x/sys/unix"
)

// Datagrams as they arrive: sizes in turn, addresses by flow, numbers in order.
// They are no more than an ordinary user's socket holds.
func TestDatagrams(t *testing.T) {
	for _, cfg := range []Config{
		{Count: 330, Flows: 300, Sizes: []int{64, 128, 576}},
		{Count: 20, Flows: 7, Size: 9000, To: netip.MustParsePrefix("198.19.0.0/16")},
		{Count: 100, Flows: 7, Sizes: []int{56, 1400}, IPv6: true, To: netip.MustParsePrefix("2001:2:0:1::/112")},
	} {
		cfg.UDP = true
		t.Run(fmt.Sprintf("%+v", cfg), func(t *testing.T) {
			ns := labtest.New(t)
			family := unix.AF_INET
			if cfg.IPv6 {
				family = unix.AF_INET6
			}
			fd := -1
			if err := ns.Do(func() (err error) {
				fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			const stock = 212992 // what net.core.rmem_max usually is; the kernel doubles it
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, stock); err != nil {
				t.Fatal(err)
			}
			giveUp(t, fd)
			var any unix.Sockaddr = &unix.SockaddrInet4{Port: UDPPort}
			option, level := unix.IP_PKTINFO, unix.IPPROTO_IP
			if cfg.IPv6 {
				any = &unix.SockaddrInet6{Port: UDPPort}
				option, level = unix.IPV6_RECVPKTINFO, unix.IPPROTO_IPV6
			}
			if err := unix.Bind(fd, any); err != nil {
				t.Fatal(err)
			}
			if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
				t.Fatal(err)
			}
			if cfg.To.IsValid() {
				if err := ns.Local(cfg.To.String()); err != nil {
					t.Fatal(err)
				}
			}
			cfg.CPUs = oneCPU(t)
			st := wait(t, startIn(t, ns, cfg))
			if st.Sent != cfg.Count {
				t.Errorf("sent %d, want %d", st.Sent, cfg.Count)
			}
			first, _ := cfg.to()
			buf, control := make([]byte, 1<<16), make([]byte, 256)
			for n := range cfg.Count {
				size, controlLen, _, _, err := unix.Recvmsg(fd, buf, control, 0)
				if err != nil {
					t.Fatalf("after %d of %d datagrams: %v", n, cfg.Count, err)
				}
				want := cfg.Size
				if len(cfg.Sizes) > 0 {
					want = cfg.Sizes[n%uint64(len(cfg.Sizes))]
				}
				if size += cfg.headerLen() + udpHeaderLen; size != want {
					t.Errorf("packet %d has %d bytes, want %d", n, size, want)
				}
				if got := binary.BigEndian.Uint64(buf) & maxSequence; got != n {
					t.Fatalf("packet %d says that it is %d", n, got)
				}
				to := destination(t, control[:controlLen])
				if want := hostIn(netip.PrefixFrom(first, first.BitLen()-16), n%uint64(cfg.Flows)); to != want {
					t.Errorf("packet %d goes to %v, want %v", n, to, want)
				}
			}
		})
	}
}

// oneCPU is one of the CPUs that there are. Loopback keeps the order of what is
// sent on one.
func oneCPU(t *testing.T) []int {
	t.Helper()
	cpus, err := AllowedCPUs()
	if err != nil {
		t.Fatal(err)
	}
	return cpus[:1]
}

// giveUp has a receive that waits fail when there is no more hope. What was sent
// over loopback arrives in the sender's call, or when the kernel gets to it.
func giveUp(t *testing.T, fd int) {
	t.Helper()
	timeout := unix.NsecToTimeval(int64(patience))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		t.Fatal(err)
	}
}

// destination reads the address that a datagram was sent to.
func destination(t *testing.T, control []byte) netip.Addr {
	t.Helper()
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil || len(messages) == 0 {
		t.Fatalf("control messages: %v, %v", messages, err)
	}
	data := messages[0].Data
	if len(data) >= 20 { // struct in6_pktinfo: address, interface
		return netip.AddrFrom16([16]byte(data))
	}
	return netip.AddrFrom4([4]byte(data[8:])) // struct in_pktinfo: interface, local address, address
}
