package test

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"

	nfqueue "github.com/florianl/go-nfqueue/v2"
	"github.com/mdlayher/netlink"
)

// fields returns the exported fields of a struct, with their types.
func fields(v any) (all []string) {
	for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
		if f.IsExported() {
			all = append(all, f.Name+" "+f.Type.String())
		}
	}
	return all
}

// methods returns the exported methods of a type, with their types.
func methods(t reflect.Type) (all []string) {
	for i := range t.NumMethod() {
		m := t.Method(i)
		all = append(all, m.Name+strings.TrimPrefix(m.Type.String(), "func"))
	}
	return all
}

// Every exported name is there, with its type, and none besides.
func TestExportedAPI(t *testing.T) {
	for _, x := range []struct {
		what      string
		got, want []string
	}{
		{"Attribute", fields(nfqueue.Attribute{}), []string{
			"PacketID *uint32", "Hook *uint8", "Timestamp *time.Time", "Mark *uint32", "InDev *uint32", "PhysInDev *uint32",
			"OutDev *uint32", "PhysOutDev *uint32", "Payload *[]uint8", "CapLen *uint32", "UID *uint32", "GID *uint32",
			"SecCtx *string", "L2Hdr *[]uint8", "HwAddr *[]uint8", "HwProtocol *uint16", "Ct *[]uint8", "CtInfo *uint32",
			"SkbInfo *[]uint8", "Exp *[]uint8", "SkbPrio *uint32",
		}},
		{"Config", fields(nfqueue.Config{}), []string{
			"NetNS int", "NfQueue uint16", "MaxQueueLen uint32", "MaxPacketLen uint32", "Copymode uint8", "Flags uint32",
			"AfFamily uint8", "ReadTimeout time.Duration", "WriteTimeout time.Duration", "Logger nfqueue.Logger",
		}},
		{"Nfqueue", fields(nfqueue.Nfqueue{}), []string{"Con *netlink.Conn"}},
		{"methods of Nfqueue", methods(reflect.TypeFor[*nfqueue.Nfqueue]()), []string{
			"Close(*nfqueue.Nfqueue) error",
			"Register(*nfqueue.Nfqueue, context.Context, nfqueue.HookFunc) error",
			"RegisterWithErrorFunc(*nfqueue.Nfqueue, context.Context, nfqueue.HookFunc, nfqueue.ErrorFunc) error",
			"SetOption(*nfqueue.Nfqueue, netlink.ConnOption, bool) error",
			"SetVerdict(*nfqueue.Nfqueue, uint32, int) error",
			"SetVerdictBatch(*nfqueue.Nfqueue, uint32, int) error",
			"SetVerdictModPacket(*nfqueue.Nfqueue, uint32, int, []uint8) error",
			"SetVerdictModPacketWithConnMark(*nfqueue.Nfqueue, uint32, int, int, []uint8) error",
			"SetVerdictModPacketWithLabel(*nfqueue.Nfqueue, uint32, int, []uint8, []uint8) error",
			"SetVerdictModPacketWithMark(*nfqueue.Nfqueue, uint32, int, int, []uint8) error",
			"SetVerdictWithConnMark(*nfqueue.Nfqueue, uint32, int, int) error",
			"SetVerdictWithLabel(*nfqueue.Nfqueue, uint32, int, []uint8) error",
			"SetVerdictWithMark(*nfqueue.Nfqueue, uint32, int, int) error",
			"SetVerdictWithOption(*nfqueue.Nfqueue, uint32, int, ...nfqueue.VerdictOption) error",
		}},
		{"methods of Logger", methods(reflect.TypeFor[nfqueue.Logger]()), []string{
			"Debugf(string, ...interface {})", "Errorf(string, ...interface {})",
		}},
	} {
		slices.Sort(x.got)
		slices.Sort(x.want)
		if !slices.Equal(x.got, x.want) {
			t.Errorf("%s:\n got %q\nwant %q", x.what, x.got, x.want)
		}
	}
}

// What a client may do with the names, as far as the compiler tells.
var (
	_ func(*nfqueue.Config) (*nfqueue.Nfqueue, error) = nfqueue.Open
	_ func(uint32) nfqueue.VerdictOption              = nfqueue.WithMark
	_ func(uint32) nfqueue.VerdictOption              = nfqueue.WithConnMark
	_ func([]byte) nfqueue.VerdictOption              = nfqueue.WithLabel
	_ func([]byte) nfqueue.VerdictOption              = nfqueue.WithAlteredPacket
	_ nfqueue.HookFunc                                = func(nfqueue.Attribute) int { return 0 }
	_ nfqueue.ErrorFunc                               = func(error) int { return 0 }
	_ func(*nfqueue.Nfqueue) *netlink.Conn            = func(n *nfqueue.Nfqueue) *netlink.Conn { return n.Con }

	_ interface { // as clients declare it, to put something else in its place
		SetVerdict(id uint32, verdict int) error
		SetVerdictModPacket(id uint32, verdict int, packet []byte) error
		RegisterWithErrorFunc(ctx context.Context, fn nfqueue.HookFunc, errfn nfqueue.ErrorFunc) error
		Close() error
	} = (*nfqueue.Nfqueue)(nil)
)

// Constants are untyped, and what the kernel has.
func TestConstants(t *testing.T) {
	var flags uint32 = nfqueue.NfQaCfgFlagFailOpen<<8 + nfqueue.NfQaCfgFlagConntrack<<6 + nfqueue.NfQaCfgFlagGSO<<4 +
		nfqueue.NfQaCfgFlagUIDGid<<2 + nfqueue.NfQaCfgFlagSecCx
	if flags != 1<<8+2<<6+4<<4+8<<2+16 {
		t.Errorf("flags %#x", flags)
	}
	if modes := [...]uint8{nfqueue.NfQnlCopyNone, nfqueue.NfQnlCopyMeta, nfqueue.NfQnlCopyPacket}; modes != [...]uint8{0, 1, 2} {
		t.Errorf("copy modes %d", modes)
	}
	if verdicts := [...]int{nfqueue.NfDrop, nfqueue.NfAccept, nfqueue.NfStolen, nfqueue.NfQeueue, nfqueue.NfRepeat}; verdicts != [...]int{0, 1, 2, 3, 4} {
		t.Errorf("verdicts %d", verdicts)
	}
	for err, want := range map[error]string{
		nfqueue.ErrRecvMsg:        "received error message",
		nfqueue.ErrUnexpMsg:       "received unexpected message from kernel",
		nfqueue.ErrInvFlag:        "invalid Flag",
		nfqueue.ErrNotLinux:       "not implemented for OS other than linux",
		nfqueue.ErrInvalidVerdict: "invalid verdict",
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
}
