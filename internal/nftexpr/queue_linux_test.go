package nftexpr_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/nftexpr"
)

// Both forms of the action, as they go to the kernel inside NFTA_LIST_ELEM:
// NFTA_EXPR_NAME (1), then NFTA_EXPR_DATA (2, nested).
func TestQueueOnTheWire(t *testing.T) {
	for _, c := range []struct {
		name   string
		queue  nftexpr.Queue
		native string // NFTA_QUEUE_NUM, NFTA_QUEUE_TOTAL, NFTA_QUEUE_FLAGS: be16
		target [3]uint16
	}{
		{"one", nftexpr.Queue{First: 5, Count: 1}, "0005 0001 0000", [3]uint16{5, 1, 0}},
		{"bypass", nftexpr.Queue{First: 5, Count: 1, Bypass: true}, "0005 0001 0001", [3]uint16{5, 1, 1}},
		{"balanced", nftexpr.Queue{First: 256, Count: 4}, "0100 0004 0000", [3]uint16{256, 4, 0}},
		{"fanout", nftexpr.Queue{First: 1, Count: 2, FanoutCPU: true}, "0001 0002 0002", [3]uint16{1, 2, 2}},
		{"both", nftexpr.Queue{Count: 65535, Bypass: true, FanoutCPU: true}, "0000 ffff 0003", [3]uint16{0, 65535, 3}},
		{"last", nftexpr.Queue{First: 65535, Count: 1}, "ffff 0001 0000", [3]uint16{65535, 1, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := strings.Fields(c.native)
			native := unhex(t,
				"0a00 0100", hex.EncodeToString([]byte("queue\x00")), "0000", // padded to 12
				"1c00 0280", // 4 + 3 attributes of 8
				"0600 0100", v[0], "0000",
				"0600 0200", v[1], "0000",
				"0600 0300", v[2], "0000")
			checkWire(t, c.queue.Expr(true), native)

			info := make([]byte, 8)
			for i, field := range c.target {
				binary.NativeEndian.PutUint16(info[2*i:], field)
			}
			target := unhex(t,
				"0b00 0100", hex.EncodeToString([]byte("target\x00")), "00", // padded to 12
				"2400 0280", // 4 + 12 + 8 + 12
				"0c00 0100", hex.EncodeToString([]byte("NFQUEUE\x00")),
				"0800 0200", "00000003",
				"0c00 0300", hex.EncodeToString(info))
			checkWire(t, c.queue.Expr(false), target)
		})
	}
}

func checkWire(t *testing.T, e expr.Any, want []byte) {
	t.Helper()
	got, err := expr.Marshal(unix.NFPROTO_INET, e)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%T\ngot  %x\nwant %x", e, got, want)
	}
}

// unhex decodes attributes, which are written here with little-endian headers.
func unhex(t *testing.T, parts ...string) []byte {
	t.Helper()
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("attribute headers are of the machine's byte order, these are little-endian")
	}
	b, err := hex.DecodeString(strings.ReplaceAll(strings.Join(parts, ""), " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Without a listener a queued packet is dropped, or goes on if the queue may be
// passed by. Every form that the kernel has does so.
func TestQueueQueues(t *testing.T) {
	for _, native := range []bool{true, false} {
		for _, c := range []struct {
			name   string
			queue  nftexpr.Queue
			passed uint64
		}{
			{"one", nftexpr.Queue{First: 5, Count: 1}, 0},
			{"several", nftexpr.Queue{First: 65000, Count: 536}, 0},
			{"bypassed", nftexpr.Queue{First: 5, Count: 1, Bypass: true}, 1},
			{"fanout bypassed", nftexpr.Queue{First: 8, Count: 2, Bypass: true, FanoutCPU: true}, 1},
		} {
			t.Run(fmt.Sprintf("%s/native=%v", c.name, native), func(t *testing.T) {
				ns := quiet(t)
				action := c.queue.Expr(native)
				if err := nftexpr.Try(connect(t, ns), action); errors.Is(err, unix.ENOENT) {
					t.Skipf("this kernel has no %T", action)
				}
				queued := newCounting(t, ns, *nftables.ChainHookOutput)
				queued.nft.AddRule(nftexpr.Rule(queued.chain, []expr.Any{action}))
				queued.install()
				passed, err := ns.InstallCounter(netlab.Postrouting, 0)
				if err != nil {
					t.Fatal(err)
				}
				err = datagram{"udp", "127.0.0.1:2000", 0, "data"}.send(t, ns)
				queued.packets(1)
				if n, countErr := passed.Counters(); countErr != nil || n[0].Packets != c.passed {
					t.Errorf("%v, %v; want %d packet to pass; sending it: %v", n, countErr, c.passed, err)
				}
			})
		}
	}
}
