package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/goipq/goipq/ipq"
)

// printHeader says what is about to be done, where.
func printHeader(w io.Writer, rep *report) {
	width := textWidth(w)
	m, p, s := &rep.Machine, &rep.Parameters, &rep.Setup
	sc := p.scenario()
	for _, line := range []struct{ label, text string }{
		{"machine", m.describe()},
		{"place", s.describe()},
		{"queue", sc.describe(p) + p.queue(s)},
		{p.loadLabel(), sc.load(p) + ", by " + p.senders(s)},
		{"consumer", p.consumer(s)},
		{"run", p.run(rep)},
		{"sweep", rep.Sweep.describe()},
	} {
		if line.text != "" {
			printField(w, width, line.label, line.text)
		}
	}
	fmt.Fprintln(w)
}

func (m *machine) describe() string {
	model := m.CPU
	if model == "" {
		model = m.Arch
	}
	return fmt.Sprintf("Linux %s, %s, %s, %s", m.Kernel, model, plural(m.CPUs, "CPU"), m.Go)
}

func (s *setup) describe() string {
	rights := "with root's rights"
	if !s.Root {
		rights = "without root's rights over the machine"
	}
	return "a private network namespace, " + rights + "; the machine's own network is not touched"
}

// scenario is the one of the report.
func (p *parameters) scenario() scenario {
	o := options{Scenario: p.Scenario, TCP: p.TCP && p.Scenario == scenarioForward}
	return o.scenario()
}

func (p *parameters) queue(s *setup) string {
	if s.Rule == "" {
		return ", not queued"
	}
	text := ", by " + article(s.Rule) + "; "
	if p.Queues == 1 {
		return text + fmt.Sprintf("room for %s packets", commas(uint64(p.MaxQueueLen)))
	}
	balance := "by the sender's CPU"
	if !s.Fanout {
		balance = "by a hash of addresses"
	}
	return text + fmt.Sprintf("%d queues chosen %s, each with room for %s packets",
		p.Queues, balance, commas(uint64(p.MaxQueueLen)))
}

func (p *parameters) loadLabel() string {
	if p.TCP {
		return "traffic"
	}
	return "flood"
}

func (p *parameters) senders(s *setup) string {
	if p.TCP {
		return "a client and a server on " + cpuList(s.Flood)
	}
	if len(s.Flood) > 1 {
		return fmt.Sprintf("%d processes on %s", len(s.Flood), cpuList(s.Flood))
	}
	return "a process on " + cpuList(s.Flood)
}

func (p *parameters) consumer(s *setup) string {
	text := "this process, on " + cpuList(s.Consumer)
	if s.shared() {
		text += " together with the flood, which has an ordinary send buffer and waits when that is full"
	}
	if p.Pin {
		text += ", each receive loop on one of them"
	}
	text += "; batches of " + p.batches()
	if p.BusyPoll > 0 {
		text += fmt.Sprintf(", busy poll %v", p.BusyPoll)
	}
	h, err := parseHandling(p.Handler)
	if err != nil {
		return text
	}
	return text + "; it " + h.describe() + p.bypass()
}

func (p *parameters) batches() string {
	if p.Batch > 0 {
		return strconv.Itoa(p.Batch)
	}
	return fmt.Sprintf("%d inline and %d in the pool", ipq.DefaultInlineBatch, ipq.DefaultPoolBatch)
}

func (p *parameters) run(rep *report) string {
	var titles []string
	for _, name := range p.Modes {
		titles = append(titles, rep.title(name))
	}
	if p.Soak > 0 {
		return fmt.Sprintf("%s, %v each without a pause", strings.Join(titles, " and "), p.Soak)
	}
	last := len(titles) - 1
	if last > 0 {
		titles = []string{strings.Join(titles[:last], ", "), titles[last]}
	}
	all := strings.Join(titles, " and ")
	if p.Trial > 0 {
		return fmt.Sprintf("%s, %s each for the highest rate without loss, in trials of %v; about %v in all",
			all, plural(p.Rounds, "search"), p.Trial, rep.total().Round(time.Second))
	}
	return fmt.Sprintf("%s, %d rounds each: %v warm-up, %v measured; %v a mode, %v in all",
		all, p.Rounds, p.WarmUp, p.Window, p.Duration, rep.total().Round(time.Second))
}

// title names a mode for people.
func (rep *report) title(mode string) string { return rep.Parameters.title(mode) }

func (p *parameters) title(mode string) string {
	if mode == modePool {
		return fmt.Sprintf("pool of %d", p.Workers)
	}
	return mode
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

func article(noun string) string {
	if noun[0] == 'n' || noun[0] == 'N' {
		return "an " + noun // "an nft", "an NFQUEUE", as they are spoken
	}
	return "a " + noun
}

// printField prints a label and a text, which goes on below itself when it is
// wider than width.
func printField(w io.Writer, width int, label, text string) {
	const indent = 10
	for i, line := range wrap(text, width-indent) {
		if i > 0 {
			label = ""
		}
		fmt.Fprintf(w, "%-*s%s\n", indent, label, line)
	}
}

// wrap breaks a text at spaces into lines of at most width bytes, as far as its
// words allow.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}
