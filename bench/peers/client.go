//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"sync"

	nfqueue "github.com/florianl/go-nfqueue/v2"
	"github.com/mdlayher/netlink"

	dropin "github.com/goipq/goipq/compat/go-nfqueue/v2"
)

// One client of go-nfqueue, over that and over goipq in its place. It is made as products
// are: the hook hands packets to workers, one for each CPU, by connection; a worker reads
// the headers and calls SetVerdict for each packet.
var (
	clientOverGoNFQueue = client(contestant{
		name:     "client-go-nfqueue",
		title:    "a client of go-nfqueue",
		settings: "a worker for each CPU, one SetVerdict for each packet; the common queue length, NO_ENOBUFS, read and write buffers for a full queue",
	}, func(s setup) (clientQueue, error) {
		nf, err := nfqueue.Open(&nfqueue.Config{
			NfQueue: s.Queue, MaxQueueLen: uint32(s.MaxQueueLen), MaxPacketLen: 0xffff, Copymode: nfqueue.NfQnlCopyPacket,
		})
		if err != nil {
			return clientQueue{}, err
		}
		return clientQueue{nf, nf.Con, func(ctx context.Context, hook func(id *uint32, payload *[]byte), failed func(error) int) error {
			return nf.RegisterWithErrorFunc(ctx, func(a nfqueue.Attribute) int {
				hook(a.PacketID, a.Payload)
				return 0
			}, failed)
		}}, nil
	})

	clientOverGoipq = client(contestant{
		name:     "client-goipq",
		title:    "the same client, with goipq in its place",
		settings: "the same",
	}, func(s setup) (clientQueue, error) {
		nf, err := dropin.Open(&dropin.Config{
			NfQueue: s.Queue, MaxQueueLen: uint32(s.MaxQueueLen), MaxPacketLen: 0xffff, Copymode: dropin.NfQnlCopyPacket,
		})
		if err != nil {
			return clientQueue{}, err
		}
		return clientQueue{nf, nf.Con, func(ctx context.Context, hook func(id *uint32, payload *[]byte), failed func(error) int) error {
			return nf.RegisterWithErrorFunc(ctx, func(a dropin.Attribute) int {
				hook(a.PacketID, a.Payload)
				return 0
			}, failed)
		}}, nil
	})
)

// A clientQueue is a Nfqueue of either.
type clientQueue struct {
	nf interface {
		SetVerdict(id uint32, verdict int) error
		SetOption(o netlink.ConnOption, enable bool) error
		Close() error
	}
	con      *netlink.Conn
	register func(ctx context.Context, hook func(id *uint32, payload *[]byte), failed func(error) int) error
}

func client(c contestant, open func(s setup) (clientQueue, error)) contestant {
	c.asked = true
	return inGo(c, func(s setup, m *meter) error {
		q, err := open(s)
		if err != nil {
			return err
		}
		return q.serve(s, m)
	})
}

func (q clientQueue) serve(s setup, m *meter) error {
	if err := q.nf.SetOption(netlink.NoENOBUFS, true); err != nil {
		return err
	}
	// The kernel doubles both.
	if err := q.con.SetReadBuffer(s.ReadBuffer / 2); err != nil {
		return err
	}
	if err := q.con.SetWriteBuffer(s.ReadBuffer / 2); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	type packet struct {
		id   uint32
		data []byte
	}
	const waiting = 64 // packets for a worker
	workers := make([]chan packet, runtime.GOMAXPROCS(0))
	var all sync.WaitGroup
	for i := range workers {
		workers[i] = make(chan packet, waiting)
		all.Go(func() {
			for p := range workers[i] {
				verdict := nfqueue.NfAccept
				if len(p.data) < 20 || p.data[0]>>4 != 4 {
					verdict = nfqueue.NfDrop
				}
				if err := q.nf.SetVerdict(p.id, verdict); err == nil {
					m.packets.Add(1)
				} else if ctx.Err() == nil {
					fmt.Fprintln(os.Stderr, "verdict:", err)
				}
			}
		})
	}
	if err := q.register(ctx, func(id *uint32, payload *[]byte) {
		data := *payload
		// The same for both directions: the sum of the addresses.
		stream := binary.BigEndian.Uint32(data[12:]) + binary.BigEndian.Uint32(data[16:])
		workers[stream%uint32(len(workers))] <- packet{*id, data}
	}, func(err error) int {
		if ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "receive:", err)
		}
		return 0
	}); err != nil {
		return err
	}
	if err := m.ready(); err != nil {
		return err
	}
	<-m.done
	cancel()
	err := q.nf.Close()
	for _, w := range workers {
		close(w)
	}
	all.Wait()
	return err
}
