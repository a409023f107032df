package ipqprom_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/ipqprom"
	"github.com/goipq/goipq/ipq/ipqtest"
	"github.com/goipq/goipq/ipq/stream"
)

// synPacket opens a connection from 192.0.2.1:1024 to 192.0.2.2:80.
var synPacket = []byte{
	0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0xf6, 0xcb, 192, 0, 2, 1, 192, 0, 2, 2,
	4, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0x27, 0x8e, 0, 0,
}

// What an engine has counted is shown, each count once.
func TestStream(t *testing.T) {
	t.Parallel()
	e, err := stream.New(stream.Config{MaxConns: 10, MaxMemory: 1 << 20, Open: func(*stream.Conn) stream.Inspector { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	q := ipqtest.New(t, ipq.Config{Queue: 7, Workers: ipq.Inline})
	q.Run(e)
	r := registry(t, ipqprom.NewCollector(q.Queue, ipqprom.Stream(e)))
	q.Send(synPacket)
	bad := append([]byte(nil), synPacket...)
	bad[33], bad[37] = 0, bad[37]+2 // no flag is set
	q.Send(bad)
	got := values(t, r)
	expect(t, got, map[string]float64{
		"ipq_stream_connections{}":                            1,
		"ipq_stream_memory_bytes{}":                           0,
		"ipq_stream_connections_opened_total{}":               0,
		"ipq_stream_connections_evicted_total{}":              0,
		"ipq_stream_inspected_bytes_total{}":                  0,
		"ipq_stream_connections_closed_total{reason=idle}":    0,
		"ipq_stream_segments_total{kind=retransmitted}":       0,
		"ipq_stream_drops_total{reason=bad_header}":           1,
		"ipq_stream_drops_total{reason=connection_limit}":     0,
		"ipq_drops_total{queue=7,reason=handler}":             1,
		"ipq_packets_received_total{queue=7}":                 2,
		"ipq_stream_connections_closed_total{reason=limited}": 0,
	})
	samples, counts := 0, 0
	for name := range got {
		if strings.HasPrefix(name, "ipq_stream_") {
			samples++
		}
	}
	s := reflect.ValueOf(e.Stats())
	for i := range s.NumField() {
		if s.Field(i).Kind() == reflect.Array {
			counts += s.Field(i).Len()
		} else {
			counts++
		}
	}
	if samples != counts {
		t.Errorf("%d samples of %d counts", samples, counts)
	}
	if problems, err := testutil.GatherAndLint(r); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
