package nftexpr

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// probes numbers the tables that this process has probed with.
var probes atomic.Uint64

// Try is TryIn for family ip, since the kernel does not find xtables' modules for
// family inet.
func Try(nft *nftables.Conn, e expr.Any) error { return TryIn(nft, nftables.TableFamilyIPv4, e) }

// TryIn has the kernel check an expression, and load the module that it takes. The
// error matches unix.ENOENT if the kernel does not have it. Nothing remains: the
// expression stands in a table that the same transaction removes. Its chain is
// at no hook, since one that goes from a hook makes the kernel drop all packets
// that wait in queues.
func TryIn(nft *nftables.Conn, family nftables.TableFamily, e expr.Any) error {
	table := nft.CreateTable(&nftables.Table{
		Name:   fmt.Sprintf("goipq_probe_%d_%d", os.Getpid(), probes.Add(1)),
		Family: family,
	})
	chain := nft.AddChain(&nftables.Chain{Name: "probe", Table: table})
	nft.AddRule(Rule(chain, []expr.Any{e}))
	nft.DelTable(table)
	return nft.Flush()
}

// ProbeQueue reports whether the kernel has nft's own queue expression. If it
// has not, it has the NFQUEUE target, or the error matches unix.ENOENT.
func ProbeQueue(nft *nftables.Conn) (native bool, err error) {
	q := Queue{Count: 1}
	err = Try(nft, q.Expr(true))
	if !errors.Is(err, unix.ENOENT) {
		return err == nil, err
	}
	if err = Try(nft, q.Expr(false)); errors.Is(err, unix.ENOENT) {
		err = fmt.Errorf("this kernel has neither nft's queue expression (CONFIG_NFT_QUEUE) nor the "+
			"NFQUEUE target (CONFIG_NFT_COMPAT with CONFIG_NETFILTER_XT_TARGET_NFQUEUE): %w", err)
	}
	return false, err
}
