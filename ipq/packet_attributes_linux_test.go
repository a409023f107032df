package ipq

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/zerocopy"
)

func be16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }

func be32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

func be64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

// An attr is a netlink attribute: bytes, or a nest of others.
type attr struct {
	typ   uint16
	value []byte
	nest  []attr
}

func encode(attrs ...attr) []byte {
	var b []byte
	for _, a := range attrs {
		if a.nest != nil {
			const nested = 0x8000 // NLA_F_NESTED
			a.typ, a.value = a.typ|nested, encode(a.nest...)
		}
		b = fakekernel.Attr(b, a.typ, a.value)
	}
	return b
}

// look queues a packet with these attributes and has it looked at.
func look(t *testing.T, attrs []byte, at func(p *Packet)) {
	t.Helper()
	f := newFake(t)
	_, stop := f.serve(Config{Workers: Inline}, func(p *Packet) Verdict {
		at(p)
		return Accept
	})
	f.verdict(f.queue(fakekernel.Packet{Protocol: 0x0800, Hook: 1, Raw: attrs}))
	stop()
}

type wanted struct {
	what      string
	got, want any
}

func compare(t *testing.T, all []wanted) {
	t.Helper()
	for _, x := range all {
		if fmt.Sprint(x.got) != fmt.Sprint(x.want) {
			t.Errorf("%s: %v, want %v", x.what, x.got, x.want)
		}
	}
}

// Every attribute of a packet, each with a value of its own.
func TestPacketAttributes(t *testing.T) {
	look(t, encode(
		attr{typ: zerocopy.AttrInDev, value: be32(3)},
		attr{typ: zerocopy.AttrOutDev, value: be32(4)},
		attr{typ: zerocopy.AttrPhysInDev, value: be32(5)},
		attr{typ: zerocopy.AttrPhysOutDev, value: be32(6)},
		attr{typ: zerocopy.AttrMark, value: be32(7)},
		attr{typ: zerocopy.AttrPriority, value: be32(8)},
		attr{typ: zerocopy.AttrHWAddr, value: []byte{0, 6, 0, 0, 2, 0, 0, 0, 0, 9, 0, 0}},
		attr{typ: zerocopy.AttrVLAN, nest: []attr{{typ: 1, value: be16(0x8100)}, {typ: 2, value: be16(42)}}},
		attr{typ: zerocopy.AttrL2Hdr, value: []byte("ethernet header")},
		attr{typ: zerocopy.AttrTimestamp, value: append(be64(1_700_000_000), be64(123456)...)},
		attr{typ: zerocopy.AttrUID, value: be32(1000)},
		attr{typ: zerocopy.AttrGID, value: be32(100)},
		attr{typ: zerocopy.AttrCgroupClassID, value: be32(0x10001)},
		attr{typ: zerocopy.AttrSecCtx, value: []byte("system_u:object_r")},
		attr{typ: zerocopy.AttrSkbInfo, value: be32(zerocopy.SkbCsumNotVerified)},
		attr{typ: zerocopy.AttrPayload, value: udp4(53, nil)},
	), func(p *Packet) {
		uid, uidOK := p.UID()
		gid, gidOK := p.GID()
		proto, tci, vlanOK := p.VLAN()
		compare(t, []wanted{
			{"ID", p.ID(), 1}, {"queue", p.Queue(), fakeNumber}, {"hook", p.Hook(), Input}, {"protocol", p.EtherType(), 0x0800},
			{"in", p.InDev(), 3}, {"out", p.OutDev(), 4}, {"physical in", p.PhysInDev(), 5}, {"physical out", p.PhysOutDev(), 6},
			{"mark", p.Mark(), 7}, {"priority", p.Priority(), 8},
			{"hardware address", p.HardwareAddr(), "02:00:00:00:00:09"},
			{"VLAN protocol", proto, 0x8100}, {"VLAN", tci, 42}, {"VLAN known", vlanOK, true},
			{"link header", string(p.LinkHeader()), "ethernet header"},
			{"timestamp", p.Timestamp().UnixMicro(), int64(1_700_000_000_123456)},
			{"uid", uid, 1000}, {"uid known", uidOK, true}, {"gid", gid, 100}, {"gid known", gidOK, true},
			{"cgroup class", p.CgroupClass(), 0x10001},
			{"security context", string(p.SecurityContext()), "system_u:object_r"},
			{"checksum verified", p.ChecksumVerified(), false}, {"checksum ready", p.ChecksumReady(), true}, {"GSO", p.GSO(), false},
			{"length", p.Len(), 28}, {"source port", p.Flow().SrcPort, 53}, {"transport", len(p.Transport()), 8},
		})
	})
}

// A packet without attributes has zeroes, and says what it does not know.
func TestPacketWithoutAttributes(t *testing.T) {
	look(t, []byte{}, func(p *Packet) {
		_, uid := p.UID()
		_, gid := p.GID()
		_, _, vlan := p.VLAN()
		_, ct := p.Conntrack()
		compare(t, []wanted{
			{"uid known", uid, false}, {"gid known", gid, false}, {"VLAN known", vlan, false}, {"conntrack known", ct, false},
			{"timestamp", p.Timestamp().IsZero(), true}, {"hardware address", p.HardwareAddr() == nil, true},
			{"link header", p.LinkHeader() == nil, true}, {"security context", p.SecurityContext() == nil, true},
			{"interfaces", p.InDev() + p.OutDev() + p.PhysInDev() + p.PhysOutDev(), 0},
			{"numbers", p.Mark() + p.Priority() + p.CgroupClass(), 0},
			{"checksum verified", p.ChecksumVerified(), true}, {"checksum ready", p.ChecksumReady(), true},
			{"GSO", p.GSO(), false}, {"truncated", p.Truncated(), false},
			{"payload", p.Payload() == nil, true}, {"length", p.Len(), 0}, {"flow", p.Flow(), Flow{}}, {"transport", p.Transport() == nil, true},
		})
	})
}

// What a handler has set is what it sees from then on.
func TestEditsAreSeenByTheHandler(t *testing.T) {
	f := newFake(t)
	_, stop := f.serve(Config{Workers: Inline}, func(p *Packet) Verdict {
		if err := p.SetPayload(udp4(99, []byte("longer"))); err != nil {
			t.Error(err)
		}
		compare(t, []wanted{
			{"payload", string(p.Payload()[28:]), "longer"}, {"length", p.Len(), 34}, {"source port", p.Flow().SrcPort, 99},
		})
		return Accept
	})
	f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
	stop()
}

// IPv6 packets have flows as IPv4 packets do, also behind what a bridge has in
// front of them, and other packets none. What follows the datagram is no part of
// it.
func TestFlowsOfPackets(t *testing.T) {
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	v4, v6 := udp4(53, nil), udp6(53, nil)
	short := udp4(53, nil)[:22]
	short[3] = 22
	padding := make([]byte, 18)
	tag4, tag6 := []byte{0, 7, 0x08, 0x00}, []byte{0, 7, 0x86, 0xdd}
	innerTag, innerPPPoE := []byte{0, 9, 0x81, 0x00}, []byte{0, 9, 0x88, 0x64}
	session := func(proto byte, n int) []byte { return []byte{0x11, 0, 0, 5, 0, byte(2 + n), 0, proto} }
	const flow4, flow6, none = "udp 192.0.2.1:53 > 192.0.2.2:9", "udp [2001:db8::1]:53 > [2001:db8::2]:9", "no flow"
	tests := []struct {
		p    fakekernel.Packet
		want string
		ip   []byte
	}{
		{fakekernel.Packet{Payload: v4}, flow4, v4},
		{fakekernel.Packet{Payload: v6}, flow6, v6},
		{fakekernel.Packet{Payload: v4, Protocol: 0x0806}, none, nil},
		{fakekernel.Packet{Payload: v6, Protocol: 0x0800}, none, nil}, // the kernel drops these two
		{fakekernel.Packet{Payload: join(v4, padding), Protocol: 0x86dd}, none, nil},
		{fakekernel.Packet{Payload: join(v4, padding)}, flow4, v4},
		{fakekernel.Packet{Payload: join(v6, padding)}, flow6, v6},
		{fakekernel.Packet{Payload: join(short, padding)}, "unknown udp 192.0.2.1 > 192.0.2.2", short},
		{fakekernel.Packet{Payload: join(tag4, v4), Protocol: 0x8100}, flow4, v4},
		{fakekernel.Packet{Payload: join(tag6, v6, padding), Protocol: 0x88a8}, flow6, v6},
		{fakekernel.Packet{Payload: join(innerTag, innerTag, tag4, v4, padding), Protocol: 0x88a8}, flow4, v4},
		{fakekernel.Packet{Payload: join(tag6, v4, padding), Protocol: 0x8100}, none, nil},
		{fakekernel.Packet{Payload: join(tag4, v4)[:20], Protocol: 0x8100}, none, nil},
		{fakekernel.Packet{Payload: join(session(0x21, len(v4)), v4, padding), Protocol: 0x8864}, flow4, v4},
		{fakekernel.Packet{Payload: join(session(0x57, len(v6)), v6), Protocol: 0x8864}, flow6, v6},
		{fakekernel.Packet{Payload: join(innerPPPoE, session(0x57, len(v6)), v6, padding), Protocol: 0x8100}, flow6, v6},
		{fakekernel.Packet{Payload: join(session(0x21, 22), v4), Protocol: 0x8864}, "unknown udp 192.0.2.1 > 192.0.2.2", v4[:22]},
		{fakekernel.Packet{Payload: join(session(0xc0, len(v4)), v4), Protocol: 0x8864}, none, nil},
	}
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		_, stop := f.serve(Config{Workers: workers}, func(p *Packet) Verdict {
			flow, want := p.Flow(), tests[p.ID()-1]
			if flow.String() != want.want || flow.Hash() != p.FlowHash() {
				t.Errorf("packet %d: %v, want %s; hash %#x, steered by %#x", p.ID(), flow, want.want, flow.Hash(), p.FlowHash())
			}
			ip := p.IP()
			if !bytes.Equal(ip, want.ip) || (ip == nil) != (want.ip == nil) || cap(ip) != len(ip) {
				t.Errorf("packet %d: datagram %x with a capacity of %d, want %x", p.ID(), ip, cap(ip), want.ip)
			}
			var transport []byte
			if header := map[byte]int{4: 20, 6: 40}; len(want.ip) > 0 {
				transport = want.ip[header[want.ip[0]>>4]:]
			}
			if got := p.Transport(); !bytes.Equal(got, transport) {
				t.Errorf("packet %d: transport header %x, want %x", p.ID(), got, transport)
			}
			return Accept
		})
		for _, x := range tests {
			f.verdict(f.queue(x.p))
		}
		stop()
	})
}

// What was set for a packet is not set for the next in its place.
func TestEditsEndWithTheirPacket(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		_, stop := f.serve(Config{Workers: workers, Batches: 1}, func(p *Packet) Verdict {
			if p.ID() == 1 {
				p.SetPriority(1)
				p.SetVLAN(1, 1)
				p.SetConnMark(1, 1)
				if err := p.SetPayload(udp4(1, []byte("edited"))); err != nil {
					t.Error(err)
				}
			}
			return Accept
		})
		for _, want := range []int{4, 0, 0} {
			if v := f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)})); len(v.Attrs) != want {
				t.Errorf("attributes: %v, want %d", v.Attrs, want)
			}
		}
		stop()
	})
}

// What the kernel tells of a packet.
func TestKernelAttributes(t *testing.T) {
	ns := labtest.New(t)
	u := newUDPPath(t, ns, "127.0.0.1",
		netlab.Rule{Hook: netlab.Output, Queue: fakeNumber}, netlab.Rule{Hook: netlab.Input, Queue: fakeNumber})
	from := u.from.LocalAddr().(*net.UDPAddr)
	_, stop := serve(t, Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: Inline, UIDGID: true, SnapLen: 32}, HandlerFunc(func(p *Packet) Verdict {
		flow := p.Flow()
		check := func(what string, got, want any) {
			if got != want {
				t.Errorf("%v %s: %v, want %v", p.Hook(), what, got, want)
			}
		}
		check("flow", fmt.Sprint(flow), fmt.Sprintf("udp 127.0.0.1:%d > 127.0.0.1:%d", from.Port, udpPort))
		check("protocol", p.EtherType(), uint16(0x0800))
		check("family", p.Family(), uint8(unix.AF_INET))
		check("queue", p.Queue(), uint16(fakeNumber))
		check("length", p.Len(), 28+40)
		check("truncated", p.Truncated(), true)
		check("copied", len(p.Payload()), 32)
		check("GSO", p.GSO(), false)
		uid, ok := p.UID()
		in, out := p.InterfaceName(p.InDev()), p.InterfaceName(p.OutDev())
		switch p.Hook() {
		case Output:
			check("ID", p.ID(), uint32(1))
			check("in", in, "")
			check("out", out, "lo")
			check("uid", uid, initialUID(t))
			check("uid known", ok, true)
			check("timestamp", p.Timestamp().IsZero(), true)
		case Input:
			check("ID", p.ID(), uint32(2))
			check("in", in, "lo")
			check("out", out, "")
			check("hardware address", p.HardwareAddr().String(), "00:00:00:00:00:00")
		default:
			t.Errorf("hook %v", p.Hook())
		}
		check("no interface", p.InterfaceName(4242), "")
		check("editing", errors.Is(p.SetPayload(p.Payload()), ErrTruncated), true)
		return Accept
	}))
	u.send(strings.Repeat("x", 40))
	u.receive()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// initialUID returns this process's user id in the initial user namespace, or
// as near to it as a parent's.
func initialUID(t *testing.T) (uid uint32) {
	t.Helper()
	m, err := os.ReadFile("/proc/self/uid_map") // first id here, first id there, how many
	if err != nil {
		t.Fatal(err)
	}
	var here, there uint32
	if _, err := fmt.Sscan(string(m), &here, &there); err != nil {
		t.Fatal(err)
	}
	return uint32(os.Getuid()) - here + there
}
