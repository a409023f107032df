package netlab

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// ProbeQueueExpr reports whether the kernel has nft's own queue expression, by
// using it in a table that the same transaction removes again. Its chain sits
// at no hook, so packets that wait in queues are safe.
func ProbeQueueExpr(n *NS) (bool, error) {
	nft, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("netlab: nftables: %w", err)
	}
	table := nft.CreateTable(&nftables.Table{Name: tableName(), Family: nftables.TableFamilyINet})
	chain := nft.AddChain(&nftables.Chain{Name: "probe", Table: table})
	nft.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Queue{}}})
	nft.DelTable(table)
	err = n.Do(nft.Flush)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("netlab: probe nft's queue expression: %w", err)
	}
	return true, nil
}
