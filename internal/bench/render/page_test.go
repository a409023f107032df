package render

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/bench/benchtest"
	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/internal/peers"
)

// fullReport has all that a run without a sweep may have.
func fullReport() *report.Report {
	rep := benchtest.Report(1000, 600, 620, 590, 640, 610)
	rep.Parameters.Modes = []string{report.ModeUnqueued, report.ModeInline, report.ModePool}
	unqueued := rep.Modes[0]
	unqueued.Name = report.ModeUnqueued
	rep.Modes = append([]report.Mode{unqueued}, rep.Modes...)
	rep.Finish(false)
	for i := range rep.Modes {
		m := &rep.Modes[i]
		m.Latency = &report.Latency{P50: 10 * time.Microsecond, P99: 100 * time.Microsecond}
		for x := 0.0; x <= 5; x += 0.05 {
			m.Latency.Points = append(m.Latency.Points, report.Percentile{
				Percent: 100 - 100*math.Pow(10, -x),
				Time:    time.Duration(float64(8000*(i+1)) * math.Exp(x*x/4)),
			})
		}
		m.Latency.Points = append(m.Latency.Points, report.Percentile{Percent: 100, Time: 10 * time.Millisecond})
		if m.Name != report.ModeUnqueued {
			m.BatchSizes = report.BatchSizes{10, 20, 30, uint64(100 * i), 400}
		}
	}
	return rep
}

// sweptReport is a sweep over numbers or, without them, names.
func sweptReport(values ...string) *report.Report {
	rep := benchtest.Report(1)
	rep.Modes = []report.Mode{}
	rep.Sweep = &report.Sweep{Parameter: "batch", Numeric: true}
	for i, v := range values {
		of := benchtest.Report(1000, uint64(500+40*i), uint64(520+40*i), uint64(540+40*i))
		n, err := strconv.ParseFloat(v, 64)
		if err != nil {
			rep.Sweep.Numeric, rep.Sweep.Parameter = false, "handler"
		}
		rep.Sweep.Points = append(rep.Sweep.Points, report.Point{Value: v, Number: n, Parameters: of.Parameters, Setup: of.Setup, Modes: of.Modes})
	}
	return rep
}

// searchedReport has searches instead of rounds.
func searchedReport() *report.Report {
	rep := benchtest.Report(1)
	rep.Kind = report.KindThroughput
	for i := range rep.Modes {
		t := &report.Throughput{Rate: report.SpreadOf([]float64{1.9e5, 2e5, 2.2e5}), Resolution: 0.01, Trials: 3}
		for n, rate := range []float64{1.9e5, 1.95e5, 2e5, 2.1e5, 2.2e5} {
			t.Searches = append(t.Searches, report.Search{Round: n + 1, Rate: rate * float64(i+1), Limit: report.LimitLoss})
		}
		rep.Modes[i].Throughput = t
	}
	return rep
}

func soakedReport() *report.Report {
	rep := benchtest.Report(1)
	rep.Kind = report.KindSoak
	k := report.Soak{Mode: report.ModePool}
	for i := range 100 {
		k.Samples = append(k.Samples, report.Usage{At: time.Duration(i) * time.Second, Resident: uint64(40+i%3) << 20})
	}
	rep.Soaks = []report.Soak{k}
	return rep
}

// contestants is a comparison of so many as there are.
func contestants() *peers.Report {
	rep := benchtest.Peers(4, 100)
	c := &rep.Contests[0]
	c.Title, c.Load = "Most packets a second", "ICMP echo requests at full speed"
	c.Contestants[0].Title, c.Contestants[1].Title = "go-nfqueue v2.1.0", "goipq, inline"
	rep.Missing = []peers.Missing{{Contestant: "libnetfilter_queue", What: "a C compiler", Get: "apt-get install gcc"}}
	return rep
}

// documents are all kinds of them.
func documents() []report.Document {
	var all []report.Document
	for i, rep := range []*report.Report{
		fullReport(), sweptReport("1", "8", "16", "64", "256"), sweptReport("accept", "inspect"), searchedReport(), soakedReport(),
	} {
		all = append(all, report.Document{Path: fmt.Sprintf("%d.json", i), Run: rep})
	}
	return append(all, report.Document{Path: "peers.json", Peers: contestants()})
}

// A page needs nothing from elsewhere, shows every plot at two widths, and has
// all figures as text, too.
func TestPage(t *testing.T) {
	text, err := HTML(documents())
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, from := range regexp.MustCompile(`(src|href|url|@import|xlink)[ =(]+["']?[^"' )>]*`).FindAllString(page, -1) {
		if !strings.HasPrefix(from, `href="#`) && from != `href="https://github.com/goipq/goipq` {
			t.Errorf("the page loads something: %s", from)
		}
	}
	if strings.Contains(page, "<script") || strings.Contains(page, "ZgotmplZ") || strings.Contains(page, "NaN") {
		t.Error("the page has a script, something that was not escaped, or no number")
	}
	for _, want := range []string{
		"prefers-color-scheme:dark", "width=device-width",
		"Packets that arrived, per second", "RFC 2544 throughput", "Latency by percentile", "99.99 %",
		"Packets for each receive call", "Verdicts per second, by batch", "inspect, pool", "Resident memory",
		"Most packets a second", "× 4.00", "libnetfilter_queue did not take part: a C compiler is not installed (apt-get install gcc).",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in the page", want)
		}
	}
	wide, narrow := strings.Count(page, `viewBox="0 0 820 `), strings.Count(page, `viewBox="0 0 358 `)
	if plots := strings.Count(page, "<figure>"); plots == 0 || wide != plots || narrow != plots {
		t.Errorf("%d plots, %d of them wide and %d narrow", plots, wide, narrow)
	}
}

// Plots for documents stand by themselves, each with a name of its own, and are
// the same when they are made again.
func TestPlotFiles(t *testing.T) {
	before := make(map[string]string)
	for n := range 2 {
		for _, d := range documents() {
			for _, f := range Plots(&d) {
				if !strings.HasPrefix(string(f.Text), `<svg xmlns="http://www.w3.org/2000/svg"`) {
					t.Errorf("%s is no file of its own: %.60s", f.Name, f.Text)
				}
				if was, ok := before[f.Name]; ok != (n == 1) || ok && was != string(f.Text) {
					t.Errorf("time %d: %s differs, or its name is taken", n, f.Name)
				}
				before[f.Name] = string(f.Text)
			}
		}
	}
	if len(before) < 10 {
		t.Errorf("%d files", len(before))
	}
}
