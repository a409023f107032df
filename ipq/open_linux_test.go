package ipq

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/goipq/goipq/internal/fakekernel"
	"github.com/goipq/goipq/internal/zerocopy"
)

// A receive buffer smaller than asked for is worth a line in the log, and the
// size granted is in Stats.
func TestSmallReadBufferIsLogged(t *testing.T) {
	f := newFake(t)
	var log syncBuffer
	const asked = 1 << 31 / 2 // more than net.core.rmem_max allows
	q := f.open(Config{ReadBuffer: asked, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	granted := q.Stats().ReadBuffer
	if logged := strings.Contains(log.String(), "rmem_max"); granted <= 0 || logged != (granted < asked) {
		t.Errorf("%d bytes granted; log: %s", granted, log.String())
	}
	if got := newFake(t).open(Config{ReadBuffer: 100_000}).Stats().ReadBuffer; got != 100_000 {
		t.Errorf("asked for 100000 bytes, Stats tells %d", got)
	}
}

// Only what was asked for is named as missing.
func TestMissingFeaturesAreThoseAskedFor(t *testing.T) {
	f := newFake(t)
	f.Refuse(func(c fakekernel.Config) syscall.Errno { // knows FailOpen only
		if b := c[zerocopy.CfgFlags]; len(b) == 4 && b[3] != zerocopy.FlagFailOpen {
			return syscall.EOPNOTSUPP
		}
		return syscall.ENODEV
	})
	cfg, err := Config{Queue: fakeNumber, GSO: true, FailOpen: true, UIDGID: true}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	var missing *FeatureError
	if _, err := openQueue(cfg, f.dial); !errors.As(err, &missing) || !slices.Equal(missing.Features, []string{"GSO", "UIDGID"}) {
		t.Errorf("Open: %v", err)
	}
}
