package stream

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/goipq/goipq/ipq"
)

// Flags and numbers that receivers throw away, or understand in different ways, are
// dropped by their cause, and leave the connection as it was.
func TestFlagsAndNumbers(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags uint8
		seq   int // an offset
		ack   int // likewise
		data  string
		why   Cause
	}{
		{"none", 0, 3, 0, "XXX", BadHeader},
		{"FIN alone", fin, 3, 0, "", BadHeader},
		{"SYN and FIN", syn | fin, 3, 0, "", BadHeader},
		{"SYN and RST", syn | rst, 3, 0, "", BadHeader},
		{"RST and FIN", rst | fin | ack, 3, 0, "", BadHeader},
		{"RST with data", rst | ack, 3, 0, "XXX", BadHeader},
		{"RST outside the window", rst, 1 << 20, 0, "", OutOfWindow},
		{"SYN+ACK of another number", syn | ack, 100, 0, "", BadAck},
		{"SYN+ACK of the same number, of another acknowledgement", syn | ack, -1, 100, "", BadAck},
		{"beyond the window", ack, 1 << 20, 0, "XXX", OutOfWindow},
		{"older than the window", ack, -1 << 20, 0, "XXX", OutOfWindow},
		{"an acknowledgement of what was not sent", ack, 3, 1, "XXX", BadAck},
		{"an acknowledgement that is long past", ack, 3, -1 << 20, "XXX", BadAck},
	} {
		rec := &recorder{}
		l := newLab(t, Config{Open: func(*Conn) Inspector { return rec }})
		l.handshake()
		l.text(0, "abc")
		if l.send(0, c.flags, l.seq(c.seq), uint32(int64(serverISN+1+c.ack)), c.data) || l.dropped(c.why) != 1 {
			t.Errorf("%s: it passes, or counts otherwise: %+v", c.name, l.e.Stats())
		}
		if !l.text(3, "def") || string(rec.data[ToServer]) != "abcdef" || len(rec.closed) != 0 {
			t.Errorf("%s: the connection does not go on: %q, closed: %v", c.name, rec.data[ToServer], rec.closed)
		}
	}
}

// What a decision says becomes of the rest, and who is told.
func TestDecisions(t *testing.T) {
	for decision, want := range map[Decision]struct {
		verdict ipq.Verdict
		later   bool
		reason  Reason
	}{
		Drop: {ipq.Drop.Bypass(), false, Dropped},
		Pass: {ipq.Accept.Bypass(), true, Passed},
		77:   {ipq.Drop.Bypass(), false, Dropped},
	} {
		rec := &recorder{say: func(Direction, []byte) Decision { return decision }}
		l := newLab(t, Config{Open: func(*Conn) Inspector { return rec }})
		l.handshake()
		l.text(3, "def") // early
		s := segment{key: l.key, hash: l.key.hash(l.e.seed), flags: ack, seq: l.seq(0), ack: serverISN + 1, window: 1000, data: []byte("abc")}
		if v := l.e.handle(&s); v != want.verdict {
			t.Errorf("%v: verdict %v", decision, v)
		}
		l.send(0, syn, clientISN, 0, "") // again, and the answer, too
		l.send(1, syn|ack, serverISN, l.seq(0), "")
		for range 2 {
			if passed := l.text(6, "XXX"); passed != want.later {
				t.Errorf("%v: the rest passes: %v", decision, passed)
			}
			if passed := l.send(1, ack, serverISN+1, l.seq(0), "XXX"); passed != want.later {
				t.Errorf("%v: the other direction passes: %v", decision, passed)
			}
		}
		if len(rec.closed) != 1 || rec.closed[0] != want.reason || string(rec.data[ToServer]) != "abc" || l.e.Stats().Memory != 0 {
			t.Errorf("%v: closed %v, %q, %+v", decision, rec.closed, rec.data, l.e.Stats())
		}
	}
}

// A connection without an Inspector passes.
func TestNotOfInterest(t *testing.T) {
	l := newLab(t, Config{Open: func(c *Conn) Inspector {
		if c.String() != "1.0.0.0:40000 > 2.0.0.0:80" {
			t.Errorf("%v", c)
		}
		return nil
	}})
	l.handshake()
	if !l.text(0, "abc") || !l.text(-50, "XXX") || l.e.Stats().Uninspected == 0 {
		t.Errorf("%+v", l.e.Stats())
	}
}

// An Inspector that panics has dropped its connection, and is told.
func TestPanics(t *testing.T) {
	rec := &recorder{}
	rec.say = func(Direction, []byte) Decision { panic("on purpose") }
	l := newLab(t, Config{Open: func(*Conn) Inspector { return rec }})
	l.handshake()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("it is not the caller's")
			}
		}()
		l.text(0, "abc")
	}()
	if l.text(0, "abc") || l.text(3, "abc") {
		t.Error("the connection goes on")
	}
	if len(rec.closed) != 1 || rec.closed[0] != Dropped {
		t.Errorf("closed: %v", rec.closed)
	}
}

// Both ends' FIN, acknowledged, is the end. RST is, once nothing follows.
func TestReasons(t *testing.T) {
	rec := &recorder{}
	l := newLab(t, Config{Open: func(*Conn) Inspector { return rec }})
	l.handshake()
	l.send(0, fin|ack, l.seq(0), serverISN+1, "bye")
	l.send(1, fin|ack, serverISN+1, l.seq(4), "")
	if len(rec.closed) != 0 {
		t.Errorf("half closed: %v", rec.closed)
	}
	l.send(0, ack, l.seq(4), serverISN+2, "")
	if len(rec.closed) != 1 || rec.closed[0] != Finished {
		t.Errorf("finished: %v", rec.closed)
	}
	if !l.send(1, fin|ack, serverISN+1, l.seq(4), "") {
		t.Error("a repeated FIN is dropped")
	}
	rec.closed = nil
	l.send(0, syn, 777, 0, "")
	l.send(1, syn|ack, 888, 778, "")
	l.send(0, ack, 778, 889, "")
	l.send(0, rst, 778, 0, "")
	l.clock += 5
	l.send(1, ack, 889, 778, "") // it has not taken the RST
	l.clock += 20
	l.e.Sweep()
	if len(rec.closed) != 0 {
		t.Errorf("a connection that goes on after RST: closed %v", rec.closed)
	}
	l.send(0, rst, 778, 0, "")
	l.clock += 20
	l.e.Sweep()
	if len(rec.closed) != 1 || rec.closed[0] != Aborted || l.e.Stats().Open != 0 {
		t.Errorf("reset: %v, %+v", rec.closed, l.e.Stats())
	}
	rec.closed = nil
	l.handshake()
	l.e.Close()
	if len(rec.closed) != 1 || rec.closed[0] != Shutdown {
		t.Errorf("shut down: %v", rec.closed)
	}
	if l.send(0, syn, 1, 0, "") || l.dropped(AfterClose) != 1 {
		t.Errorf("after Close: %+v", l.e.Stats())
	}
}

// Both ends may open at once, as peers behind translators do.
func TestSimultaneousOpen(t *testing.T) {
	rec := &recorder{}
	l := newLab(t, Config{Open: func(*Conn) Inspector { return rec }})
	l.send(0, syn, clientISN, 0, "")
	l.send(1, syn, serverISN, 0, "")
	l.send(0, syn|ack, clientISN, serverISN+1, "")
	l.send(1, syn|ack, serverISN, l.seq(0), "")
	if !l.text(0, "abc") || !l.send(1, ack, serverISN+1, l.seq(3), "def") ||
		string(rec.data[ToServer]) != "abc" || string(rec.data[ToClient]) != "def" {
		t.Errorf("%q, %+v", rec.data, l.e.Stats())
	}
}

func TestMidstream(t *testing.T) {
	for policy, passes := range map[Decision]bool{Drop: false, Pass: true, Inspect: true} {
		rec := &recorder{}
		l := newLab(t, Config{Midstream: policy, Open: func(*Conn) Inspector { return rec }})
		if l.text(0, "abc") != passes || l.ackTo(3) != passes || l.text(3, "def") != passes {
			t.Errorf("%v: %+v", policy, l.e.Stats())
		}
		if got := string(rec.data[ToServer]); (got == "abcdef") != (policy == Inspect) {
			t.Errorf("%v: %q", policy, got)
		}
		if policy == Inspect && l.text(3, "XXX") == l.text(6, "XXX") {
			t.Error("what comes later is not as in other connections")
		}
	}
}

func TestConfig(t *testing.T) {
	open := func(*Conn) Inspector { return nil }
	for field, c := range map[string]Config{
		"Open": {}, "MaxConns": {Open: open, MaxConns: -1}, "MaxMemory": {Open: open, MaxMemory: 1},
		"MaxBehind": {Open: open, MaxBehind: 1}, "Idle": {Open: open, Idle: time.Millisecond},
		"OnLimit": {Open: open, OnLimit: 9}, "Midstream": {Open: open, Midstream: 9},
	} {
		if _, err := New(c); !errors.Is(err, ipq.ErrConfig) || !strings.Contains(err.Error(), "Config."+field+" is ") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// A direction has one end: what says another one is dropped.
func TestContradictoryEnds(t *testing.T) {
	for name, c := range map[string]struct{ first, second func(l *lab) bool }{
		"another FIN, later": {
			func(l *lab) bool { return l.send(0, fin|ack, l.seq(3), serverISN+1, "") },
			func(l *lab) bool { return l.send(0, fin|ack, l.seq(4), serverISN+1, "") },
		},
		"another FIN, earlier": {
			func(l *lab) bool { return l.send(0, fin|ack, l.seq(3), serverISN+1, "") },
			func(l *lab) bool { return l.send(0, fin|ack, l.seq(2), serverISN+1, "") },
		},
		"FIN before what is inspected": {
			func(l *lab) bool { return l.text(0, "abc") },
			func(l *lab) bool { return l.send(0, fin|ack, l.seq(0), serverISN+1, "ab") },
		},
		"FIN before what came early": {
			func(l *lab) bool { return l.text(6, "abc") },
			func(l *lab) bool { return l.send(0, fin|ack, l.seq(0), serverISN+1, "ab") },
		},
		"data behind FIN that came early": {
			func(l *lab) bool { return l.send(0, fin|ack, l.seq(6), serverISN+1, "ab") },
			func(l *lab) bool { return l.text(8, "a") },
		},
	} {
		rec := &recorder{}
		l := newLab(t, Config{Open: func(*Conn) Inspector { return rec }})
		l.handshake()
		if !c.first(l) {
			t.Errorf("%s: the first is dropped", name)
		}
		if c.second(l) || l.dropped(Conflict) != 1 {
			t.Errorf("%s: it passes: %+v", name, l.e.Stats())
		}
	}
}

// A connection that is not inspected may be followed by another one, of the same ports,
// that is: from its first byte on, also if that comes before the answer to its SYN. A SYN
// that is ignored changes nothing.
func TestAfterUninspected(t *testing.T) {
	var rec *recorder
	l := newLab(t, Config{Open: func(*Conn) Inspector {
		if rec == nil {
			rec = &recorder{}
			return nil
		}
		return rec
	}})
	l.handshake()
	const far = 1 << 22
	if !l.text(0, "x") || !l.send(0, syn, l.seq(far-1), 0, "") {
		t.Fatalf("%+v", l.e.Stats())
	}
	if l.text(far, "attack") || l.dropped(NoConnection) != 1 {
		t.Errorf("data before the answer: %+v", l.e.Stats())
	}
	if !l.text(1, "yy") || !l.ackTo(1) || l.text(far, "z") {
		t.Errorf("an acknowledgement that is older than the SYN: %+v", l.e.Stats())
	}
	if !l.ackTo(3) || !l.text(far, "z") {
		t.Errorf("the connection goes on, and the SYN is not forgotten: %+v", l.e.Stats())
	}
	l.send(0, syn, l.seq(2*far-1), 0, "")
	l.send(1, syn|ack, serverISN+9, l.seq(2*far), "")
	l.send(0, ack, l.seq(2*far), serverISN+10, "abc")
	if string(rec.data[ToServer]) != "abc" {
		t.Errorf("%q, %+v", rec.data, l.e.Stats())
	}
}
