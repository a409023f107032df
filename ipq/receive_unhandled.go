package ipq

// receiveUnhandled reads one batch into the spare and decides it without the
// handler: excess by the policy for it, and what comes when handlers do not
// return by Config.OnTimeout.
func (l *loop) receiveUnhandled(fd int) received {
	by := l.e.lateness()
	if by == byEnd {
		l.to.decided() // so that nothing is overtaken
	} else if l.e.cfg.Overload != Wait {
		by = byOverload
	}
	n, errno := l.sock.recv(l.spare.Batch, fd)
	if errno != 0 {
		return l.recvError(errno)
	}
	l.sizes.add(n)
	w := l.unhandled
	w.begin(l.spare.Verdicts())
	packets := uint64(0)
	for i := range n {
		p := l.packet(l.spare, i)
		if p == nil {
			continue
		}
		packets++
		if by == byOverload && l.e.cfg.Overload == AcceptExcess && !p.broken && l.to.overtakes(p) {
			l.count.inc(countOvertook)
		}
		l.failed(w.addUnhandled(p, by))
	}
	l.count.add(countReceived, packets)
	l.failed(w.flush())
	l.spare.recycle()
	if n < l.spare.Slots() {
		return some
	}
	return more
}
