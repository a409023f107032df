package main

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/goipq/goipq/internal/zerocopy"
	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/ipqtest"
	"github.com/goipq/goipq/ipq/stream"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/reassembly"
)

// BenchmarkReassembly puts the same packets in order by ipq/stream, which decides each,
// and by gopacket's reassembly: 16 connections that take turns, with an acknowledgement
// for every second segment, in order or with each pair of segments swapped. Both count
// the bytes. An operation is all packets; checksums are not looked at, as they are known
// to be right of what the kernel has verified.
func BenchmarkReassembly(b *testing.B) {
	for _, size := range []int{1448, 65160} {
		for _, order := range []string{"kept", "swapped"} {
			segments := max(16, 1<<20/size) &^ 1
			var packets [2][][]byte
			for i := range packets {
				packets[i] = conversation(uint32(i)<<30, size, segments, order == "swapped")
			}
			bytes := int64(conversations * segments * size)
			name := fmt.Sprintf("bytes=%d/order=%s/by=", size, order)
			b.Run(name+"stream", func(b *testing.B) { benchStream(b, packets, bytes) })
			b.Run(name+"gopacket", func(b *testing.B) { benchGopacket(b, packets, bytes) })
		}
	}
}

const conversations = 16

// conversation returns the packets of all connections, of which the client's begin at isn.
func conversation(isn uint32, size, segments int, swapped bool) (packets [][]byte) {
	turn := func(server bool, flags uint8, seq, ack uint32, data int) {
		for port := range conversations {
			packets = append(packets, tcpPacket(server, uint16(40000+port), flags, seq, ack, data))
		}
	}
	const syn, ack, fin = zerocopy.TCPSyn, zerocopy.TCPAck, zerocopy.TCPFin
	seq := isn + 1
	turn(false, syn, isn, 0, 0)
	turn(true, syn|ack, isn, seq, 0)
	turn(false, ack, seq, isn+1, 0)
	for range segments / 2 {
		first, second := seq, seq+uint32(size)
		if swapped {
			first, second = second, first
		}
		turn(false, ack, first, isn+1, size)
		turn(false, ack, second, isn+1, size)
		seq += 2 * uint32(size)
		turn(true, ack, isn+1, seq, 0)
	}
	turn(false, fin|ack, seq, isn+1, 0)
	turn(true, fin|ack, isn+1, seq+1, 0)
	turn(false, ack, seq+1, isn+2, 0)
	return packets
}

func tcpPacket(server bool, port uint16, flags uint8, seq, ack uint32, data int) []byte {
	b := make([]byte, 40+data)
	b[0], b[8], b[9] = 0x45, 64, 6
	client := [4]byte{192, 0, 2, 1}
	from, to, fromPort, toPort := client, [4]byte{192, 0, 2, 2}, port, uint16(80)
	if server {
		from, to, fromPort, toPort = to, from, toPort, fromPort
	}
	copy(b[12:], from[:])
	copy(b[16:], to[:])
	h := b[20:]
	binary.BigEndian.PutUint16(h, fromPort)
	binary.BigEndian.PutUint16(h[2:], toPort)
	binary.BigEndian.PutUint32(h[4:], seq)
	binary.BigEndian.PutUint32(h[8:], ack)
	h[12], h[13], h[14], h[15] = 5<<4, flags, 0xff, 0xff
	for i := range h[20:] {
		h[20+i] = byte(int(seq) + i)
	}
	if err := zerocopy.FixPacket(b); err != nil {
		panic(err)
	}
	return b
}

// aside does what a round needs before and after, untimed.
func aside(b *testing.B, f func()) {
	b.StopTimer()
	f()
	b.StartTimer()
}

type bytesSeen uint64

func (n *bytesSeen) Data(_ *stream.Conn, _ stream.Direction, b []byte) stream.Decision {
	*n += bytesSeen(len(b))
	return stream.Continue
}

func (*bytesSeen) Close(*stream.Conn, stream.Reason) {}

func benchStream(b *testing.B, packets [2][][]byte, bytes int64) {
	var n bytesSeen
	e, err := stream.New(stream.Config{MaxConns: 1024, MaxMemory: 64 << 20, Open: func(*stream.Conn) stream.Inspector { return &n }})
	if err != nil {
		b.Fatal(err)
	}
	var all [2][]*ipq.Packet
	receive := func(i int) {
		all[i] = all[i][:0]
		for _, p := range packets[i] {
			all[i] = append(all[i], ipqtest.Packet(p, ipqtest.Hook(ipq.Forward)))
		}
	}
	round := func(i int) {
		for _, p := range all[i] {
			if v := e.HandlePacket(p); v != ipq.Accept {
				b.Fatalf("%v, %+v", v, e.Stats())
			}
		}
		if n != bytesSeen(bytes) {
			b.Fatalf("%d of %d bytes: %+v", n, bytes, e.Stats())
		}
		n = 0
	}
	receive(0)
	receive(1)
	round(1) // the memory is used for the first time
	b.SetBytes(bytes)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if len(packets[0]) < 1000 { // super-packets, whose buffers were exchanged
			aside(b, func() { receive(i % 2) })
		}
		round(i % 2)
	}
}

func (n *bytesSeen) New(_, _ gopacket.Flow, _ *layers.TCP, _ reassembly.AssemblerContext) reassembly.Stream {
	return n
}

func (*bytesSeen) Accept(*layers.TCP, gopacket.CaptureInfo, reassembly.TCPFlowDirection, reassembly.Sequence, *bool, reassembly.AssemblerContext) bool {
	return true
}

func (n *bytesSeen) ReassembledSG(sg reassembly.ScatterGather, _ reassembly.AssemblerContext) {
	length, _ := sg.Lengths()
	*n += bytesSeen(len(sg.Fetch(length)))
}

func (*bytesSeen) ReassemblyComplete(reassembly.AssemblerContext) bool { return true }

// captured is the context of a packet.
type captured gopacket.CaptureInfo

func (c *captured) GetCaptureInfo() gopacket.CaptureInfo { return gopacket.CaptureInfo(*c) }

func benchGopacket(b *testing.B, packets [2][][]byte, bytes int64) {
	var ip layers.IPv4
	var tcp layers.TCP
	parser := gopacket.NewDecodingLayerParser(layers.LayerTypeIPv4, &ip, &tcp)
	parser.IgnoreUnsupported = true
	decoded := make([]gopacket.LayerType, 0, 4)
	var context captured
	var n bytesSeen
	a := reassembly.NewAssembler(reassembly.NewStreamPool(&n))
	round := func(i int) {
		for _, p := range packets[i] {
			if err := parser.DecodeLayers(p, &decoded); err != nil {
				b.Fatal(err)
			}
			context.CaptureLength, context.Length = len(p), len(p)
			a.AssembleWithContext(ip.NetworkFlow(), &tcp, &context)
		}
		if n != bytesSeen(bytes) {
			b.Fatalf("%d of %d bytes", n, bytes)
		}
		n = 0
	}
	round(1)
	b.SetBytes(bytes)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		round(i % 2)
	}
}
