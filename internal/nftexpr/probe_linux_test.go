package nftexpr_test

import (
	"errors"
	"testing"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/nftexpr"
)

// Probing tells what the kernel has, as often as it is asked, and leaves nothing
// behind.
func TestProbe(t *testing.T) {
	ns := labtest.New(t)
	nft := connect(t, ns)
	for range 2 {
		native, err := nftexpr.ProbeQueue(nft)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("queue expression: %v", native)
		if err := nftexpr.Try(nft, nftexpr.Queue{Count: 1}.Expr(true)); native != (err == nil) {
			t.Errorf("queue expression: %v, and then %v", native, err)
		}
		if err := nftexpr.Try(nft, &expr.Target{Name: "NOBODYS", Info: &xt.Unknown{}}); !errors.Is(err, unix.ENOENT) {
			t.Errorf("a target that there is not: %v, want ENOENT", err)
		}
		if err := nftexpr.Try(nft, nftexpr.Queue{First: 2, Count: 65535}.Expr(native)); err == nil || errors.Is(err, unix.ENOENT) {
			t.Errorf("queues beyond the last: %v, want that the kernel refuses them", err)
		}
	}
	tables, err := nft.ListTables()
	if len(tables) != 0 || err != nil {
		t.Errorf("%d tables left, %v", len(tables), err)
	}
}
