package probe

import (
	"testing"

	"github.com/google/nftables"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/zerocopy"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// The kernel is to cut up what it is tried with.
func TestKernelDatagramsAreOnePacket(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	native, err := netlab.ProbeQueueExpr(ns)
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Do(func() error {
		nft, err := nftables.New()
		if err != nil {
			return err
		}
		n, err := queuedDatagrams(nft, native, zerocopy.FlagGSO)
		if n != 1 {
			t.Errorf("%d packets, want one super-packet", n)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
