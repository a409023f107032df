package main

import (
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/goipq/goipq/examples/internal/extest"
	"github.com/goipq/goipq/internal/netlab/labtest"
)

func TestMain(m *testing.M) { extest.Main(m, main) }

// Every word that comes whole is replaced, in super-packets too, and all else arrives as it
// was sent.
func TestReplaces(t *testing.T) {
	n := labtest.NewNetwork(t)
	for _, addr := range []string{"10.2.0.1:0", "[fd02::1]:0"} {
		var l net.Listener
		if err := n.Server.Do(func() (err error) {
			l, err = net.Listen("tcp", addr)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		port := l.Addr().(*net.TCPAddr).Port
		p := extest.Start(t, n.Client, "-port", strconv.Itoa(port))
		p.WaitFor(t, "rewriting")

		var client net.Conn
		if err := n.Client.Do(func() (err error) {
			client, err = net.Dial("tcp", l.Addr().String())
			return err
		}); err != nil {
			t.Fatal(err)
		}
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		const lines = 100_000
		sent := bytes.Repeat([]byte("a line with a secret in it, as long as 64 bytes: 0123456789abc.\n"), lines)
		go func() {
			client.Write(sent)
			client.Close()
		}()
		got, err := io.ReadAll(server)
		server.Close()
		if err != nil || len(got) != len(sent) {
			t.Fatalf("%s: %d of %d bytes, %v", addr, len(got), len(sent), err)
		}
		replaced := bytes.Count(got, []byte("xxxxxx"))
		if back := bytes.ReplaceAll(got, []byte("xxxxxx"), []byte("secret")); !bytes.Equal(back, sent) {
			t.Errorf("%s: other bytes have changed", addr)
		}
		// A packet holds a hundred lines and more, and cuts one at the most.
		if replaced < lines*9/10 {
			t.Errorf("%s: %d of %d are replaced", addr, replaced, lines)
		}
		// What TCP sends again is replaced again.
		output := p.Interrupt(t)
		_, last, _ := strings.Cut(output, "rewriting\n")
		if n, err := strconv.Atoi(strings.TrimSuffix(last, " replaced\n")); err != nil || n < replaced {
			t.Errorf("%s: %d are replaced: %q", addr, replaced, output)
		}
	}
}
