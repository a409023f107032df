//go:build linux && cgo

package main

// #include "internal.h"
import "C"

import (
	"errors"
	"sync"
	"syscall"
	"unsafe"

	"github.com/goipq/goipq/ipq"
)

// C knows queues by numbers, so that one that was closed meanwhile is an error.
var (
	mu     sync.Mutex
	queues = map[C.uintptr_t]*queue{}
	latest C.uintptr_t
)

func queueOf(engine C.uintptr_t) *queue {
	mu.Lock()
	defer mu.Unlock()
	return queues[engine]
}

// errnoOf returns the errno of an error of package ipq.
func errnoOf(err error) C.int {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
	case errors.Is(err, ipq.ErrTooLarge):
		errno = syscall.EMSGSIZE
	case errors.Is(err, ipq.ErrNotIP), errors.Is(err, ipq.ErrUndeliverable):
		errno = syscall.EINVAL
	case errors.Is(err, ipq.ErrClosed):
		errno = syscall.EBADF
	default:
		errno = syscall.EIO
	}
	return C.int(errno)
}

func failure(kind C.int, err error) C.struct_outcome {
	return C.struct_outcome{error: kind, number: errnoOf(err)}
}

// mostBytes is more than any message has. A length that a program makes up may be
// more than there is memory.
const mostBytes = 1 << 20

//export goipq_open
func goipq_open(sock C.int, number C.uint16_t, o *C.struct_outcome) {
	q, err := open(int(sock), uint16(number))
	if err != nil {
		*o = failure(C.IPQ_ERR_SOCKET, err)
		return
	}
	mu.Lock()
	defer mu.Unlock()
	latest++
	queues[latest] = q
	*o = C.struct_outcome{n: C.long(latest)}
}

//export goipq_join
func goipq_join(engine C.uintptr_t, f, event C.int) { queueOf(engine).join(family(f), int(event)) }

//export goipq_mode
func goipq_mode(engine C.uintptr_t, f C.int, copies C.uint8_t, most C.uint32_t) {
	queueOf(engine).setMode(family(f), mode{copies: int(copies), most: int(most)})
}

//export goipq_share
func goipq_share(engine C.uintptr_t) { queueOf(engine).share() }

//export goipq_leave
func goipq_leave(engine C.uintptr_t, f, last C.int) {
	q := queueOf(engine)
	if last != 0 {
		mu.Lock()
		delete(queues, engine)
		mu.Unlock()
	}
	q.leave(family(f), last != 0)
}

//export goipq_read
func goipq_read(engine C.uintptr_t, f C.int, buf *C.uchar, length C.size_t, o *C.struct_outcome) {
	q := queueOf(engine)
	if q == nil {
		*o = failure(C.IPQ_ERR_RECV, ipq.ErrClosed)
		return
	}
	n, err := q.read(family(f), unsafe.Slice((*byte)(buf), min(length, mostBytes)))
	switch {
	case errors.Is(err, errTooShort):
		*o = failure(C.IPQ_ERR_RTRUNC, syscall.EMSGSIZE)
	case err != nil:
		*o = failure(C.IPQ_ERR_RECV, err)
	default:
		*o = C.struct_outcome{n: C.long(n)}
	}
}

//export goipq_verdict
func goipq_verdict(engine C.uintptr_t, f C.int, id C.uint32_t, verdict C.uint, length C.size_t, payload *C.uchar, o *C.struct_outcome) {
	*o = C.struct_outcome{}
	q := queueOf(engine)
	if q == nil {
		*o = failure(C.IPQ_ERR_SEND, ipq.ErrClosed)
		return
	}
	v, ok := verdictOf(uint32(verdict))
	if !ok {
		*o = failure(C.IPQ_ERR_SEND, syscall.EINVAL)
		return
	}
	var b []byte
	if length > 0 && v != ipq.Drop {
		b = unsafe.Slice((*byte)(payload), min(length, mostBytes))
	}
	if err := q.verdict(family(f), uint32(id), v, b); err != nil {
		*o = failure(C.IPQ_ERR_SEND, err)
	}
}

// verdictOf returns what NF_DROP and so on are to package ipq.
func verdictOf(v uint32) (ipq.Verdict, bool) {
	const bypass = 0x8000 // NF_VERDICT_FLAG_QUEUE_BYPASS
	switch v {
	case C.NF_DROP:
		return ipq.Drop, true
	case C.NF_ACCEPT:
		return ipq.Accept, true
	case C.NF_REPEAT:
		return ipq.Repeat, true
	case C.NF_STOP:
		return ipq.Stop, true
	}
	switch v & 0xffff {
	case C.NF_QUEUE:
		return ipq.Requeue(uint16(v >> 16)), true
	case C.NF_QUEUE | bypass:
		return ipq.RequeueBypass(uint16(v >> 16)), true
	}
	return 0, false
}
