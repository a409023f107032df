package ipq

import (
	"errors"
	"fmt"
)

// A Bypasser has the kernel decide flows that a handler has settled with
// [Verdict.Bypass], so that they are queued no more. Package ipq/bypass has
// one.
type Bypasser interface {
	// Bypass settles the flow of p, which is borrowed, as v says: Accept or
	// Drop, with or without a mark. It is called before the verdict on p is
	// written, by the goroutine that decides p, so at the same time for packets
	// of different flows. It returns the verdict that is written, which is v
	// unless the bypass itself rests on a mark. With an error, or a panic, the
	// packet gets v and its flow stays as it was; that is counted, and logged,
	// but not more often than every ten seconds.
	Bypass(p *Packet, v Verdict) (Verdict, error)
}

// bypass has the flow of p settled, if it can be, and returns the verdict to
// write.
func (q *Queue) bypass(p *Packet, v Verdict) Verdict {
	v &^= verdictBypass
	w, err := q.callBypasser(p, v)
	if err == nil {
		q.bypassed.Add(1)
		return w
	}
	q.bypassFailed.Add(1)
	if errors.Is(err, errNoBypass) {
		return v
	}
	if quiet, ok := q.bypassLog.allow(); ok {
		q.cfg.Logger.Error("ipq: bypass failed", "flow", p.Flow(), "verdict", v, "err", err, "unlogged", quiet)
	}
	return v
}

var errBypasserPanicked = errors.New("Bypasser panicked")

// errNoBypass is for what cannot be wished for, which Stats alone tells.
var errNoBypass = errors.New("no bypass")

func (q *Queue) callBypasser(p *Packet, v Verdict) (w Verdict, err error) {
	code := v & verdictCode
	if q.cfg.Bypass == nil || p.deferred || code != Accept && code != Drop {
		return v, errNoBypass
	}
	// What stands if it panics with nil, which GODEBUG=panicnil=1 allows and
	// recover does not show.
	w, err = v, errBypasserPanicked
	defer func() {
		if r := recover(); r != nil {
			w, err = v, fmt.Errorf("%w: %v", errBypasserPanicked, r)
		}
	}()
	return q.cfg.Bypass.Bypass(p, v)
}
