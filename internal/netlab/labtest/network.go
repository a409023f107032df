package labtest

import (
	"errors"
	"testing"

	"github.com/goipq/goipq/internal/netlab"
)

// A Network is two hosts with a router between them. The client is 10.1.0.1 and
// fd01::1, the server 10.2.0.1 and fd02::1; the router ends in 254 and fe on both
// sides. Each link has the name of the namespace that it leads to.
type Network struct{ Client, Router, Server *netlab.NS }

// NewNetwork returns a fresh network that is taken down when the test ends. It
// calls [Need].
func NewNetwork(t testing.TB) *Network {
	t.Helper()
	n := &Network{New(t), New(t), New(t)}
	if err := errors.Join(
		netlab.Veth(n.Client, "router", n.Router, "client"), netlab.Veth(n.Router, "server", n.Server, "router"),
		n.Client.Addr("router", "10.1.0.1/24"), n.Router.Addr("client", "10.1.0.254/24"),
		n.Router.Addr("server", "10.2.0.254/24"), n.Server.Addr("router", "10.2.0.1/24"),
		n.Client.Addr("router", "fd01::1/64"), n.Router.Addr("client", "fd01::fe/64"),
		n.Router.Addr("server", "fd02::fe/64"), n.Server.Addr("router", "fd02::1/64"),
		n.Client.Route("10.2.0.0/24", "10.1.0.254"), n.Server.Route("10.1.0.0/24", "10.2.0.254"),
		n.Client.Route("fd02::/64", "fd01::fe"), n.Server.Route("fd01::/64", "fd02::fe"),
		n.Router.Sysctl("net.ipv4.ip_forward", "1"), n.Router.Sysctl("net.ipv6.conf.all.forwarding", "1"),
	); err != nil {
		t.Fatal(err)
	}
	return n
}
