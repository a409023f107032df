package ipq

import (
	"bytes"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goipq/goipq/internal/zerocopy"
)

// A rejecter tells those whose packets were rejected. A Queue or a Conn has one.
type rejecter struct {
	cfg  *Config
	out  answerSender // nil: there is none
	why  error        // then
	rate allowance
	told once // the log has why

	closing sync.Once
	err     error // of it
}

// An answerSender sends packets that are not the kernel's: nfsock.Raw.
type answerSender interface {
	// Send sends an IP packet, SendICMPv6 a message without its IPv6 header. ifindex is
	// the link for a link-local address.
	Send(b []byte, to netip.Addr, ifindex int) error
	SendICMPv6(b []byte, to netip.Addr, ifindex int) error
	// Broadcast reports whether an IPv4 address is one of broadcast.
	Broadcast(a netip.Addr) bool
	Close() error
}

// openRejecter makes what Reject and RejectBoth need. That it cannot be is no error until
// somebody rejects a packet.
func (s *socket) openRejecter(cfg *Config) *rejecter {
	r := &rejecter{cfg: cfg}
	if raw, err := s.DialRaw(cfg.OwnMark); err != nil {
		r.why = err
	} else {
		r.out = raw
	}
	return r
}

func (r *rejecter) close() error {
	if r == nil || r.out == nil {
		return nil
	}
	r.closing.Do(func() { r.err = r.out.Close() })
	return r.err
}

// answer tells the sender of p that it was rejected, and with RejectBoth the receiver,
// unless it must not be told. It counts what came of it.
func (r *rejecter) answer(p *Packet, v Verdict, count *counters) {
	if r == nil {
		count.inc(countRejectFailed)
		return
	}
	if r.out == nil {
		count.inc(countRejectFailed)
		if r.told.first() {
			go r.cfg.Logger.Warn("ipq: Reject drops packets and tells nobody: a raw socket takes CAP_NET_RAW", "queue", p.Queue(), "err", r.why)
		}
		return
	}
	ip, why := r.answerable(p)
	switch {
	case why != 0:
		count.inc(why)
	case !r.rate.allow(r.cfg.RejectRate, monotonic()):
		count.inc(countRejectLimited)
	case p.Flow().Protocol == protoTCP:
		r.reset(p, ip, v&verdictBoth != 0, count)
	default:
		r.prohibit(p, ip, count)
	}
}

// answerable returns the datagram of p as its sender has sent it, or the counter of why
// nobody may be told (RFC 1122, section 3.2.2, and RFC 4443, section 2.4).
func (r *rejecter) answerable(p *Packet) (ip []byte, why counter) {
	if p.broken || p.edit.payload != nil {
		return nil, countRejectUnknown
	}
	if p.Family() == familyBridge {
		return nil, countRejectFailed
	}
	ip = p.IP()
	f := p.Flow()
	seg := zerocopy.Transport(ip)
	switch {
	case !f.IsValid() || f.Unknown:
		return nil, countRejectUnknown
	case f.Fragment,
		!host(f.Src), !host(f.Dst),
		f.Protocol == protoTCP && zerocopy.TCPFlags(seg)&zerocopy.TCPRst != 0,
		zerocopy.IsICMPError(f.Protocol, seg):
		return nil, countRejectExempt
	}
	switch {
	case !p.ChecksumReady() || p.GSO() || p.ChecksumVerified():
	case p.Truncated():
		return nil, countRejectUnknown
	case !zerocopy.VerifyPacket(ip):
		return nil, countRejectDamaged
	}
	if f.Dst.Is4() && r.out.Broadcast(f.Dst) {
		return nil, countRejectExempt
	}
	return untranslated(p, ip), 0
}

// host reports whether an address may be that of one host.
func host(a netip.Addr) bool {
	const classD = 224 // from there on are multicast, reserved addresses and broadcast
	return !a.IsUnspecified() && !a.IsMulticast() && !(a.Is4() && a.As4()[0] >= classD)
}

// untranslated returns the datagram of p with the addresses and ports that its sender has
// given it. On the way out the kernel itself translates answers back, by the table of
// connections, where the first packet of one is only when it has passed: so that packet
// is the one to be changed here, for whoever has Config.Conntrack.
func untranslated(p *Packet, ip []byte) []byte {
	const confirmed, nat = 1 << 3, 1<<4 | 1<<5 // IPS_CONFIRMED; IPS_SRC_NAT, IPS_DST_NAT
	ct, ok := p.Conntrack()
	if !ok || ct.Status&confirmed != 0 || ct.Status&nat == 0 || p.Flow() == ct.Orig || p.Truncated() {
		return ip
	}
	ip = bytes.Clone(ip)
	o := ct.Orig
	zerocopy.SetEndpoints(ip, o.Src.AsSlice(), o.Dst.AsSlice(), o.SrcPort, o.DstPort, !p.ChecksumReady())
	return ip
}

// reset answers a TCP segment.
func (r *rejecter) reset(p *Packet, ip []byte, both bool, count *counters) {
	// The links are those of link-local addresses: the sender's is where the packet came in,
	// unless it was made here.
	from, to := linkOr(p.InDev(), p.OutDev()), linkOr(p.OutDev(), p.InDev())
	f := flowOf(ip)
	var b [zerocopy.MaxReset]byte
	n := p.Len()
	r.send(countResets, count, func() error { return r.out.Send(b[:zerocopy.PutReset(b[:], ip, n, true)], f.Src, from) })
	if flags := zerocopy.TCPFlags(zerocopy.Transport(ip)); both && flags&(zerocopy.TCPSyn|zerocopy.TCPAck) != zerocopy.TCPSyn {
		// To the first SYN nobody has a connection yet.
		r.send(countResets, count, func() error { return r.out.Send(b[:zerocopy.PutReset(b[:], ip, n, false)], f.Dst, to) })
	}
}

// prohibit answers a packet that is not of TCP.
func (r *rejecter) prohibit(p *Packet, ip []byte, count *counters) {
	f := flowOf(ip)
	from := linkOr(p.InDev(), p.OutDev())
	r.send(countProhibitions, count, func() error {
		if f.Src.Is4() {
			var b [zerocopy.MaxProhibited4]byte
			return r.out.Send(b[:zerocopy.PutProhibited4(b[:], ip)], f.Src, from)
		}
		var b [zerocopy.MaxProhibited6]byte
		return r.out.SendICMPv6(b[:zerocopy.PutProhibited6(b[:], ip)], f.Src, from)
	})
}

func linkOr(link, other int) int {
	if link != 0 {
		return link
	}
	return other
}

// send sends an answer and counts it, or, with Config.Observe, only counts it.
func (r *rejecter) send(sent counter, count *counters, send func() error) {
	if !r.cfg.Observe && send() != nil {
		count.inc(countRejectFailed)
		return
	}
	count.inc(sent)
}

// An allowance allows so many things a second, and as many at once. The zero value is ready.
type allowance struct {
	due atomic.Int64 // when all that was allowed would be over, one after the other
}

func (a *allowance) allow(perSecond int, now time.Duration) bool {
	for {
		was := a.due.Load()
		from := max(time.Duration(was), now)
		if from-now >= time.Second {
			return false
		}
		if a.due.CompareAndSwap(was, int64(from+time.Second/time.Duration(perSecond))) {
			return true
		}
	}
}
