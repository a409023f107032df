package render

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goipq/goipq/internal/bench/plain"
	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/ipq"
)

// A fact is something to know about a run.
type fact struct{ Name, Text string }

// describe says how a run is, or was, made: where, with what load, and by whom.
func describe(rep *report.Report) []fact {
	p, s := &rep.Parameters, &rep.Setup
	all := []fact{
		{"place", describePlace(s)},
		{"queue", describePath(p) + describeQueue(p, s)},
		{loadLabel(p), describeLoad(p) + ", by " + describeSenders(p, s)},
		{"consumer", describeConsumer(p, s)},
		{"run", describeTurns(rep)},
	}
	if rep.Sweep != nil {
		all = append(all, fact{"sweep", describeSweep(rep.Sweep)})
	}
	return all
}

func describeMachine(m *report.Machine) string {
	model := m.CPU
	if model == "" {
		model = m.Arch
	}
	return fmt.Sprintf("Linux %s, %s, %s, %s", m.Kernel, model, plain.Plural(m.CPUs, "CPU"), m.Go)
}

func describePlace(s *report.Setup) string {
	rights := "with root's rights"
	if !s.Root {
		rights = "without root's rights over the machine"
	}
	return "a private network namespace, " + rights + "; the machine's own network is not touched"
}

// describePath says what is queued, and where.
func describePath(p *report.Parameters) string {
	switch {
	case p.TCP && p.GSO:
		return "TCP in both directions through a router between veth pairs, super-packets whole"
	case p.TCP:
		return "TCP in both directions through a router between veth pairs, super-packets in segments"
	case p.Scenario == report.ScenarioForward:
		return "UDP through a router between veth pairs"
	case p.Scenario == report.ScenarioUDP:
		return "UDP on loopback"
	}
	return "ICMP echo requests on loopback"
}

func describeQueue(p *report.Parameters, s *report.Setup) string {
	if s.Rule == "" {
		return ", not queued"
	}
	text := ", by " + article(s.Rule) + "; "
	if p.Queues == 1 {
		return text + fmt.Sprintf("room for %s packets", plain.Commas(uint64(p.MaxQueueLen)))
	}
	balance := "by the sender's CPU"
	if !s.Fanout {
		balance = "by a hash of addresses"
	}
	return text + fmt.Sprintf("%d queues chosen %s, each with room for %s packets",
		p.Queues, balance, plain.Commas(uint64(p.MaxQueueLen)))
}

func article(noun string) string {
	if noun[0] == 'n' || noun[0] == 'N' {
		return "an " + noun // "an nft", "an NFQUEUE", as they are spoken
	}
	return "a " + noun
}

func loadLabel(p *report.Parameters) string {
	if p.TCP {
		return "traffic"
	}
	return "flood"
}

// describeLoad says what is sent.
func describeLoad(p *report.Parameters) string {
	over := ""
	if p.IPv6 {
		over = " over IPv6"
	}
	switch {
	case p.Churn():
		rate := "one after the other"
		if p.Rate > 0 {
			rate = plain.Fixed(p.Rate, 0) + " a second in all"
		}
		return fmt.Sprintf("connections%s of %d bytes each way, %d at once, %s", over, report.ChurnBytes, p.Flows, rate)
	case p.Bulk():
		return fmt.Sprintf("%s%s, each as fast as TCP goes, to a server that reads and drops", plain.Plural(p.Flows, "connection"), over)
	}
	size := fmt.Sprintf("%d-byte packets", p.Size)
	if p.IMIX {
		size = "packets of 64, 576 and 1500 bytes as 7:4:1"
	}
	rate := "at full speed"
	switch {
	case p.Trial > 0:
		rate = "at the rates of the search"
	case p.Rate > 0:
		rate = plain.Fixed(p.Rate, 0) + "/s"
	}
	return fmt.Sprintf("%s%s, %s flows, %s, %s", size, over, plain.Commas(uint64(p.Flows)), rate, describeEnd(p))
}

// describeEnd says what becomes of packets at the end of their path.
func describeEnd(p *report.Parameters) string {
	where := "on arrival"
	if p.Scenario == report.ScenarioForward {
		where = "at the server"
	}
	switch {
	case p.Replies:
		return "answered by the kernel"
	case p.Latency:
		return "timed " + where
	}
	return "dropped " + where
}

func describeSenders(p *report.Parameters, s *report.Setup) string {
	if p.TCP {
		return "a client and a server on " + cpuList(s.Flood)
	}
	if len(s.Flood) > 1 {
		return fmt.Sprintf("%d processes on %s", len(s.Flood), cpuList(s.Flood))
	}
	return "a process on " + cpuList(s.Flood)
}

func describeConsumer(p *report.Parameters, s *report.Setup) string {
	text := "this process, on " + cpuList(s.Consumer)
	if s.Shared() {
		text += " together with the flood, which has an ordinary send buffer and waits when that is full"
	}
	if p.Pin {
		text += ", each receive loop on one of them"
	}
	batches := strconv.Itoa(p.Batch)
	if p.Batch == 0 {
		batches = fmt.Sprintf("%d inline and %d in the pool", ipq.DefaultInlineBatch, ipq.DefaultPoolBatch)
	}
	text += "; batches of " + batches
	if p.BusyPoll > 0 {
		text += fmt.Sprintf(", busy poll %v", p.BusyPoll)
	}
	text += "; it " + describeHandler(p.Handler)
	if p.Metrics {
		text += ", times that and the verdicts, and serves metrics"
	}
	if p.Bypass != nil {
		text += fmt.Sprintf("; of %s %% of the flows it sees only the first %d packets, and the kernel accepts the rest",
			strconv.FormatFloat(*p.Bypass, 'g', 4, 64), report.Inspected)
	}
	return text
}

// describeHandler says what the consumer does with each packet: it completes
// "it ...".
func describeHandler(text string) string {
	kind, arg, _ := strings.Cut(text, ":")
	switch kind {
	case report.HandleDrop:
		return "drops every packet"
	case report.HandleMix:
		if percent, err := strconv.ParseFloat(arg, 64); err == nil {
			arg = strconv.FormatFloat(percent, 'g', 4, 64)
		}
		return fmt.Sprintf("drops %s %% of the packets, evenly, and accepts the others", arg)
	case report.HandleParse:
		return "looks each packet's five-tuple up in a table of " + plain.Commas(report.BlockedFlows)
	case report.HandleInspect:
		return "searches each payload for all patterns at once"
	case report.HandleRewrite:
		return "changes each packet's payload, of TCP every byte, and its checksums with it"
	case report.HandleStream:
		return "puts each connection's bytes in order, and counts them"
	case report.HandleSpin:
		return fmt.Sprintf("computes for %s on each packet", arg)
	case report.HandleSleep:
		return fmt.Sprintf("sleeps for %s on each packet", arg)
	}
	return "accepts every packet"
}

// describeTurns says what is measured, and how long that takes.
func describeTurns(rep *report.Report) string {
	p := &rep.Parameters
	var titles []string
	for _, name := range p.Modes {
		titles = append(titles, p.Title(name))
	}
	modes, total := plain.Enumerate(titles), rep.Total().Round(time.Second)
	switch {
	case p.Soak > 0:
		return fmt.Sprintf("%s, %v each without a pause", modes, p.Soak)
	case p.Trial > 0:
		return fmt.Sprintf("%s, %s each for the highest rate without loss, in trials of %v; about %v in all",
			modes, plain.Plural(p.Rounds, "search"), p.Trial, total)
	}
	return fmt.Sprintf("%s, %d rounds each: %v warm-up, %v measured; %v a mode, %v in all",
		modes, p.Rounds, p.WarmUp, p.Window, p.Duration, total)
}

// describeSweep lists the values.
func describeSweep(s *report.Sweep) string {
	var values []string
	for i := range s.Points {
		values = append(values, s.Points[i].Value)
	}
	return fmt.Sprintf("-%s %s; all of them take turns", s.Parameter, strings.Join(values, ", "))
}

// cpuList returns for example "CPU 0" or "CPUs 0-3,8".
func cpuList(cpus []int) string {
	if len(cpus) == 1 {
		return "CPU " + strconv.Itoa(cpus[0])
	}
	var ranges []string
	for i := 0; i < len(cpus); {
		j := i
		for j+1 < len(cpus) && cpus[j+1] == cpus[j]+1 {
			j++
		}
		text := strconv.Itoa(cpus[i])
		if j > i {
			text += "-" + strconv.Itoa(cpus[j])
		}
		ranges = append(ranges, text)
		i = j + 1
	}
	return "CPUs " + strings.Join(ranges, ",")
}
