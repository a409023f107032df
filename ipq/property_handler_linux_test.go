package ipq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goipq/goipq/internal/zerocopy"
)

// A handling is the handler of a run: it does with each packet what the plan
// says.
type handling struct {
	s       *schedule
	cfg     *Config // with its defaults
	judges  []*judge
	cancel  context.CancelFunc
	reached chan struct{} // closed when s.at packets are handled
	handled atomic.Int64
	deferPlan

	mu    sync.Mutex
	wrong []error
}

func (h *handling) complain(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.wrong) < 10 {
		h.wrong = append(h.wrong, err)
	}
}

// HandlePacket implements Handler.
func (h *handling) HandlePacket(p *Packet) Verdict {
	if h.handled.Add(1) == int64(h.s.at)+1 {
		if h.s.end == endByHandler {
			h.cancel()
		}
		close(h.reached)
	}
	queue := int(p.Queue() - h.cfg.Queue)
	plan := h.s.plan(queue, p.Mark())
	h.judges[queue].handled[plan.number].Store(true)
	if err := h.look(p, &plan); err != nil {
		h.complain(fmt.Errorf("number %d, packet %d: %w", plan.number, p.ID(), err))
	}
	if plan.later != nil {
		h.putOff(p, &plan)
	}
	if plan.pause > 0 {
		time.Sleep(plan.pause)
	} else if plan.number%64 == 0 {
		runtime.Gosched()
	}
	if err := h.edit(p, &plan); err != nil && plan.later == nil {
		h.complain(fmt.Errorf("number %d, packet %d: %w", plan.number, p.ID(), err))
	}
	switch plan.act {
	case panics:
		panic(plan.number)
	case exits:
		runtime.Goexit()
	}
	return plan.verdict
}

// look compares the packet with its plan.
func (h *handling) look(p *Packet, plan *plan) error {
	payload := p.Payload()
	switch {
	case plan.undecodable():
		return errors.New("handled, though it cannot be decoded")
	case p.Truncated() != plan.truncated(h.cfg), p.GSO() != plan.gso, p.Hook() != Forward, p.EtherType() != plan.etherType():
		return fmt.Errorf("truncated %v, GSO %v, %v, %#x, unlike the plan: %+v", p.Truncated(), p.GSO(), p.Hook(), p.EtherType(), plan)
	case h.cfg.Copy == CopyMeta && payload != nil, h.cfg.Copy == CopyPacket && !plan.truncated(h.cfg) && len(payload) != plan.size:
		return fmt.Errorf("payload of %d bytes, want %d", len(payload), plan.size)
	}
	var room [256]byte
	if want := plan.payload(room[:0], plan.size, 0); !bytes.Equal(payload, want[:min(len(payload), len(want))]) {
		return fmt.Errorf("payload % x, want % x", payload[:min(100, len(payload))], want[:min(100, len(want))])
	}
	return nil
}

// edit edits the packet as planned.
func (h *handling) edit(p *Packet, plan *plan) (err error) {
	if plan.attrs&zerocopy.HasPriority != 0 {
		p.SetPriority(plan.number)
	}
	if plan.attrs&zerocopy.HasVLAN != 0 {
		p.SetVLAN(0x8100, uint16(plan.number)&0xfff)
	}
	if plan.attrs&zerocopy.HasCTMark != 0 {
		if err := p.SetConnMark(plan.number, 0xff); err != nil {
			return err
		}
	}
	switch plan.edit {
	case sets:
		var room [2048]byte
		err = p.SetPayload(plan.payload(room[:0], plan.newSize, 1))
	case changes:
		var b []byte
		if b, err = p.EditPayload(); err == nil {
			b[len(b)-1] ^= 0xff
		}
	}
	if want := plan.editError(h.cfg); !errors.Is(err, want) {
		return fmt.Errorf("edit %d: %v, want %v", plan.edit, err, want)
	}
	return nil
}
