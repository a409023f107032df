package ipq

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
)

// What conntrack's marks and connections are asked for and changed by
// (linux/netfilter/nfnetlink_conntrack.h).
const (
	ctNew, ctGet, ctDelete = 0, 1, 2 // IPCTNL_MSG_CT_*

	ctaTupleOrig = 1
	ctaMark      = 8
	ctaMarkMask  = 21
)

// conntrack sends a request about connections of IPv4.
func conntrack(t *testing.T, ns *netlab.NS, typ uint16, flags netlink.HeaderFlags, attrs ...netlink.Attribute) []netlink.Message {
	t.Helper()
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	data, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		t.Fatal(err)
	}
	answers, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_CTNETLINK<<8 | typ), Flags: netlink.Request | flags},
		Data:   append([]byte{unix.AF_INET, unix.NFNETLINK_V0, 0, 0}, data...),
	})
	if errors.Is(err, unix.EINVAL) && flags&netlink.Dump != 0 {
		t.Skipf("this kernel has no netlink interface to connections (CONFIG_NF_CT_NETLINK): %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	return answers
}

// marks returns the marks of all connections, in order.
func marks(t *testing.T, ns *netlab.NS) (all []uint32) {
	t.Helper()
	for _, m := range conntrack(t, ns, ctGet, netlink.Dump) {
		all = append(all, binary.BigEndian.Uint32(attrOf(t, m, ctaMark)))
	}
	slices.Sort(all)
	return all
}

func attrOf(t *testing.T, m netlink.Message, typ uint16) []byte {
	t.Helper()
	attrs, err := netlink.UnmarshalAttributes(m.Data[4:])
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range attrs {
		if a.Type&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER) == typ {
			return a.Data
		}
	}
	t.Fatalf("no attribute %d in % x", typ, m.Data)
	return nil
}

// setMarks gives the bits of mask the values of value in the marks of all connections,
// as `conntrack -U -f ipv4 --mark value/mask` does.
func setMarks(t *testing.T, ns *netlab.NS, value, mask uint32) {
	t.Helper()
	for _, m := range conntrack(t, ns, ctGet, netlink.Dump) {
		conntrack(t, ns, ctNew, netlink.Acknowledge,
			netlink.Attribute{Type: ctaTupleOrig | unix.NLA_F_NESTED, Data: attrOf(t, m, ctaTupleOrig)},
			netlink.Attribute{Type: ctaMark, Data: binary.BigEndian.AppendUint32(nil, value)},
			netlink.Attribute{Type: ctaMarkMask, Data: binary.BigEndian.AppendUint32(nil, mask)})
	}
}

// forget is a way to take decisions back that are in the marks, or labels, of
// connections.
type forget struct {
	name   string
	labels bool // it takes back those, too
	do     func(*testing.T, *netlab.NS)
}

var forgets = []forget{
	{"conntrack -U -f ipv4 --mark 0/0xff03", false, func(t *testing.T, ns *netlab.NS) {
		const others = 0x30000
		setMarks(t, ns, others, others)
		setMarks(t, ns, 0, decidedMask)
		if got := marks(t, ns); !slices.Equal(slices.Compact(got), []uint32{others}) {
			t.Errorf("marks %#x are left", got)
		}
	}},
	{"conntrack -F", true, func(t *testing.T, ns *netlab.NS) {
		conntrack(t, ns, ctDelete, netlink.Acknowledge)
		if got := marks(t, ns); len(got) != 0 {
			t.Errorf("%d connections are left", len(got))
		}
	}},
}
