//go:build race && linux

package ring

import "testing"

func TestRecycledSlotsArePoisoned(t *testing.T) {
	recv, send := pair(t)
	r := mustNew(t, small)
	for _, recycle := range []func(*Batch){r.Put, (*Batch).Recycle} {
		b := r.TryGet()
		write(t, send, []byte("precious"))
		if n, errno := b.Recv(recv); n != 1 || errno != 0 {
			t.Fatal(n, errno)
		}
		kept := b.Msg(0)
		recycle(b)
		for i, c := range kept {
			if c != poisoned {
				t.Fatalf("byte %d is %#x after recycling", i, c)
			}
		}
	}
}
