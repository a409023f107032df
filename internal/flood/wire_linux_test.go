package flood

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"golang.org/x/sys/unix"
)

// listen opens a raw socket in ns that receives every echo request there.
func listen(t *testing.T, ns *netlab.NS, ipv6 bool) int {
	t.Helper()
	fd := -1
	if err := ns.Do(func() (err error) {
		if ipv6 {
			fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
		} else {
			fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, 4<<20)
	giveUp(t, fd)
	var err error
	if ipv6 {
		all := [8]uint32{^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0)}
		all[icmpv6EchoRequest/32] &^= 1 << (icmpv6EchoRequest % 32)
		err = unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &unix.ICMPv6Filter{Data: all})
	} else {
		err = unix.SetsockoptInt(fd, unix.SOL_RAW, icmpFilter, ^(1 << icmpEchoRequest))
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// What is on the wire: sizes, flows, addresses, sequence and checksums.
func TestWire(t *testing.T) {
	for _, cfg := range []Config{
		{Count: 150, Flows: 50, Size: 64},
		{Count: 30, Flows: 300, Size: 1500}, // fewer packets than flows
		{Count: 310, Flows: 300, Size: 64},  // flows past 256
		{Count: 20, Flows: 1, Size: 37},
		{Count: 150, Flows: 50, Size: 64, IPv6: true},
		{Count: 20, Flows: 3, Size: 1401, IPv6: true},
	} {
		t.Run(fmt.Sprintf("%+v", cfg), func(t *testing.T) {
			ns := labtest.New(t)
			fd := listen(t, ns, cfg.IPv6)
			cfg.CPUs = oneCPU(t)
			wait(t, startIn(t, ns, cfg))

			buf := make([]byte, 1<<16)
			var next uint64
			var run uint64
			for next < cfg.Count {
				n, from, err := unix.Recvfrom(fd, buf, 0)
				if err != nil {
					t.Fatalf("after %d of %d requests: %v", next, cfg.Count, err)
				}
				icmp, request := buf[:n], byte(icmpv6EchoRequest)
				if !cfg.IPv6 {
					icmp, request = buf[20:n], icmpEchoRequest
				}
				if icmp[0] != request {
					t.Fatalf("request %d has ICMP type %d", next, icmp[0])
				}
				word := binary.BigEndian.Uint64(icmp[8:])
				if next == 0 {
					run = word >> sequenceBits
				}
				if word != run<<sequenceBits|next {
					t.Fatalf("request %d carries %#x in run %#x", next, word, run)
				}
				flow := next % uint64(cfg.Flows)
				if id := binary.BigEndian.Uint16(icmp[4:]); uint64(id) != flow {
					t.Errorf("request %d has identifier %d, want %d", next, id, flow)
				}
				if turn := binary.BigEndian.Uint16(icmp[6:]); uint64(turn) != next/uint64(cfg.Flows) {
					t.Errorf("request %d of flow %d has ICMP sequence %d", next, flow, turn)
				}
				if got := len(icmp) + cfg.headerLen(); got != cfg.Size {
					t.Errorf("request %d has %d bytes, want %d", next, got, cfg.Size)
				}
				if cfg.IPv6 {
					if to := from.(*unix.SockaddrInet6).Addr; to != [16]byte{15: 1} {
						t.Errorf("request %d is from %v", next, to)
					}
				} else {
					if to, want := [4]byte(buf[16:20]), [4]byte{127, 1, byte(flow >> 8), byte(flow)}; to != want {
						t.Errorf("request %d goes to %v, want %v", next, to, want)
					}
					if sum(icmp) != 0xffff {
						t.Errorf("request %d has a wrong ICMP checksum", next)
					}
				}
				next++
			}
		})
	}
}
