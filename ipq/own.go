package ipq

import (
	"context"
	"net"
	"syscall"

	"github.com/goipq/goipq/internal/nfsock"
)

// Dialer returns a dialer whose sockets give their packets that mark (SO_MARK), so that
// rules can tell them from the host's other traffic: see [Config.OwnMark]. It looks names
// up by Go's own resolver, whose queries have the mark, too. Its other fields may be set.
//
// What comes back has no mark. Rules that queue at hooks before the local sockets pass it
// by its connection, such as by a connection mark that they give to what has OwnMark.
//
// To set a mark takes CAP_NET_ADMIN or, from Linux 5.17 on, CAP_NET_RAW, over the network
// namespace; without, Dial returns an error that matches [fs.ErrPermission]. On systems
// other than Linux it returns [errors.ErrUnsupported].
//
// [fs.ErrPermission]: https://pkg.go.dev/io/fs#pkg-variables
// [errors.ErrUnsupported]: https://pkg.go.dev/errors#pkg-variables
func Dialer(mark uint32) *net.Dialer {
	control := func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = nfsock.SetMark(fd, mark) }); cerr != nil {
			return cerr
		}
		return err
	}
	return &net.Dialer{
		Control: control,
		Resolver: &net.Resolver{
			PreferGo: true,
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				return (&net.Dialer{Control: control}).DialContext(ctx, network, address)
			},
		},
	}
}

// unhandled is why no handler is called for p, when it could be, or time is over.
func (e *engine) unhandled(p *Packet) cause {
	if e.own(p) {
		return byOwn
	}
	return e.lateness()
}

// own reports whether p is of this product's own traffic.
func (e *engine) own(p *Packet) bool { return e.cfg.OwnMark != 0 && e.meetsOwn(p) }

// meetsOwn is own where there is such traffic. It logs the first packet of it.
func (e *engine) meetsOwn(p *Packet) bool {
	mark := e.cfg.OwnMark
	if p.broken || p.msg.Mark() != mark {
		return false
	}
	if e.metOwn.first() {
		go e.cfg.Logger.Warn("ipq: this product's own traffic comes to its queue, and passes: have the rules accept its mark before they queue",
			"mark", mark, "queue", p.Queue(), "flow", p.Flow())
	}
	return true
}
