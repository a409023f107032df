package stream_test

import (
	"context"
	"errors"
	"log"

	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/stream"
)

// pattern is what must not arrive.
const pattern = "attack"

// A finder looks for the pattern in both directions of a connection, however they are
// cut. It remembers how much of it the bytes so far end with, and no bytes.
type finder struct{ matched [2]int }

func (f *finder) Data(_ *stream.Conn, d stream.Direction, b []byte) stream.Decision {
	n := f.matched[d]
	for _, c := range b {
		for n > 0 && pattern[n] != c {
			n = borders[n]
		}
		if pattern[n] == c {
			n++
		}
		if n == len(pattern) {
			return stream.Drop
		}
	}
	f.matched[d] = n
	return stream.Continue
}

func (f *finder) Close(c *stream.Conn, why stream.Reason) {
	if why == stream.Dropped {
		log.Printf("%v: found %q", c, pattern)
	}
}

// borders has, for each number of bytes of the pattern, how many of its first bytes
// these end with, themselves excepted (Knuth, Morris and Pratt).
var borders = func() []int {
	b := make([]int, len(pattern)+1)
	for i, n := 1, 0; i < len(pattern); i++ {
		for n > 0 && pattern[i] != pattern[n] {
			n = b[n]
		}
		if pattern[i] == pattern[n] {
			n++
		}
		b[i+1] = n
	}
	return b
}()

// A program that drops connections with a pattern in them, wherever it is cut.
func Example() {
	e, err := stream.New(stream.Config{
		Open: func(c *stream.Conn) stream.Inspector {
			if c.Server().Port() != 80 {
				return nil // not of interest
			}
			return &finder{}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	q, err := ipq.Open(ipq.Config{Queue: 0, GSO: true})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	if err := q.Run(context.Background(), e); err != nil && !errors.Is(err, ipq.ErrClosed) {
		log.Print(err)
	}
}
