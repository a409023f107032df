//lint:file-ignore SA1019 clients call what is deprecated

package test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	nfqueue "github.com/florianl/go-nfqueue/v2"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

// Held packets are decided in any order, by any goroutine, whenever.
func TestVerdictsInAnyOrder(t *testing.T) {
	p := newPath(t)
	const packets = 200
	ids := make(chan uint32, packets)
	nf := p.open(nfqueue.Config{})
	register(t, nf, func(a nfqueue.Attribute) int {
		ids <- *a.PacketID
		return 0
	})
	var held []uint32
	for i := range packets {
		p.send(fmt.Sprint(i))
		held = append(held, <-ids)
	}
	// The last first, one at a time: each has left when its datagram arrives.
	for i := packets - 1; i >= packets/2; i-- {
		if err := nf.SetVerdict(held[i], nfqueue.NfAccept); err != nil {
			t.Fatal(err)
		}
		p.arrives(fmt.Sprint(i))
	}
	var all sync.WaitGroup
	for i := range packets / 2 {
		all.Go(func() {
			if err := nf.SetVerdict(held[i], nfqueue.NfAccept); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	buf := make([]byte, 10)
	for range packets / 2 {
		if _, err := p.to.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
}

// A verdict leaves, too, while another hook does not return.
func TestVerdictsLeaveWhileAHookWaits(t *testing.T) {
	p := newPath(t)
	nf := p.open(nfqueue.Config{})
	goOn, first := make(chan struct{}), make(chan uint32, 1)
	n := 0
	register(t, nf, func(a nfqueue.Attribute) int {
		if n++; n == 1 {
			first <- *a.PacketID
			return 0
		}
		<-goOn
		nf.SetVerdict(*a.PacketID, nfqueue.NfAccept)
		return 0
	})
	p.send("one")
	id := <-first
	p.send("two")
	nf.SetVerdict(id, nfqueue.NfAccept)
	p.arrives("one")
	close(goOn)
	p.arrives("two")
}

// What an Attribute points to is the hook's to keep, and is what the kernel said.
func TestAttributes(t *testing.T) {
	p := newPath(t)
	nf := p.open(nfqueue.Config{Flags: nfqueue.NfQaCfgFlagUIDGid})
	var kept []nfqueue.Attribute
	var mu sync.Mutex
	register(t, nf, func(a nfqueue.Attribute) int {
		mu.Lock()
		defer mu.Unlock()
		kept = append(kept, a)
		if err := nf.SetVerdict(*a.PacketID, nfqueue.NfAccept); err != nil {
			t.Error(err)
		}
		return 0
	})
	if err := unixOption(p.from, unix.SO_MARK, 77); err != nil {
		t.Fatal(err)
	}
	const packets = 300
	long := strings.Repeat("long ", 1000)
	for i := range packets {
		p.send(fmt.Sprint(long[:i], i))
		p.arrives(fmt.Sprint(long[:i], i))
	}
	p.send(long)
	p.arrives(long)
	mu.Lock()
	defer mu.Unlock()
	var lo int
	if err := p.ns.Do(func() error {
		l, err := net.InterfaceByName("lo")
		if err == nil {
			lo = l.Index
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for i, a := range kept {
		want := fmt.Sprint(long[:min(i, packets)], i)
		if i == packets {
			want = long
		}
		if *a.PacketID != uint32(i+1) || text(a) != want || cap(*a.Payload) != len(*a.Payload) {
			t.Errorf("packet %d: id %d, %q", i, *a.PacketID, text(a))
		}
		if *a.Mark != 77 || *a.OutDev != uint32(lo) || *a.Hook != 3 || *a.HwProtocol != unix.ETH_P_IP || a.UID == nil || a.GID == nil {
			t.Errorf("packet %d: %+v", i, a)
		}
		if a.InDev != nil || a.PhysInDev != nil || a.CapLen != nil || a.Ct != nil || a.Exp != nil || a.HwAddr != nil || a.L2Hdr != nil || a.SecCtx != nil {
			t.Errorf("packet %d has what the kernel did not send: %+v", i, a)
		}
	}
}

// Packets that came together keep what is theirs.
func TestAttributesOfMany(t *testing.T) {
	p := newPath(t)
	nf := p.open(nfqueue.Config{})
	const packets = 120
	goOn, all := make(chan struct{}), make(chan nfqueue.Attribute, packets)
	register(t, nf, func(a nfqueue.Attribute) int {
		<-goOn
		all <- a
		return 0
	})
	want := func(i int) string { return strings.Repeat(fmt.Sprint(i, " "), 1+i%30) }
	for i := range packets {
		p.send(want(i))
	}
	close(goOn)
	var kept []nfqueue.Attribute
	for range packets {
		kept = append(kept, <-all)
	}
	for i, a := range kept {
		if *a.PacketID != uint32(i+1) || text(a) != want(i) || cap(*a.Payload) != len(*a.Payload) {
			t.Errorf("packet %d: id %d, %q", i, *a.PacketID, text(a))
		}
		if err := nf.SetVerdict(*a.PacketID, nfqueue.NfAccept); err != nil {
			t.Error(err)
		}
	}
	for i := range packets {
		p.arrives(want(i))
	}
}

// An altered packet leaves as it is: its checksums are the client's.
func TestAlteredPackets(t *testing.T) {
	p := newPath(t)
	nf := p.open(nfqueue.Config{})
	register(t, nf, func(a nfqueue.Attribute) int {
		b := slices.Clone(*a.Payload)
		wrong := text(a) == "wrong"
		copy(b[28:], strings.ToUpper(text(a)))
		binary.BigEndian.PutUint16(b[26:], 0) // none
		if wrong {
			binary.BigEndian.PutUint16(b[26:], 0xbad)
		}
		if err := nf.SetVerdictWithOption(*a.PacketID, nfqueue.NfAccept, nfqueue.WithAlteredPacket(b)); err != nil {
			t.Error(err)
		}
		return 0
	})
	p.send("wrong") // which the receiver throws away
	p.send("right")
	p.arrives("RIGHT")
}

func unixOption(c *net.UDPConn, option, value int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return errors.Join(raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, value)
	}), err)
}

// A part of a packet comes with the whole's length, and no more of it than was asked for.
func TestPartsOfPackets(t *testing.T) {
	p := newPath(t)
	for _, x := range []struct {
		cfg  nfqueue.Config
		want func(a nfqueue.Attribute) bool
	}{
		{nfqueue.Config{Copymode: nfqueue.NfQnlCopyPacket, MaxPacketLen: 30}, func(a nfqueue.Attribute) bool {
			return len(*a.Payload) == 30 && *a.CapLen == 28+100
		}},
		{nfqueue.Config{Copymode: nfqueue.NfQnlCopyMeta}, func(a nfqueue.Attribute) bool {
			return a.Payload == nil && a.CapLen == nil
		}},
		{nfqueue.Config{Copymode: nfqueue.NfQnlCopyPacket}, func(a nfqueue.Attribute) bool {
			return len(*a.Payload) == 28+100 && a.CapLen == nil
		}},
	} {
		nf := p.open(x.cfg)
		register(t, nf, func(a nfqueue.Attribute) int {
			if !x.want(a) {
				t.Errorf("%+v: %+v", x.cfg, a)
			}
			nf.SetVerdict(*a.PacketID, nfqueue.NfAccept)
			return 0
		})
		p.send(strings.Repeat("x", 100))
		p.arrives(strings.Repeat("x", 100))
		if err := nf.Close(); err != nil {
			t.Error(err)
		}
	}
}

// With NfQnlCopyNone the kernel queues nothing.
func TestCopyNone(t *testing.T) {
	p := newPath(t)
	nf, err := nfqueue.Open(&nfqueue.Config{NfQueue: queue, NetNS: p.ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	defer nf.Close()
	cancel := register(t, nf, func(a nfqueue.Attribute) int {
		t.Errorf("a packet: %+v", a)
		return 0
	})
	p.send("lost")
	cancel()
	if err := nf.Close(); err != nil {
		t.Error(err)
	}
	nf = p.open(nfqueue.Config{})
	register(t, nf, func(a nfqueue.Attribute) int {
		nf.SetVerdict(*a.PacketID, nfqueue.NfAccept)
		return 0
	})
	p.send("not lost")
	p.arrives("not lost")
}

// Packets of a bridge are delivered; in go-nfqueue they wait for ever.
func TestBridge(t *testing.T) {
	left, at, right := labtest.New(t), labtest.New(t), labtest.New(t)
	if err := errors.Join(netlab.Veth(left, "eth0", at, "left"), netlab.Veth(right, "eth0", at, "right"),
		left.Addr("eth0", "10.1.0.1/24"), right.Addr("eth0", "10.1.0.2/24")); err != nil {
		t.Fatal(err)
	}
	if err := at.Bridge("br0", "left", "right"); errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("this kernel has no bridges")
	} else if err != nil {
		t.Fatal(err)
	}
	nf, err := nfqueue.Open(&nfqueue.Config{NfQueue: queue, NetNS: at.FD(), Copymode: nfqueue.NfQnlCopyPacket})
	if err != nil {
		t.Fatal(err)
	}
	defer nf.Close()
	var bridged, tagged atomic.Int64
	register(t, nf, func(a nfqueue.Attribute) int {
		bridged.Add(1)
		if a.L2Hdr != nil && a.HwAddr != nil && a.PhysInDev != nil {
			tagged.Add(1)
		}
		nf.SetVerdict(*a.PacketID, nfqueue.NfAccept)
		return 0
	})
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
		nft.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Queue{Num: queue}}})
		return nft.Flush()
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		t.Skipf("this kernel does not queue at a bridge's hooks: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	p := &path{t: t}
	addr := &net.UDPAddr{IP: net.IPv4(10, 1, 0, 2), Port: port}
	if err := errors.Join(
		right.Do(func() (err error) { p.to, err = net.ListenUDP("udp", addr); return err }),
		left.Do(func() (err error) { p.from, err = net.DialUDP("udp", nil, addr); return err }),
	); err != nil {
		t.Fatal(err)
	}
	defer p.from.Close()
	defer p.to.Close()
	p.send("over the bridge")
	p.arrives("over the bridge")
	if bridged.Load() == 0 {
		t.Error("no packet of the bridge")
	}
}

// Close works in a hook, in the error function, from many goroutines, and twice.
func TestCloseFromAnywhere(t *testing.T) {
	t.Run("hook", func(t *testing.T) {
		p := newPath(t)
		nf := p.open(nfqueue.Config{})
		closed := make(chan error)
		register(t, nf, func(a nfqueue.Attribute) int {
			nf.SetVerdict(*a.PacketID, nfqueue.NfAccept)
			err := nf.Close()
			closed <- err
			return 0
		})
		p.send("last")
		if err := <-closed; err != nil {
			t.Error(err)
		}
		p.arrives("last") // the verdict before Close has left
		if err := nf.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("goroutines", func(t *testing.T) {
		p := newPath(t)
		nf := p.open(nfqueue.Config{})
		var after atomic.Bool
		var running atomic.Int64
		register(t, nf, func(a nfqueue.Attribute) int {
			running.Add(1)
			defer running.Add(-1)
			if after.Load() {
				t.Error("a hook is called after Close")
			}
			nf.SetVerdict(*a.PacketID, nfqueue.NfAccept)
			return 0
		})
		stop := make(chan struct{})
		var load, all sync.WaitGroup
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					p.from.Write([]byte("load")) // which fails when nobody listens on the queue
				}
			}
		})
		p.arrives("load")
		for range 4 {
			all.Go(func() {
				if err := nf.Close(); err != nil {
					t.Error(err)
				}
				if n := running.Load(); n != 0 {
					t.Errorf("%d hooks are running after Close", n)
				}
				after.Store(true)
			})
		}
		all.Wait()
		close(stop)
		load.Wait()
	})
	t.Run("never registered", func(t *testing.T) {
		p := newPath(t)
		nf := p.open(nfqueue.Config{})
		for range 2 {
			if err := nf.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("Con", func(t *testing.T) {
		p := newPath(t)
		nf := p.open(nfqueue.Config{})
		ended := make(chan struct{})
		if err := nf.RegisterWithErrorFunc(t.Context(), func(nfqueue.Attribute) int { return 0 }, func(err error) int {
			t.Errorf("error function: %v", err)
			return 0
		}); err != nil {
			t.Fatal(err)
		}
		go func() {
			defer close(ended)
			nf.Con.Close()
		}()
		<-ended
		nf.Close()
		if err := nf.SetVerdict(1, nfqueue.NfAccept); !errors.Is(err, os.ErrClosed) {
			t.Errorf("SetVerdict after Close: %v", err)
		}
	})
}

// The end of a context is no error, and another hook can be registered then.
func TestRegisterAgain(t *testing.T) {
	p := newPath(t)
	nf := p.open(nfqueue.Config{})
	for i := range 3 {
		var cancel context.CancelFunc
		await(t, "the queue to be free", func() bool {
			ctx, stop := context.WithCancel(t.Context())
			err := nf.RegisterWithErrorFunc(ctx, func(a nfqueue.Attribute) int {
				nf.SetVerdict(*a.PacketID, nfqueue.NfAccept)
				return 0
			}, func(err error) int {
				t.Errorf("error function: %v", err)
				return 0
			})
			if cancel = stop; err == nil {
				return true
			}
			stop()
			if !errors.Is(err, syscall.EBUSY) {
				t.Fatal(err)
			}
			return false
		})
		p.send(fmt.Sprint(i))
		p.arrives(fmt.Sprint(i))
		cancel()
	}
}

// A hook that returns anything but 0 is not called again.
func TestHookEnds(t *testing.T) {
	p := newPath(t)
	nf := p.open(nfqueue.Config{})
	var calls atomic.Int64
	register(t, nf, func(a nfqueue.Attribute) int {
		calls.Add(1)
		nf.SetVerdict(*a.PacketID, nfqueue.NfAccept)
		return 1
	})
	p.send("one")
	p.arrives("one")
	await(t, "the end", func() bool { return nf.SetVerdict(1, nfqueue.NfAccept) != nil })
	if n := calls.Load(); n != 1 {
		t.Errorf("%d calls", n)
	}
}

// A second verdict, and one on no packet, are no errors of receiving: Register goes on.
func TestUnknownPackets(t *testing.T) {
	p := newPath(t)
	log := &record{}
	nf := p.open(nfqueue.Config{Logger: log})
	if err := nf.Register(t.Context(), func(a nfqueue.Attribute) int {
		nf.SetVerdict(*a.PacketID, nfqueue.NfAccept)
		nf.SetVerdict(*a.PacketID, nfqueue.NfDrop)
		nf.SetVerdict(*a.PacketID+1000, nfqueue.NfDrop)
		return 0
	}); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		p.send(fmt.Sprint(i))
		p.arrives(fmt.Sprint(i))
	}
	await(t, "the Logger to be told of ten refusals", func() bool { return log.told(&log.debug) == 10 })
	if n := log.told(&log.errors); n != 0 {
		t.Errorf("%d errors: %q", n, log.errors)
	}
}

// Errors have the texts and the types that clients look for, and say what to do.
func TestErrors(t *testing.T) {
	if _, err := nfqueue.Open(&nfqueue.Config{Flags: 1 << 5}); err != nfqueue.ErrInvFlag {
		t.Errorf("unknown flag: %v", err)
	}
	p := newPath(t)
	first, second := p.open(nfqueue.Config{}), p.open(nfqueue.Config{})
	nothing := func(nfqueue.Attribute) int { return 0 }
	if err := first.SetVerdict(1, nfqueue.NfAccept); !errors.As(err, new(*netlink.OpError)) {
		t.Errorf("SetVerdict before Register: %v", err)
	}
	register(t, first, nothing)
	err := second.RegisterWithErrorFunc(t.Context(), nothing, func(error) int { return 0 })
	if err == nil || !strings.HasPrefix(err.Error(), "could not bind to requested queue 100: netlink receive: operation not permitted") ||
		!errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "is taken") {
		t.Errorf("queue that is taken: %v", err)
	}
	err = first.Register(t.Context(), nothing)
	if err == nil || !strings.HasPrefix(err.Error(), "could not bind to requested queue 100: netlink receive: device or resource busy") || !errors.Is(err, unix.EBUSY) {
		t.Errorf("queue that is registered: %v", err)
	}
	for verdict, call := range map[int]func(int) error{
		5:                func(v int) error { return first.SetVerdict(1, v) },
		-1:               func(v int) error { return first.SetVerdictBatch(1, v) },
		nfqueue.NfStolen: func(v int) error { return first.SetVerdict(1, v) },
		nfqueue.NfAccept: func(v int) error { return first.SetVerdictWithLabel(1, v, make([]byte, 15)) },
		nfqueue.NfRepeat: func(v int) error { return first.SetVerdictModPacket(1, v, []byte("no packet")) },
		1<<16*7 | 3:      func(v int) error { return first.SetVerdict(1, v) },
	} {
		err := call(verdict)
		if err == nil || errors.Is(err, nfqueue.ErrInvalidVerdict) != (verdict != nfqueue.NfAccept && verdict != nfqueue.NfRepeat) {
			t.Errorf("verdict %d: %v", verdict, err)
		}
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	err = first.RegisterWithErrorFunc(t.Context(), nothing, func(error) int { return 0 })
	if !errors.Is(err, os.ErrClosed) || !errors.As(err, new(*netlink.OpError)) {
		t.Errorf("Register after Close: %v", err)
	}
	if err := first.SetVerdict(1, nfqueue.NfAccept); !errors.Is(err, os.ErrClosed) {
		t.Errorf("SetVerdict after Close: %v", err)
	}
}

// Without CAP_NET_ADMIN Register says so, as go-nfqueue does.
func TestWithoutCapability(t *testing.T) {
	p := newPath(t)
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and not unlocked: the thread ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		nf := p.open(nfqueue.Config{})
		if err := unix.Capset(&header, &none[0]); err != nil {
			result <- err
			return
		}
		result <- nf.RegisterWithErrorFunc(t.Context(), func(nfqueue.Attribute) int { return 0 }, func(error) int { return 0 })
	}()
	err := <-result
	if err == nil || !strings.HasPrefix(err.Error(), "could not unbind existing handlers (if any): netlink receive: operation not permitted") ||
		!errors.Is(err, unix.EPERM) || !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "CAP_NET_ADMIN") {
		t.Errorf("%v", err)
	}
}

// Con sets options, sizes and configures while a hook is registered, and does not wait for
// an answer behind packets.
func TestCon(t *testing.T) {
	p := newPath(t)
	nf := p.open(nfqueue.Config{})
	before := func(what string) {
		for name, call := range map[string]func() error{
			"SetOption":      func() error { return nf.SetOption(netlink.NoENOBUFS, true) },
			"ExtendedAck":    func() error { return nf.Con.SetOption(netlink.ExtendedAcknowledge, true) },
			"SetReadBuffer":  func() error { return nf.Con.SetReadBuffer(100_000) },
			"SetWriteBuffer": func() error { return nf.Con.SetWriteBuffer(100_000) },
		} {
			if err := call(); err != nil {
				t.Errorf("%s Register: %s: %v", what, name, err)
			}
		}
		if n, err := nf.Con.ReadBuffer(); err != nil || n != 200_000 {
			t.Errorf("%s Register: read buffer %d, %v", what, n, err)
		}
	}
	before("before")
	held := make(chan uint32, 10)
	register(t, nf, func(a nfqueue.Attribute) int {
		held <- *a.PacketID
		return 0
	})
	if n, err := nf.Con.ReadBuffer(); err != nil || n != 200_000 {
		t.Errorf("Register has changed the read buffer to %d, %v", n, err)
	}
	p.send("one")
	id := <-held
	before("after")
	// A copy range of 24 bytes from now on, with an acknowledgement.
	params := append(binary.BigEndian.AppendUint32(nil, 24), nfqueue.NfQnlCopyPacket)
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: 2, Data: params}})
	if err != nil {
		t.Fatal(err)
	}
	config := func() (err error) {
		_, err = nf.Con.Execute(netlink.Message{
			Header: netlink.Header{Type: 3<<8 | 2, Flags: netlink.Request | netlink.Acknowledge},
			Data:   append([]byte{unix.AF_UNSPEC, 0, queue >> 8, queue & 0xff}, attrs...),
		})
		return err
	}
	if err := config(); err != nil {
		t.Errorf("Execute: %v", err)
	}
	if _, err := nf.Con.Receive(); err == nil {
		t.Error("Receive takes packets away from the hook")
	}
	if err := nf.SetVerdict(id, nfqueue.NfAccept); err != nil {
		t.Error(err)
	}
	p.arrives("one")
	p.send("two")
	if err := nf.SetVerdict(<-held, nfqueue.NfAccept); err != nil {
		t.Error(err)
	}
	p.arrives("two")
}

// Before Register Con is a netlink socket like any other: what it executes is answered by
// the kernel.
func TestConBefore(t *testing.T) {
	p := newPath(t)
	nf := p.open(nfqueue.Config{})
	command := func(cmd byte, number uint16) error {
		attrs, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: 1, Data: []byte{cmd, 0, 0, 0}}})
		if err != nil {
			return err
		}
		_, err = nf.Con.Execute(netlink.Message{
			Header: netlink.Header{Type: 3<<8 | 2, Flags: netlink.Request | netlink.Acknowledge},
			Data:   append(binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, 0}, number), attrs...),
		})
		return err
	}
	const bind, unbind = 1, 2
	if err := command(bind, queue); err != nil {
		t.Errorf("bind: %v", err)
	}
	if err := command(bind, queue); !errors.Is(err, unix.EBUSY) {
		t.Errorf("bind again: %v", err)
	}
	if err := command(unbind, queue); err != nil {
		t.Errorf("unbind: %v", err)
	}
	register(t, nf, func(a nfqueue.Attribute) int {
		nf.SetVerdict(*a.PacketID, nfqueue.NfAccept)
		return 0
	})
	p.send("one")
	p.arrives("one")
}
