package netlab

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/nftexpr"
)

// ProbeQueueExpr reports whether the kernel has nft's own queue expression.
func ProbeQueueExpr(n *NS) (bool, error) {
	native, err := n.probeQueue()
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return native, err
}

func (n *NS) probeQueue() (native bool, err error) {
	err = n.Do(func() error {
		nft, err := nftables.New()
		if err == nil {
			native, err = nftexpr.ProbeQueue(nft)
		}
		return err
	})
	if err != nil {
		err = fmt.Errorf("netlab: probe nft's queue expression: %w", err)
	}
	return native, err
}
