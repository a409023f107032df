package stream

import "strconv"

// An Inspector sees the bytes of one connection, in both directions, before their
// receivers can read them.
//
// Calls for one connection come one after the other, from whichever goroutine handles
// its packet; those for different connections run at the same time. A panic is
// contained as one of a handler is, see [ipq.Config.OnPanic], and the connection goes no
// further: it is as if Drop had been returned.
type Inspector interface {
	// Data has the next bytes of a direction: each byte once, in order, and never none.
	// b is borrowed until Data returns, and for reading. How the stream is cut into
	// calls is the sender's choice, and says nothing.
	Data(c *Conn, d Direction, b []byte) Decision
	// Close says that no more Data follows, and why. It is called once. c is not to be
	// used when it has returned.
	Close(c *Conn, why Reason)
}

// A Decision is what an [Inspector] says about the bytes that it has seen, and so about
// their packet.
type Decision uint8

const (
	// Drop ends the connection on its way: these bytes, and all that follow in either
	// direction, never arrive. The rest of the connection is dropped in the kernel if
	// there is an [ipq.Config.Bypass].
	Drop Decision = iota
	// Continue lets the bytes pass.
	Continue
	// Pass lets the bytes pass, and the rest of the connection, without inspection and,
	// if there is an [ipq.Config.Bypass], without queueing.
	Pass
	// Reset is Drop that tells both ends, as [ipq.RejectBoth] does, so that they need not
	// wait for a time-out.
	Reset
	// Inspect is Continue as [Config.Midstream] calls it.
	Inspect = Continue
)

// String returns for example "continue".
func (d Decision) String() string { return name(decisionNames[:], int(d), "decision") }

var decisionNames = [...]string{"drop", "continue", "pass", "reset"}

// A Direction is that of bytes within a connection.
type Direction uint8

const (
	// ToServer is from who has opened the connection. Where that was not seen, it is
	// from who sent the first packet that was.
	ToServer Direction = iota
	// ToClient is the other one.
	ToClient
)

// String returns "to server" or "to client".
func (d Direction) String() string { return name(directionNames[:], int(d), "direction") }

var directionNames = [...]string{"to server", "to client"}

// A Reason says why an Inspector sees no more of a connection.
type Reason uint8

const (
	Finished Reason = iota // both sides have ended it, and all their bytes were acknowledged
	Aborted                // one of its ends has reset it, and nothing followed
	Idle                   // nothing came for [Config.Idle]
	Passed                 // the Inspector said Pass
	Dropped                // the Inspector said Drop or Reset, or panicked
	Limited                // [Config.MaxMemory] was reached: [Config.OnLimit] decides the rest
	Evicted                // its place was needed, after it had been reset: see [Config.MaxConns]
	Reused                 // its ends have opened another one with the same addresses and ports
	Shutdown               // the Engine was closed
	reasons
)

// String returns for example "finished".
func (r Reason) String() string { return name(reasonNames[:], int(r), "reason") }

var reasonNames = [reasons]string{"finished", "aborted", "idle", "passed", "dropped", "limited", "evicted", "reused", "shutdown"}

func name(names []string, i int, kind string) string {
	if i < len(names) {
		return names[i]
	}
	return kind + " " + strconv.Itoa(i)
}
