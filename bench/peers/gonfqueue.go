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

// goNFQueue is florianl/go-nfqueue as its documentation shows it, with the
// socket buffers that a flood needs.
var goNFQueue = goConsumer("go-nfqueue", 1, func(s setup, m *meter) error {
	nf, err := nfqueue.Open(&nfqueue.Config{
		NfQueue:      s.Queue,
		MaxPacketLen: 0xFFFF,
		MaxQueueLen:  uint32(s.MaxLen),
		Copymode:     nfqueue.NfQnlCopyPacket,
		WriteTimeout: 15 * time.Millisecond,
	})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if err := nf.SetOption(netlink.NoENOBUFS, true); err != nil {
		return fmt.Errorf("NoENOBUFS: %w", err)
	}
	// The kernel doubles both.
	if err := nf.Con.SetReadBuffer(s.ReadBuffer / 2); err != nil {
		return fmt.Errorf("read buffer: %w", err)
	}
	if err := nf.Con.SetWriteBuffer(s.ReadBuffer / 2); err != nil {
		return fmt.Errorf("write buffer: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	accept := func(a nfqueue.Attribute) int {
		if err := nf.SetVerdict(*a.PacketID, nfqueue.NfAccept); err != nil {
			fmt.Fprintln(os.Stderr, "verdict:", err)
			return 0
		}
		m.packets.Add(1)
		return 0
	}
	failed := func(err error) int {
		if ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "receive:", err)
		}
		return 0
	}
	if err := nf.RegisterWithErrorFunc(ctx, accept, failed); err != nil {
		cancel()
		return fmt.Errorf("register: %w", err)
	}
	if err := m.ready(); err != nil {
		cancel()
		return err
	}
	<-m.done
	cancel()
	return nf.Close()
})
