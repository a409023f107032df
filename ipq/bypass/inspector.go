package bypass

import (
	"fmt"

	"github.com/goipq/goipq/ipq"
)

// DefaultInspectFlows is what a zero [Inspection.Flows] stands for.
const DefaultInspectFlows = 1 << 16

// Inspection says how much of each flow a handler sees before the kernel
// accepts the rest.
type Inspection struct {
	// Packets is the number of packets after which a flow is settled, Bytes
	// (from the IP header on) how much they hold; whichever comes first, in both
	// directions together. At least one of them must not be 0.
	Packets, Bytes uint64
	// Flows is how many flows are counted at the same time; 0 means
	// DefaultInspectFlows. All the memory (some 80 bytes a flow) is allocated
	// at once. When more come, some wait, inspected and not counted, until
	// another has had enough or is silent; so, rarely, when fewer come. A flow
	// that was silent while many others came is counted from the start again.
	Flows int
}

// An Inspector is a handler that has a flow's first packets inspected by
// another one, and then accepted in the kernel.
type Inspector struct {
	bypasser *Bypasser
	handler  ipq.Handler
	enough   Inspection
	counts   *counts
}

// Inspect wraps h. What h accepts counts; when a flow has had enough, that
// verdict also settles it. Verdicts of other kinds are passed on and do not
// count, nor does an accept with a mark: the kernel would not set it on the
// rest. h may settle flows itself, too. When its limits are over, a flow is
// queued and inspected from the start again; so is a new TCP connection with
// the ports of an old one.
//
// The Inspector is for queues whose [ipq.Config.Bypass] is b. Several queues
// may share it. The error matches [ErrConfig].
func (b *Bypasser) Inspect(h ipq.Handler, enough Inspection) (*Inspector, error) {
	if enough.Flows == 0 {
		enough.Flows = DefaultInspectFlows
	}
	switch {
	case h == nil:
		return nil, fmt.Errorf("%w: Inspect without a handler", ErrConfig)
	case enough.Packets == 0 && enough.Bytes == 0:
		return nil, fmt.Errorf("%w: Inspection.Packets and Bytes are both 0: no flow would ever be settled", ErrConfig)
	case enough.Flows < 1 || enough.Flows > maxSize:
		return nil, fmt.Errorf("%w: Inspection.Flows is %d, want 1 to %d", ErrConfig, enough.Flows, maxSize)
	}
	return &Inspector{b, h, enough, newCounts(enough.Flows)}, nil
}

// HandlePacket implements [ipq.Handler].
func (i *Inspector) HandlePacket(p *ipq.Packet) ipq.Verdict {
	key, err := keyOfPacket(p)
	if err != nil { // never settled
		return i.handler.HandlePacket(p)
	}
	// Before the handler, which may change the packet.
	hash, bytes := p.Flow().Hash(), uint64(p.Len())
	if opensConnection(p) {
		// Packets of an older connection with the same ports may have waited in
		// front of this one, and settled the flow after the kernel saw it pass.
		i.counts.forget(&key, hash)
		switch i.bypasser.backend {
		case EBPF:
			// An error means that the flow is not in the table, or that the
			// table is closed.
			_ = i.bypasser.table.delete(&key)
		case NFTSet:
			// An error is of a packet behind an authentication header, which is
			// never settled.
			_ = i.bypasser.forget(p)
		}
	}
	v := i.handler.HandlePacket(p)
	if v != ipq.Accept {
		return v
	}
	if i.counts.add(&key, hash, bytes, &i.enough) {
		return v.Bypass()
	}
	return v
}

// NeedsWholePackets implements [ipq.WholePacketHandler] as the handler does.
func (i *Inspector) NeedsWholePackets() bool {
	h, ok := i.handler.(ipq.WholePacketHandler)
	return ok && h.NeedsWholePackets()
}

// opensConnection reports whether p, of a flow with a key, is a TCP segment
// with SYN and without ACK.
func opensConnection(p *ipq.Packet) bool {
	return p.Flow().Protocol == protoTCP && p.Transport()[tcpFlags]&(flagSYN|flagACK) == flagSYN
}
