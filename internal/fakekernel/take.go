package fakekernel

import (
	"encoding/binary"
	"syscall"

	"github.com/goipq/goipq/internal/zerocopy"
)

// Of linux/netlink.h and linux/netfilter/nfnetlink.h.
const (
	nlmFRequest         = 1    // NLM_F_REQUEST
	nlmFAck             = 4    // NLM_F_ACK
	nlmsgNoop           = 1    // NLMSG_NOOP
	nlmsgDone           = 3    // NLMSG_DONE
	nlmsgMinType        = 0x10 // NLMSG_MIN_TYPE: those below are netlink's own
	nfnlSubsysCTNetlink = 1    // NFNL_SUBSYS_CTNETLINK
)

// take does with a datagram what netlink_rcv_skb and nfnetlink_rcv do: after an
// error it goes on, and only what is no message stops it.
func (k *Kernel) take(datagram []byte) {
	k.count.Writes++
	for len(datagram) >= zerocopy.HeaderLen {
		h, ok := zerocopy.ParseHeader(datagram)
		if !ok || uint64(h.Len) > uint64(len(datagram)) {
			k.wrong.add("write %d ends in %d bytes that are no message", k.count.Writes, len(datagram))
			break
		}
		k.count.Messages++
		var errno syscall.Errno
		if h.Flags&nlmFRequest != 0 && h.Type >= nlmsgMinType && h.Len >= zerocopy.HeaderLen+zerocopy.GenHeaderLen {
			errno = k.request(h, datagram[zerocopy.HeaderLen:h.Len])
		}
		if errno != 0 || h.Flags&nlmFAck != 0 {
			k.answer(errno, h)
		}
		datagram = datagram[min(uint64(h.Len)+uint64(zerocopy.Pad(int(h.Len))), uint64(len(datagram))):]
	}
	k.notify()
}

// request acts on one message, from its nfgenmsg on.
func (k *Kernel) request(h zerocopy.Header, body []byte) syscall.Errno {
	if h.Type != zerocopy.TypeVerdict && h.Type != zerocopy.TypeVerdictBatch {
		return syscall.EINVAL
	}
	if k.faults.noCapability {
		return syscall.EPERM
	}
	m := &k.message
	if m.parse(body[zerocopy.GenHeaderLen:]); m.bad {
		return syscall.ERANGE
	}
	m.v.Batch, m.v.Write = h.Type == zerocopy.TypeVerdictBatch, int(k.count.Writes)
	switch {
	case binary.BigEndian.Uint16(body[2:]) != k.number:
		return syscall.ENODEV
	case k.queue.ended:
		return k.unanswerable(syscall.ENODEV)
	case !m.header || !acceptable(m.v.Verdict):
		return syscall.EINVAL
	}
	if m.again = h.PortID != 0; m.again {
		k.count.Again++
	} else if errno := k.faults.answer(); errno != 0 {
		return k.refuseVerdict(errno)
	}
	if m.v.Batch {
		return k.decideBatch()
	}
	return k.decide()
}

// decide does what nfqnl_recv_verdict does.
func (k *Kernel) decide() syscall.Errno {
	id := k.message.id
	if k.ledger.has(id) && k.ledger.at(id).state == refused {
		k.replace(id)
		return 0
	}
	if k.message.again {
		return syscall.ENOENT // flushed since, or another's
	}
	if !k.ledger.has(id) || k.ledger.at(id).state == settled {
		if int32(id-k.lastID) > 0 {
			k.wrong.add("verdict on packet %d, of which %d was the last", id, k.lastID)
		} else {
			k.wrong.add("second verdict on packet %d, in write %d", id, k.count.Writes)
		}
		return syscall.ENOENT
	}
	if k.settle(id, k.ledger.at(id), settled) {
		return syscall.ENOENT
	}
	return 0
}

// decideBatch does what nfqnl_recv_verdict_batch does.
func (k *Kernel) decideBatch() syscall.Errno {
	k.count.Batches++
	decided, void := 0, 0
	k.ledger.each(k.message.id, func(id uint32, e *entry) {
		switch {
		case e.state == refused:
			decided++
			k.replace(id)
		case k.settle(id, e, settled):
			void++
		default:
			decided++
		}
	})
	if decided+void == 0 && !k.message.again {
		k.wrong.add("batch verdict up to packet %d, in write %d, decides nothing", k.message.id, k.count.Writes)
	}
	if decided == 0 {
		return syscall.ENOENT
	}
	return 0
}

// settle enters the verdict on a packet that was not answered yet, and reports
// whether it comes too late.
func (k *Kernel) settle(id uint32, e *entry, next state) (void bool) {
	v := &k.message.v
	void = e.state == flushed
	v.Void = void
	tag := e.tag
	k.ledger.set(id, next)
	k.count.Verdicts++
	if void {
		k.count.Void++
	}
	k.count.ByCode[v.Verdict&verdictMask]++
	if _, ok := v.Attrs[zerocopy.AttrPayload]; ok {
		k.count.Modified++
	}
	if k.judge == nil {
		k.verdicts[id] = v.clone()
	} else if err := k.judge(id, tag, v); err != nil {
		k.wrong.add("packet %d: %v", id, err)
	}
	return void
}

// replace enters the verdict on a packet whose first was refused. It is nothing
// to judge: the engine chose it.
func (k *Kernel) replace(id uint32) {
	k.ledger.set(id, settled)
	if k.judge == nil {
		k.verdicts[id] = k.message.v.clone()
	}
}

// unanswerable enters verdicts that meet no queue: the kernel has decided what
// they are on.
func (k *Kernel) unanswerable(errno syscall.Errno) syscall.Errno {
	if !k.message.header || !acceptable(k.message.v.Verdict) {
		return errno
	}
	if k.message.v.Batch {
		k.decideBatch()
	} else {
		k.decide()
	}
	return errno
}

// refuseVerdict leaves the packets where they are, though they are answered.
func (k *Kernel) refuseVerdict(errno syscall.Errno) syscall.Errno {
	first := k.message.id
	if k.message.v.Batch {
		first = k.ledger.first
	}
	k.ledger.each(k.message.id, func(id uint32, e *entry) {
		switch {
		case int32(id-first) < 0:
		case e.state == waiting:
			k.settle(id, e, refused)
		case e.state == flushed:
			k.settle(id, e, settled)
		}
	})
	return errno
}

// answer sends an NLMSG_ERROR, if there is room for it.
func (k *Kernel) answer(errno syscall.Errno, h zerocopy.Header) {
	k.out = appendError(k.out[:0], uint32(errno), h.Type, h.Seq, h.PortID)
	if k.wire.write(k.out) != nil {
		k.count.ErrorsLost++
		return
	}
	k.count.Errors[errno]++
}
