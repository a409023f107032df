package ipq

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/zerocopy"
)

// What the zero Config stands for.
func TestConfigDefaults(t *testing.T) {
	c, err := Config{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if c.Queue != 0 || c.Queues != 1 || c.Copy != CopyPacket || c.SnapLen != 65531 || c.MaxQueueLen != 1024 ||
		c.Workers != runtime.GOMAXPROCS(0) || c.BatchSize != 64 || c.Batches != max(8, 2*c.Workers) ||
		c.OnPanic != (ExceptionPolicy{}) || c.options(0).Flags != 0 || c.ReadBuffer != 0 || c.FlushAfter != 0 || c.BusyPoll != 0 {
		t.Errorf("%+v", c)
	}
	if c.Logger == nil || c.Logger.Enabled(t.Context(), 127) {
		t.Error("the default Logger logs")
	}
}

func TestConfigDefaultsDependOnEachOther(t *testing.T) {
	for _, x := range []struct {
		cfg     Config
		batches int
		snapLen int
	}{
		{Config{Workers: Inline}, 1, 65531},
		{Config{Workers: 1}, 8, 65531},
		{Config{Workers: 8}, 16, 65531},
		{Config{Workers: 4096}, 4096, 65531},
		{Config{Workers: 8, Batches: 3}, 3, 65531},
		{Config{Workers: 1, SnapLen: 65535}, 8, 65531}, // as the kernel cuts it
		{Config{Workers: 1, SnapLen: 1}, 8, 1},
	} {
		c, err := x.cfg.withDefaults()
		if err != nil || c.Batches != x.batches || c.SnapLen != x.snapLen {
			t.Errorf("%+v: %d batches, SnapLen %d, %v; want %d and %d", x.cfg, c.Batches, c.SnapLen, err, x.batches, x.snapLen)
		}
	}
}

// The bounds themselves are allowed.
func TestConfigBounds(t *testing.T) {
	for _, c := range []Config{
		{Queue: 65535}, {Queue: 64512, Queues: 1024}, {MaxQueueLen: 65536}, {MaxQueueLen: 1}, {BatchSize: 1024}, {BatchSize: 1},
		{Workers: 4096}, {Batches: 4096}, {Copy: CopyMeta}, {OnPanic: Always(Requeue(9).WithMark(1))},
	} {
		if _, err := c.withDefaults(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, c := range []Config{{Workers: 4097}, {Batches: 4097}, {Queues: 1025}, {SnapLen: -1}, {MaxQueueLen: -1}, {BatchSize: -1}} {
		if _, err := c.withDefaults(); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "want ") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Each flag of the kernel has its field.
func TestConfigFlags(t *testing.T) {
	for flag, c := range map[uint32]Config{
		zerocopy.FlagFailOpen: {FailOpen: true}, zerocopy.FlagGSO: {GSO: true}, zerocopy.FlagConntrack: {Conntrack: true},
		zerocopy.FlagUIDGID: {UIDGID: true}, zerocopy.FlagSecCtx: {SecCtx: true},
		31: {FailOpen: true, GSO: true, Conntrack: true, UIDGID: true, SecCtx: true},
	} {
		if c.options(0).Flags != flag {
			t.Errorf("%+v: flags %#x, want %#x", c, c.options(0).Flags, flag)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for what, cfg := range map[string]Config{
		"Queues": {Queues: -1}, "Queue+Queues-1": {Queue: 65535, Queues: 2}, "Copy": {Copy: 9},
		"SnapLen": {SnapLen: 65536}, "MaxQueueLen": {MaxQueueLen: 65537}, "ReadBuffer": {ReadBuffer: -1}, "NetNS": {NetNS: -1},
		"Workers": {Workers: -2}, "BatchSize": {BatchSize: 1025}, "Batches": {Batches: -1},
		"FlushAfter": {FlushAfter: -1}, "BusyPoll": {BusyPoll: -1}, "OnPanic": {OnPanic: Always(2)},
	} {
		_, err := Open(cfg)
		if err == nil || !strings.Contains(err.Error(), "Config."+what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := Dial(Config{Queues: 2}); err == nil {
		t.Error("Dial took two queues")
	}
}

// What cannot work together is refused when the queue is opened.
func TestConfigOfOverloadAndTimeOuts(t *testing.T) {
	for what, cfg := range map[string]Config{
		"Overload":       {Workers: Inline, Overload: DropExcess},
		"Overload ":      {Overload: 3},
		"Batches":        {Workers: 4, Batches: 8, HandlerTimeout: 1},
		"HandlerTimeout": {HandlerTimeout: -1}, "DrainTimeout": {DrainTimeout: -1}, "DeferTimeout": {DeferTimeout: -1},
		"MaxDeferred": {MaxDeferred: -1}, "OnTimeout": {OnTimeout: Always(2)}, "OnPanic": {OnPanic: Always(Drop.Bypass())},
	} {
		if _, err := cfg.withDefaults(); err == nil || !strings.Contains(err.Error(), "Config."+strings.TrimSpace(what)) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
