package ipq

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/zerocopy"
)

// newBridge joins two hosts by a bridge and queues what it forwards.
func newBridge(t *testing.T) (left, at, right *netlab.NS) {
	t.Helper()
	left, at, right = labtest.New(t), labtest.New(t), labtest.New(t)
	if err := errors.Join(netlab.Veth(left, "eth0", at, "left"), netlab.Veth(right, "eth0", at, "right")); err != nil {
		t.Fatal(err)
	}
	err := at.Bridge("br0", "left", "right")
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("this kernel has no bridges")
	} else if err != nil {
		t.Fatal(err)
	}
	err = at.Do(func() error {
		nft, err := nftables.New()
		if err != nil {
			return err
		}
		table := nft.AddTable(&nftables.Table{Name: "bridge", Family: nftables.TableFamilyBridge})
		chain := nft.AddChain(&nftables.Chain{
			Name: "forward", Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
		})
		nft.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Queue{Num: fakeNumber}}})
		return nft.Flush()
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		t.Skipf("this kernel does not queue at a bridge's hooks: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	return left, at, right
}

// An endpoint sends and receives whole frames on eth0.
type endpoint struct {
	t    *testing.T
	fd   int
	addr unix.SockaddrLinklayer
	mac  net.HardwareAddr
}

func newEndpoint(t *testing.T, ns *netlab.NS) *endpoint {
	t.Helper()
	e := &endpoint{t: t}
	all := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})
	if err := ns.Do(func() error {
		l, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		e.mac = l.HardwareAddr
		e.addr = unix.SockaddrLinklayer{Protocol: all, Ifindex: l.Index}
		if e.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
			return os.NewSyscallError("socket", err)
		}
		return unix.Bind(e.fd, &e.addr)
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(e.fd) })
	return e
}

func (e *endpoint) send(frame []byte) {
	e.t.Helper()
	if err := unix.Sendto(e.fd, frame, 0, &e.addr); err != nil {
		e.t.Fatal(err)
	}
}

// receive returns the next frame that ends with tail.
func (e *endpoint) receive(tail []byte) []byte {
	e.t.Helper()
	buf := make([]byte, 2048)
	limit := unix.NsecToTimeval(int64(time.Minute)) // only reached by a failure
	if err := unix.SetsockoptTimeval(e.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		e.t.Fatal(err)
	}
	for {
		n, _, err := unix.Recvfrom(e.fd, buf, 0)
		if err != nil {
			e.t.Fatal(os.NewSyscallError("recvfrom", err))
		}
		if bytes.HasSuffix(buf[:n], tail) {
			return bytes.Clone(buf[:n])
		}
	}
}

// At the hooks of a bridge frames come with their padding and their tags: the
// datagram in them is told from both, and an edit changes nothing but itself.
func TestKernelBridge(t *testing.T) {
	left, at, right := newBridge(t)
	from, to := newEndpoint(t, left), newEndpoint(t, right)
	ethernet := slices.Concat(to.mac, from.mac)
	padding := []byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01")
	_, stop := serve(t, Config{Queue: fakeNumber, NetNS: at.FD()}, HandlerFunc(func(p *Packet) Verdict {
		if p.Family() != familyBridge {
			t.Errorf("family %d", p.Family())
		}
		if f := p.Flow(); f.Protocol != protoUDP || f.SrcPort != 7 || f.Unknown {
			return Accept // what the hosts say by themselves
		}
		if !bytes.Equal(p.Trailer(), padding) || !bytes.Equal(p.Transport()[8:], []byte("text")) || len(p.IP()) != 32 {
			t.Errorf("EtherType %#x: trailer % x, transport % x, IP % x", p.EtherType(), p.Trailer(), p.Transport(), p.IP())
		}
		b, err := p.EditPayload()
		if err != nil {
			t.Error(err)
			return Drop
		}
		copy(b[len(b)-4:], "TEXT")
		return Accept
	}))
	for _, head := range []string{"\x08\x00", "\x81\x00\x00\x2a\x08\x00", "\x88\xa8\x00\x2a\x81\x00\x00\x2b\x08\x00", "\x88\x64\x11\x00\x00\x01\x00\x22\x00\x21"} {
		from.send(slices.Concat(ethernet, []byte(head), udp4(7, []byte("text")), padding))
		frame := to.receive(padding)
		if want := slices.Concat(udp4(7, []byte("TEXT")), padding); !bytes.HasSuffix(frame, want) {
			t.Errorf("behind % x: % x, want % x at its end", head, frame, want)
		}
		if ip := frame[len(frame)-32-len(padding):][:32]; !zerocopy.VerifyPacket(ip) {
			t.Errorf("behind % x: sums are wrong: % x", head, ip)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
