package ipq

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

const ownMark = 0x1d

// Own traffic passes, whoever else is handled, and the log says so once.
func TestOwnTrafficPasses(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		f := newFake(t)
		var log syncBuffer
		cfg := Config{Workers: workers, OwnMark: ownMark, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		marks := []uint32{ownMark, 0, ownMark, ownMark | 1<<8, ownMark}
		for _, mark := range marks {
			f.queue(fakekernel.Packet{Mark: mark, Payload: udp4(1, nil)})
		}
		q, stop := f.serve(cfg, func(p *Packet) Verdict {
			if p.Mark() == ownMark {
				t.Error("own traffic is handled")
			}
			return Drop
		})
		for i, mark := range marks {
			want := Drop
			if mark == ownMark {
				want = Accept
			}
			if v := f.verdict(uint32(i + 1)); v.Verdict != uint32(want) {
				t.Errorf("packet %d, mark %#x: verdict %#x, want %v", i+1, mark, v.Verdict, want)
			}
		}
		stop()
		f.check()
		s := q.Stats()
		if s.Received != 5 || s.Accepted != 3 || s.PassedBy != (Causes{Own: 3}) || s.Dropped != 2 || s.DroppedBy != (Causes{Handler: 2}) {
			t.Errorf("%+v", s)
		}
		await(t, "the log", func() bool { return strings.Contains(log.String(), "own traffic") })
		if n := strings.Count(log.String(), "own traffic"); n != 1 {
			t.Errorf("logged %d times: %s", n, log.String())
		}
	})
}

// While the pool is saturated own traffic passes, too.
func TestOwnTrafficPassesInOverload(t *testing.T) {
	f := newFake(t)
	var g gate
	q, stop := f.serve(Config{Workers: 1, Batches: 1, BatchSize: 1, Overload: DropExcess, OwnMark: ownMark}, g.HandlePacket)
	g.mu.Lock()
	first := f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	await(t, "a packet to be held", func() bool { return g.came.Load() > 0 })
	excess := f.queue(fakekernel.Packet{Payload: udp4(1, nil)})
	own := f.queue(fakekernel.Packet{Mark: ownMark, Payload: udp4(1, nil)})
	if v := f.verdict(excess); v.Verdict != uint32(Drop) {
		t.Errorf("excess: verdict %#x", v.Verdict)
	}
	if v := f.verdict(own); v.Verdict != uint32(Accept) {
		t.Errorf("own traffic: verdict %#x", v.Verdict)
	}
	g.mu.Unlock()
	f.verdict(first)
	stop()
	if s := q.Stats(); s.ExcessDropped != 1 || s.PassedBy.Own != 1 {
		t.Errorf("%+v", s)
	}
}

// A handler that asks somebody about each packet, by traffic that is queued itself, does
// not ask about that.
func TestKernelOwnTrafficDoesNotLoop(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	u := newUDPPath(t, ns, "127.0.0.1", netlab.Rule{Hook: netlab.Output, Queue: fakeNumber})
	var asked, echoed atomic.Int64
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := u.to.ReadFrom(buf)
			if err != nil {
				return
			}
			if string(buf[:n]) == "ask" {
				u.to.WriteTo([]byte("answer"), from)
				continue
			}
			echoed.Add(1)
		}
	}()
	q, _ := serve(t, Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: 2, OwnMark: ownMark}, HandlerFunc(func(p *Packet) Verdict {
		asked.Add(1)
		var c net.Conn
		err := ns.Do(func() (err error) {
			c, err = Dialer(ownMark).Dial("udp", u.to.LocalAddr().String())
			return err
		})
		if err != nil {
			t.Error(err)
			return Drop
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute)) // only reached by a failure
		if _, err := c.Write([]byte("ask")); err != nil {
			t.Error(err)
		}
		if _, err := c.Read(make([]byte, 100)); err != nil {
			t.Error(err)
			return Drop
		}
		return Accept
	}))
	const packets = 5
	for range packets {
		u.send("packet")
	}
	await(t, "the packets", func() bool { return echoed.Load() == packets })
	if n := asked.Load(); n != packets {
		t.Errorf("%d packets were handled, want %d", n, packets)
	}
	await(t, "the counts", func() bool { return q.Stats().PassedBy.Own == packets })
}

// Sockets of a Dialer have its mark, those of its look-ups too, and without the right to
// set it there are none.
func TestKernelDialer(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	err := ns.Do(func() error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		d := Dialer(ownMark)
		for _, dial := range []func() (net.Conn, error){
			func() (net.Conn, error) { return d.Dial("tcp", l.Addr().String()) },
			func() (net.Conn, error) { return d.Resolver.Dial(context.Background(), "udp", "127.0.0.1:53") },
		} {
			c, err := dial()
			if err != nil {
				return err
			}
			defer c.Close()
			raw, err := c.(syscall.Conn).SyscallConn()
			if err != nil {
				return err
			}
			var mark int
			if cerr := raw.Control(func(fd uintptr) { mark, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK) }); cerr != nil || err != nil {
				return errors.Join(cerr, err)
			}
			if mark != ownMark {
				t.Errorf("mark %#x, want %#x", mark, ownMark)
			}
		}
		runtime.LockOSThread() // which dies with its goroutine, and with it its lack of rights
		if err := errors.Join(dropCapability(unix.CAP_NET_ADMIN), dropCapability(unix.CAP_NET_RAW)); err != nil {
			return err
		}
		if c, err := d.Dial("tcp", l.Addr().String()); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("without rights: %v, %v", c, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
