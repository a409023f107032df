package flood

import (
	"fmt"
	"net/netip"
	"time"
)

// UDPPort is where datagrams go: the discard service.
const UDPPort = 9

// A Server is the far end of the connections of a Client: it reads and drops
// what comes until the client ends, or answers each connection's first bytes
// and closes it.
type Server struct {
	// Listen is the address and port of its socket; an unspecified address
	// means all of the namespace.
	Listen netip.AddrPort
	// Answer is how many bytes it answers with, as soon as any have come; 0
	// means that it only reads.
	Answer int
	CPUs   []int // CPUs that the process may use; empty means all
}

// A Client fills TCP connections with data or, as Churn, makes one after the
// other.
type Client struct {
	// To is where the connections go: connection n to the address n mod 65536
	// behind the first of the prefix, which has at least 16 bits for it.
	To   netip.Prefix
	Port uint16
	// Streams is how many connections there are at once; 0 means 1.
	Streams int
	// Churn, if it is not 0, is how many bytes each connection sends before it
	// waits for the server's answer and end. Then the next connection begins.
	Churn int
	// Rate is how many connections to begin in a second, open loop: each is
	// timed from when it was due. 0 means one after the other. It needs Churn.
	Rate float64
	CPUs []int // CPUs that the process may use; empty means all
}

// connectTimeout is how long a connection of a churn may take.
const connectTimeout = 5 * time.Second

func (c Server) withDefaults() (Server, error) {
	if !c.Listen.IsValid() || c.Listen.Port() == 0 {
		return c, fmt.Errorf("%w: Listen is %v, want an address and a port", ErrConfig, c.Listen)
	}
	if c.Answer < 0 || c.Answer > maxSize {
		return c, fmt.Errorf("%w: Answer is %d, want 0 to %d", ErrConfig, c.Answer, maxSize)
	}
	return c, checkCPUs(c.CPUs)
}

func (c Client) withDefaults() (Client, error) {
	setDefault(&c.Streams, 1)
	switch {
	case !c.To.IsValid() || c.To.Addr().BitLen()-c.To.Bits() < flowBits:
		return c, fmt.Errorf("%w: To is %v, want a prefix with %d bits for the connection", ErrConfig, c.To, flowBits)
	case c.Port == 0:
		return c, fmt.Errorf("%w: Port is 0", ErrConfig)
	case c.Streams < 1 || c.Streams > maxFlows:
		return c, fmt.Errorf("%w: Streams is %d, want 1 to %d", ErrConfig, c.Streams, maxFlows)
	case c.Churn < 0 || c.Churn > maxSize:
		return c, fmt.Errorf("%w: Churn is %d, want 0 to %d", ErrConfig, c.Churn, maxSize)
	case !(c.Rate >= 0 && c.Rate <= maxRate): // NaN, too
		return c, fmt.Errorf("%w: Rate is %g, want 0 to %g connections per second", ErrConfig, c.Rate, float64(maxRate))
	case c.Rate > 0 && c.Churn == 0:
		return c, fmt.Errorf("%w: Rate needs Churn", ErrConfig)
	}
	return c, checkCPUs(c.CPUs)
}

// A job is what a child is to do: one of the four.
type job struct {
	Flood    *Config   `json:",omitempty"`
	Server   *Server   `json:",omitempty"`
	Client   *Client   `json:",omitempty"`
	Receiver *Receiver `json:",omitempty"`
}

func (j job) cpus() []int {
	switch {
	case j.Server != nil:
		return j.Server.CPUs
	case j.Client != nil:
		return j.Client.CPUs
	case j.Receiver != nil:
		return j.Receiver.CPUs
	}
	return j.Flood.CPUs
}

// hostIn is the address n behind the first of a prefix, in its last 16 bits.
func hostIn(prefix netip.Prefix, n uint64) netip.Addr {
	b := prefix.Masked().Addr().AsSlice()
	b[len(b)-2], b[len(b)-1] = byte(n>>8), byte(n)
	addr, _ := netip.AddrFromSlice(b)
	return addr
}
