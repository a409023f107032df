// Package rules installs what a product needs in nftables: chains that queue
// packets, and that accept, drop, reject or mark others. A [Set] says what;
// [Install] makes a table of it in one transaction, [Ruleset.Update] changes it
// without losing a packet, [Ruleset.Watch] puts back what others remove.
//
//	r, err := rules.Install(rules.Set{
//		Table: "myips",
//		Chains: []rules.Chain{{Hook: ipq.Forward, Rules: []rules.Rule{{
//			Match: rules.Match{Protocol: 6, DstPorts: []rules.PortRange{{80, 80}, {443, 443}}},
//			Queue: &rules.Queue{First: 0, Count: 4, Bypass: true, Spread: rules.ByFlow},
//		}}}},
//	})
//
// It speaks netlink to the kernel and needs no nft. It needs CAP_NET_ADMIN over
// the network namespace, which root of a user namespace has over his own. For
// people who keep their rules themselves, [Set.NFT] and [Set.IPTables] return
// the same as text.
//
// # What becomes of waiting packets
//
// When the kernel takes a function away from a hook, it drops every packet that
// waits in any queue of the network namespace, whoever queued it. Base chains are
// such functions, and so is connection tracking, which the kernel switches on for
// the first rule that needs it and off after the last. So Install and Update only
// ever add them:
//
//   - A base chain that a new Set has no use for stays, without rules, and so
//     does what has switched connection tracking on.
//   - Update changes rules and sets within standing chains, in one transaction:
//     each packet meets the former rules or the new ones, and none is lost.
//   - [Ruleset.Remove] is what loses packets, other products' included. Update
//     to a Set without rules first, and decide what waits; or leave it at that.
//
// When a chain is added before another one at its hook, that is with a lower or
// the same priority, packets that wait in queues of the later one are queued there
// a second time. They are not lost, but their handler sees them twice. Install and
// Update log the later chains of nftables that they know of; so start products with
// lower priorities first. The same happens at Prerouting and Output when connection
// tracking is switched on.
//
// # Tables and their owners
//
// A table is the product's whose name it has. It carries the comment "goipq", and
// a table without that is never touched: then Install returns an error that
// matches fs.ErrExist. One with it is taken over, whether its maker was killed or
// runs on and hands over. Two products have two names.
//
// The kernel could bind a table to its maker's socket (NFT_TABLE_F_OWNER): then
// nobody else can change it, but it goes with the process, so that a crash opens
// the firewall and drops all that waits, and a successor cannot take over. So the
// tables are not bound, and Watch heals them.
package rules
