package fakekernel

import (
	"encoding/binary"
	"syscall"

	"github.com/mdlayher/netlink"

	"github.com/goipq/goipq/internal/zerocopy"
)

// A Config is a config message that the kernel got, its attributes by type.
type Config map[uint16][]byte

// An instance is the queue as it is bound: struct nfqnl_instance.
type instance struct {
	bound     bool
	ended     bool // was bound, and is not any more
	maxLen    uint32
	copyMode  uint8
	copyRange uint32
	flags     uint32
}

const defaultMaxLen = 1024 // NFQNL_QMAX_DEFAULT

// Refuse has config messages answered with the errno that f returns, if it is
// not 0.
func (k *Kernel) Refuse(f func(Config) syscall.Errno) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refuse = f
}

// Configs returns the config messages that were accepted.
func (k *Kernel) Configs() []Config {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]Config(nil), k.configs...)
}

// config takes a config message, within the sender's call as the kernel does.
func (k *Kernel) config(m netlink.Message) error {
	c := Config{}
	ad, err := netlink.NewAttributeDecoder(m.Data[zerocopy.GenHeaderLen:])
	if err != nil {
		return err
	}
	for ad.Next() {
		c[ad.Type()] = append([]byte(nil), ad.Bytes()...)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wire.takeAll() // which was written before
	var errno syscall.Errno
	if k.refuse != nil {
		errno = k.refuse(c)
	}
	if errno == 0 {
		errno = k.configure(c)
	}
	if errno != 0 {
		return k.send(appendError(nil, uint32(errno), zerocopy.TypeConfig, m.Header.Sequence, m.Header.PID))
	}
	k.configs = append(k.configs, c)
	return nil
}

// configure does what nfqnl_recv_config does, in its order.
func (k *Kernel) configure(c Config) syscall.Errno {
	q := &k.queue
	if flags := c[zerocopy.CfgFlags]; flags != nil && c[zerocopy.CfgMask] == nil {
		return syscall.EINVAL
	}
	if cmd := c[zerocopy.CfgCmd]; len(cmd) > 0 {
		switch cmd[0] {
		case zerocopy.CmdBind:
			if q.bound {
				return syscall.EBUSY // to the socket that owns it, which is the only one there is
			}
			k.wire.listens(true)
			*q = instance{bound: true, maxLen: defaultMaxLen, copyMode: zerocopy.CopyNone}
		case zerocopy.CmdUnbind:
			if !q.bound {
				return syscall.ENODEV
			}
			k.unbind(true)
			return 0
		case zerocopy.CmdPFBind, zerocopy.CmdPFUnbind:
			return 0
		default:
			return syscall.EOPNOTSUPP
		}
	}
	if !q.bound {
		return syscall.ENODEV
	}
	if p := c[zerocopy.CfgParams]; len(p) >= 5 {
		q.copyMode, q.copyRange = p[4], binary.BigEndian.Uint32(p)
		if q.copyRange == 0 || q.copyRange > zerocopy.MaxCopyRange {
			q.copyRange = zerocopy.MaxCopyRange
		}
	}
	if n := c[zerocopy.CfgQueueMaxlen]; len(n) >= 4 {
		q.maxLen = binary.BigEndian.Uint32(n)
	}
	if flags := c[zerocopy.CfgFlags]; len(flags) >= 4 {
		mask := binary.BigEndian.Uint32(c[zerocopy.CfgMask])
		q.flags = q.flags&^mask | binary.BigEndian.Uint32(flags)&mask
	}
	return 0
}

// unbind gives the queue up, with which the kernel drops what waits in it. That
// is a complaint if user space did it.
func (k *Kernel) unbind(byUser bool) {
	if n := k.ledger.count[waiting]; byUser && n != 0 {
		k.wrong.add("%d packets were dropped as the queue was unbound, the first %d", n, k.ledger.first)
	}
	k.queue = instance{ended: true}
	k.flush(byUser)
	k.wire.listens(false)
}

// flush decides what waits. It will be answered if it is not final.
func (k *Kernel) flush(final bool) {
	k.ledger.each(k.lastID, func(id uint32, e *entry) {
		switch {
		case e.state == refused, e.state == waiting && final:
			k.count.Flushed++
			k.ledger.set(id, settled)
		case e.state == waiting:
			k.count.Flushed++
			k.ledger.set(id, flushed)
		}
	})
	k.notify()
}

// userClosed is called as user space closes its socket.
func (k *Kernel) userClosed() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wire.takeAll()
	if k.queue.bound {
		k.unbind(true)
	}
}
