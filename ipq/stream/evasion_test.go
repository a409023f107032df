package stream

import (
	"strings"
	"testing"
)

// An attempt is one known way to have a receiver read "attack" while an inspector of
// packets sees something else.
type attempt struct {
	name string
	how  func(l *lab)
	sees string // what the Inspector has seen by the end, at most: with "attack", it was stopped
}

// hunter says Drop as soon as its stream contains "attack".
func hunter(r *recorder) *recorder {
	r.say = func(d Direction, _ []byte) Decision {
		if strings.Contains(string(r.data[d]), "attack") {
			return Drop
		}
		return Continue
	}
	return r
}

// What Ptacek and Newsham describe in "Insertion, Evasion, and Denial of Service"
// (1998), as far as it is about TCP, and what fragroute's rules do to it. A receiver of
// every kind reads what passes; none may come to "attack".
func TestEvasions(t *testing.T) {
	for _, a := range []attempt{
		// Ptacek and Newsham, section 5: TCP.
		{"segments of one byte (fragroute: tcp_seg 1)", func(l *lab) {
			for i, c := range "GET attack" {
				l.text(i, string(c))
			}
		}, "GET attack"},
		{"out of order, backwards (fragroute: order reverse)", func(l *lab) {
			s := "GET attack"
			for i := len(s) - 1; i >= 0; i-- {
				l.text(i, s[i:i+1])
			}
		}, "GET attack"},
		{"out of order, at random (fragroute: order random)", func(l *lab) {
			s := "GET attack"
			for _, i := range []int{4, 0, 7, 2, 9, 1, 3, 8, 5, 6} {
				l.text(i, s[i:i+1])
			}
		}, "GET attack"},
		{"repeated segments (fragroute: dup)", func(l *lab) {
			for i, c := range "GET attack" {
				l.text(i, string(c))
				l.text(i, string(c))
			}
		}, "GET attack"},
		{"overlap, the new bytes are wanted (fragroute: tcp_seg 4 new)", func(l *lab) {
			l.text(6, "tack")
			l.text(0, "GET at")
			l.text(4, "XX")
			l.text(4, "at")
		}, "GET attack"},
		{"overlap, the old bytes are wanted (fragroute: tcp_seg 4 old)", func(l *lab) {
			l.text(6, "XXck")
			l.text(6, "tack")
			l.text(0, "GET atta")
		}, ""},
		{"overlap before a gap is filled, first wins", func(l *lab) {
			l.text(3, "ack")
			l.text(3, "XXX")
			l.text(0, "att")
		}, "attack"},
		{"overlap before a gap is filled, last wins", func(l *lab) {
			l.text(3, "XXX")
			l.text(3, "ack")
			l.text(0, "att")
		}, "attXXX"},
		{"overlap that begins earlier", func(l *lab) {
			l.text(3, "XXX")
			l.text(1, "ttack")
			l.text(0, "attXXX")
		}, "attXXX"},
		{"overlap that ends later", func(l *lab) {
			l.text(0, "attXX")
			l.text(3, "ack!!")
			l.text(5, "!")
		}, "attXX!"},
		{"overlap of several segments by one that covers them", func(l *lab) {
			l.text(2, "X")
			l.text(4, "X")
			l.text(0, "attack")
			l.text(0, "at")
		}, "atX"},
		{"retransmission with other bytes", func(l *lab) {
			l.text(0, "XXXXXX") // behind
			l.text(0, "attack")
		}, "XXXXXX"},
		{"retransmission with other bytes, in part", func(l *lab) {
			l.text(0, "attXXX") // behind
			l.text(2, "tack")
		}, "attXXX"},
		{"low TTL (fragroute: ip_ttl, tcp_chaff ttl)", func(l *lab) {
			l.text(0, "att")
			l.sendPacket(0, packet{lost: true, segment: segment{flags: ack, seq: l.seq(3), ack: serverISN + 1, window: 65535, data: []byte("XXX")}})
			l.text(3, "ack")
		}, "attXXX"},
		{"old timestamp (fragroute: tcp_chaff paws)", func(l *lab) {
			l.text(0, "att")
			l.sendPacket(0, packet{ts: 1, segment: segment{flags: ack, seq: l.seq(3), ack: serverISN + 1, window: 65535, data: []byte("XXX")}})
			l.text(3, "ack")
		}, "attXXX"},
		{"sequence number outside the window (fragroute: tcp_chaff seq)", func(l *lab) {
			l.text(0, "att")
			l.text(3+1<<20, "XXX")
			l.text(3-1<<20, "XXX")
			l.text(3, "ack")
		}, "attack"},
		{"no ACK (fragroute: tcp_chaff null)", func(l *lab) {
			l.text(0, "att")
			l.send(0, 0, l.seq(3), 0, "XXX")
			l.send(0, fin, l.seq(3), 0, "XXX")
			l.text(3, "ack")
		}, "attack"},
		{"acknowledgement of what was not sent", func(l *lab) {
			l.text(0, "att")
			l.send(0, ack, l.seq(3), serverISN+1000, "XXX")
			l.text(3, "ack")
		}, "attack"},
		{"acknowledgement that is long past", func(l *lab) {
			l.text(0, "att")
			l.send(0, ack, l.seq(3), (1<<32+serverISN+1-1<<20)&(1<<32-1), "XXX")
			l.text(3, "ack")
		}, "attack"},
		{"RST that the receiver ignores (fragroute: tcp_chaff rst)", func(l *lab) {
			l.text(0, "att")
			l.send(0, rst, l.seq(1000), 0, "")
			l.text(3, "ack")
		}, "attack"},
		{"RST that dies behind", func(l *lab) {
			l.text(0, "att")
			l.sendPacket(0, packet{lost: true, segment: segment{flags: rst, seq: l.seq(3)}})
			l.text(3, "ack")
		}, "attack"},
		{"RST with data", func(l *lab) {
			l.text(0, "att")
			l.send(0, rst|ack, l.seq(3), serverISN+1, "XXX")
			l.text(3, "ack")
		}, "attack"},
		{"FIN that dies behind", func(l *lab) {
			l.text(0, "att")
			l.sendPacket(0, packet{lost: true, segment: segment{flags: fin | ack, seq: l.seq(3), ack: serverISN + 1}})
			l.text(3, "ack")
		}, "att"},
		{"FIN before the data", func(l *lab) {
			l.send(0, fin|ack, l.seq(3), serverISN+1, "")
			l.text(0, "attack")
			l.text(0, "att")
			l.text(3, "ack")
		}, "att"},
		{"FIN among early data", func(l *lab) {
			l.text(3, "ack")
			l.send(0, fin|ack, l.seq(4), serverISN+1, "")
			l.text(0, "att")
		}, "attack"},
		{"data behind FIN", func(l *lab) {
			l.send(0, fin|ack, l.seq(0), serverISN+1, "att")
			l.text(3, "ack")
			l.text(4, "ack")
		}, "att"},
		{"SYN within the connection (fragroute: tcp_chaff syn)", func(l *lab) {
			l.text(0, "att")
			l.send(0, syn, l.seq(3), 0, "XXX")
			l.send(0, syn, l.seq(700), 0, "XXX")
			l.text(3, "ack")
		}, "attack"},
		{"SYN+ACK within the connection", func(l *lab) {
			l.text(0, "att")
			l.send(0, syn|ack, l.seq(2), serverISN+1, "XXX")
			l.text(3, "ack")
		}, "attack"},
		{"sequence numbers that wrap around", func(l *lab) {
			pad := strings.Repeat(".", 96) // up to 3 before the end
			l.text(0, pad)
			l.text(99, "ack")
			l.text(96, "att")
		}, strings.Repeat(".", 96) + "attack"},
		{"a byte beyond a closed window", func(l *lab) {
			l.text(0, "att")
			l.sendPacket(1, packet{segment: segment{flags: ack, seq: serverISN + 1, ack: l.seq(3)}})
			l.text(3, "X")
			l.text(3, "a")
			l.text(4, "ck")
		}, "attXck"},
		{"other bytes after the acknowledgement of a part", func(l *lab) {
			l.text(0, "attXXX")
			l.ackTo(3)
			l.text(3, "ack")
		}, "attXXX"},
		{"keep-alive with a byte", func(l *lab) {
			l.text(0, "att")
			l.ackTo(3)
			l.text(2, "X")
			l.text(3, "ack")
		}, "attack"},
	} {
		t.Run(a.name, func(t *testing.T) {
			for kind := range 1 << 7 {
				rec := &recorder{}
				l := newLab(t, Config{Open: func(*Conn) Inspector { return hunter(rec) }})
				h := &host{window: 65535, early: map[uint32]byte{}, send: func(packet) {}}
				bit := func(n int) bool { return kind>>n&1 != 0 }
				h.habits = habits{bit(0), bit(1), bit(2), bit(3), bit(4), bit(5), bit(6), false}
				l.receiver = h
				l.handshake()
				h.recent = 0
				a.how(l)
				if got := string(h.read); strings.Contains(got, "attack") || !strings.HasPrefix(string(rec.data[ToServer]), got) {
					t.Fatalf("%+v: the receiver reads %q, the Inspector saw %q", h.habits, got, rec.data[ToServer])
				}
				if got := string(rec.data[ToServer]); got != a.sees {
					t.Fatalf("the Inspector saw %q, want %q: %+v", got, a.sees, l.e.Stats())
				}
			}
		})
	}
}

// Before a receiver has answered, nothing is certain.
func TestEvasionsInHandshake(t *testing.T) {
	for _, a := range []struct {
		name string
		how  func(l *lab)
		sees string
	}{
		{"data in SYN", func(l *lab) {
			l.send(0, syn, clientISN, 0, "XXXXXX")
			l.send(1, syn|ack, serverISN, l.seq(0), "")
			l.text(0, "attack")
		}, "attack"},
		{"several SYNs", func(l *lab) {
			l.sendPacket(0, packet{lost: true, segment: segment{flags: syn, seq: clientISN - 3}})
			l.send(0, syn, clientISN, 0, "")
			l.send(1, syn|ack, serverISN, l.seq(0), "")
			l.text(0, "att")
			l.text(-3, "XXXXXX")
			l.text(3, "ack")
		}, "attack"},
		{"a SYN that dies behind, after the one that is answered", func(l *lab) {
			l.send(0, syn, clientISN, 0, "")
			l.sendPacket(0, packet{lost: true, segment: segment{flags: syn, seq: clientISN + 3}})
			l.send(1, syn|ack, serverISN, l.seq(0), "")
			l.text(3, "ack")
			l.text(0, "att")
		}, "attack"},
		{"data before the answer", func(l *lab) {
			l.send(0, syn, clientISN, 0, "")
			l.text(0, "XXXXXX")
			l.send(1, syn|ack, serverISN, l.seq(0), "")
			l.text(0, "attack")
		}, "attack"},
		{"the same port again", func(l *lab) {
			l.handshake()
			l.text(3, "XXX")
			l.send(0, rst, l.seq(0), 0, "")
			l.send(0, syn, l.seq(1<<20-1), 0, "")
			l.send(1, syn|ack, serverISN+5, l.seq(1<<20), "")
			l.send(0, ack, l.seq(1<<20), serverISN+6, "attack")
		}, "attack"},
		{"the same port again, and the old connection's numbers", func(l *lab) {
			l.handshake()
			l.text(0, "XXXXXXXXX")
			l.ackTo(9)
			l.send(0, rst, l.seq(9), 0, "")
			l.receiver.state = listening
			l.send(0, syn, clientISN, 0, "")
			l.text(0, "attack") // which would be old, with an acknowledgement that fits both
			l.send(0, syn, l.seq(2), 0, "")
			l.text(3, "attack")
		}, "XXXXXXXXX"},
		{"the same port again, after the end, and the old connection's numbers", func(l *lab) {
			l.handshake()
			l.text(0, "XXXXXXXXX")
			l.send(0, fin|ack, l.seq(9), serverISN+1, "")
			l.send(1, fin|ack, serverISN+1, l.seq(10), "")
			l.send(0, ack, l.seq(10), serverISN+2, "")
			l.receiver.finish()
			l.receiver.state = listening
			l.send(0, syn, clientISN, 0, "")
			l.text(0, "attack")
		}, "XXXXXXXXX"},
	} {
		t.Run(a.name, func(t *testing.T) {
			rec := &recorder{}
			l := newLab(t, Config{Open: func(*Conn) Inspector {
				rec.closed = nil
				return hunter(rec)
			}})
			h := &host{window: 65535, early: map[uint32]byte{}, send: func(packet) {}}
			h.reopens = true
			l.receiver = h
			a.how(l)
			if got := string(h.read); strings.Contains(got, "attack") {
				t.Fatalf("the receiver reads %q, the Inspector saw %q", got, rec.data[ToServer])
			}
			if got := string(rec.data[ToServer]); got != a.sees {
				t.Fatalf("the Inspector saw %q, want %q: %+v", got, a.sees, l.e.Stats())
			}
		})
	}
}

// A server may be hostile, too: of two answers only the one that the client has taken
// counts.
func TestEvasionTwoAnswers(t *testing.T) {
	rec := &recorder{}
	l := newLab(t, Config{Open: func(*Conn) Inspector { return rec }})
	l.send(0, syn, clientISN, 0, "")
	l.send(1, syn|ack, serverISN+1000, l.seq(0), "") // which the client takes
	l.send(1, syn|ack, serverISN, l.seq(0), "")      // which dies behind
	if l.send(1, ack, serverISN+1, l.seq(0), "harmless") || l.send(1, ack, serverISN+1001, l.seq(0), "attack") {
		t.Error("data passes before it is clear where it begins")
	}
	if l.send(0, ack, l.seq(0), serverISN+1001, "") {
		t.Error("the client acknowledges an answer that another has taken the place of, and it passes")
	}
	if len(rec.data[ToClient]) != 0 {
		t.Errorf("inspected: %q", rec.data[ToClient])
	}
}
