package bypass

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"

	"github.com/goipq/goipq/internal/netns"
	"github.com/goipq/goipq/ipq"
)

// A Bypasser settles flows in the kernel. It is what [ipq.Config.Bypass] takes.
// Its methods may be called from any goroutine, none of them after or during Close.
type Bypasser struct {
	cfg     Config
	backend Backend
	table   *Table
	lease   *lease
	netns   *os.File                          // nil: the caller's
	rules   [ipq.Postrouting + 1]atomic.Int32 // sets of them, at each hook
	sole    atomic.Bool                       // NFTSet: there is a set of them
	closed  atomic.Bool
}

// New makes a Bypasser: with EBPF it loads the programs and allocates the
// table. What NFTSet needs the kernel is asked for by Install. Rules must lead packets past it; see [Bypasser.Install] and
// [Bypasser.Lines]. Make it, and its rules, before the queue is opened. Before
// Linux 5.11 it removes the process's limit on locked memory (RLIMIT_MEMLOCK),
// which counts tables there.
//
// The error matches [ErrConfig], is an [UnavailableError] or a [FieldError], or is one
// of the kernel's.
func New(cfg Config) (*Bypasser, error) {
	return newBypasserFor(cfg, kernel{match: xtBPF, before511: usesEBPF(cfg.Backend) && isBefore511()})
}

// usesEBPF reports whether a choice of backends has [EBPF] in it.
func usesEBPF(b Backend) bool { return b == Auto || b == EBPF }

// A kernel is what one may have that another has not.
type kernel struct {
	match     string // that runs programs
	before511 bool   // older than Linux 5.11
}

// newBypasserFor is New on that kernel.
func newBypasserFor(cfg Config, k kernel) (*Bypasser, error) {
	ns, err := holdNetNS(cfg.NetNS) // first of all: the caller may lose it at any moment
	if err != nil {
		return nil, err
	}
	b, err := newBypasserIn(ns, cfg, k)
	if err != nil && ns != nil {
		ns.Close()
	}
	return b, err
}

// holdNetNS returns a duplicate of [Config.NetNS], or nil for the caller's
// namespace.
func holdNetNS(fd int) (*os.File, error) {
	if fd == 0 {
		return nil, nil
	}
	ns, err := netns.Dup(fd)
	if err != nil {
		return nil, fmt.Errorf("%w: NetNS: %w", ErrConfig, err)
	}
	return ns, nil
}

func newBypasserIn(ns *os.File, cfg Config, k kernel) (*Bypasser, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("bypass: netfilter is Linux's, this is %s: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	b := &Bypasser{cfg: cfg, backend: ConnMark, netns: ns, table: &Table{}}
	if cfg.Backend == NFTSet {
		b.backend = NFTSet
	}
	if usesEBPF(cfg.Backend) {
		o, clock, err := load(cfg, k)
		if err == nil && cfg.Backend == Auto && cfg.marksCan() == nil {
			// With no way round it, Install says what is missing.
			if err = lacksMatch(ns, o.accept, k.match); err != nil {
				err = errors.Join(err, o.close())
			}
		}
		switch {
		case err == nil:
			b.backend = EBPF
			b.table = newTable(o, clock, cfg.Limits)
			b.lease, err = startLease(o.lease, clock, cfg)
			if err != nil {
				return nil, errors.Join(err, o.close())
			}
		case cfg.Backend == EBPF:
			return nil, &UnavailableError{EBPF: err}
		case errors.Is(err, ErrConfig):
			return nil, err
		case cfg.marksCan() != nil:
			return nil, &UnavailableError{EBPF: err, ConnMark: cfg.marksCan()}
		default:
			cfg.Logger.Warn("bypass: no eBPF: falling back to connection marks, which know no time-outs: "+
				"a settled flow stays so for as long as it is tracked", "err", err)
		}
	}
	cfg.Logger.Info("bypass: ready", "backend", b.backend.String())
	return b, nil
}

// load makes what the kernel holds for a Bypasser, and reads its clock.
func load(cfg Config, k kernel) (*objects, clock, error) {
	o, err := loadObjects(cfg, k.before511)
	if err != nil {
		return nil, clock{}, err
	}
	c, err := newClock()
	if err != nil {
		return nil, clock{}, errors.Join(err, o.close())
	}
	return o, c, nil
}

// Backend returns the means in use: [EBPF], [ConnMark] or [NFTSet].
func (b *Bypasser) Backend() Backend { return b.backend }

// Table returns the kernel's flow table. With [ConnMark] and [NFTSet] its methods
// return [ErrNoTable].
func (b *Bypasser) Table() *Table { return b.table }

// Bypass implements [ipq.Bypasser]. With EBPF the flow of p, in both
// directions, is in the table when it returns, with fresh limits and counters;
// the error is that of [Table.Insert], or [ErrMarked], or [ErrFlow] for packets
// whose flow cannot be told for certain, or [ErrNoRules]. With ConnMark the verdict that it
// returns carries the mark that the rules move to the connection; a drop
// becomes an accept, and those rules drop the packet. So it is with NFTSet, whose
// rules add the flow to their sets; the error is [ErrFlow] or [ErrNoRules].
func (b *Bypasser) Bypass(p *ipq.Packet, v ipq.Verdict) (ipq.Verdict, error) {
	if b.closed.Load() {
		return v, ErrClosed
	}
	action, err := actionOf(v)
	if err != nil {
		return v, err
	}
	if !b.ruled(p.Hook()) {
		return v, ErrNoRules
	}
	switch b.backend {
	case ConnMark:
		return b.mark(p, v), nil
	case NFTSet: // the kernel does what the mark says: here is where it is told for certain
		if _, err := keyOfPacket(p); err != nil {
			return v, err
		}
		if !isPlain(p) {
			return v, errExtensions
		}
		return b.mark(p, v), nil
	}
	if _, marked := v.Mark(); marked {
		return v, ErrMarked
	}
	key, err := keyOfPacket(p)
	if err != nil {
		return v, err
	}
	return v, b.table.put(&key, action, &b.cfg.Limits)
}

// Unsettle implements [ipq.Unsettler]. With ConnMark there is nothing to do: what opens
// another connection is tracked by itself. With NFTSet the rules take the flow out of
// their sets as p goes on, behind the packets in front of it; that p is accepted, with
// what [ipq.Packet.SetMark] has set here, is what tells them. The error is [ErrFlow] for
// what they could not see.
func (b *Bypasser) Unsettle(p *ipq.Packet) error {
	switch b.backend {
	case ConnMark:
		return nil
	case NFTSet:
		return b.forget(p)
	}
	key, err := keyOfPacket(p)
	if err == nil {
		err = b.table.delete(&key)
	}
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrFlow) { // which is never settled
		return nil
	}
	return err
}

// forget has the packet take its flow out of the sets as it goes on. Its mark is that
// of both verdicts.
func (b *Bypasser) forget(p *ipq.Packet) error {
	if !b.ruled(p.Hook()) { // nothing would take the mark off again
		return nil
	}
	if _, err := keyOfPacket(p); err != nil { // which is never settled
		return nil
	}
	if isHidden(p) {
		return errHiddenFlow
	}
	bits := b.cfg.AcceptMark | b.cfg.DropMark
	p.SetMark(bits, bits)
	return nil
}

// isPlain reports whether the packet, whose flow has a key, has no extension headers.
func isPlain(p *ipq.Packet) bool {
	f := p.Flow()
	return f.Src.Is4() || p.IP()[6] == f.Protocol
}

// isHidden reports whether the packet, whose flow has a key, has an authentication
// header of IPv6, behind which rules of nft see nothing.
func isHidden(p *ipq.Packet) bool {
	if p.Flow().Src.Is4() {
		return false
	}
	ip := p.IP()
	next, at := ip[6], 40
	for at+2 <= len(ip) {
		length := 8
		switch next {
		case protoAH:
			return true
		case protoFragment: // an atomic one
		case protoHopByHop, protoRouting, protoOptions:
			length += 8 * int(ip[at+1])
		default:
			return false
		}
		next, at = ip[at], at+length
	}
	return false
}

// ruled reports whether there are rules at a hook that act on what is settled
// there. Those that refer to pinned programs are not ours to know.
func (b *Bypasser) ruled(h ipq.Hook) bool {
	return b.cfg.PinDir != "" || int(h) < len(b.rules) && b.rules[h].Load() > 0
}

// mark returns the verdict that has the rules settle the connection of p.
func (b *Bypasser) mark(p *ipq.Packet, v ipq.Verdict) ipq.Verdict {
	mark, marked := v.Mark()
	if !marked {
		mark = p.Mark() // WithMark replaces the whole
	}
	mark &^= b.cfg.AcceptMark | b.cfg.DropMark
	if v&actionBits == ipq.Drop {
		return ipq.Accept.WithMark(mark | b.cfg.DropMark)
	}
	return v.WithMark(mark | b.cfg.AcceptMark)
}

// actionBits are those of a verdict that hold the kernel's number.
const actionBits ipq.Verdict = 0xff

// The actions of bpf/bypass.c.
const (
	actionDrop   = uint64(ipq.Drop)
	actionAccept = uint64(ipq.Accept)
)

func actionOf(v ipq.Verdict) (uint64, error) {
	switch action := uint64(v & actionBits); action {
	case actionDrop, actionAccept:
		return action, nil
	}
	return 0, ErrVerdict
}

// Close releases the programs, the table and [Config.NetNS]. Rules that are still
// installed keep both alive in the kernel, where settled flows stay so until
// their [Limits]; with [Config.Lease] they end now. To end them otherwise, call
// [Table.Flush] before, or remove the rules. A second Close does nothing.
func (b *Bypasser) Close() error {
	if b.closed.Swap(true) {
		return nil
	}
	if b.netns != nil {
		b.netns.Close()
	}
	if b.backend != EBPF {
		return nil
	}
	return errors.Join(b.lease.end(), b.table.objects.close())
}
