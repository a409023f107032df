package rules

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/goipq/goipq/internal/nftconn"
)

const (
	// patient is how often Watch repairs at once what somebody undoes. From then on
	// it waits, twice as long each time.
	patient  = 5
	minPause = time.Second
	maxPause = time.Minute
	// calm is the time after which somebody who has undone repairs is forgotten.
	calm = 2 * time.Minute
)

// Watch puts back what others take away from the table or change in it, as soon
// as the kernel tells of it, until ctx ends; then it returns nil. What it has done
// goes to [Config.Logger], with the name of who was there before it, and is counted
// by [Ruleset.Repairs]. Packets that wait in queues when a chain is taken away are
// lost by that, not by putting it back.
//
// It does not fight: when its repairs are undone again and again, it says so and
// waits before the next one, a second at first and at last a minute, so that the
// other writer has the last word most of the time. A process that hands its table
// to a successor ends its Watch first, or it would put its own rules back.
//
// An error says why it cannot go on: it is not permitted, or Remove was called. A
// repair that fails is told and tried again with the next pause.
func (r *Ruleset) Watch(ctx context.Context) error {
	r.mu.Lock()
	if r.table == nil {
		r.mu.Unlock()
		return r.gone()
	}
	family, name := r.table.Family, r.table.Name
	monitor, err := nftconn.NewMonitor(int(r.netns.Fd()))
	runtime.KeepAlive(r)
	r.mu.Unlock()
	if err != nil {
		return fmt.Errorf("rules: watch: %w", err)
	}
	defer monitor.Close()

	b := backoff{log: r.log, table: name}
	who := "somebody, before Watch was called"
	for {
		repaired, err := r.repair(who)
		switch {
		case errors.Is(err, errRemoved):
			return r.gone()
		case err != nil:
			r.log.Error("rules: cannot put rules back", "table", name, "err", err)
		}
		if repaired || err != nil {
			if !b.wait(ctx, who, err != nil) {
				return nil
			}
			if err != nil {
				continue
			}
		}
		if who, err = monitor.Await(ctx, family, name); ctx.Err() != nil {
			return nil
		} else if err != nil {
			return fmt.Errorf("rules: watch: %w", err)
		}
		if who == "" { // the kernel could not tell all
			who = "somebody"
		}
	}
}

// Repairs returns how often [Ruleset.Watch] has put something back.
func (r *Ruleset) Repairs() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.repairs
}

var errRemoved = errors.New("removed")

// repair makes the table what it should be, and reports whether it was not.
func (r *Ruleset) repair(who string) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.table == nil {
		return false, errRemoved
	}
	repaired, err := r.keeper().Apply(r.table)
	if err != nil {
		return false, r.failed(r.set, err)
	}
	if repaired {
		r.repairs++
		r.log.Warn("rules: put back what was changed", "table", r.table.Name, "by", who, "repairs", r.repairs)
	}
	return repaired, nil
}

// A backoff makes sure that two writers do not keep a machine busy.
type backoff struct {
	log   *slog.Logger
	table string
	count int       // repairs that came soon one after another
	last  time.Time // the last one
}

// wait waits, if there are too many repairs, before the next one. It returns false
// when ctx has ended.
func (b *backoff) wait(ctx context.Context, who string, failed bool) bool {
	now := time.Now()
	if now.Sub(b.last) > calm {
		b.count = 0
	}
	b.last = now
	b.count++
	pause := time.Duration(0)
	if failed {
		pause = minPause
	}
	if over := b.count - patient; over > 0 {
		pause = min(minPause<<min(over-1, 10), maxPause)
		b.log.Warn("rules: somebody undoes every repair: waiting before the next one", "table", b.table, "by", who, "pause", pause)
	}
	if pause == 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		b.last = time.Now()
		return true
	}
}
