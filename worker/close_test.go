package worker

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// expired returns a context that has ended.
func expired() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestCloseRunsEveryAcceptedTask(t *testing.T) {
	p, gate, ran := blockedPool(t, 10)
	for i := 1; i <= 10; i++ {
		submit(t, p, 0, i)
	}
	closed := make(chan error, 1)
	go func() { closed <- p.Close(context.Background()) }()
	if !eventually(func() bool { return p.TrySubmit(0, 11) != ErrFull }) {
		t.Fatal("Close does not begin")
	}
	if err := p.Submit(0, 11); !errors.Is(err, ErrClosed) {
		t.Errorf("Submit after Close began: %v", err)
	}
	if err := p.TrySubmit(0, 11); !errors.Is(err, ErrClosed) {
		t.Errorf("TrySubmit after Close began: %v", err)
	}
	for i := range 11 {
		select {
		case err := <-closed:
			t.Fatalf("Close returned %v before task %d ran", err, i)
		case gate <- struct{}{}:
		}
		if got := receive(t, ran, "a task"); got != i {
			t.Errorf("task %d ran, want %d", got, i)
		}
	}
	if err := receive(t, closed, "Close"); err != nil {
		t.Error(err)
	}
	if err := p.Submit(0, 11); !errors.Is(err, ErrClosed) {
		t.Errorf("Submit after Close: %v", err)
	}
	if err := p.Close(expired()); err != nil {
		t.Errorf("Close once more: %v", err)
	}
}

func TestCloseReleasesBlockedSubmit(t *testing.T) {
	p, gate, _ := blockedPool(t, 1)
	submit(t, p, 0, 1)
	blocked := make(chan error)
	for range 2 {
		go func() { blocked <- p.Submit(0, 2) }()
	}
	if !eventually(func() bool { return p.Stats().Blocked == 2 }) {
		t.Fatal("the submitters did not block")
	}
	if err := p.Close(expired()); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v", err)
	}
	for range 2 {
		if err := receive(t, blocked, "a blocked Submit"); !errors.Is(err, ErrClosed) {
			t.Errorf("blocked Submit: %v", err)
		}
	}
	close(gate)
	closePool(t, p)
	if st := p.Stats(); st.Submitted != 2 || st.Completed != 2 || st.Blocked != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestCloseObservesItsContext(t *testing.T) {
	p, gate, _ := blockedPool(t, 5)
	submit(t, p, 0, 1)
	submit(t, p, 0, 2)
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	for _, tt := range []struct {
		ctx  context.Context
		want error
	}{{ctx, context.DeadlineExceeded}, {expired(), context.Canceled}} {
		err := p.Close(tt.ctx)
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), "3 tasks remain") {
			t.Errorf("Close with 3 tasks to go: %v", err)
		}
	}
	close(gate)
	if err := p.Close(context.Background()); err != nil {
		t.Errorf("Close called again: %v", err)
	}
}

func TestCloseOfIdlePoolIgnoresContext(t *testing.T) {
	p := newPool(t, Config[int]{Run: func(int) {}})
	if err := p.Close(expired()); err != nil {
		t.Errorf("a pool that ran nothing: %v", err)
	}
}

func TestCloseFromATask(t *testing.T) {
	var p *Pool[int]
	result := make(chan error, 1)
	p = newPool(t, Config[int]{Workers: 1, Strands: 1, Run: func(i int) {
		if i == 0 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			result <- p.Close(ctx)
		}
	}})
	submit(t, p, 0, 0)
	if err := receive(t, result, "Close within a task"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close within a task: %v", err)
	}
	if err := p.Submit(0, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("Submit afterwards: %v", err)
	}
}

// Many close while many submit: what Submit accepted runs, whoever wins.
func TestCloseConcurrently(t *testing.T) {
	for range 50 {
		p := newPool(t, Config[int]{Workers: 2, Strands: 4, Depth: 2, Run: func(int) {}})
		var all sync.WaitGroup
		var accepted [4]uint64
		for s := range accepted {
			all.Go(func() {
				for {
					if err := p.Submit(s, 0); errors.Is(err, ErrClosed) {
						return
					} else if err != nil {
						t.Error(err)
						return
					}
					accepted[s]++
				}
			})
		}
		for range 3 {
			all.Go(func() {
				if !eventually(func() bool { return p.Stats().Completed > 0 }) {
					t.Error("nothing runs")
				}
				if err := p.Close(context.Background()); err != nil {
					t.Error(err)
				}
				if st := p.Stats(); st.Completed != st.Submitted || st.Running != 0 || st.Ready != 0 {
					t.Errorf("after Close: %+v", st)
				}
			})
		}
		all.Wait()
		var sum uint64
		for _, n := range accepted {
			sum += n
		}
		if st := p.Stats(); st.Submitted != sum || st.Completed != sum {
			t.Errorf("%d submissions succeeded; %+v", sum, st)
		}
	}
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	gone := func() bool { return len(poolGoroutines()) == 0 }
	if !eventually(gone) {
		t.Fatalf("left by earlier tests:\n%s", strings.Join(poolGoroutines(), "\n\n"))
	}
	start := func() *Pool[misdeed] {
		p, err := New(Config[misdeed]{Workers: 4, Strands: 16, Run: misdeed.commit})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			submit(t, p, i%16, []misdeed{none, none, panics, exits}[i/16%4])
		}
		if gone() {
			t.Fatal("poolGoroutines sees none of a pool at work")
		}
		return p
	}

	if err := start().Close(context.Background()); err != nil {
		t.Error(err)
	}
	if !eventually(gone) {
		t.Errorf("left by Close:\n%s", strings.Join(poolGoroutines(), "\n\n"))
	}

	// Nobody waits for this one to the end.
	_ = start().Close(expired())
	if !eventually(gone) {
		t.Errorf("left by a Close that gave up:\n%s", strings.Join(poolGoroutines(), "\n\n"))
	}
}
