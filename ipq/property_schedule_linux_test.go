package ipq

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/goipq/goipq/internal/fakekernel"
)

// A schedule is what one run of the property test does: a configuration, the
// packets, what goes wrong, and the end. All of it follows from the seed.
type schedule struct {
	seed    uint64
	asked   int // packets that it was drawn for
	packets int // of each queue
	cfg     Config
	direct  bool // verdicts are taken within the write, as the kernel does, or later

	flows  int
	usual  Verdict       // of most packets
	odd    int           // packets of 256 with which something is special
	slow   time.Duration // the longest that a handler takes
	damage bool          // some messages are damaged
	exits  bool          // some handlers call runtime.Goexit
	stuck  int           // with HandlerTimeout, once in so many odd packets a handler takes longer
	defers int           // odd packets of 100 that are deferred

	faults  fakekernel.Faults
	flushes int    // once in so many packets the kernel drops all that waits; 0: never
	stalls  int    // once in so many packets it takes no verdicts for a while; 0: never
	first   uint32 // id before the first
	waits   bool   // packets wait when queue or socket are full, instead of being dropped
	pace    pace

	end end
	at  int // packets that are handled, over all queues, before the end
}

// A pace is how packets come.
type pace uint8

const (
	flooding pace = iota // as fast as possible
	bursts               // up to 40, then a pause
	pingpong             // each when the one before it is decided
	paces
)

// An end is how a run is ended.
type end uint8

const (
	whenDone      end = iota // by the context, once all packets are decided
	byContext                // by the context, in the middle
	byClose                  // by Close, from several goroutines
	endByHandler             // by the context, from a handler
	byDeadContext            // by a context that has ended before Run
	ends
)

func (e end) String() string {
	return [...]string{"whenDone", "byContext", "byClose", "endByHandler", "byDeadContext"}[e]
}

// newSchedule draws a schedule of about that many packets.
func newSchedule(seed uint64, packets int) *schedule {
	r := rand.New(rand.NewPCG(seed, 0))
	one := func(n int) bool { return r.IntN(n) == 0 }
	s := &schedule{
		seed: seed, asked: packets,
		direct: !one(4),
		flows:  1 + r.IntN(64),
		usual:  Accept,
		odd:    []int{0, 4, 64, 256}[r.IntN(4)],
		slow:   []time.Duration{0, 0, 20 * time.Microsecond, 300 * time.Microsecond}[r.IntN(4)],
		damage: one(2), exits: one(3),
		waits: !one(3),
		pace:  pace(r.IntN(int(paces))),
		end:   end(r.IntN(int(ends))),
	}
	if one(4) {
		s.usual = []Verdict{Drop, Accept.WithMark(3), Repeat, Requeue(9)}[r.IntN(4)]
	}
	s.cfg = Config{
		Queue:       fakeNumber,
		Queues:      1 + r.IntN(3),
		MaxQueueLen: []int{0, 0, 1 + r.IntN(20), 1 + r.IntN(maxMaxQueueLen)}[r.IntN(4)],
		SnapLen:     []int{0, 0, minSize, 100 + r.IntN(1400)}[r.IntN(4)],
		FailOpen:    one(3),
		Workers:     Inline,
		BatchSize:   []int{0, 0, 1, 1 + r.IntN(100)}[r.IntN(4)],
		Batches:     1 + r.IntN(3),

		FlushAfter:    []time.Duration{0, 0, 1, 50 * time.Microsecond, time.Hour}[r.IntN(5)],
		BusyPoll:      []time.Duration{0, 0, 20 * time.Microsecond}[r.IntN(3)],
		KeepChecksums: one(4),
		OnPanic:       Always([]Verdict{Drop, Accept, Repeat.WithMark(0xdead), Requeue(1)}[r.IntN(4)]),
	}
	if one(6) {
		s.cfg.Copy = CopyMeta
	}
	if one(2) {
		s.cfg.Workers = 1 + r.IntN(4)
		s.cfg.Batches = 1 + r.IntN(8)
	}
	if one(8) {
		s.cfg.Queues, s.cfg.PinCPU = 1, true
	}
	if one(2) {
		s.cfg.Bypass = planBypasser{}
	}
	s.drawGuards(r)
	s.packets = 1 + packets/s.cfg.Queues
	if s.pace == pingpong {
		s.packets = 1 + s.packets/8
	}
	long := s.packets > 10_000 // without what would take hours then
	if long {
		s.slow = 0
		s.stuck *= 100
		if s.cfg.DeferTimeout == 0 {
			s.cfg.DeferTimeout = 5 * time.Millisecond
		}
	}
	s.at = r.IntN(s.packets * s.cfg.Queues)
	if one(3) {
		s.cfg.OwnMark = 1 + uint32(r.IntN(s.packets)) // of one packet of each queue
	}
	if one(2) {
		s.drawFaults(r)
		if long {
			s.spare()
		}
	}
	if one(3) {
		s.first = uint32(-r.IntN(s.packets))
	}
	s.cfg.Histograms = one(2)
	return s
}

// drawGuards draws what becomes of packets that the handler does not decide in
// time, or not at once.
func (s *schedule) drawGuards(r *rand.Rand) {
	one := func(n int) bool { return r.IntN(n) == 0 }
	c := &s.cfg
	c.DrainTimeout = time.Hour // on a busy machine a run may take long to its end
	if one(2) {
		s.defers = 1 + r.IntN(30)
		c.DeferTimeout = []time.Duration{0, time.Millisecond, 5 * time.Millisecond}[r.IntN(3)]
		c.MaxDeferred = []int{0, 1, 1 + r.IntN(200)}[r.IntN(3)]
	}
	if one(3) {
		c.HandlerTimeout = time.Millisecond + time.Duration(r.IntN(int(4*time.Millisecond)))
		c.OnTimeout = Always([]Verdict{Accept, Repeat, Stop}[r.IntN(3)].WithMark(timeOutMark))
		s.stuck = 20 + r.IntN(200)
	}
	if c.Workers == Inline {
		return
	}
	if c.HandlerTimeout > 0 {
		c.Batches += 2 * c.Workers // it has twice as many strands, and wants more batches
	}
	c.Overload = []Overload{Wait, Wait, AcceptExcess, DropExcess}[r.IntN(4)]
}

// timeOutMark tells verdicts by OnTimeout from those of plans.
const timeOutMark = 0x71de0a7e

// drawFaults draws what goes wrong.
func (s *schedule) drawFaults(r *rand.Rand) {
	rates := func(most float64, errnos ...syscall.Errno) (fs []fakekernel.Fault) {
		if r.IntN(2) == 0 {
			return nil
		}
		for _, errno := range errnos {
			fs = append(fs, fakekernel.Fault{Errno: errno, Rate: r.Float64() * most})
		}
		return fs
	}
	s.faults = fakekernel.Faults{
		Recv:    rates(0.1, recvFaults...),
		Send:    rates(0.05, syscall.EAGAIN, syscall.ENOBUFS, syscall.ENOMEM),
		Answer:  rates(0.01, syscall.ENOMEM, syscall.EINVAL),
		Unasked: rates(0.05, syscall.ENOENT, syscall.EINVAL, syscall.ERANGE),
	}
	if r.IntN(2) == 0 {
		s.faults.Foreign, s.faults.Gap = r.Float64()/20, r.Float64()/20
	}
	if r.IntN(3) == 0 {
		s.flushes = 1 + r.IntN(500)
	}
	if r.IntN(3) == 0 {
		s.stalls = 50 + r.IntN(1000)
	}
}

// spare makes rare what has the engine pause, up to 10 ms each time.
func (s *schedule) spare() {
	for _, fs := range [][]fakekernel.Fault{s.faults.Recv, s.faults.Send} {
		for i := range fs {
			fs[i].Rate /= 100
		}
	}
	if s.stalls > 0 {
		s.stalls += s.packets / 100
	}
}

// recvFaults are the errors of a receive call that the engine lives through.
var recvFaults = []syscall.Errno{syscall.ENOBUFS, syscall.ENOMEM}

// String says what the run is about, for a log.
func (s *schedule) String() string {
	mode := "inline"
	if s.cfg.Workers != Inline {
		mode = fmt.Sprintf("pool of %d", s.cfg.Workers)
	}
	return fmt.Sprintf("seed %d: %d×%d packets, %s, end %v at %d; %+v", s.seed, s.cfg.Queues, s.packets, mode, s.end, s.at, *s)
}

// planBypasser bypasses most flows, by a mark, and fails on the others.
type planBypasser struct{}

var errTableFull = errors.New("no room in the table")

func (planBypasser) Bypass(p *Packet, v Verdict) (Verdict, error) {
	if p.Mark()%3 == 0 {
		return v, errTableFull
	}
	return v.WithMark(p.Mark()), nil
}
