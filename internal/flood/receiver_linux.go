package flood

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lookEvery is how often a receiver looks: it need not be quick, since the
	// kernel has noted when each datagram came, and seldom is cheap.
	lookEvery = 500 * time.Microsecond
	// receiverBuffer holds what comes in between, 10,000 small datagrams.
	receiverBuffer = 8 << 20
	receiverBatch  = 64
	// controlLen has room for a timestamp (16 bytes) and a count of drops (4),
	// each with a header of 16, aligned to 8.
	controlLen = 128
)

// StartReceiver starts a receiver in the network namespace of the calling
// thread. It listens when StartReceiver returns. Errors, and the caller's duties,
// are those of Start; [Flood.Latencies] has the times.
func StartReceiver(ctx context.Context, cfg Receiver) (*Flood, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return start(ctx, job{Receiver: &cfg})
}

// A receiver is the child's side of a Receiver.
type receiver struct {
	fd     int
	in     *batch
	memory *shared
}

func newReceiver(cfg Receiver, memory *shared) (*receiver, error) {
	fd, err := listenUDP(cfg.Listen)
	if err != nil {
		return nil, err
	}
	limitThreads(cfg.CPUs)
	r := &receiver{fd: fd, in: newBatch(receiverBatch, sequenceLen+timeLen), memory: memory}
	r.in.addControl(controlLen)
	return r, nil
}

func listenUDP(at netip.AddrPort) (int, error) {
	var to unix.Sockaddr = &unix.SockaddrInet4{Port: int(at.Port())}
	family := unix.AF_INET
	if addr := at.Addr(); addr.Is6() {
		to, family = &unix.SockaddrInet6{Port: int(at.Port()), Addr: addr.As16()}, unix.AF_INET6
	} else {
		to.(*unix.SockaddrInet4).Addr = addr.As4()
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("flood: UDP socket: %w", err)
	}
	setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, receiverBuffer/2)
	for _, option := range []int{unix.SO_TIMESTAMPNS, unix.SO_RXQ_OVFL} {
		if err == nil {
			err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, 1)
		}
	}
	if err == nil {
		err = unix.Bind(fd, to)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("flood: listen on UDP %v: %w", at, err)
	}
	return fd, nil
}

// run receives until stopped closes, and then what there is.
func (r *receiver) run(stopped <-chan struct{}) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-stopped:
			return r.drain()
		case <-ticker.C:
			if err := r.drain(); err != nil {
				return err
			}
		}
	}
}

// drain receives all that has come.
func (r *receiver) drain() error {
	for {
		n, err := r.in.receive(r.fd)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("flood: receive datagrams: %w", err)
		}
		if err := r.take(n); err != nil || n < receiverBatch {
			return err
		}
	}
}

// take counts n datagrams. The kernel stamps them with CLOCK_REALTIME; what
// this is ahead of the senders' clock is read anew each time, because it is
// slewed.
func (r *receiver) take(n int) error {
	real, err := readClock(unix.CLOCK_REALTIME)
	if err != nil {
		return err
	}
	mono, err := readClock(unix.CLOCK_MONOTONIC)
	if err != nil {
		return err
	}
	for i := range n {
		arrived, overflowed := readControl(r.in.control(i))
		if overflowed > 0 {
			r.memory.overflowed.Store(uint64(overflowed))
		}
		due, ok := parseStamp(r.in.received(i))
		if !ok || arrived == 0 {
			continue
		}
		r.memory.latency.Record(time.Duration(arrived - (real - mono) - due))
		r.memory.received.Add(1)
	}
	return nil
}

// readControl reads the time at which a datagram arrived and how many did not
// fit before it; what is not there is zero.
func readControl(b []byte) (arrived int64, overflowed uint32) {
	for len(b) >= unix.SizeofCmsghdr {
		hdr, data, rest, err := unix.ParseOneSocketControlMessage(b)
		if err != nil {
			break
		}
		switch {
		case hdr.Level != unix.SOL_SOCKET:
		case hdr.Type == unix.SCM_TIMESTAMPNS && len(data) >= 16:
			arrived = int64(binary.NativeEndian.Uint64(data))*1e9 + int64(binary.NativeEndian.Uint64(data[8:]))
		case hdr.Type == unix.SCM_TIMESTAMPNS && len(data) >= 8: // 32-bit kernels
			arrived = int64(binary.NativeEndian.Uint32(data))*1e9 + int64(binary.NativeEndian.Uint32(data[4:]))
		case hdr.Type == unix.SO_RXQ_OVFL && len(data) >= 4:
			overflowed = binary.NativeEndian.Uint32(data)
		}
		b = rest
	}
	return arrived, overflowed
}
