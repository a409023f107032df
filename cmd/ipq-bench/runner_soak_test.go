package main

import (
	"testing"

	"github.com/goipq/goipq/ipq"
)

func TestSoakKnowsTheBuffers(t *testing.T) {
	for _, c := range []struct {
		cfg  ipq.Config
		want uint64
	}{
		{ipq.Config{Workers: ipq.Inline}, 32},
		{ipq.Config{Workers: ipq.Inline, Queues: 2, BatchSize: 64}, 128},
		{ipq.Config{Workers: 2}, 512},
		{ipq.Config{Workers: 16, BatchSize: 8}, 256},
	} {
		if got := bufferBytes(c.cfg); got != c.want*slotBytes {
			t.Errorf("%+v: %d bytes, want %d packets", c.cfg, got, c.want)
		}
	}
}
