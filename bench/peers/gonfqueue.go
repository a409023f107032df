//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"time"

	nfqueue "github.com/florianl/go-nfqueue/v2"
	"github.com/mdlayher/netlink"
)

var (
	// goNFQueueExample is florianl/go-nfqueue as the example in its
	// documentation has it.
	goNFQueueExample = inGo(contestant{
		name:     "go-nfqueue-defaults",
		title:    "go-nfqueue, as documented",
		settings: "the example of its documentation: whole packets, a queue of 255, NO_ENOBUFS, the system's read buffer",
	}, func(s setup, m *meter) error {
		return serveGoNFQueue(s, m, nfqueue.Config{MaxQueueLen: 0xFF}, false)
	})

	// goNFQueue is the same with the buffers that a flood needs, and with GSO.
	goNFQueue = inGo(contestant{
		name:     "go-nfqueue",
		title:    "go-nfqueue, tuned",
		settings: "the same with the common queue length, and read and write buffers for a full queue; GSO in tcp",
	}, func(s setup, m *meter) error {
		cfg := nfqueue.Config{MaxQueueLen: uint32(s.MaxQueueLen)}
		if s.GSO {
			cfg.Flags = nfqueue.NfQaCfgFlagGSO
		}
		return serveGoNFQueue(s, m, cfg, true)
	})
)

func serveGoNFQueue(s setup, m *meter, cfg nfqueue.Config, buffers bool) error {
	cfg.NfQueue = s.Queue
	cfg.MaxPacketLen = 0xFFFF
	cfg.Copymode = nfqueue.NfQnlCopyPacket
	cfg.WriteTimeout = 15 * time.Millisecond
	nf, err := nfqueue.Open(&cfg)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if err := nf.SetOption(netlink.NoENOBUFS, true); err != nil {
		return fmt.Errorf("NoENOBUFS: %w", err)
	}
	if buffers {
		// The kernel doubles both.
		if err := nf.Con.SetReadBuffer(s.ReadBuffer / 2); err != nil {
			return fmt.Errorf("read buffer: %w", err)
		}
		if err := nf.Con.SetWriteBuffer(s.ReadBuffer / 2); err != nil {
			return fmt.Errorf("write buffer: %w", err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	accept := func(a nfqueue.Attribute) int {
		err := nf.SetVerdict(*a.PacketID, nfqueue.NfAccept)
		if err == nil {
			m.packets.Add(1)
		} else if ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "verdict:", err)
		}
		return 0
	}
	failed := func(err error) int {
		if ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "receive:", err)
		}
		return 0
	}
	if err := nf.RegisterWithErrorFunc(ctx, accept, failed); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	if err := m.ready(); err != nil {
		return err
	}
	<-m.done
	cancel()
	return nf.Close()
}
