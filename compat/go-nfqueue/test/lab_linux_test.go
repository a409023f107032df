package test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	nfqueue "github.com/florianl/go-nfqueue/v2"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

const (
	queue = 100
	port  = 9009
)

// A path sends datagrams over loopback in a namespace, and so through the queue.
type path struct {
	t        testing.TB
	ns       *netlab.NS
	from, to *net.UDPConn
}

// newPath returns a path whose datagrams are queued as rules say, or as they leave.
func newPath(t testing.TB, rules ...netlab.Rule) *path {
	t.Helper()
	ns := labtest.New(t)
	if rules == nil {
		rules = []netlab.Rule{{Hook: netlab.Output}}
	}
	for i := range rules {
		rules[i].Queue = queue
		rules[i].Match.L4Proto, rules[i].Match.DstPort = unix.IPPROTO_UDP, port
	}
	if _, err := ns.InstallQueue(rules...); err != nil {
		t.Fatal(err)
	}
	p := &path{t: t, ns: ns}
	if err := ns.Do(func() (err error) {
		addr := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
		if p.to, err = net.ListenUDP("udp", addr); err != nil {
			return err
		}
		p.from, err = net.DialUDP("udp", nil, addr)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.from.Close(); p.to.Close() })
	return p
}

func (p *path) send(text string) {
	p.t.Helper()
	if _, err := p.from.Write([]byte(text)); err != nil {
		p.t.Fatal(err)
	}
}

// arrives fails the test unless these datagrams arrive next, in that order.
func (p *path) arrives(texts ...string) {
	p.t.Helper()
	buf := make([]byte, 1<<16)
	for _, want := range texts {
		p.to.SetReadDeadline(time.Now().Add(time.Minute)) // only reached by a failure
		n, err := p.to.Read(buf)
		if err != nil {
			p.t.Fatalf("waiting for %q: %v", want, err)
		}
		if got := string(buf[:n]); got != want {
			p.t.Errorf("%q arrived, want %q", got, want)
		}
	}
}

// open opens a queue for whole packets, unless cfg says otherwise, in the namespace.
func (p *path) open(cfg nfqueue.Config) *nfqueue.Nfqueue {
	p.t.Helper()
	cfg.NetNS, cfg.NfQueue = p.ns.FD(), queue
	if cfg.Copymode == nfqueue.NfQnlCopyNone {
		cfg.Copymode, cfg.MaxPacketLen = nfqueue.NfQnlCopyPacket, 0xffff
	}
	nf, err := nfqueue.Open(&cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { nf.Close() })
	return nf
}

// register registers a hook, for which no error is expected.
func register(t testing.TB, nf *nfqueue.Nfqueue, hook nfqueue.HookFunc) (cancel context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	if err := nf.RegisterWithErrorFunc(ctx, hook, func(err error) int {
		t.Errorf("error function: %v", err)
		return 0
	}); err != nil {
		t.Fatal(err)
	}
	return cancel
}

// registerOrSkip is register where a kernel may not have what cfg asks for.
func registerOrSkip(t testing.TB, nf *nfqueue.Nfqueue, hook nfqueue.HookFunc) {
	t.Helper()
	err := nf.RegisterWithErrorFunc(t.Context(), hook, func(err error) int {
		t.Errorf("error function: %v", err)
		return 0
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Skipf("this kernel: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
}

// text returns the data of a datagram.
func text(a nfqueue.Attribute) string { return string((*a.Payload)[28:]) }

// A record is a Logger that remembers what it was told.
type record struct {
	mu            sync.Mutex
	debug, errors []string
}

func (r *record) Debugf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.debug = append(r.debug, fmt.Sprintf(format, args...))
}

func (r *record) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

// told returns how many messages of a kind there were.
func (r *record) told(of *[]string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(*of)
}

// await waits until cond holds, which it asks less and less often.
func await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	end := time.Now().Add(time.Minute) // only reached by a failure
	for pause := 50 * time.Microsecond; !cond(); pause = min(2*pause, 5*time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(pause)
	}
}
