package bench

import (
	"fmt"
	"testing"

	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/stream"
)

// BenchmarkStream is BenchmarkTCP with a handler that accepts each packet, and with an
// engine whose inspectors count the bytes.
func BenchmarkStream(b *testing.B) {
	for _, mode := range modes {
		for _, gso := range []string{"on", "off"} {
			name := fmt.Sprintf("mode=%s/gso=%s/handler=", mode.name, gso)
			cfg := ipq.Config{Workers: mode.workers, GSO: gso == "on"}
			b.Run(name+"accept", func(b *testing.B) {
				cfg := cfg
				benchTCP(b, &cfg, ipq.HandlerFunc(accept))
			})
			b.Run(name+"count", func(b *testing.B) {
				e, err := stream.New(stream.Config{Open: func(*stream.Conn) stream.Inspector { return &byteCount{} }})
				if err != nil {
					b.Fatal(err)
				}
				defer e.Close()
				cfg := cfg
				benchTCP(b, &cfg, e)
				if s := e.Stats(); s.Opened < tcpStreams || s.Bytes < uint64(b.N)*mebibyte || s.Uninspected > 0 {
					b.Errorf("not all was inspected: %+v", s)
				}
			})
		}
	}
}

// A byteCount counts the bytes of a connection.
type byteCount [2]uint64

func (n *byteCount) Data(_ *stream.Conn, d stream.Direction, b []byte) stream.Decision {
	n[d] += uint64(len(b))
	return stream.Continue
}

func (*byteCount) Close(*stream.Conn, stream.Reason) {}
