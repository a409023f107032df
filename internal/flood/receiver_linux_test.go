package flood

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"golang.org/x/sys/unix"
)

func startReceiver(t *testing.T, ns *netlab.NS, listen string) (f *Flood) {
	t.Helper()
	if err := ns.Do(func() (err error) {
		f, err = StartReceiver(t.Context(), Receiver{Listen: netip.MustParseAddrPort(listen)})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Stop() })
	return f
}

func timed(f *Flood) (n uint64) {
	for _, c := range f.Latencies() {
		n += c.Count
	}
	return n
}

// Every datagram of a timed flood is timed, once.
func TestTimedFlood(t *testing.T) {
	for listen, cfg := range map[string]Config{
		"0.0.0.0:9": {Sizes: []int{44, 576, 1500}},
		"[::]:9":    {IPv6: true, Size: 64},
	} {
		ns := labtest.New(t)
		r := startReceiver(t, ns, listen)
		cfg.UDP, cfg.Timed, cfg.Rate, cfg.Flows = true, true, 20_000, 7
		cfg.Count = 200 // the socket of an ordinary user holds them all
		sent := wait(t, startIn(t, ns, cfg))
		waitUntil(t, "all datagrams", func() bool { return r.Stats().Received == cfg.Count })
		st, err := r.Stop()
		if err != nil || sent.Sent != cfg.Count || sent.Refused != 0 || st.Received != cfg.Count || st.Overflowed != 0 ||
			timed(r) != cfg.Count {
			t.Errorf("%s: %d timed of %+v, received %+v, %v", listen, timed(r), sent, st, err)
		}
		// None has arrived later than the sender was late and the test has taken.
		if all := r.Latencies(); all[len(all)-1].Upper > time.Minute {
			t.Errorf("%s: one took %v", listen, all[len(all)-1].Upper)
		}
	}
}

// Times run from when a datagram was due, on the clock of both sides; one that
// came before its time has taken none.
func TestReceiverTimes(t *testing.T) {
	ns := labtest.New(t)
	r := startReceiver(t, ns, "127.0.0.1:9")
	fd := -1
	if err := ns.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var c codec
	for i, due := range []time.Duration{-time.Hour / 10, -time.Minute, time.Hour} {
		now, err := readClock(unix.CLOCK_MONOTONIC)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		c.stamp(b, now+int64(due))
		if err := unix.Sendto(fd, b, 0, &unix.SockaddrInet4{Port: UDPPort, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
		waitUntil(t, fmt.Sprintf("datagram %d", i), func() bool { return timed(r) == uint64(i+1) })
	}
	if err := unix.Sendto(fd, []byte("short"), 0, &unix.SockaddrInet4{Port: UDPPort, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if st, err := r.Stop(); err != nil || st.Received != 3 {
		t.Errorf("%+v, %v", st, err)
	}
	all := r.Latencies()
	for i, want := range []time.Duration{0, time.Minute, 6 * time.Minute} {
		// A bucket is less than 1 % wide; a busy machine adds its own.
		if got := all[i].Upper; got < want || got > want+want/100+30*time.Second {
			t.Errorf("datagram %d took %v, want %v", i, got, want)
		}
	}
}

// What does not fit into the receiver's socket is counted by the kernel.
func TestReceiverOverflow(t *testing.T) {
	ns := labtest.New(t)
	fd := -1
	if err := ns.Do(func() (err error) {
		fd, err = listenUDP(netip.MustParseAddrPort("127.0.0.1:9"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 2304); err != nil { // the least there is: some packets
		t.Fatal(err)
	}
	to := &unix.SockaddrInet4{Port: UDPPort, Addr: [4]byte{127, 0, 0, 1}}
	r := receiver{fd: fd, in: newBatch(receiverBatch, sequenceLen+timeLen), memory: new(shared)}
	r.in.addControl(controlLen)
	const sent = 100
	for n := range sent + 1 {
		if n == sent { // the count comes with the next that fits
			if err := r.drain(); err != nil {
				t.Fatal(err)
			}
		}
		if err := unix.Sendto(fd, make([]byte, 100), 0, to); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.drain(); err != nil {
		t.Fatal(err)
	}
	got, lost := r.memory.received.Load(), r.memory.overflowed.Load()
	if got+lost != sent+1 || lost == 0 {
		t.Errorf("of %d datagrams %d were received, %d lost", sent+1, got, lost)
	}
}
