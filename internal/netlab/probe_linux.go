package netlab

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// ProbeQueueExpr reports whether the kernel has nft's own queue expression.
func ProbeQueueExpr(n *NS) (bool, error) {
	err := n.try(&expr.Queue{})
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("netlab: probe nft's queue expression: %w", err)
	}
	return true, nil
}

// try has the kernel check an expression, and load the module that it takes, in
// a table that the same transaction removes again. Its chain sits at no hook, so
// packets that wait in queues are safe. The table is of family ip, since the
// kernel does not find xtables' modules for family inet.
func (n *NS) try(e expr.Any) error {
	nft, err := nftables.New()
	if err != nil {
		return err
	}
	table := nft.CreateTable(&nftables.Table{Name: tableName(), Family: nftables.TableFamilyIPv4})
	chain := nft.AddChain(&nftables.Chain{Name: "probe", Table: table})
	nft.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{e}})
	nft.DelTable(table)
	return n.Do(nft.Flush)
}
