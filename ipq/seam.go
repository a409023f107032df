package ipq

import (
	"github.com/goipq/goipq/internal/nfsock"
	"github.com/goipq/goipq/internal/seam"
)

func init() {
	seam.Open = func(cfg any, dial func(*nfsock.Options) (seam.Link, error)) (any, error) {
		c, err := cfg.(Config).withDefaults()
		if err != nil {
			return nil, err
		}
		return openQueue(c, func(cfg *Config, queue uint16) (*socket, error) {
			link, err := dial(cfg.options(queue))
			if err != nil {
				return nil, opError("open", queue, err)
			}
			s := newSocket(link.Socket)
			s.recv, s.send = link.Recv, link.Send
			return s, nil
		})
	}
	seam.Packet = func(slot []byte, size int, s *nfsock.Socket) (any, error) {
		p := &Packet{slot: slot, size: size, sock: newSocket(s)}
		return p, p.msg.Decode(slot[:size:size])
	}
}
