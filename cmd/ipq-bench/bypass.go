package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/bypass"
)

// A bypassing is a -bypass: the share of the flows that the kernel decides by
// itself after their first packets.
type bypassing struct {
	on    bool // also with a share of 0: the programs are asked, and know no flow
	share float64
}

func parseBypassing(text string) (b bypassing, err error) {
	if text == "" {
		return b, nil
	}
	percent, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || !(percent >= 0 && percent <= 100) {
		return b, fmt.Errorf("-bypass %s: want the percentage of the flows that the kernel decides, from 0 to 100", text)
	}
	return bypassing{true, percent / 100}, nil
}

// checkBypass says which options do not go with a bypass.
func (o *options) checkBypass(map[string]bool) error {
	if !o.Bypass.on {
		return nil
	}
	switch o.Handler.kind {
	case report.HandleDrop, report.HandleMix, report.HandleRewrite, report.HandleStream:
		return fmt.Errorf("-bypass is for handlers that accept packets as they are: the kernel cannot do what -handler %v does", o.Handler)
	}
	switch {
	case o.Scenario == report.ScenarioChurn:
		return fmt.Errorf("-bypass is for flows of more than %d packets: not for -scenario churn", report.Inspected)
	case o.Soak > 0:
		return errors.New("-bypass and -soak exclude each other")
	case o.tcp() && !o.GSO:
		return errors.New("-bypass needs -gso: without it the bypass counts super-packets, and the queue their segments")
	}
	return nil
}

// percent is the share as the report has it; nil without a bypass.
func (b bypassing) percent() *float64 {
	if !b.on {
		return nil
	}
	p := 100 * b.share
	return &p
}

// A shortcut is the bypass of a site.
type shortcut struct {
	*bypass.Bypasser
	rules  *bypass.Ruleset
	marked uint64 // what it had accepted when the round began
}

// installBypass puts the rules of a bypass in the place of the one that queues.
func (s *site) installBypass() error {
	m := s.rule.Match
	b, err := bypass.New(bypass.Config{
		Backend: bypass.EBPF, // connection marks would stay for the next round
		Limits:  bypass.Limits{Timeout: -1, Idle: -1},
		NetNS:   s.at.FD(),
	})
	if lacking := (*bypass.UnavailableError)(nil); errors.As(err, &lacking) {
		return fmt.Errorf("-bypass needs eBPF, which is for root outside of user namespaces, on Linux 5.10 or newer: %w", lacking.EBPF)
	} else if err != nil {
		return err
	}
	rules, err := b.Install(bypass.Rules{
		Hook:      ipq.Hook(s.rule.Hook),
		Priority:  s.rule.Priority,
		Match:     []bypass.Match{{Family: m.Family, Protocol: m.L4Proto, EchoRequest: m.EchoRequest}},
		Queues:    s.rule.Queues,
		FanoutCPU: s.rule.FanoutCPU,
	})
	if err != nil {
		return errors.Join(err, b.Close())
	}
	s.shortcut = &shortcut{Bypasser: b, rules: rules}
	s.ruled.rules = s.shortcut
	return nil
}

// Counters returns what came to the rule that queues.
func (c *shortcut) Counters() ([]netlab.Counter, error) {
	counts, err := c.rules.Counters()
	return []netlab.Counter{{Packets: counts.Queued.Packets, Bytes: counts.Queued.Bytes}}, err
}

// mark begins a round: no flow is settled, and nothing counted.
func (c *shortcut) mark() (err error) {
	if c == nil {
		return nil
	}
	if err := c.Table().Flush(); err != nil {
		return err
	}
	c.marked, err = c.total()
	return err
}

func (c *shortcut) total() (uint64, error) {
	counts, err := c.Table().Counters()
	return counts.AcceptedPackets, err
}

// sinceMark is how many packets the kernel has decided since the round began.
func (c *shortcut) sinceMark() (uint64, error) {
	if c == nil {
		return 0, nil
	}
	now, err := c.total()
	return now - c.marked, err
}

func (c *shortcut) close() error {
	if c == nil {
		return nil
	}
	return c.Bypasser.Close()
}

// handler returns h, or where there is a bypass a handler that also settles flows.
func (b bypassing) handler(h ipq.Handler) ipq.Handler {
	if !b.on {
		return h
	}
	return &settler{handler: h, share: b.share}
}

// join begins a session at a site with a bypass. It returns the handler for it.
func (c *shortcut) join(cfg *ipq.Config, h ipq.Handler) (ipq.Handler, error) {
	s, ok := h.(*settler)
	if c == nil || !ok {
		return h, nil
	}
	cfg.Bypass = c.Bypasser
	inspector, err := c.Inspect(s.handler, bypass.Inspection{Packets: report.Inspected})
	return &settler{s.handler, s.share, inspector}, err
}

// A settler settles a share of the flows.
type settler struct {
	handler   ipq.Handler
	share     float64
	inspector *bypass.Inspector // of the session
}

func (s *settler) HandlePacket(p *ipq.Packet) ipq.Verdict {
	// Flow n is settled when share × n reaches another whole number at n.
	n := flowNumber(p.Flow())
	if uint64(n*s.share) == uint64((n+1)*s.share) {
		return s.handler.HandlePacket(p)
	}
	return s.inspector.HandlePacket(p)
}

// loopNet4 is where floods on loopback send to.
var loopNet4 = netip.MustParsePrefix("127.1.0.0/16")

// flowNumber returns the number that a load has given a flow: the identifier of an
// echo request, or the last 16 bits of the receiver's address, which is in a test
// network.
func flowNumber(f ipq.Flow) float64 {
	if f.Protocol == syscall.IPPROTO_ICMP || f.Protocol == syscall.IPPROTO_ICMPV6 {
		return float64(f.SrcPort)
	}
	to := f.Dst
	if !testNet4.Contains(to) && !testNet6.Contains(to) && !loopNet4.Contains(to) {
		to = f.Src // on its way back
	}
	b := to.As16()
	return float64(uint16(b[14])<<8 | uint16(b[15]))
}
