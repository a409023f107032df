package main

import (
	"strings"
	"testing"
	"time"
)

// flatSoak holds the same all the time.
func flatSoak() *soak {
	u := usage{Resident: 20 << 20, Heap: 1 << 20, Goroutines: 12, Descriptors: 15}
	k := &soak{Mode: modeInline, Duration: time.Minute, Before: u, Idle: u, After: u, Buffers: 1 << 20, Whole: true}
	for range 40 {
		k.Samples = append(k.Samples, u)
	}
	return k
}

func TestSoakIsJudged(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*soak)
		want  string // "" means flat
	}{
		"flat": {func(*soak) {}, ""},
		"a warm-up": {func(k *soak) {
			for i := range 10 {
				k.Samples[i].Goroutines = 1
			}
		}, ""},
		"one disturbed sample": {func(k *soak) { k.Samples[35].Heap *= 2 }, ""},
		"memory":               {grow(func(u *usage, n uint64) { u.Resident += n << 18 }), "resident memory grew"},
		"heap":                 {grow(func(u *usage, n uint64) { u.Heap += n << 14 }), "the live heap grew"},
		"goroutines":           {grow(func(u *usage, n uint64) { u.Goroutines += int(n) / 20 }), "goroutines grew from 12 to 13"},
		"workers":              {func(k *soak) { k.Workers = 2; grow(func(u *usage, n uint64) { u.Goroutines += int(n) / 20 })(k) }, ""},
		"more than workers":    {func(k *soak) { k.Workers = 2; grow(func(u *usage, n uint64) { u.Goroutines += int(n) / 5 })(k) }, "goroutines grew"},
		"late buffers": {func(k *soak) {
			k.Fresh = 4 << 20
			k.Buffers *= 8
			grow(func(u *usage, n uint64) { u.Resident += n << 17 })(k)
		}, ""},
		"more than buffers": {func(k *soak) {
			k.Fresh = 4 << 20
			k.Buffers *= 8
			grow(func(u *usage, n uint64) { u.Resident += n << 19 })(k)
		}, "resident memory grew"},
		"descriptors":      {grow(func(u *usage, n uint64) { u.Descriptors += int(n) / 20 }), "descriptors grew"},
		"a high peak":      {func(k *soak) { k.Samples[20].Resident = 24 << 20 }, "came to 24.0 MiB"},
		"goroutines left":  {func(k *soak) { k.After.Goroutines++ }, "1 goroutines outlived"},
		"descriptors left": {func(k *soak) { k.After.Descriptors += 2 }, "2 descriptors outlived"},
		"no samples":       {func(k *soak) { k.Samples = k.Samples[:3] }, "only 3 samples"},
	} {
		k := flatSoak()
		c.spoil(k)
		k.judge()
		got := strings.Join(k.Problems, "; ")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if flat := strings.HasPrefix(k.describe(), "flat; "); flat != (c.want == "") {
			t.Errorf("%s: described as %s", name, k.describe())
		}
	}
}

// grow changes sample n by n.
func grow(f func(u *usage, n uint64)) func(*soak) {
	return func(k *soak) {
		for i := range k.Samples {
			f(&k.Samples[i], uint64(i))
		}
	}
}
