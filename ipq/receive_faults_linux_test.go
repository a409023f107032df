package ipq

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/zerocopy"
)

// A receive call that fails for want of memory is repeated.
func TestReceiveIsRepeatedWithoutMemory(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		f.alter = f.calls
		f.FailRecv(syscall.ENOMEM, syscall.ENOMEM, syscall.ENOMEM)
		q := f.open(Config{Workers: workers})
		done := make(chan error, 1)
		go func() { done <- q.Run(t.Context(), accept) }()
		for range 10 {
			f.verdict(f.queue(fakekernel.Packet{Payload: udp4(1, nil)}))
		}
		q.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		f.check()
		if s := q.Stats(); s.ReadRetries != 3 || s.Verdicts != 10 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// A chain or a device that goes takes every waiting packet with it. The verdicts
// that were on their way are answered with ENOENT, each once: there is no storm.
// Run goes on, and decides what comes when chain or device is back.
func TestKernelFlushesUnderFlood(t *testing.T) {
	const maxLen, rounds = 256, 3
	// A chain of family inet is two hooks, and each takes what waits as it goes.
	const most = 2 * maxLen * rounds
	for _, x := range []struct {
		what string
		// prepare makes the namespaces of a flood and of the queue it goes to.
		prepare func(t *testing.T) (from, at *netlab.NS, to netip.Prefix, away, back func() error)
	}{
		{"another chain", func(t *testing.T) (from, at *netlab.NS, to netip.Prefix, away, back func() error) {
			ns := labtest.New(t)
			echoRules(t, ns, fakeNumber, 1)
			var other *netlab.Ruleset
			install := func() (err error) {
				other, err = ns.InstallCounter(netlab.Postrouting, 0)
				return err
			}
			if err := install(); err != nil {
				t.Fatal(err)
			}
			return ns, ns, netip.Prefix{}, func() error { return other.Remove() }, install
		}},
		{"the queue's chain", func(t *testing.T) (from, at *netlab.NS, to netip.Prefix, away, back func() error) {
			ns := labtest.New(t)
			rules := echoRules(t, ns, fakeNumber, 1)
			return ns, ns, netip.Prefix{}, func() error { return rules.Remove() }, func() error {
				rules = echoRules(t, ns, fakeNumber, 1)
				return nil
			}
		}},
		{"the device", func(t *testing.T) (from, at *netlab.NS, to netip.Prefix, away, back func() error) {
			from, at = labtest.New(t), labtest.New(t)
			to = netip.MustParsePrefix("198.19.0.0/16")
			if err := errors.Join(
				netlab.Veth(from, "eth0", at, "eth0"),
				from.Addr("eth0", "10.1.0.2/24"), at.Addr("eth0", "10.1.0.1/24"),
				at.Local(to.String()), from.Route(to.String(), "10.1.0.1"),
			); err != nil {
				t.Fatal(err)
			}
			if _, err := at.InstallQueue(netlab.Rule{
				Hook: netlab.Prerouting, Match: netlab.Match{EchoRequest: true}, Queue: fakeNumber,
			}); err != nil {
				t.Fatal(err)
			}
			return from, at, to, func() error { return at.SetDown("eth0") }, func() error { return at.SetUp("eth0") }
		}},
	} {
		t.Run(x.what, func(t *testing.T) {
			eachMode(t, func(t *testing.T, workers int) {
				from, at, to, away, back := x.prepare(t)
				g := new(gate)
				q, stop := serve(t, Config{Queue: fakeNumber, NetNS: at.FD(), Workers: workers, MaxQueueLen: maxLen}, g)
				startFlood(t, from, flood.Config{Rate: 20_000, To: to})
				for range rounds {
					g.goesOn(t, 1000)
					before := q.Stats().UnknownVerdicts
					g.shut(t)
					if err := away(); err != nil {
						t.Fatal(err)
					}
					g.mu.Unlock()
					if err := back(); err != nil {
						t.Fatal(err)
					}
					await(t, "verdicts on packets that have gone", func() bool { return q.Stats().UnknownVerdicts > before })
				}
				// Now verdicts find their packets again.
				g.goesOn(t, 3*most)
				if err := stop(); err != nil {
					t.Error(err)
				}
				s := q.Stats()
				if s.UnknownVerdicts > most {
					t.Errorf("a storm: %d of %d verdicts were on packets that had gone", s.UnknownVerdicts, s.Verdicts)
				}
				if s.RefusedVerdicts != 0 || s.Received != s.Verdicts || s.OtherMessages != 0 {
					t.Errorf("stats: %+v", s)
				}
			})
		})
	}
}

// Somebody else who has the socket unbinds the queue under a flood: Run says so.
// By a rule with "bypass", traffic goes on.
func TestKernelUnboundBySomebodyElse(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		ns := labtest.New(t)
		if _, err := ns.InstallQueue(netlab.Rule{
			Hook: netlab.Output, Match: netlab.Match{EchoRequest: true}, Queue: fakeNumber, Bypass: true,
		}); err != nil {
			t.Fatal(err)
		}
		cfg := Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: workers}
		q, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer q.Close()
		file, err := q.File(0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		g := new(gate)
		done := make(chan error, 1)
		go func() { done <- q.Run(t.Context(), g) }()
		startFlood(t, ns, flood.Config{Rate: 20_000})
		g.goesOn(t, 1000)
		before := q.Stats()

		g.shut(t)
		if err := unbind(int(file.Fd())); err != nil {
			t.Fatal(err)
		}
		g.mu.Unlock()
		var op *OpError
		if err := <-done; !errors.Is(err, ErrUnbound) || !errors.As(err, &op) || op.Queue != fakeNumber {
			t.Errorf("Run: %v", err)
		}
		if s := q.Stats(); s.Sequence < before.Sequence || s.QueueDropped < before.QueueDropped || s.SocketDropped < before.SocketDropped {
			t.Errorf("the kernel's counts went back: %+v", s)
		}
		if s := runFlood(t, ns, flood.Config{Count: 1000, Window: 16}); s.Replies != 1000 || s.Lost != 0 {
			t.Errorf("past the queue: %+v", s)
		}
	})
}

// unbind sends NFQNL_CFG_CMD_UNBIND.
func unbind(fd int) error {
	b := make([]byte, zerocopy.HeaderLen, 64)
	b = binary.BigEndian.AppendUint16(append(b, 0, 0), fakeNumber) // AF_UNSPEC, NFNETLINK_V0
	b = fakekernel.Attr(b, zerocopy.CfgCmd, []byte{zerocopy.CmdUnbind, 0, 0, 0})
	putTestHeader(b, zerocopy.TypeConfig)
	return unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// putTestHeader puts the nlmsghdr of a request in front of b.
func putTestHeader(b []byte, typ uint16) {
	binary.NativeEndian.PutUint32(b[0:], uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], typ)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
}

// A queue holds as many packets as current kernels can, and decides them all.
// Only what is beyond that is dropped.
func TestKernelHoldsTheMostPackets(t *testing.T) {
	const most, excess = 65536, 64
	ns := labtest.New(t)
	// Where packets have left the account of their sender's socket.
	u := newUDPPath(t, ns, "127.0.0.1", netlab.Rule{Hook: netlab.Input, Queue: fakeNumber})
	port := netlab.Match{L4Proto: unix.IPPROTO_UDP, DstPort: udpPort}
	arrived, err := ns.InstallCounter(netlab.Input, -100, port)
	if err != nil {
		t.Fatal(err)
	}
	through, err := ns.InstallCounter(netlab.Input, 100, port)
	if err != nil {
		t.Fatal(err)
	}
	// Of one goroutine at a time; deferred, they take no room in the socket.
	waiting := make([]*Deferred, 0, most)
	var n atomic.Int64
	q, stop := serve(t, Config{
		Queue: fakeNumber, NetNS: ns.FD(), Workers: Inline, MaxQueueLen: most, ReadBuffer: 2 << 20,
		MaxDeferred: most, DeferTimeout: time.Hour,
	}, HandlerFunc(func(p *Packet) Verdict {
		d, err := p.Defer()
		if err != nil {
			t.Error(err)
			return Accept
		}
		waiting = append(waiting, d)
		n.Add(1)
		return Drop
	}))
	step := q.Stats().ReadBuffer / 2 / 896 // half of the socket, as large as it was granted
	for i := range most {
		u.send("x")
		if (i+1)%step == 0 || i+1 == most {
			await(t, "the packets to be received", func() bool { return n.Load() == int64(i+1) })
		}
	}
	for range excess {
		u.send("x")
	}
	await(t, "the last to arrive", func() bool {
		c, err := arrived.Counters()
		s := q.Stats()
		return err == nil && c[0].Packets == most+excess && (!s.KernelKnown || s.QueueDropped+s.SocketDropped >= excess)
	})
	s := q.Stats()
	if s.KernelKnown && (s.Waiting != most || s.QueueDropped != excess || s.SocketDropped != 0) {
		t.Errorf("%d wait, %d found the queue full, %d the socket", s.Waiting, s.QueueDropped, s.SocketDropped)
	}
	for _, d := range waiting {
		if err := d.Verdict(Accept); err != nil {
			t.Fatal(err)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if s := q.Stats(); s.Received != most || s.Accepted != most || s.UnknownVerdicts+s.RefusedVerdicts+s.DeferExpired != 0 {
		t.Errorf("stats: %+v", s)
	}
	if c, err := through.Counters(); err != nil || c[0].Packets != most {
		t.Errorf("%+v went on, %v; want %d", c, err, most)
	}
}

// An overrun of a small receive buffer loses packets, which the kernel counts,
// and nothing else, also where NETLINK_NO_ENOBUFS cannot be set, so that
// receiving fails with ENOBUFS.
func TestKernelOverruns(t *testing.T) {
	for _, quiet := range []bool{true, false} {
		eachMode(t, func(t *testing.T, workers int) {
			ns := labtest.New(t)
			rules := echoRules(t, ns, fakeNumber, 1)
			g := new(gate)
			q, err := Open(Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: workers, BatchSize: 4, ReadBuffer: 8320})
			if err != nil {
				t.Fatal(err)
			}
			defer q.Close()
			if !quiet {
				if err := unix.SetsockoptInt(q.loops[0].sock.FD(), unix.SOL_NETLINK, unix.NETLINK_NO_ENOBUFS, 0); err != nil {
					t.Fatal(err)
				}
			}
			done := make(chan error, 1)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { done <- q.Run(ctx, g) }()
			for range 3 {
				g.mu.Lock()
				if s := runFlood(t, ns, flood.Config{Count: 500}); s.Sent != 500 {
					t.Errorf("flood: %+v", s)
				}
				g.mu.Unlock()
				// Whatever was lost: once the socket is empty, nothing is.
				await(t, "everything that fitted to be received", func() bool {
					c, err := rules.Counters()
					s := q.Stats()
					return err == nil && c[0].Packets == s.Received+s.SocketDropped
				})
				if s := runFlood(t, ns, flood.Config{Count: 500, Window: 1}); s.Replies != 500 || s.Lost != 0 {
					t.Errorf("after an overrun: %+v", s)
				}
			}
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
			s := q.Stats()
			if quiet != (s.Overruns == 0) || s.SocketDropped == 0 || s.Received != s.Verdicts || s.Received != g.handled.Load() {
				t.Errorf("NETLINK_NO_ENOBUFS %v: stats %+v", quiet, s)
			}
			c, err := rules.Counters()
			if err != nil || c[0].Packets != s.Received+s.SocketDropped+s.QueueDropped {
				t.Errorf("%+v queued, %v; %d received, %d did not fit", c, err, s.Received, s.SocketDropped)
			}
		})
	}
}

// Who may administer the network can send a queue's socket anything. What is
// not a packet is counted, and the packets between are decided as ever.
func TestKernelStrayMessages(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		const rounds = 200
		ns := labtest.New(t)
		echoRules(t, ns, fakeNumber, 1)
		q, stop := serve(t, Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: workers}, accept)
		var fd int
		if err := ns.Do(func() (err error) {
			fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		message := func(typ uint16, body ...byte) []byte {
			b := append(make([]byte, zerocopy.HeaderLen), body...)
			putTestHeader(b, typ)
			return b
		}
		withoutID := (&fakekernel.Packet{Damage: fakekernel.NoHeader, Payload: udp4(1, nil)}).Message(fakeNumber, 0)
		short := fakekernel.Attr(message(zerocopy.TypePacket, 2, 0, 0, fakeNumber), zerocopy.AttrPacketHdr, []byte{1, 2, 3})
		putTestHeader(short, zerocopy.TypePacket)
		long := message(zerocopy.TypePacket, 2, 0, 0, fakeNumber, 0xff, 0x7f, 0, 0)
		broken := [][]byte{
			{1, 2, 3}, withoutID, short, long, // without an id that could be read
			message(zerocopy.TypePacket), message(unix.NLMSG_DONE), message(zerocopy.TypeError, 0, 0), // shorter than any message
		}
		others := [][]byte{
			message(unix.NLMSG_NOOP, 0, 0, 0, 0), message(0x7fff, 0, 0, 0, 0), message(zerocopy.TypeConfig, 1, 2, 3, 4),
			message(zerocopy.TypeVerdict, 0, 0, 0, 0), message(zerocopy.TypeError, 0, 0, 0, 0), fakekernel.ErrorMessage(0, zerocopy.TypeVerdict, 1),
		}
		const requests = 5000
		var lost flood.Stats
		f := make(chan struct{})
		go func() {
			defer close(f)
			lost = runFlood(t, ns, flood.Config{Count: requests, Window: 8})
		}()
		to := &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: q.loops[0].sock.PortID()}
		strays := append(append([][]byte{}, broken...), others...)
		for round := range uint64(rounds) {
			for _, b := range strays {
				if err := unix.Sendto(fd, b, 0, to); err != nil {
					t.Fatal(err)
				}
			}
			// They leave room in the socket for packets, which would be lost.
			await(t, "the messages to be counted", func() bool {
				s := q.Stats()
				return s.Undecodable+s.OtherMessages == (round+1)*uint64(len(strays))
			})
		}
		<-f
		if lost.Replies != requests || lost.Lost != 0 {
			t.Errorf("flood: %+v", lost)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		s := q.Stats()
		if s.Undecodable != rounds*uint64(len(broken)) || s.OtherMessages != rounds*uint64(len(others)) {
			t.Errorf("%d undecodable and %d other messages, want %d and %d", s.Undecodable, s.OtherMessages, rounds*len(broken), rounds*len(others))
		}
		if s.Received != requests || s.Verdicts != requests || s.UnknownVerdicts+s.RefusedVerdicts != 0 {
			t.Errorf("stats: %+v", s)
		}
	})
}
