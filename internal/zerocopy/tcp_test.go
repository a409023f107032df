package zerocopy

import (
	"bytes"
	"testing"
)

// Headers are read, and options as far as they can be told.
func TestTCP(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		off := 20
		if v6 {
			off = 40
		}
		for _, c := range []struct {
			options []byte
			want    TCP
		}{
			{nil, TCP{}},
			{[]byte{3, 3, 7, 1}, TCP{Scale: 7, HasScale: true}},
			{[]byte{1, 3, 3, 200}, TCP{Scale: 14, HasScale: true}},
			{[]byte{30, 4, 9, 9, 3, 3, 0, 0}, TCP{MPTCP: true, HasScale: true}},
			{[]byte{0, 3, 3, 7}, TCP{}},              // behind the end
			{[]byte{3, 4, 7, 7}, TCP{}},              // of another length
			{[]byte{8, 0, 3, 3, 7, 1, 1, 1}, TCP{}},  // a length that cannot be
			{[]byte{8, 99, 3, 3, 7, 1, 1, 1}, TCP{}}, // likewise
		} {
			b := tcpSegment(t, v6, TCPSyn, 1, 2, string(c.options), "data")
			c.want.Seq, c.want.Ack, c.want.Window, c.want.Flags = 1, 2, 0x0103, TCPSyn
			c.want.Off, c.want.Data = off, off+20+len(c.options)
			var got TCP
			if !got.Parse(b) || got != c.want {
				t.Errorf("% x: %+v, want %+v", c.options, got, c.want)
			}
			if !SumsRight(b, false) || Rerouted(b) {
				t.Errorf("% x: wrong sums, or another address", c.options)
			}
			ClearMPTCP(b[got.Off:got.Data])
			if again := (TCP{}); !again.Parse(b) || again.MPTCP || again.Scale != got.Scale || again.Data != got.Data {
				t.Errorf("% x: cleared: %+v", c.options, again)
			}
		}
		for n := range off + 20 {
			if b := tcpSegment(t, v6, TCPAck, 1, 2, "", ""); (&TCP{}).Parse(b[:n]) {
				t.Errorf("%d bytes are a segment", n)
			}
		}
		for _, header := range []byte{0, 0x40, 0x70, 0xf0} {
			b := tcpSegment(t, v6, TCPAck, 1, 2, "", "data")
			if b[off+12] = header; (&TCP{}).Parse(b) {
				t.Errorf("a header of %d bytes is one", header>>4*4)
			}
		}
		for i := range tcpSegment(t, v6, TCPAck, 1, 2, "", "data") {
			b := tcpSegment(t, v6, TCPAck, 1, 2, "", "data")
			if b[i] ^= 1; SumsRight(b, false) && !(v6 && (i < 6 || i == 7)) {
				t.Errorf("v6 %v: byte %d is wrong, and no sum is", v6, i)
			}
		}
		b := tcpSegment(t, v6, TCPAck|TCPUrg, 1, 2, "", "data")
		b[off+18], b[off+19] = 1, 2
		ClearUrgent(b[off:])
		if !bytes.Equal(b[off+18:off+20], []byte{0, 0}) || b[off+13] != TCPAck {
			t.Errorf("% x", b[off:])
		}
	}
}
