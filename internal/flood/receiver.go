package flood

import (
	"fmt"
	"net/netip"
)

// A Receiver takes the datagrams of floods that are Timed, and counts how long
// after they were due each of them arrived: when the kernel had it at this end,
// not when the process got to run.
type Receiver struct {
	// Listen is the address and port of its socket; an unspecified address means
	// all of the namespace.
	Listen netip.AddrPort
	CPUs   []int // CPUs that the process may use; empty means all
}

func (r Receiver) withDefaults() (Receiver, error) {
	if !r.Listen.IsValid() || r.Listen.Port() == 0 {
		return r, fmt.Errorf("%w: Listen is %v, want an address and a port", ErrConfig, r.Listen)
	}
	return r, checkCPUs(r.CPUs)
}
