package ipq

// A Handler decides packets. With a pool, calls for packets of different flows
// run at the same time; with [Inline] and one queue there is one call at a
// time.
//
// The packet is borrowed until HandlePacket returns. What it returns is the
// packet's verdict; a verdict that the kernel does not know counts as
// [Drop]. A panic is contained: the packet gets [Config.OnPanic].
type Handler interface {
	HandlePacket(p *Packet) Verdict
}

// A HandlerFunc is a function that is a [Handler].
type HandlerFunc func(p *Packet) Verdict

// HandlePacket calls f(p).
func (f HandlerFunc) HandlePacket(p *Packet) Verdict { return f(p) }

// A Bypasser has the kernel decide flows that a handler has settled with
// [Verdict.Bypass], so that they are queued no more. Package ipq/bypass has
// one.
type Bypasser interface {
	// Bypass settles the flow of p, which is borrowed, as v says: Accept or
	// Drop, with or without a mark. It is called before the verdict on p is
	// written, by the goroutine that decides p, so at the same time for packets
	// of different flows. It returns the verdict that is written, which is v
	// unless the bypass itself rests on a mark. With an error, or a panic, the
	// packet gets v and its flow stays as it was; that is counted, and logged,
	// but not more often than every ten seconds.
	Bypass(p *Packet, v Verdict) (Verdict, error)
}
