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
