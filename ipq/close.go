package ipq

import (
	"errors"
	"reflect"
	"runtime"
)

// Close ends [Queue.Run] as the end of its context does, waits for it, and
// closes the sockets. Packets that the kernel still holds when Run was never
// called are dropped. It may be called many times, from any goroutine.
//
// In a handler Close does not wait, because Run waits for the handler: it
// begins the end and returns nil, and when Run returns everything is closed. A
// handler must not wait for a Close on another goroutine either.
func (q *Queue) Close() error {
	q.mu.Lock()
	q.closed = true
	running := q.state == running
	q.mu.Unlock()
	if running {
		q.stop()
		if inHandlerCall() {
			return nil
		}
		<-q.ended
	}
	return q.release()
}

// Detach is Close that leaves the queue, and the packets that it has not
// received, to another process that has its socket; see [Queue.File]. All that
// was received is decided when it returns, deferred packets too.
func (q *Queue) Detach() error {
	q.detached.Store(true)
	return q.Close()
}

// release frees all that Open has allocated, once.
func (q *Queue) release() error {
	q.releasing.Do(func() {
		q.impatient()
		q.closePool()
		var errs []error
		for _, c := range q.conns {
			errs = append(errs, c.Close())
		}
		q.releaseErr = errors.Join(errs...)
	})
	return q.releaseErr
}

// closePool ends the pool's goroutines. All spans are decided; it waits for
// handlers that are running all the same until the time to drain is over.
func (q *Queue) closePool() {
	if q.pool != nil {
		_ = q.pool.Close(q.patient) // fails only with its context
	}
}

// verdictName is the name of the function that calls handlers, as the runtime
// writes it.
var verdictName = runtime.FuncForPC(reflect.ValueOf((*Queue).verdict).Pointer()).Name()

// inHandlerCall reports whether the calling goroutine is running a handler, of
// any queue: whether (*Queue).verdict is among its callers.
func inHandlerCall() bool {
	pcs := make([]uintptr, 64)
	for {
		n := runtime.Callers(1, pcs)
		if n < len(pcs) {
			pcs = pcs[:n]
			break
		}
		pcs = make([]uintptr, 2*len(pcs))
	}
	frames := runtime.CallersFrames(pcs)
	for {
		f, more := frames.Next()
		if f.Function == verdictName {
			return true
		}
		if !more {
			return false
		}
	}
}
