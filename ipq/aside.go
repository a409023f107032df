package ipq

import "syscall"

// receiveAside reads one batch into the reserve and decides it without the
// handler: excess by the policy for it, and what comes when handlers do not
// return by Config.OnTimeout.
func (l *loop) receiveAside(fd int) received {
	overdue := l.q.overdue.Load()
	if s, ok := l.sink.(*pooled); ok && overdue {
		// So that nothing is overtaken. It is not long: the watchdog takes
		// over from whatever handler is running.
		s.undecided.Wait()
	}
	n, errno := l.sock.recv(l.reserve.Batch, fd)
	if errno != 0 {
		return l.recvError(errno)
	}
	l.sizes.add(n)
	w, cfg := l.aside, &l.q.cfg
	timeOut := cfg.Workers == Inline || overdue
	w.begin(l.reserve.Verdicts())
	packets, overtook := uint64(0), uint64(0)
	for i := range n {
		p := l.packet(l.reserve, i)
		if p == nil {
			continue
		}
		packets++
		var err error
		switch {
		case p.broken:
			err = w.addID(p.ID(), cfg.onUndecodable())
		case timeOut:
			err = w.timeOut(p.ID(), cfg.OnTimeout)
		case cfg.Overload == AcceptExcess:
			if l.sink.(*pooled).overtakes(p) {
				overtook++
			}
			w.excessAccepted++
			err = w.addID(p.ID(), Accept)
		default:
			w.excessDropped++
			err = w.addID(p.ID(), Drop)
		}
		if err != nil {
			l.fail(err)
		}
	}
	l.count.received.Add(packets)
	l.count.overtook.Add(overtook)
	if err := w.flush(); err != nil {
		l.fail(err)
	}
	l.reserve.recycle()
	if n < l.reserve.Slots() {
		return some
	}
	return more
}

// recvError says how to go on after a failed receive call.
func (l *loop) recvError(errno syscall.Errno) received {
	switch errno {
	case syscall.EAGAIN:
		return empty
	case syscall.ENOBUFS:
		// The socket overflowed, and says so once. The packets that did not
		// fit are in SocketDropped; those that did are to be read.
		l.count.overruns.Add(1)
		return more
	case syscall.ENOMEM:
		l.count.readRetries.Add(1)
		l.rest()
		return more
	}
	l.fail(l.sock.fail("receive", errno))
	return broken
}
