package ipq

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

// track makes the kernel track connections in ns: it does so as soon as there
// is a rule that asks for them, even in a chain at no hook.
func track(t *testing.T, ns *netlab.NS) {
	t.Helper()
	nft, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	table := nft.AddTable(&nftables.Table{Name: "track", Family: nftables.TableFamilyINet})
	chain := nft.AddChain(&nftables.Chain{Name: "track", Table: table})
	nft.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: unix.NFT_REG32_00},
	}})
	if err := ns.Do(nft.Flush); errors.Is(err, unix.ENOENT) {
		t.Skip("this kernel has no ct expression of nft")
	} else if err != nil {
		t.Fatal(err)
	}
}

// What the kernel tells of a connection, and the marks that it takes.
func TestKernelConntrack(t *testing.T) {
	eachMode(t, func(t *testing.T, workers int) {
		ns := labtest.New(t)
		cfg := Config{Queue: fakeNumber, NetNS: ns.FD(), Workers: workers, Conntrack: true}
		if q, err := Open(cfg); errors.Is(err, errors.ErrUnsupported) {
			t.Skipf("this kernel has no conntrack attributes: %v", err)
		} else if err != nil {
			t.Fatal(err)
		} else {
			q.Close()
		}
		track(t, ns)
		u := newUDPPath(t, ns, "127.0.0.1")
		steps := []struct {
			text       string
			state      ConntrackState
			before     uint32 // ct mark
			mark, mask uint32 // for SetConnMark
		}{
			{"first", CTNew, 0, 0xabcd, 0x0ff0},
			{"no answer yet", CTNew, 0xbc0, 0xff05, 0xf},
			{"answered", CTEstablished, 0xbc5, 0xffff, 0},
			{"the same", CTEstablished, 0xbc5, 0, ^uint32(0)},
			{"cleared", CTEstablished, 0, 0, 0},
		}
		n, id := 0, uint32(0)
		_, stop := serve(t, cfg, HandlerFunc(func(p *Packet) Verdict {
			want := steps[n]
			ct, ok := p.Conntrack()
			if !ok || ct.State != want.state || ct.Mark != want.before || ct.Zone != 0 {
				t.Errorf("%s: %+v, %v; want %v, mark %#x", want.text, ct, ok, want.state, want.before)
			}
			if ct.Orig != p.Flow() || ct.Reply != p.Flow().Reverse() {
				t.Errorf("%s: %v and %v of %v", want.text, ct.Orig, ct.Reply, p.Flow())
			}
			if n == 0 {
				id = ct.ID
			}
			if ct.ID != id || id == 0 {
				t.Errorf("%s: id %#x, at first %#x", want.text, ct.ID, id)
			}
			if ct.Timeout <= 0 || ct.Timeout > time.Hour {
				t.Errorf("%s: timeout %v", want.text, ct.Timeout)
			}
			p.SetConnMark(want.mark, want.mask)
			return Accept
		}))
		for i, s := range steps {
			if s.state == CTEstablished && steps[i-1].state == CTNew {
				u.answer()
			}
			u.send(s.text)
			if got := u.receive(); got != s.text {
				t.Fatalf("%q arrived, want %q", got, s.text)
			}
			n++ // the handler runs between send and receive
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// answer sends a datagram the other way, which is not queued, and waits for it.
func (u *udpPath) answer() {
	u.t.Helper()
	_, err := u.to.WriteTo([]byte("answer"), u.from.LocalAddr().(*net.UDPAddr))
	if err == nil {
		u.from.SetReadDeadline(time.Now().Add(time.Minute)) // only reached by a failure
		_, err = u.from.Read(make([]byte, 16))
	}
	if err != nil {
		u.t.Fatal(err)
	}
}
