package nftexpr

import (
	"encoding/binary"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
)

// A Queue says where a rule sends packets.
type Queue struct {
	First uint16 // number of the first queue
	Count uint16 // how many queues from there on the kernel spreads packets over

	// Bypass lets packets go on to the next chain when nobody listens on the
	// queue. Otherwise they are dropped.
	Bypass bool
	// FanoutCPU picks the queue by the CPU that a packet is on, not by its
	// addresses and protocol.
	FanoutCPU bool
}

// Expr returns the action of a rule: nft's own expression if native, else the
// NFQUEUE target of xtables, revision 3, which nft runs through its compat
// layer. [ProbeQueue] tells which one the kernel has.
func (q Queue) Expr(native bool) expr.Any {
	var flags expr.QueueFlag // NFQ_FLAG_BYPASS and NFQ_FLAG_CPU_FANOUT have the same values
	if q.Bypass {
		flags |= expr.QueueFlagBypass
	}
	if q.FanoutCPU {
		flags |= expr.QueueFlagFanout
	}
	if native {
		return &expr.Queue{Num: q.First, Total: q.Count, Flag: flags}
	}
	// struct xt_NFQ_info_v3: u16 queuenum, queues_total, flags in native order;
	// XT_ALIGN rounds its 6 bytes up to 8.
	info := make(xt.Unknown, 8)
	binary.NativeEndian.PutUint16(info[0:], q.First)
	binary.NativeEndian.PutUint16(info[2:], q.Count)
	binary.NativeEndian.PutUint16(info[4:], uint16(flags))
	return &expr.Target{Name: "NFQUEUE", Rev: 3, Info: &info}
}
