package ipqtest

import (
	"encoding/binary"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ipq"
)

// An Option says something of a packet beside its bytes, as the kernel would.
type Option func(*packet)

// A packet is what is sent, and the interfaces that it names.
type packet struct {
	fakekernel.Packet
	devices *devices
}

// devices gives interfaces their indexes, from 1 on.
type devices struct {
	index map[string]uint32
	names map[int]string
}

func newDevices() *devices {
	return &devices{index: map[string]uint32{}, names: map[int]string{}}
}

func (d *devices) of(name string) uint32 {
	i, ok := d.index[name]
	if !ok {
		i = uint32(len(d.index) + 1)
		d.index[name], d.names[int(i)] = i, name
	}
	return i
}

// Hook says where the packet was queued. Without it, it is ipq.Prerouting.
func Hook(h ipq.Hook) Option { return func(p *packet) { p.Hook = uint8(h) } }

// Family is that of the hook: AF_INET (2), which it is without this option, AF_INET6
// (10) or AF_BRIDGE (7).
func Family(family uint8) Option { return func(p *packet) { p.Family = family } }

// EtherType is that of the packet. Without it, it follows from the IP version.
func EtherType(t uint16) Option { return func(p *packet) { p.Protocol = t } }

// Mark is the packet's mark.
func Mark(mark uint32) Option { return func(p *packet) { p.Mark = mark } }

// InDev names the interface that the packet came in by, OutDev the one that it goes
// out by. Each name is an interface of its own, which Packet.InterfaceName knows.
func InDev(name string) Option { return device(zerocopy.AttrInDev, name) }

// OutDev: see [InDev].
func OutDev(name string) Option { return device(zerocopy.AttrOutDev, name) }

// PhysInDev and PhysOutDev name ports of a bridge.
func PhysInDev(name string) Option { return device(zerocopy.AttrPhysInDev, name) }

// PhysOutDev: see [PhysInDev].
func PhysOutDev(name string) Option { return device(zerocopy.AttrPhysOutDev, name) }

func device(typ uint16, name string) Option {
	return func(p *packet) { p.attr(typ, binary.BigEndian.AppendUint32(nil, p.devices.of(name))) }
}

// UID and GID are the owner of the sending socket, as with Config.UIDGID.
func UID(uid uint32) Option { return u32(zerocopy.AttrUID, uid) }

// GID: see [UID].
func GID(gid uint32) Option { return u32(zerocopy.AttrGID, gid) }

// GSO makes the packet a super-packet, as with Config.GSO.
func GSO() Option { return func(p *packet) { p.SkbInfo |= zerocopy.SkbGSO } }

// Attribute adds any attribute: NFQA_* of linux/netfilter/nfnetlink_queue.h, and the
// bytes behind its header, in network order.
func Attribute(typ uint16, value []byte) Option { return func(p *packet) { p.attr(typ, value) } }

func u32(typ uint16, v uint32) Option { return Attribute(typ, binary.BigEndian.AppendUint32(nil, v)) }

func (p *packet) attr(typ uint16, value []byte) { p.Attrs = fakekernel.Attr(p.Attrs, typ, value) }
