//go:build !linux

package ipq

import (
	"errors"
)

// Elsewhere there are no netfilter queues. Everything compiles, and dialing
// fails before anything below is reached.

func dialSocket(_ *Config, queue uint16) (*socket, error) {
	return nil, &OpError{Op: "open", Queue: queue, Err: errors.ErrUnsupported}
}

func (s *socket) bind(*Config) error {
	return s.fail("bind", errors.ErrUnsupported)
}

func (s *socket) lookupName(int) string { return "" }

func loopCPUs(*Config) ([]int, error) { return nil, nil }

func pinThread(int) (func(), error) { return nil, errors.ErrUnsupported }

type procFiles struct{}

func (*procFiles) close() {}

func (*procFiles) read(uint16, uint32) kernelCounters { return kernelCounters{} }
