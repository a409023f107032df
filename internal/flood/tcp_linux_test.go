package flood

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

var everywhere = netip.MustParseAddrPort("[::]:80") // IPv4, too

// startPair starts a server and then a client in ns; both end with the test at
// the latest.
func startPair(t *testing.T, ns *netlab.NS, server Server, client Client) (s, c *Flood) {
	t.Helper()
	err := ns.Do(func() (err error) {
		if s, err = StartServer(t.Context(), server); err != nil {
			return err
		}
		t.Cleanup(func() { s.Stop() })
		if c, err = StartClient(t.Context(), client); err != nil {
			return err
		}
		t.Cleanup(func() { c.Stop() })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

// stopPair ends the client and, once it has everything, the server.
func stopPair(t *testing.T, s, c *Flood) (server, client Stats) {
	t.Helper()
	client, err := c.Stop()
	if err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the server's connections to end", func() bool {
		st := s.Stats()
		return st.Opened >= client.Opened && st.Opened == st.Finished+st.Failed
	})
	server, err = s.Stop()
	if err != nil {
		t.Fatal(err)
	}
	return server, client
}

// All that a client's connections have taken arrives.
func TestBulk(t *testing.T) {
	s, c := startPair(t, labtest.New(t), Server{Listen: everywhere, CPUs: []int{0}},
		Client{To: netip.MustParsePrefix("127.1.0.0/16"), Port: 80, Streams: 3})
	waitUntil(t, "ten megabytes over three connections", func() bool {
		st := s.Stats()
		// The kernel opens a connection before either program has heard of it.
		return st.Opened == 3 && c.Stats().Opened == 3 && st.Bytes > 10<<20
	})
	server, client := stopPair(t, s, c)
	if client.Opened != 3 || server.Finished != 3 || client.Failed+server.Failed != 0 {
		t.Errorf("client %+v, server %+v: want 3 connections", client, server)
	}
	if client.Bytes != server.Bytes {
		t.Errorf("%d bytes were written, %d read", client.Bytes, server.Bytes)
	}
	if client.CPU <= 0 || client.Elapsed <= 0 || len(c.Latencies()) != 0 {
		t.Errorf("client %+v, latencies %v", client, c.Latencies())
	}
}

// Each connection of a churn is answered, counted and timed once.
func TestChurn(t *testing.T) {
	ns := labtest.New(t)
	if err := ns.Local("fd00::/112"); err != nil {
		t.Fatal(err)
	}
	for name, client := range map[string]Client{
		"closed loop": {To: netip.MustParsePrefix("127.1.0.0/16"), Port: 80, Streams: 4, Churn: 512},
		"paced, IPv6": {To: netip.MustParsePrefix("fd00::/112"), Port: 80, Streams: 4, Churn: 1, Rate: 2000},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := startPair(t, ns, Server{Listen: everywhere, Answer: 700}, client)
			waitUntil(t, "500 connections", func() bool { return c.Stats().Finished >= 500 })
			running := c.Latencies()
			server, got := stopPair(t, s, c)
			// The end may cut a connection that is being made.
			if got.Finished < 500 || got.Opened != got.Finished || server.Finished != got.Finished ||
				got.Failed != 0 || server.Failed > uint64(client.Streams) {
				t.Errorf("client %+v, server %+v", got, server)
			}
			if want := got.Finished * uint64(client.Churn); got.Bytes != want || server.Bytes != want {
				t.Errorf("%d bytes sent, %d received, want %d", got.Bytes, server.Bytes, want)
			}
			var timed uint64
			for _, l := range c.Latencies() {
				timed += l.Count
			}
			if timed != got.Finished || len(running) == 0 {
				t.Errorf("%d of %d connections were timed, %d counts before the end", timed, got.Finished, len(running))
			}
		})
	}
}

// A server that is stopped ends its clients' connections, and they notice.
func TestServerGoesFirst(t *testing.T) {
	s, c := startPair(t, labtest.New(t), Server{Listen: everywhere},
		Client{To: netip.MustParsePrefix("127.1.0.0/16"), Port: 80})
	waitUntil(t, "some bytes", func() bool { return s.Stats().Bytes > 0 })
	if _, err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the client to notice", func() bool { return c.Stats().Failed > 0 })
	if _, err := c.Stop(); err != nil {
		t.Error(err)
	}
}

func TestServerAddressIsTaken(t *testing.T) {
	ns := labtest.New(t)
	startPair(t, ns, Server{Listen: everywhere}, Client{To: netip.MustParsePrefix("127.1.0.0/16"), Port: 80})
	err := ns.Do(func() error {
		_, err := StartServer(t.Context(), Server{Listen: everywhere})
		return err
	})
	if err == nil || errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "listen on [::]:80") {
		t.Errorf("a second server: %v", err)
	}
}
