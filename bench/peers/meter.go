//go:build linux

package main

import (
	"encoding/json"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A meter counts for a contestant written in Go.
type meter struct {
	packets atomic.Uint64 // decided, unless count is set
	count   func() uint64 // tells how many were decided
	done    chan struct{} // closed when the contestant shall end

	begin, end reading // written before done is closed
}

// A reading is the state of the process at one moment.
type reading struct {
	packets uint64
	at      time.Time
	cpu     time.Duration
}

func newMeter() *meter {
	m := &meter{done: make(chan struct{})}
	m.count = m.packets.Load
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTERM)
	parent := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(parent)
	}()
	go func() {
		defer close(m.done)
		for {
			select {
			case s := <-signals:
				switch s {
				case unix.SIGUSR1:
					m.begin = m.read()
				case unix.SIGUSR2:
					m.end = m.read()
				default:
					return
				}
			case <-parent:
				return
			}
		}
	}()
	return m
}

// ready tells the parent that the queue is bound.
func (m *meter) ready() error {
	_, err := os.Stdout.WriteString("ready\n")
	return err
}

func (m *meter) read() reading {
	return reading{m.count(), time.Now(), ownCPU()}
}

// report writes the figures, after done is closed.
func (m *meter) report() error {
	return json.NewEncoder(os.Stdout).Encode(figures{
		Total:    m.count(),
		Packets:  m.end.packets - m.begin.packets,
		Nanos:    uint64(m.end.at.Sub(m.begin.at)),
		CPUNanos: uint64(m.end.cpu - m.begin.cpu),
	})
}
