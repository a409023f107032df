package bypass

import (
	"log/slog"
	"math"
	"time"

	"github.com/cilium/ebpf"
)

// A lease keeps the table valid while this process runs.
type lease struct {
	until *ebpf.Map // one u64: nanoseconds of the kernel's clock
	clock clock
	stop  chan struct{} // nil without Config.Lease
	ended chan struct{}
}

func startLease(until *ebpf.Map, clock clock, cfg Config) (*lease, error) {
	l := &lease{until: until, clock: clock}
	if cfg.Lease == 0 {
		return l, l.set(math.MaxUint64)
	}
	if err := l.renew(cfg.Lease); err != nil {
		return nil, err
	}
	l.stop, l.ended = make(chan struct{}), make(chan struct{})
	go l.keep(cfg.Lease, cfg.Logger)
	return l, nil
}

func (l *lease) set(nanos uint64) error { return l.until.Put(uint32(0), nanos) }

func (l *lease) renew(length time.Duration) error { return l.set(l.clock.now() + uint64(length)) }

func (l *lease) keep(length time.Duration, log *slog.Logger) {
	defer close(l.ended)
	tick := time.NewTicker(length / 4)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		err := l.renew(length)
		if err != nil && !failed {
			log.Error("bypass: cannot renew the lease: settled flows will be queued again", "err", err)
		}
		failed = err != nil
	}
}

// end ends the lease, if there is one.
func (l *lease) end() error {
	if l.stop == nil {
		return nil
	}
	close(l.stop)
	<-l.ended
	return l.set(0)
}
