package bypass

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
)

// A tally is the programs with counters of their own. Rules that are to be told
// apart by what they have decided have one each, so that a packet is counted no
// more than once. All tallies of a Bypasser share the table and the lease.
type tally struct {
	sums         *ebpf.Map
	accept, drop *ebpf.Program
}

// count returns the sums over all CPUs.
func (t *tally) count() (c Counters, err error) {
	var cpus []kernelTotals
	if err := t.sums.Lookup(uint32(0), &cpus); err != nil {
		return c, fmt.Errorf("bypass: read the counters: %w", err)
	}
	for _, s := range cpus {
		c = c.plus(Counters{
			s.AcceptedPackets, s.AcceptedBytes, s.DroppedPackets, s.DroppedBytes,
			s.Expired, s.Spent, s.Reopened, s.Suspended,
		})
	}
	return c, nil
}

func (c Counters) plus(d Counters) Counters {
	return Counters{
		c.AcceptedPackets + d.AcceptedPackets, c.AcceptedBytes + d.AcceptedBytes,
		c.DroppedPackets + d.DroppedPackets, c.DroppedBytes + d.DroppedBytes,
		c.Expired + d.Expired, c.Spent + d.Spent, c.Reopened + d.Reopened, c.Suspended + d.Suspended,
	}
}

func (t *tally) close() error {
	return errors.Join(t.sums.Close(), t.accept.Close(), t.drop.Close())
}

// tallies are all of a Bypasser.
type tallies struct {
	mu   sync.Mutex
	load func() (*tally, error)
	all  []*tally
	free []*tally // those that no rules count by; their counts stay
}

// borrow returns a tally for new rules.
func (ts *tallies) borrow() (*tally, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if n := len(ts.free); n > 0 {
		t := ts.free[n-1]
		ts.free = ts.free[:n-1]
		return t, nil
	}
	t, err := ts.load()
	if err != nil {
		return nil, err
	}
	ts.all = append(ts.all, t)
	return t, nil
}

// giveBack takes a tally back whose rules are gone.
func (ts *tallies) giveBack(t *tally) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.free = append(ts.free, t)
}

// count returns the sums of all tallies.
func (ts *tallies) count() (sum Counters, err error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range ts.all {
		c, err := t.count()
		if err != nil {
			return Counters{}, err
		}
		sum = sum.plus(c)
	}
	return sum, nil
}

func (ts *tallies) close() error {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	var errs []error
	for _, t := range ts.all {
		errs = append(errs, t.close())
	}
	return errors.Join(errs...)
}
