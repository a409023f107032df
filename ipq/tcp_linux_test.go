package ipq

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/goipq/goipq/internal/netlab"
)

// overTCP sends data through a connection over ns's loopback and returns what
// arrives.
func overTCP(t *testing.T, ns *netlab.NS, data []byte) []byte {
	t.Helper()
	var l net.Listener
	var from net.Conn
	err := ns.Do(func() (err error) {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
		from, err = net.Dial("tcp", l.Addr().String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	to.SetDeadline(time.Now().Add(time.Minute)) // only reached by a failure
	go func() {
		from.Write(data)
		from.Close()
	}()
	got, err := io.ReadAll(to)
	if err != nil {
		t.Error(err)
	}
	return got
}
