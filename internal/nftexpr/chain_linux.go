package nftexpr

import (
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// BaseChain returns a chain at a hook. Packets that it does not decide go on.
func BaseChain(table *nftables.Table, name string, hook nftables.ChainHook, priority nftables.ChainPriority) *nftables.Chain {
	accept := nftables.ChainPolicyAccept
	return &nftables.Chain{
		Name: name, Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: &hook, Priority: &priority, Policy: &accept,
	}
}

// Rule returns a rule that consists of parts.
func Rule(chain *nftables.Chain, parts ...[]expr.Any) *nftables.Rule {
	return &nftables.Rule{Table: chain.Table, Chain: chain, Exprs: slices.Concat(parts...)}
}
