package doctor

import (
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/goipq/goipq/internal/bench/benchtest"
	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/bypass"
)

func TestDoctorNamesWhatIsLimited(t *testing.T) {
	taken, untaken := feature{State: ipq.Present}, feature{State: ipq.Missing, Detail: "It is not taken.", Remedy: "Use another kernel."}
	flag := func(field string, f feature, got sighting) Finding {
		for _, q := range queueFlags {
			if q.field == field {
				return q.describe(f, got)
			}
		}
		t.Fatalf("no flag %s", field)
		return Finding{}
	}
	refused := &bypass.UnavailableError{EBPF: syscall.EPERM}
	old := &bypass.UnavailableError{EBPF: syscall.EINVAL}
	noMarks := &bypass.UnavailableError{ConnMark: syscall.ENOENT}
	broken := errors.New("it is broken")
	for _, c := range []struct {
		f      Finding
		state  string
		change string // a part of it; "" when there must be none
	}{
		{describeCPUs(2), isFine, ""},
		{describeCPUs(1), isLimited, "two CPUs"},
		{describeUser(true), isFine, ""},
		{describeUser(false), isLimited, "cap_net_admin"},
		{describeNamespaces(true, nil), isFine, ""},
		{describeNamespaces(true, broken), isLimited, "it is broken"},
		{describeRule(true, false), isFine, ""},
		{describeRule(false, true), isFine, ""},
		{describeRule(false, false), isMissing, "CONFIG_NFT_QUEUE"},
		{describePackets(false, nil), isFine, ""},
		{describePackets(true, broken), isMissing, ""},
		{flag("GSO", taken, sighting{}), isFine, ""},
		{flag("Conntrack", untaken, sighting{}), isMissing, "another kernel"},
		{flag("UIDGID", taken, sighting{uid: true}), isFine, ""},
		{flag("UIDGID", taken, sighting{}), isLimited, ""},
		{flag("SecCtx", taken, sighting{}), isLimited, "SELinux"},
		{flag("SecCtx", taken, sighting{context: true}), isFine, ""},
		{feature{State: ipq.Limited, Detail: "Little room.", Remedy: "Make some."}.describe("socket buffer"), isLimited, "Make some"},
		{feature{Detail: "It was not tried."}.describe("bridge"), isLimited, ""},
		{describeBypass(bypass.EBPF, true, nil), isFine, ""},
		{describeBypass(bypass.EBPF, false, refused), isMissing, "Be root"},
		{describeBypass(bypass.EBPF, true, old), isMissing, "Linux 5.10"},
		{describeBypass(bypass.ConnMark, true, noMarks), isMissing, "CONFIG_NF_CONNTRACK_MARK"},
		{describeBypass(bypass.ConnMark, true, broken), isMissing, ""},
		{describeRoute(nil), isFine, ""},
		{describeRoute(broken), isMissing, "CONFIG_VETH"},
	} {
		if c.f.state != c.state || !strings.Contains(c.f.change, c.change) || (c.f.change == "") != (c.change == "") {
			t.Errorf("got %+v, want state %s and %q to change", c.f, c.state, c.change)
		}
		var text strings.Builder
		Print(&text, []Finding{c.f})
		benchtest.WantLines(t, text.String(), 100)
		// A line a sentence, then an empty one and the sum.
		if want := 3 + min(len(c.change), 1); strings.Count(text.String(), "\n") != want {
			t.Errorf("want %d lines:\n%s", want, text.String())
		}
	}
}

// Without what is vital goipq cannot work; without anything else it can.
func TestDoctorKnowsWhatIsVital(t *testing.T) {
	for _, c := range []struct {
		f    Finding
		want bool
	}{
		{describeRule(true, false), true},
		{describeRule(false, false), false},
		{describePackets(false, errors.New("no")), false},
		{describePackets(true, errors.New("no")), true},
		{describeUser(false), true},
	} {
		if got := Print(io.Discard, []Finding{c.f}); got != c.want {
			t.Errorf("%+v: it works: %v, want %v", c.f, got, c.want)
		}
	}
}
