package report

import (
	"strings"
	"testing"
	"time"
)

// flatSoak holds the same all the time.
func flatSoak() *Soak {
	u := Usage{Resident: 20 << 20, Heap: 1 << 20, Goroutines: 12, Descriptors: 15}
	k := &Soak{Mode: ModeInline, Duration: time.Minute, Before: u, Idle: u, After: u, Buffers: 1 << 20, Whole: true}
	for range 40 {
		k.Samples = append(k.Samples, u)
	}
	return k
}

func TestSoakIsJudged(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*Soak)
		want  string // "" means flat
	}{
		"flat": {func(*Soak) {}, ""},
		"a warm-up": {func(k *Soak) {
			for i := range 10 {
				k.Samples[i].Goroutines = 1
			}
		}, ""},
		"one disturbed sample": {func(k *Soak) { k.Samples[35].Heap *= 2 }, ""},
		"memory":               {grow(func(u *Usage, n uint64) { u.Resident += n << 18 }), "resident memory grew"},
		"heap":                 {grow(func(u *Usage, n uint64) { u.Heap += n << 14 }), "the live heap grew"},
		"goroutines":           {grow(func(u *Usage, n uint64) { u.Goroutines += int(n) / 20 }), "goroutines grew from 12 to 13"},
		"workers":              {func(k *Soak) { k.Workers = 2; grow(func(u *Usage, n uint64) { u.Goroutines += int(n) / 20 })(k) }, ""},
		"more than workers":    {func(k *Soak) { k.Workers = 2; grow(func(u *Usage, n uint64) { u.Goroutines += int(n) / 5 })(k) }, "goroutines grew"},
		"late buffers": {func(k *Soak) {
			k.Fresh = 4 << 20
			k.Buffers *= 8
			grow(func(u *Usage, n uint64) { u.Resident += n << 17 })(k)
		}, ""},
		"more than buffers": {func(k *Soak) {
			k.Fresh = 4 << 20
			k.Buffers *= 8
			grow(func(u *Usage, n uint64) { u.Resident += n << 19 })(k)
		}, "resident memory grew"},
		"descriptors":      {grow(func(u *Usage, n uint64) { u.Descriptors += int(n) / 20 }), "descriptors grew"},
		"a high peak":      {func(k *Soak) { k.Samples[20].Resident = 24 << 20 }, "came to 24.0 MiB"},
		"goroutines left":  {func(k *Soak) { k.After.Goroutines++ }, "1 goroutines outlived"},
		"descriptors left": {func(k *Soak) { k.After.Descriptors += 2 }, "2 descriptors outlived"},
		"no samples":       {func(k *Soak) { k.Samples = k.Samples[:3] }, "only 3 samples"},
	} {
		k := flatSoak()
		c.spoil(k)
		k.Judge()
		got := strings.Join(k.Problems, "; ")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if flat := strings.HasPrefix(k.Describe(), "flat; "); flat != (c.want == "") {
			t.Errorf("%s: described as %s", name, k.Describe())
		}
	}
}

// grow changes sample n by n.
func grow(f func(u *Usage, n uint64)) func(*Soak) {
	return func(k *Soak) {
		for i := range k.Samples {
			f(&k.Samples[i], uint64(i))
		}
	}
}
