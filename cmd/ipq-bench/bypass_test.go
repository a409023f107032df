package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/bench/report"
	"github.com/goipq/goipq/ipq"
)

func TestBypassFlag(t *testing.T) {
	for args, want := range map[string]bypassing{
		"":              {},
		"-bypass 0":     {on: true},
		"-bypass 12.5%": {true, 0.125},
		"-tcp -scenario forward -bypass 100 -handler inspect": {true, 1},
	} {
		o, err := parseFlags(strings.Fields(args))
		if err != nil || o.Bypass != want {
			t.Errorf("%s: %+v, %v", args, o.Bypass, err)
		}
		if compared := slices.Contains(o.Modes, report.ModeUnqueued); compared != want.on {
			t.Errorf("%s: modes %v", args, o.Modes)
		}
	}
	for args, want := range map[string]string{
		"-bypass all":                 "from 0 to 100",
		"-bypass 100.1":               "from 0 to 100",
		"-bypass -1":                  "from 0 to 100",
		"-bypass NaN":                 "from 0 to 100",
		"-bypass 50 -handler drop":    "-handler drop",
		"-bypass 50 -handler rewrite": "-handler rewrite",
		"-bypass 50 -scenario forward -tcp -handler stream": "-handler stream",
		"-bypass 50 -scenario churn":                        "-scenario churn",
		"-bypass 50 -soak 10s -modes inline":                "-soak",
		"-bypass 50 -scenario forward -tcp -gso=false":      "-gso",
	} {
		if _, err := parseFlags(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
}

// The numbers of flows count up as the loads make them, in both directions, and
// a share of so many is settled evenly.
func TestFlowNumbers(t *testing.T) {
	addr := netip.MustParseAddr
	for _, tt := range []struct {
		f    ipq.Flow
		want float64
	}{
		{ipq.Flow{Src: addr("127.0.0.1"), Dst: addr("127.1.0.9"), SrcPort: 9, DstPort: 9, Protocol: 1}, 9},
		{ipq.Flow{Src: addr("::1"), Dst: addr("::1"), SrcPort: 300, DstPort: 300, Protocol: 58}, 300},
		{ipq.Flow{Src: addr("127.0.0.1"), Dst: addr("127.1.2.3"), SrcPort: 40000, DstPort: 9, Protocol: 17}, 2<<8 | 3},
		{ipq.Flow{Src: addr("10.1.0.2"), Dst: addr("198.19.1.0"), SrcPort: 40000, DstPort: 8080, Protocol: 6}, 256},
		{ipq.Flow{Src: addr("2001:2:0:1::1:2"), Dst: addr("fd00:1::2"), SrcPort: 8080, DstPort: 40000, Protocol: 6}, 2},
	} {
		if got := flowNumber(tt.f); got != tt.want {
			t.Errorf("%v is number %v, want %v", tt.f, got, tt.want)
		}
	}
}
