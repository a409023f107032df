//go:build !linux

package flood

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Main returns at once: floods exist only on Linux.
func Main() {}

// A Flood exists only on Linux.
type Flood struct{}

// AllowedCPUs returns an error that matches errors.ErrUnsupported.
func AllowedCPUs() ([]int, error) {
	return nil, fmt.Errorf("flood: needs Linux: %w", errors.ErrUnsupported)
}

// Start returns an error that matches errors.ErrUnsupported.
func Start(context.Context, Config) (*Flood, error) {
	return nil, fmt.Errorf("flood: needs Linux: %w", errors.ErrUnsupported)
}

// StartServer returns an error that matches errors.ErrUnsupported.
func StartServer(ctx context.Context, _ Server) (*Flood, error) { return Start(ctx, Config{}) }

// StartClient returns an error that matches errors.ErrUnsupported.
func StartClient(ctx context.Context, _ Client) (*Flood, error) { return Start(ctx, Config{}) }

// StartReceiver returns an error that matches errors.ErrUnsupported.
func StartReceiver(ctx context.Context, _ Receiver) (*Flood, error) { return Start(ctx, Config{}) }

// Latencies returns nothing.
func (*Flood) Latencies() []LatencyCount { return nil }

// TakeMaxLag returns zero.
func (*Flood) TakeMaxLag() time.Duration { return 0 }

// Stats returns zero.
func (*Flood) Stats() Stats { return Stats{} }

// Stop returns zero.
func (*Flood) Stop() (Stats, error) { return Stats{}, nil }

// Wait returns zero.
func (*Flood) Wait() (Stats, error) { return Stats{}, nil }
