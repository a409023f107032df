package netlab_test

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

func contains(err error, s string) bool { return strings.Contains(err.Error(), s) }

// send sends n datagrams of 100 bytes to each address in turn. Those on the
// loopback link have passed the output and postrouting hooks when it returns.
func send(t *testing.T, ns *netlab.NS, mark uint32, n int, addrs ...string) {
	t.Helper()
	must(t, ns.Do(func() error {
		// Not connected: a closed port's ICMP error would be the next Write's.
		c, err := net.ListenUDP("udp", nil)
		if err != nil {
			return err
		}
		defer c.Close()
		raw, err := c.SyscallConn()
		if err != nil {
			return err
		}
		raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(mark))
		})
		if err != nil {
			return err
		}
		for _, a := range addrs {
			to, err := net.ResolveUDPAddr("udp", a)
			if err != nil {
				return err
			}
			for range n {
				if _, err := c.WriteTo(make([]byte, 100), to); err != nil {
					return err
				}
			}
		}
		return nil
	}))
}

func counters(t *testing.T, set *netlab.Ruleset) []netlab.Counter {
	t.Helper()
	c, err := set.Counters()
	must(t, err)
	return c
}

func wantPackets(t *testing.T, set *netlab.Ruleset, want ...uint64) {
	t.Helper()
	got := counters(t, set)
	if len(got) != len(want) {
		t.Fatalf("%d counters, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i].Packets != want[i] {
			t.Errorf("rule %d counted %d packets, want %d", i, got[i].Packets, want[i])
		}
	}
}

func TestCounterEqualsPacketsSent(t *testing.T) {
	ns := labtest.New(t)
	udp := func(m netlab.Match) netlab.Match {
		m.L4Proto = unix.IPPROTO_UDP
		return m
	}
	set, err := ns.InstallCounter(netlab.Output, 0,
		udp(netlab.Match{}),
		udp(netlab.Match{Family: unix.AF_INET}),
		udp(netlab.Match{Family: unix.AF_INET6}),
		udp(netlab.Match{DstPort: 1001}),
		udp(netlab.Match{Mark: 7}),
		udp(netlab.Match{NotMark: 7}),
		udp(netlab.Match{OutDev: "lo"}),
		udp(netlab.Match{OutDev: "l"}),
		netlab.Match{L4Proto: unix.IPPROTO_TCP},
	)
	must(t, err)
	send(t, ns, 0, 10, "127.0.0.1:1001", "127.0.0.9:1002")
	send(t, ns, 7, 5, "[::1]:1001")
	wantPackets(t, set, 25, 20, 5, 15, 5, 20, 25, 0, 0)
	got := counters(t, set)
	if want := uint64(20 * (20 + 8 + 100)); got[1].Bytes != want {
		t.Errorf("IPv4 bytes %d, want %d", got[1].Bytes, want)
	}
	if want := uint64(5 * (40 + 8 + 100)); got[2].Bytes != want {
		t.Errorf("IPv6 bytes %d, want %d", got[2].Bytes, want)
	}
}

func TestEchoRequest(t *testing.T) {
	ns := labtest.New(t)
	set, err := ns.InstallCounter(netlab.Output, 0,
		netlab.Match{EchoRequest: true},
		netlab.Match{EchoRequest: true, Family: unix.AF_INET},
		netlab.Match{EchoRequest: true, Family: unix.AF_INET6})
	must(t, err)
	ping := func(network, addr string, icmpType byte, n int) {
		must(t, ns.Do(func() error {
			c, err := net.Dial(network, addr)
			if err != nil {
				return err
			}
			defer c.Close()
			msg := make([]byte, 8)
			msg[0] = icmpType
			binary.BigEndian.PutUint16(msg[2:], ^uint16(icmpType)<<8|0xff) // the kernel does ICMPv6's itself
			for range n {
				if _, err := c.Write(msg); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	ping("ip4:icmp", "127.0.0.1", 8, 3)
	ping("ip4:icmp", "127.0.0.1", 0, 20) // replies: not counted
	ping("ip6:ipv6-icmp", "::1", 128, 4)
	ping("ip6:ipv6-icmp", "::1", 129, 20)
	wantPackets(t, set, 7, 3, 4)
}

// Without a listener, a queued packet is dropped; that it was queued is what
// this proves. With Bypass it goes on.
func TestQueueRuleQueues(t *testing.T) {
	for _, c := range []struct {
		name   string
		rule   netlab.Rule
		passed uint64
	}{
		{"dropped", netlab.Rule{Queue: 5}, 0},
		{"bypassed", netlab.Rule{Queue: 5, Bypass: true}, 20},
		{"range", netlab.Rule{Queue: 65000, Queues: 536}, 0},
		{"most", netlab.Rule{Queues: 65535}, 0},
		{"fanout bypassed", netlab.Rule{Queue: 8, Queues: 2, FanoutCPU: true, Bypass: true}, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			ns := labtest.New(t)
			c.rule.Hook = netlab.Output
			c.rule.Match = netlab.Match{L4Proto: unix.IPPROTO_UDP}
			queue, err := ns.InstallQueue(c.rule)
			must(t, err)
			after, err := ns.InstallCounter(netlab.Postrouting, 0, c.rule.Match)
			must(t, err)
			send(t, ns, 0, 10, "127.0.0.1:9", "[::1]:9")
			wantPackets(t, queue, 20)
			wantPackets(t, after, c.passed)

			must(t, queue.Remove())
			send(t, ns, 0, 10, "127.0.0.1:9", "[::1]:9")
			wantPackets(t, after, c.passed+20)
			if _, err := queue.Counters(); err == nil {
				t.Error("counters of a removed ruleset: no error")
			}
		})
	}
}

func TestRulesAtSeveralHooksAndPriorities(t *testing.T) {
	ns := labtest.New(t)
	udp := netlab.Match{L4Proto: unix.IPPROTO_UDP}
	var rules []netlab.Rule
	for hook := netlab.Prerouting; hook <= netlab.Postrouting; hook++ {
		for _, priority := range []int32{-10, 10} {
			rules = append(rules, netlab.Rule{Hook: hook, Priority: priority, Match: udp, Bypass: true})
		}
	}
	set, err := ns.InstallQueue(rules...)
	must(t, err)
	receiver := listen(t, ns, "127.0.0.1")
	exchange(t, listen(t, ns, "127.0.0.1"), receiver)
	wantPackets(t, set, 2, 2, 2, 2, 0, 0, 2, 2, 2, 2)
}

func TestInstallDrop(t *testing.T) {
	ns := labtest.New(t)
	set, err := ns.InstallDrop(netlab.Prerouting, 0, netlab.Match{L4Proto: unix.IPPROTO_UDP, DstPort: 9})
	must(t, err)
	after, err := ns.InstallCounter(netlab.Input, 0, netlab.Match{L4Proto: unix.IPPROTO_UDP, DstPort: 9})
	must(t, err)
	send(t, ns, 0, 4, "127.0.0.1:9")
	// What follows on the same path proves that the four have had their turn.
	exchange(t, listen(t, ns, "127.0.0.1"), listen(t, ns, "127.0.0.1"))
	wantPackets(t, set, 4)
	wantPackets(t, after, 0)
}

func TestRefusedRulesLeaveNoTable(t *testing.T) {
	ns := labtest.New(t)
	for name, rule := range map[string]netlab.Rule{
		"hook":               {Hook: 5},
		"negative hook":      {Hook: -1},
		"family":             {Match: netlab.Match{Family: 99}},
		"port":               {Match: netlab.Match{DstPort: 9}},
		"echo with protocol": {Match: netlab.Match{EchoRequest: true, L4Proto: unix.IPPROTO_UDP}},
		"link name":          {Match: netlab.Match{InDev: strings.Repeat("x", 16)}},
		"range":              {Queue: 65000, Queues: 537},
		"all":                {Queues: 65536},
		"negative":           {Queues: -1},
	} {
		// The good rule first: all or nothing.
		if _, err := ns.InstallQueue(netlab.Rule{}, rule); !errors.Is(err, os.ErrInvalid) {
			t.Errorf("%s: %v, want os.ErrInvalid", name, err)
		}
	}
	if _, err := ns.InstallQueue(); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("no rules: %v, want os.ErrInvalid", err)
	}
	must(t, ns.Do(func() error {
		tables, err := new(nftables.Conn).ListTables()
		if len(tables) != 0 {
			t.Errorf("%d tables left", len(tables))
		}
		return err
	}))
}

// The probe's answer must be the kernel's: it and the ruleset agree, and the
// probe leaves nothing behind.
func TestProbeQueueExpr(t *testing.T) {
	ns := labtest.New(t)
	native, err := netlab.ProbeQueueExpr(ns)
	must(t, err)
	set, err := ns.InstallQueue(netlab.Rule{Hook: netlab.Output})
	must(t, err)
	if set.UsesTarget() == native {
		t.Errorf("the kernel's own expression: %v; target used: %v", native, set.UsesTarget())
	}
	must(t, set.Remove(), ns.Do(func() error {
		tables, err := new(nftables.Conn).ListTables()
		if len(tables) != 0 {
			t.Errorf("%d tables left", len(tables))
		}
		return err
	}))
	t.Logf("queue expression: %v", native)
}

func TestQueueStats(t *testing.T) {
	ns := labtest.New(t)
	if stats, err := ns.QueueStats(); len(stats) != 0 || err != nil {
		t.Errorf("without a queue: %v, %v", stats, err)
	}
	_, err := ns.InstallQueue(netlab.Rule{Hook: netlab.Output, Queue: 42})
	must(t, err)
	bind(t, ns, 42, 64)
	send(t, ns, 0, 3, "127.0.0.1:9")
	stats, err := ns.QueueStats()
	must(t, err)
	if len(stats) != 1 {
		t.Fatalf("%d queues, want 1", len(stats))
	}
	got := stats[0]
	if got.PortID == 0 {
		t.Error("port id 0")
	}
	got.PortID = 0
	want := netlab.QueueStat{Queue: 42, Waiting: 3, CopyMode: 2, CopyRange: 64, IDSequence: 3}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestQueueStatsOfTheEnteredNamespace(t *testing.T) {
	labtest.Need(t)
	lab, err := netlab.Current()
	must(t, err)
	defer lab.Close()
	_, err = lab.QueueStats()
	if netlab.Privileged() {
		must(t, err)
	} else if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("as an ordinary user: %v, want fs.ErrPermission", err)
	}
}

// bind listens on a queue with NFQNL_COPY_PACKET until the test ends.
func bind(t *testing.T, ns *netlab.NS, queue uint16, copyRange uint32) {
	t.Helper()
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: ns.FD()})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	params := append(binary.BigEndian.AppendUint32(nil, copyRange), 2)
	attrs, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: 1, Data: []byte{1, 0, 0, 0}}, // NFQA_CFG_CMD: NFQNL_CFG_CMD_BIND
		{Type: 2, Data: params},             // NFQA_CFG_PARAMS
	})
	must(t, err)
	nfgenmsg := binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0}, queue)
	_, err = c.Execute(netlink.Message{
		Header: netlink.Header{
			Type:  unix.NFNL_SUBSYS_QUEUE<<8 | 2, // NFQNL_MSG_CONFIG
			Flags: netlink.Request | netlink.Acknowledge,
		},
		Data: append(nfgenmsg, attrs...),
	})
	must(t, err)
}
