package fakekernel

import (
	"errors"
	"os"
	"testing"
	"time"
)

// Whoever waits is woken by what comes, by a deadline and by the end; and what comes
// between a look and the wait is not missed.
func TestPoller(t *testing.T) {
	t.Parallel()
	p := newPoller()
	looks := 0
	if err := p.Read(func(uintptr) bool {
		if looks++; looks == 1 {
			p.wake() // it has found nothing, and does not wait yet
		}
		return looks == 2
	}); err != nil || looks != 2 {
		t.Errorf("woken: %d looks, %v", looks, err)
	}

	looking := make(chan struct{}, 10)
	done := make(chan error)
	read := func() {
		done <- p.Read(func(uintptr) bool { looking <- struct{}{}; return false })
	}
	end := func(what string, f func() error, want error) {
		t.Helper()
		go read()
		<-looking
		if err := f(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := <-done; !errors.Is(err, want) {
			t.Errorf("%s: the read ended with %v, want %v", what, err, want)
		}
	}
	end("a deadline that comes", func() error { return p.setDeadline(time.Now().Add(time.Millisecond)) }, os.ErrDeadlineExceeded)
	if err := p.Read(func(uintptr) bool { t.Error("it looked after the deadline"); return true }); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if err := p.setDeadline(time.Time{}); err != nil {
		t.Error(err)
	}
	end("a deadline in the past", func() error { return p.setDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded)
	if err := p.setDeadline(time.Time{}); err != nil {
		t.Error(err)
	}
	end("the end", func() error { p.close(); return nil }, os.ErrClosed)
	for what, err := range map[string]error{
		"Control": p.Control(func(uintptr) {}), "a deadline": p.setDeadline(time.Time{}), "Write": p.Write(func(uintptr) bool { return true }),
	} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s after the end: %v", what, err)
		}
	}
	if p.close() {
		t.Error("it was closed for the first time twice")
	}
}
