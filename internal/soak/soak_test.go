package soak

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A recorder is a test that may fail.
type recorder struct {
	testing.TB
	said string
}

func (*recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// duration returns what Duration returns, or what the test that asks fails with.
func duration(t *testing.T) (d time.Duration, said string) {
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		d = Duration(r, 3*time.Second)
	}()
	<-done
	return d, r.said
}

func TestDuration(t *testing.T) {
	for value, want := range map[string]time.Duration{"": 3 * time.Second, "60s": time.Minute, "1h30m": 90 * time.Minute} {
		t.Setenv(Env, value)
		if d, said := duration(t); d != want || said != "" {
			t.Errorf("%s=%s: %v, want %v; %s", Env, value, d, want, said)
		}
	}
	for _, value := range []string{"60", "0", "0s", "-1s", "soon", " "} {
		t.Setenv(Env, value)
		if _, said := duration(t); !strings.Contains(said, Env) || !strings.Contains(said, "may be 90s") {
			t.Errorf("%s=%s: the test fails with %q", Env, value, said)
		}
	}
}
