package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/bench/benchtest"
	"github.com/goipq/goipq/internal/bench/report"
)

// The bar fills as the run goes on, and gives way where there is no room for it.
func TestLivingLine(t *testing.T) {
	p := newProgress(io.Discard)
	p.start(&report.Parameters{Rounds: 5}, 10, 20*time.Second)
	p.begin(2, "inline", true)
	const text = "512,000 verdicts/s of 900,000 offered, 43.1 % lost"
	for _, c := range []struct {
		room  int
		after time.Duration
		want  string
	}{
		{97, 0, "2/5 inline [----------------] 20 s left: " + text},
		{97, 10 * time.Second, "2/5 inline [########--------] 10 s left: " + text},
		{97, 19500 * time.Millisecond, "2/5 inline [###############-] 1 s left: " + text},
		{97, 30 * time.Second, "2/5 inline [################] 0 s left: " + text},
		{200, 5 * time.Second, "2/5 inline [######------------------] 15 s left: " + text},
		{80, 0, "2/5 inline, 20 s left: " + text},
		{40, 0, ("2/5 inline, 20 s left: " + text)[:40]},
		{0, 0, "2/5 inline, 20 s left: " + text},
	} {
		if got := p.line(text, c.room, p.began.Add(c.after)); got != c.want {
			t.Errorf("%d columns, after %v:\n%s, want\n%s", c.room, c.after, got, c.want)
		}
	}
	p.finish = p.began.Add(10 * time.Minute)
	if got := p.line(text, 97, p.began); !strings.Contains(got, " 10m0s left") {
		t.Errorf("%q does not tell minutes", got)
	}
}

// When rounds take longer than they were to, so does the rest.
func TestTimeLeftFollowsTheRounds(t *testing.T) {
	p := newProgress(io.Discard)
	p.start(&report.Parameters{Rounds: 5}, 10, 20*time.Second)
	p.begin(1, "inline", true)
	p.began = p.began.Add(-8 * time.Second) // the first took 8 s, so all take 80 s
	p.begin(1, "pool", true)
	if all := p.finish.Sub(p.began); all < 80*time.Second || all > 90*time.Second {
		t.Errorf("the run takes %v", all)
	}
}

func TestPlainProgress(t *testing.T) {
	var text strings.Builder
	p := newProgress(&text)
	p.start(&report.Parameters{Rounds: usualRounds}, usualRounds, time.Second)
	p.begin(2, "pool of 2", true)
	p.done(&benchtest.Report(1000, 600).Modes[1].Rounds[0])
	p.end()
	want := "round 2/5 pool of 2: 300,000 verdicts/s of 600,000 offered, 50.0 % lost, CPU 1,250 ns/packet\n\n"
	if text.String() != want {
		t.Errorf("got %q, want %q", text.String(), want)
	}
}
