//lint:file-ignore SA1019 clients call what is deprecated

package version1

import (
	"bytes"
	"encoding/binary"
	"log"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/florianl/go-nfqueue"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

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

// Version 1 has its own names, and none besides.
func TestExportedAPIOfVersion1(t *testing.T) {
	for _, x := range []struct {
		what      string
		got, want []string
	}{
		{"Config", fields(nfqueue.Config{}), []string{
			"NetNS int", "NfQueue uint16", "MaxQueueLen uint32", "MaxPacketLen uint32", "Copymode uint8", "Flags uint32",
			"AfFamily uint8", "ReadTimeout time.Duration", "WriteTimeout time.Duration", "Logger *log.Logger",
		}},
		{"Attribute", fields(nfqueue.Attribute{}), []string{
			"PacketID *uint32", "Hook *uint8", "Timestamp *time.Time", "Mark *uint32", "InDev *uint32", "PhysInDev *uint32",
			"OutDev *uint32", "PhysOutDev *uint32", "Payload *[]uint8", "CapLen *uint32", "UID *uint32", "GID *uint32",
			"SecCtx *string", "L2Hdr *[]uint8", "HwAddr *[]uint8", "HwProtocol *uint16", "Ct *[]uint8", "CtInfo *uint32",
			"SkbInfo *[]uint8", "Exp *[]uint8", "SkbPrio *uint32",
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
			"SetVerdictModPacketWithMark(*nfqueue.Nfqueue, uint32, int, int, []uint8) error",
			"SetVerdictWithConnMark(*nfqueue.Nfqueue, uint32, int, int) error",
			"SetVerdictWithMark(*nfqueue.Nfqueue, uint32, int, int) error",
		}},
	} {
		slices.Sort(x.got)
		slices.Sort(x.want)
		if !slices.Equal(x.got, x.want) {
			t.Errorf("%s:\n got %q\nwant %q", x.what, x.got, x.want)
		}
	}
}

// As portmaster: packets to a channel, marks that rules act on, from another goroutine; and
// altered packets.
func TestCallsOfPortmaster(t *testing.T) {
	const queue, port = 100, 9009
	ns := labtest.New(t)
	if _, err := ns.InstallQueue(netlab.Rule{
		Hook: netlab.Output, Match: netlab.Match{L4Proto: unix.IPPROTO_UDP, DstPort: port, NotMark: 1710}, Queue: queue,
	}); err != nil {
		t.Fatal(err)
	}
	var from, to *net.UDPConn
	if err := ns.Do(func() (err error) {
		addr := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
		if to, err = net.ListenUDP("udp", addr); err == nil {
			from, err = net.DialUDP("udp", nil, addr)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	defer to.Close()
	arrives := func(want string) {
		t.Helper()
		buf := make([]byte, 100)
		to.SetReadDeadline(time.Now().Add(time.Minute)) // only reached by a failure
		n, err := to.Read(buf)
		if err != nil {
			t.Fatalf("waiting for %q: %v", want, err)
		}
		if got := string(buf[:n]); got != want {
			t.Errorf("%q arrived, want %q", got, want)
		}
	}
	var said bytes.Buffer
	cfg := &nfqueue.Config{
		NetNS: ns.FD(), NfQueue: queue, MaxPacketLen: 1600, MaxQueueLen: 0xffff, Copymode: nfqueue.NfQnlCopyPacket,
		ReadTimeout: time.Second, WriteTimeout: time.Second, Logger: log.New(&said, "", 0),
	}
	if _, err := nfqueue.Open(&nfqueue.Config{Flags: 1 << 8}); err != nfqueue.ErrInvFlag {
		t.Errorf("unknown flag: %v", err)
	}
	nf, err := nfqueue.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	packets := make(chan nfqueue.Attribute, 1000)
	if err := nf.RegisterWithErrorFunc(t.Context(), func(a nfqueue.Attribute) int {
		packets <- a
		return 0
	}, func(err error) int {
		t.Errorf("error function: %v", err)
		return 0
	}); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"again", "drop", "alter", "alter and mark"} {
		if _, err := from.Write([]byte(word)); err != nil {
			t.Fatal(err)
		}
		a := <-packets
		altered := slices.Clone(*a.Payload)
		copy(altered[28:], strings.ToUpper(word))
		binary.BigEndian.PutUint16(altered[26:], 0) // no checksum
		switch word {
		case "again":
			err = nf.SetVerdictWithMark(*a.PacketID, nfqueue.NfRepeat, 1710)
		case "drop":
			err = nf.SetVerdict(*a.PacketID, nfqueue.NfDrop)
		case "alter":
			err = nf.SetVerdictModPacket(*a.PacketID, nfqueue.NfAccept, altered)
		default:
			err = nf.SetVerdictModPacketWithMark(*a.PacketID, nfqueue.NfRepeat, 1710, altered)
		}
		if err != nil {
			t.Error(err)
		}
		switch word {
		case "again":
			arrives(word)
		case "alter", "alter and mark":
			arrives(strings.ToUpper(word))
		}
	}
	if n := len(packets); n != 0 {
		t.Errorf("%d packets were queued again", n)
	}
	if err := nf.Close(); err != nil {
		t.Error(err)
	}
	if said.Len() != 0 {
		t.Errorf("the Logger was told %q", &said)
	}
}
