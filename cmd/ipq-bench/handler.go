package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/ipq"
)

// A handling is a -handler: what the consumer does with each packet.
type handling struct {
	kind  string
	share float64       // of packets that are dropped, for mix
	time  time.Duration // for spin and sleep
}

func parseHandling(text string) (handling, error) {
	kind, arg, hasArg := strings.Cut(text, ":")
	h := handling{kind: kind}
	switch kind {
	case report.HandleAccept, report.HandleDrop, report.HandleParse, report.HandleInspect, report.HandleRewrite, report.HandleStream:
		if hasArg {
			return h, fmt.Errorf("-handler %s takes no argument, but has %q", kind, ":"+arg)
		}
	case report.HandleMix:
		percent, err := strconv.ParseFloat(strings.TrimSuffix(arg, "%"), 64)
		if err != nil || !(percent >= 0 && percent <= 100) {
			return h, fmt.Errorf("-handler %s: want mix:P with P from 0 to 100 percent to drop, such as mix:10", text)
		}
		h.share = percent / 100
	case report.HandleSpin, report.HandleSleep:
		d, err := time.ParseDuration(arg)
		if err != nil || d <= 0 || d > time.Second {
			return h, fmt.Errorf("-handler %s: want %s:TIME up to 1s, such as %s:50us", text, kind, kind)
		}
		h.time = d
	default:
		return h, fmt.Errorf("-handler: there is no %q, only accept, drop, mix:P, parse, inspect, rewrite, stream, spin:TIME and sleep:TIME", text)
	}
	return h, nil
}

// String returns the handling as -handler reads it.
func (h handling) String() string {
	switch h.kind {
	case report.HandleMix:
		return h.kind + ":" + strconv.FormatFloat(100*h.share, 'g', -1, 64)
	case report.HandleSpin, report.HandleSleep:
		return h.kind + ":" + h.time.String()
	}
	return h.kind
}

// forSessions returns what makes the handler of a session. That of stream knows the
// connections of its session, whose ports the next one uses again.
func (o *options) forSessions() func() (ipq.Handler, error) {
	if o.Handler.kind == report.HandleStream {
		return newStreams
	}
	h := o.Bypass.handler(o.Handler.handler(o.Patterns))
	return func() (ipq.Handler, error) { return h, nil }
}

// handler returns the handler itself, which many goroutines may run at once. Only
// inspect looks for the patterns.
func (h handling) handler(patterns [][]byte) ipq.Handler {
	switch h.kind {
	case report.HandleDrop:
		return ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Drop })
	case report.HandleMix:
		return mix(h.share)
	case report.HandleParse:
		return newBlocklist()
	case report.HandleInspect:
		return newInspector(patterns)
	case report.HandleRewrite:
		return ipq.HandlerFunc(rewrite)
	case report.HandleSpin:
		return ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict {
			for end := time.Now().Add(h.time); time.Now().Before(end); {
			}
			return ipq.Accept
		})
	case report.HandleSleep:
		return ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict {
			time.Sleep(h.time)
			return ipq.Accept
		})
	}
	return ipq.HandlerFunc(func(*ipq.Packet) ipq.Verdict { return ipq.Accept })
}

// mix drops a share of the packets, whose ids count up: packet n is dropped when
// share × n reaches another whole number at n.
type mix float64

func (m mix) HandlePacket(p *ipq.Packet) ipq.Verdict {
	id := float64(p.ID())
	if uint64(id*float64(m)) != uint64((id+1)*float64(m)) {
		return ipq.Drop
	}
	return ipq.Accept
}

// A blocklist drops flows that are in it. No flow of a load is.
type blocklist map[ipq.Flow]struct{}

func newBlocklist() blocklist {
	b := make(blocklist, report.BlockedFlows)
	for i := range uint16(report.BlockedFlows) {
		b[ipq.Flow{
			Src:      netip.AddrFrom4([4]byte{192, 0, 2, 1}), // TEST-NET-1
			Dst:      netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}),
			SrcPort:  i,
			DstPort:  443,
			Protocol: syscall.IPPROTO_TCP,
		}] = struct{}{}
	}
	return b
}

func (b blocklist) HandlePacket(p *ipq.Packet) ipq.Verdict {
	if _, blocked := b[p.Flow()]; blocked {
		return ipq.Drop
	}
	return ipq.Accept
}

// rewrite changes every byte of a TCP payload. Of another payload it changes the last
// byte, since the flood knows its packets by the first ones. A packet without a
// payload stays as it is.
func rewrite(p *ipq.Packet) ipq.Verdict {
	n := len(transportPayload(p))
	if n == 0 {
		return ipq.Accept
	}
	b, err := p.EditPayload()
	if err != nil {
		return ipq.Accept // a super-packet, and not of TCP
	}
	if p.Flow().Protocol == syscall.IPPROTO_TCP {
		flip(b[len(b)-n:])
	} else {
		b[len(b)-1] ^= 0xff
	}
	return ipq.Accept
}

// flip inverts every bit, eight bytes at a time.
func flip(b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		binary.NativeEndian.PutUint64(b, ^binary.NativeEndian.Uint64(b))
	}
	for i := range b {
		b[i] ^= 0xff
	}
}
