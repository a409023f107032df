package main

import (
	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/stream"
)

// newStreams returns the handler stream, which counts the bytes of connections.
func newStreams() (ipq.Handler, error) {
	return stream.New(stream.Config{Open: func(*stream.Conn) stream.Inspector { return new(byteCount) }})
}

// A byteCount inspects a connection.
type byteCount struct{ bytes int }

func (c *byteCount) Data(_ *stream.Conn, _ stream.Direction, b []byte) stream.Decision {
	c.bytes += len(b)
	return stream.Continue
}

func (*byteCount) Close(*stream.Conn, stream.Reason) {}
