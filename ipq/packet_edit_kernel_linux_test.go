package ipq

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/zerocopy"
)

// serverAddr is the server's address of a version of IP.
func serverAddr(v6 bool) string {
	if v6 {
		return "fd02::1"
	}
	return "10.2.0.1"
}

// scramble changes every byte of TCP payload, the same way wherever it lies.
func scramble(p *Packet) error {
	seg := p.Transport()
	if len(seg) < 20 {
		return nil
	}
	n := len(seg) - int(seg[12]>>4)*4
	if n <= 0 {
		return nil
	}
	b, err := p.EditPayload()
	if err != nil {
		return err
	}
	for i := len(b) - n; i < len(b); i++ {
		b[i] ^= 0x55
	}
	return nil
}

// csumErrors returns how many TCP segments with a wrong checksum have come to a
// namespace.
func csumErrors(t *testing.T, ns *netlab.NS) (n int) {
	t.Helper()
	var text []byte
	if err := ns.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/snmp")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if f[0] != "Tcp:" {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i, name := range names {
			if name == "InCsumErrors" {
				fmt.Sscan(f[i], &n)
			}
		}
	}
	return n
}

// Bytes of TCP super-packets are changed in place: over loopback, through a
// router whose device takes super-packets, and through one that has the kernel
// cut them up. What arrives is what was written, and no sum was wrong.
func TestKernelRewritesSuperPackets(t *testing.T) {
	for _, way := range []string{"loopback", "whole", "cut up"} {
		for _, v6 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, IPv6 %v", way, v6), func(t *testing.T) {
				p := labtest.NewNetwork(t)
				hook, at, to, addr := netlab.Forward, p.Router, p.Server, serverAddr(v6)
				from := p.Client
				switch way {
				case "loopback":
					hook, at, from = netlab.Output, p.Server, p.Server
					if err := at.SetMTU("lo", 1500); err != nil {
						t.Fatal(err)
					}
				case "cut up":
					if err := p.Router.Do(func() error {
						l, err := netlink.LinkByName("server")
						if err == nil {
							err = netlink.LinkSetGSOMaxSize(l, 2000)
						}
						return err
					}); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := at.InstallQueue(netlab.Rule{
					Hook: hook, Match: netlab.Match{L4Proto: unix.IPPROTO_TCP}, Queue: fakeNumber,
				}); err != nil {
					t.Fatal(err)
				}
				var super atomic.Uint64
				q, stop := serve(t, Config{Queue: fakeNumber, NetNS: at.FD(), GSO: true}, HandlerFunc(func(p *Packet) Verdict {
					if p.GSO() {
						super.Add(1)
						if err := p.SetPayload(p.Payload()[:len(p.Payload())-1]); !errors.Is(err, ErrGSO) {
							t.Errorf("a super-packet made shorter: %v, want ErrGSO", err)
						}
					}
					if err := scramble(p); err != nil {
						t.Error(err)
						return Drop
					}
					return Accept
				}))
				want := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
				got := exchangeTCP(t, from, to, addr, want)
				for i := range got {
					got[i] ^= 0x55
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%d bytes arrived, want %d, or they differ", len(got), len(want))
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
				if super.Load() == 0 || q.Stats().Modified == 0 {
					t.Errorf("%d super-packets, %d packets modified", super.Load(), q.Stats().Modified)
				}
				if n := csumErrors(t, to); n != 0 {
					t.Errorf("%d wrong checksums", n)
				}
			})
		}
	}
}

// exchangeTCP sends data from one namespace to a listener in another, and returns
// what arrives.
func exchangeTCP(t *testing.T, from, to *netlab.NS, addr string, data []byte) []byte {
	t.Helper()
	out, in := connectTCP(t, from, to, addr)
	go func() {
		out.Write(data)
		out.Close()
	}()
	got, err := io.ReadAll(in)
	if err != nil {
		t.Error(err)
	}
	return got
}

// connectTCP connects a socket in one namespace to one in another.
func connectTCP(t *testing.T, from, to *netlab.NS, addr string) (out, in net.Conn) {
	t.Helper()
	var l net.Listener
	if err := to.Do(func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(addr, "0"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := from.Do(func() (err error) {
		out, err = net.Dial("tcp", l.Addr().String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close(); in.Close() })
	in.SetDeadline(time.Now().Add(2 * time.Minute)) // only reached by a failure
	return out, in
}

// withOptions puts options, of a multiple of four bytes, behind the fixed header
// of an IPv4 packet, and without takes those away that there are. For IPv6 they
// are hop-by-hop options, of eight bytes.
func withOptions(b []byte, options string) []byte {
	if b[0]>>4 == 6 {
		ext := append([]byte{b[6], 0}, options...)
		b = append(append(bytes.Clone(b[:40]), ext...), b[40:]...)
		b[6] = 0
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
		return b
	}
	b = append(append(bytes.Clone(b[:20]), options...), b[20:]...)
	b[0] += byte(len(options) / 4)
	return b
}

func withoutOptions(b []byte) []byte {
	if b[0]>>4 == 6 {
		next := b[40]
		b = append(bytes.Clone(b[:40]), b[48:]...)
		b[6] = next
		return b
	}
	end := int(b[0]&0xf) * 4
	b = append(bytes.Clone(b[:20]), b[end:]...)
	b[0] = 0x45
	return b
}

// What SetPayload allows at a hook arrives; what it refuses there the kernel
// loses, as a Conn shows, which does not know the packet.
func TestKernelOptionsAtHooks(t *testing.T) {
	const (
		nothing     = "\x01\x01\x01\x00"
		recordRoute = "\x07\x0b\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00" // for the sender and the router
		pad         = "\x01\x04\x00\x00\x00\x00"
	)
	for _, x := range []struct {
		name   string
		v6     bool
		before string // options that the client sends
		change func(b []byte) []byte
		lost   []Hook
	}{
		{"added", false, "", func(b []byte) []byte { return withOptions(b, nothing) }, []Hook{Prerouting, Input}},
		{"stripped", false, nothing, withoutOptions, []Hook{Prerouting, Input}},
		{"a record of the route stripped", false, recordRoute, withoutOptions, []Hook{Prerouting, Input, Forward}},
		{"hop-by-hop added", true, "", func(b []byte) []byte { return withOptions(b, pad) }, []Hook{Prerouting, Input}},
		{"hop-by-hop stripped", true, "\x00\x00" + pad, withoutOptions, []Hook{Prerouting, Input}},
	} {
		for hook := Prerouting; hook <= Postrouting; hook++ {
			t.Run(fmt.Sprintf("%s, %v", x.name, hook), func(t *testing.T) {
				p := labtest.NewNetwork(t)
				at := map[Hook]*netlab.NS{Prerouting: p.Server, Input: p.Server, Forward: p.Router, Output: p.Client, Postrouting: p.Client}[hook]
				if _, err := at.InstallQueue(netlab.Rule{
					Hook: netlab.Hook(hook), Match: netlab.Match{L4Proto: unix.IPPROTO_UDP}, Queue: fakeNumber,
				}); err != nil {
					t.Fatal(err)
				}
				in, out := newDatagrams(t, p, x.v6, x.before)
				c, err := Dial(Config{Queue: fakeNumber, NetNS: at.FD()})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				var refused error
				// Long enough to show where the kernel completes an option that is
				// there no more.
				changed := "changed" + strings.Repeat("-", 100)
				for _, text := range []string{changed, "then left alone"} {
					_, err := out.Write([]byte(text))
					if errors.Is(err, unix.EPROTO) { // the receiver's answer to the first
						_, err = out.Write([]byte(text))
					}
					if err != nil {
						t.Fatal(err)
					}
					q, err := c.Read(time.Minute)
					if err != nil {
						t.Fatal(err)
					}
					var payload []byte
					if text == changed {
						payload = x.change(q.Payload())
						refused = q.SetPayload(payload)
					}
					if err := c.SetVerdict(q.ID(), Accept, payload); err != nil {
						t.Fatal(err)
					}
				}
				buf := make([]byte, 200)
				in.SetReadDeadline(time.Now().Add(time.Minute)) // only reached by a failure
				n, err := in.Read(buf)
				if err != nil {
					t.Fatal(err)
				}
				arrived := string(buf[:n]) == changed
				if refused != nil && !errors.Is(refused, ErrUndeliverable) {
					t.Fatal(refused)
				}
				if refused == nil && !arrived {
					t.Errorf("SetPayload allows it, and it did not arrive, but %q", buf[:n])
				}
				for _, lost := range x.lost {
					if lost == hook && (refused == nil || arrived) {
						t.Errorf("SetPayload: %v; arrived: %v", refused, arrived)
					}
				}
			})
		}
	}
}

// newDatagrams opens a UDP socket on the server and one on the client that sends
// to it, with IP options.
func newDatagrams(t *testing.T, p *labtest.Network, v6 bool, options string) (in, out *net.UDPConn) {
	t.Helper()
	addr := &net.UDPAddr{IP: net.ParseIP(serverAddr(v6)), Port: udpPort}
	if err := p.Server.Do(func() (err error) {
		in, err = net.ListenUDP("udp", addr)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	d := net.Dialer{ControlContext: func(_ context.Context, _, _ string, c syscall.RawConn) (err error) {
		if options == "" {
			return nil
		}
		level, name := unix.IPPROTO_IP, unix.IP_OPTIONS
		if v6 {
			level, name = unix.IPPROTO_IPV6, unix.IPV6_HOPOPTS
		}
		cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptString(int(fd), level, name, options) })
		return errors.Join(cerr, err)
	}}
	if err := p.Client.Do(func() error {
		c, err := d.Dial("udp", addr.String())
		if err == nil {
			out = c.(*net.UDPConn)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	return in, out
}

// A datagram that the receiver drops for its checksum is not repaired by an edit
// that has nothing to do with it.
func TestKernelWrongChecksumStaysWrong(t *testing.T) {
	p := labtest.NewNetwork(t)
	if _, err := p.Router.InstallQueue(netlab.Rule{
		Hook: netlab.Forward, Match: netlab.Match{L4Proto: unix.IPPROTO_UDP}, Queue: fakeNumber,
	}); err != nil {
		t.Fatal(err)
	}
	in, _ := newDatagrams(t, p, false, "")
	_, stop := serve(t, Config{Queue: fakeNumber, NetNS: p.Router.FD()}, HandlerFunc(func(p *Packet) Verdict {
		b, err := p.EditPayload()
		if err != nil {
			t.Error(err)
		}
		b[8] -= 3 // TTL
		return Accept
	}))
	var raw int
	if err := p.Client.Do(func() (err error) {
		raw, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(raw)
	for _, text := range []string{"wrong", "right"} {
		b := udp4(7, []byte(text))
		copy(b[12:], []byte{10, 1, 0, 1, 10, 2, 0, 1})
		binary.BigEndian.PutUint16(b[22:], udpPort)
		if err := zerocopy.FixPacket(b); err != nil {
			t.Fatal(err)
		}
		if text == "wrong" {
			b[27]++
		}
		if err := unix.Sendto(raw, b, 0, &unix.SockaddrInet4{Addr: [4]byte{10, 2, 0, 1}}); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 100)
	in.SetReadDeadline(time.Now().Add(time.Minute)) // only reached by a failure
	n, err := in.Read(buf)
	if err != nil || string(buf[:n]) != "right" {
		t.Errorf("first to arrive: %q, %v", buf[:n], err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// tainted reports whether the kernel has warned since it started (TAINT_WARN).
func tainted(t *testing.T) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/kernel/tainted")
	if err != nil {
		t.Fatal(err)
	}
	bits, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return bits&(1<<9) != 0
}

// translate has ns translate the source addresses of what it sends on.
func translate(t *testing.T, ns *netlab.NS, by string) {
	t.Helper()
	translateAt(t, ns, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource,
		&expr.Immediate{Register: 1, Data: net.ParseIP(by).To4()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1})
}

// translateAt installs a rule that translates addresses of IPv4.
func translateAt(t *testing.T, ns *netlab.NS, hook *nftables.ChainHook, priority *nftables.ChainPriority, rule ...expr.Any) {
	t.Helper()
	nft, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	table := nft.AddTable(&nftables.Table{Name: "translate", Family: nftables.TableFamilyIPv4})
	chain := nft.AddChain(&nftables.Chain{Name: "translate", Table: table, Type: nftables.ChainTypeNAT, Hooknum: hook, Priority: priority})
	nft.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: rule})
	if err := ns.Do(nft.Flush); errors.Is(err, unix.ENOENT) {
		t.Skip("this kernel has no address translation of nft")
	} else if err != nil {
		t.Fatal(err)
	}
}

// On a connection that is translated, a TCP segment of another length does not
// go together with a connection mark, in whichever order: the kernel would warn.
// On others it does.
func TestKernelConnMarkAndLength(t *testing.T) {
	for _, translated := range []bool{false, true} {
		p := labtest.NewNetwork(t)
		cfg := Config{Queue: fakeNumber, NetNS: p.Router.FD(), Conntrack: true}
		probeOpen(t, cfg)
		track(t, p.Router)
		if translated {
			translate(t, p.Router, "10.2.0.254")
		}
		if _, err := p.Router.InstallQueue(netlab.Rule{
			Hook: netlab.Forward, Match: netlab.Match{L4Proto: unix.IPPROTO_TCP}, Queue: fakeNumber,
		}); err != nil {
			t.Fatal(err)
		}
		before := tainted(t)
		var tried, refused, marked atomic.Uint64
		_, stop := serve(t, cfg, HandlerFunc(func(p *Packet) Verdict {
			ct, ok := p.Conntrack()
			seg := p.Transport()
			if !ok || ct.State != CTEstablished || len(seg) == int(seg[12]>>4)*4 {
				return Accept
			}
			tried.Add(1)
			was := bytes.Clone(p.Payload())
			longer := append(bytes.Clone(was), "longer"...)
			if err := p.SetConnMark(5, 0xff); err != nil {
				t.Error(err)
			}
			if err := p.SetPayload(longer); translated != errors.Is(err, ErrUndeliverable) {
				t.Errorf("translated %v: SetPayload after SetConnMark: %v", translated, err)
			}
			if err := p.SetPayload(was); err != nil {
				t.Error(err)
			}
			if err := p.SetConnMark(0, 0); err != nil {
				t.Error(err)
			}
			if err := p.SetPayload(longer); err != nil {
				t.Error(err)
			}
			if err := p.SetConnMark(5, 0xff); translated != errors.Is(err, ErrUndeliverable) {
				t.Errorf("translated %v: SetConnMark after SetPayload: %v", translated, err)
			} else if err != nil {
				refused.Add(1)
			} else {
				marked.Add(1)
			}
			return Accept // longer, which ends the connection before long
		}))
		out, in := connectTCP(t, p.Client, p.Server, serverAddr(false))
		if _, err := out.Write([]byte("text")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len("textlonger"))
		if _, err := io.ReadFull(in, got); err != nil || string(got) != "textlonger" {
			t.Errorf("translated %v: %q arrived, %v", translated, got, err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if tried.Load() == 0 || translated != (refused.Load() > 0) || translated == (marked.Load() > 0) {
			t.Errorf("translated %v: %d segments, %d refused, %d marked", translated, tried.Load(), refused.Load(), marked.Load())
		}
		if tainted(t) && !before {
			t.Errorf("translated %v: the kernel has warned", translated)
		}
	}
}
