package nftexpr_test

import (
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"github.com/goipq/goipq/internal/nftexpr"
)

func TestMain(m *testing.M) { labtest.Main(m) }

func connect(t *testing.T, ns *netlab.NS) *nftables.Conn {
	t.Helper()
	nft, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
	if err != nil {
		t.Fatal(err)
	}
	return nft
}

// A counting is a chain whose rules count packets. The first counts all.
type counting struct {
	t     *testing.T
	nft   *nftables.Conn
	chain *nftables.Chain
}

func newCounting(t *testing.T, ns *netlab.NS, hook nftables.ChainHook) *counting {
	c := &counting{t: t, nft: connect(t, ns)}
	table := c.nft.CreateTable(&nftables.Table{Name: "counting", Family: nftables.TableFamilyINet})
	c.chain = c.nft.AddChain(nftexpr.BaseChain(table, "counting", hook, 0))
	c.rule()
	return c
}

// rule adds a rule that counts the packets which all its parts let pass.
func (c *counting) rule(parts ...[]expr.Any) {
	c.nft.AddRule(nftexpr.Rule(c.chain, append(parts, []expr.Any{&expr.Counter{}})...))
}

// install has the kernel take what was added.
func (c *counting) install() {
	c.t.Helper()
	if err := c.nft.Flush(); err != nil {
		c.t.Fatal(err)
	}
}

// packets returns what the rules have counted, but for the first, once that has
// counted n.
func (c *counting) packets(n int) (packets []int) {
	c.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		rules, err := c.nft.GetRules(c.chain.Table, c.chain)
		if err != nil {
			c.t.Fatal(err)
		}
		var counters []*expr.Counter
		for _, rule := range rules {
			for _, e := range rule.Exprs {
				if counter, ok := e.(*expr.Counter); ok {
					counters = append(counters, counter)
				}
			}
		}
		if all := counters[0].Packets; all != uint64(n) && time.Now().Before(deadline) {
			continue
		} else if all != uint64(n) {
			c.t.Fatalf("%d packets counted, %d sent", all, n)
		}
		for _, counter := range counters[1:] {
			packets = append(packets, int(counter.Packets))
		}
		return packets
	}
}

// A datagram goes over the loopback link.
type datagram struct {
	network string // as net.Dial takes it
	to      string
	mark    int
	data    string
}

// senderPort is where datagrams of UDP come from.
const senderPort = 1000

// send sends d, which then has passed the output hook.
func (d datagram) send(t *testing.T, ns *netlab.NS) error {
	t.Helper()
	var refused error
	if err := ns.Do(func() error {
		dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
			raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, d.mark) })
			return err
		}}
		if to, err := netip.ParseAddrPort(d.to); err == nil {
			dialer.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(to.Addr(), senderPort))
		}
		c, err := dialer.Dial(d.network, d.to)
		if err != nil {
			return err
		}
		defer c.Close()
		_, refused = c.Write([]byte(d.data))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return refused
}
