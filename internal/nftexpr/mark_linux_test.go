package nftexpr_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/nftexpr"
)

// Set changes the bits of its mask. What it stores is there for the rules that
// follow, and of a connection for its later packets, too.
func TestSetMark(t *testing.T) {
	for _, c := range []struct {
		name   string
		mark   nftexpr.Mark
		before int // of three packets, those whose mark was so already
	}{
		{"packet", nftexpr.PacketMark, 0},
		{"connection", nftexpr.ConnMark, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			ns := quiet(t)
			if err := nftexpr.Try(connect(t, ns), c.mark.Is(0, 1)[0]); errors.Is(err, unix.ENOENT) {
				t.Skip("this kernel has no such expression of nft")
			}
			counting := newCounting(t, ns, *nftables.ChainHookOutput)
			counting.rule(c.mark.Is(0xa53, math.MaxUint32))
			counting.rule(c.mark.Set(0xabc, 0xfff))
			counting.rule(c.mark.Is(0xabc, math.MaxUint32))
			counting.rule(c.mark.Set(0xff53, 0x0ff)) // the bits beyond the mask have no say
			counting.rule(c.mark.Is(0xa53, math.MaxUint32))
			counting.rule(c.mark.Set(0, 0xf00), c.mark.Is(0x053, math.MaxUint32))
			counting.rule(c.mark.Set(0xa00, 0xf00))
			counting.install()
			for range 3 {
				if err := (datagram{"udp", "127.0.0.1:2000", 0, "data"}).send(t, ns); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := counting.packets(3), []int{c.before, 3, 3, 3, 3, 3, 3}; !slices.Equal(got, want) {
				t.Errorf("counted %d, want %d", got, want)
			}
		})
	}
}
