package stream

import "testing"

// fewer returns how many of something a test has: fewer with -short, which is how it runs
// where the processor is emulated.
func fewer(n int) int {
	if testing.Short() {
		return n / 8
	}
	return n
}

const (
	clientISN = 1<<32 - 100 // so that sequence numbers wrap around
	serverISN = 5000
)

// A lab is a connection whose segments a test writes one by one. Data is told by its
// offset in the stream.
type lab struct {
	t testing.TB
	stage
	receiver *host // of the client's segments, if there is one
}

// newLab returns a lab on an engine of its own, small unless c says otherwise.
func newLab(t testing.TB, c Config) *lab {
	t.Helper()
	if c.MaxConns == 0 {
		c.MaxConns = 8
	}
	if c.MaxMemory == 0 {
		c.MaxMemory = minMaxMemory
	}
	e, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, stage: stage{e: e, clock: 1, key: key{version: 4, aPort: 40000, bPort: 80}}}
	l.key.a[0], l.key.b[0] = 1, 2
	e.now = func() uint32 { return l.clock }
	return l
}

// send sends a segment and reports whether it passes.
func (l *lab) send(way uint8, flags uint8, seq, ackSeq uint32, data string) bool {
	l.t.Helper()
	return l.sendPacket(way, packet{segment: segment{flags: flags, seq: seq, ack: ackSeq, window: 65535, data: []byte(data)}})
}

func (l *lab) sendPacket(way uint8, p packet) bool {
	passed := l.pass(&p, way)
	if passed && way == 0 && l.receiver != nil {
		l.receiver.receive(p, serverISN)
	}
	return passed
}

// handshake opens the connection.
func (l *lab) handshake() {
	l.t.Helper()
	if !l.send(0, syn, clientISN, 0, "") || !l.send(1, syn|ack, serverISN, l.seq(0), "") ||
		!l.send(0, ack, l.seq(0), serverISN+1, "") {
		l.t.Fatalf("a handshake does not pass: %+v", l.e.Stats())
	}
}

// seq is the sequence number of an offset in the client's data.
func (l *lab) seq(offset int) uint32 {
	isn := uint32(clientISN)
	return isn + 1 + uint32(offset)
}

// data sends data of the client's.
func (l *lab) data(offset int, b []byte) bool {
	l.t.Helper()
	return l.send(0, ack, l.seq(offset), serverISN+1, string(b))
}

func (l *lab) text(offset int, s string) bool { l.t.Helper(); return l.data(offset, []byte(s)) }

// ackTo has the server acknowledge the client's data before offset.
func (l *lab) ackTo(offset int) bool {
	l.t.Helper()
	return l.send(1, ack, serverISN+1, l.seq(offset), "")
}

// dropped returns how many packets were dropped for a reason.
func (l *lab) dropped(why Cause) uint64 { return l.e.Stats().Dropped[why] }
