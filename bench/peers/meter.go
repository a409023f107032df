//go:build linux

package main

import (
	"encoding/json"
	"io"
	"os"
	"os/signal"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A meter counts for a contestant written in Go, and tells it when to end.
type meter struct {
	packets atomic.Uint64 // decided, unless count is set
	count   func() uint64 // tells how many were decided
	done    chan struct{} // closed when the contestant shall end
}

func newMeter() *meter {
	m := &meter{done: make(chan struct{})}
	m.count = m.packets.Load
	told := make(chan os.Signal, 1)
	signal.Notify(told, unix.SIGTERM)
	parent := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(parent)
	}()
	go func() {
		defer close(m.done)
		select {
		case <-told:
		case <-parent:
		}
	}()
	return m
}

// ready tells the parent that the queue is bound.
func (m *meter) ready() error {
	_, err := os.Stdout.WriteString("ready\n")
	return err
}

// report writes the figures, after done is closed.
func (m *meter) report() error {
	return json.NewEncoder(os.Stdout).Encode(figures{Total: m.count()})
}
