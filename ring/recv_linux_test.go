package ring

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

// pair returns two connected datagram sockets.
func pair(t testing.TB) (recv, send int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func write(t testing.TB, fd int, b []byte) {
	t.Helper()
	if _, err := unix.Write(fd, b); err != nil {
		t.Fatal(err)
	}
}

func TestRecv(t *testing.T) {
	for _, slots := range []int{1, 4, RawLimit, RawLimit + 1} {
		recv, send := pair(t)
		r := mustNew(t, Config{Batches: 1, Slots: slots, SlotSize: 128, RecvSize: 100})
		b := r.TryGet()

		if n, errno := b.Recv(recv); n != 0 || errno != unix.EAGAIN {
			t.Fatalf("empty socket: %d, %v", n, errno)
		}
		for i := range slots + 1 {
			write(t, send, bytes.Repeat([]byte{byte(i)}, i+1))
		}
		n, errno := b.Recv(recv)
		if n != slots || errno != 0 || b.Len() != n {
			t.Fatalf("%d slots: received %d (Len %d), %v", slots, n, b.Len(), errno)
		}
		for i := range n {
			if want := bytes.Repeat([]byte{byte(i)}, i+1); !bytes.Equal(b.Msg(i), want) || b.Truncated(i) {
				t.Errorf("datagram %d: %v, truncated %v", i, b.Msg(i), b.Truncated(i))
			}
			if cap(b.Msg(i)) != 128 {
				t.Errorf("datagram %d reaches over %d bytes of its slot of 128", i, cap(b.Msg(i)))
			}
		}
		if n, errno := b.Recv(recv); n != 1 || errno != 0 || b.Msg(0)[0] != byte(slots) {
			t.Errorf("the rest: %d, %v, %v", n, errno, b.Msg(0))
		}
	}
}

func TestRecvCutsLongDatagrams(t *testing.T) {
	recv, send := pair(t)
	b := mustNew(t, Config{Batches: 1, Slots: 2, SlotSize: 128, RecvSize: 100}).TryGet()
	write(t, send, bytes.Repeat([]byte{1}, 101))
	write(t, send, bytes.Repeat([]byte{2}, 100))
	if n, errno := b.Recv(recv); n != 2 || errno != 0 {
		t.Fatal(n, errno)
	}
	if !b.Truncated(0) || len(b.Msg(0)) != 100 || b.Truncated(1) {
		t.Errorf("truncated %v with %d bytes, %v", b.Truncated(0), len(b.Msg(0)), b.Truncated(1))
	}
	if room := b.Slot(0)[100:]; !bytes.Equal(room, make([]byte, 28)) {
		t.Errorf("wrote beyond RecvSize: %v", room)
	}
}

func TestGather(t *testing.T) {
	for _, messages := range []int{1, RawLimit + 1} {
		recv, send := pair(t)
		g := NewGather(2, messages)
		if !g.Add([]byte("ab")) || !g.Add([]byte("cde")) || g.Add([]byte("f")) {
			t.Error("a list of two pieces takes two")
		}
		if g.Len() != 2 || g.Size() != 5 {
			t.Errorf("%d pieces of %d bytes", g.Len(), g.Size())
		}
		if errno := g.Send(send); errno != 0 {
			t.Fatal(errno)
		}
		var buf [16]byte
		if n, err := unix.Read(recv, buf[:]); err != nil || string(buf[:n]) != "abcde" {
			t.Errorf("received %q, %v", buf[:n], err)
		}
		g.Reset()
		if g.Len() != 0 || g.Size() != 0 || !g.Add([]byte("x")) {
			t.Error("Reset does not empty the list")
		}
	}
}

func TestSendReportsAFullSocket(t *testing.T) {
	_, send := pair(t)
	g := NewGather(1, 1)
	g.Add(make([]byte, 4096))
	for range 1 << 16 {
		if errno := g.Send(send); errno != 0 {
			if errno != unix.EAGAIN {
				t.Errorf("got %v, want EAGAIN", errno)
			}
			return
		}
	}
	t.Error("the socket is never full")
}

func TestNothingIsAllocatedPerBatch(t *testing.T) {
	recv, send := pair(t)
	r := mustNew(t, Config{Batches: 2, Slots: 16, SlotSize: 2048, RecvSize: 2048})
	msg, g := make([]byte, 64), NewGather(1, 16)
	allocs := testing.AllocsPerRun(100, func() {
		for range 16 {
			g.Reset()
			g.Add(msg)
			g.Send(send)
		}
		b := r.TryGet()
		if n, errno := b.Recv(recv); n != 16 || errno != 0 {
			t.Fatal(n, errno)
		}
		r.Put(b)
	})
	if allocs != 0 {
		t.Errorf("%v allocations per batch", allocs)
	}
}
