package ipqtest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/goipq/goipq/internal/zerocopy"
)

// Replay sends the IP packets of a capture file, pcap or pcapng, in their order, and
// returns what has become of each. Link layers are Ethernet, with VLAN tags, Linux
// cooked captures, loopback and none. What is not IP, or was cut as it was captured, is
// left out.
func (q *Queue) Replay(name string, options ...Option) []Result {
	q.t.Helper()
	packets, err := readCapture(name)
	if err != nil {
		q.t.Fatalf("ipqtest: %v", err)
	}
	return q.SendAll(packets, options...)
}

// Passed returns the packets of results that were not dropped, as they go on.
func Passed(results []Result) (packets [][]byte) {
	for i := range results {
		if results[i].Payload != nil {
			packets = append(packets, results[i].Payload)
		}
	}
	return packets
}

// Save writes IP packets to a pcap file, without a link layer.
func Save(name string, packets [][]byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(f)
	w := pcapgo.NewWriter(b)
	err = w.WriteFileHeader(1<<18, layers.LinkTypeRaw)
	for _, p := range packets {
		if err == nil {
			err = w.WritePacket(gopacket.CaptureInfo{CaptureLength: len(p), Length: len(p)}, p)
		}
	}
	return errors.Join(err, b.Flush(), f.Close())
}

// A captureReader is what pcapgo has for both formats.
type captureReader interface {
	ReadPacketData() ([]byte, gopacket.CaptureInfo, error)
	LinkType() layers.LinkType
}

func readCapture(name string) (packets [][]byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := bufio.NewReaderSize(f, 1<<20)
	magic, err := b.Peek(4)
	if err != nil {
		return nil, fmt.Errorf("%s: no capture: %w", name, err)
	}
	var r captureReader
	if binary.BigEndian.Uint32(magic) == 0x0a0d0d0a { // a section header block
		r, err = pcapgo.NewNgReader(b, pcapgo.DefaultNgReaderOptions)
	} else {
		r, err = pcapgo.NewReader(b)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if linkHeader(r.LinkType(), nil) == unknownLink {
		return nil, fmt.Errorf("%s: its link layer is %v, which is not among those that are known", name, r.LinkType())
	}
	for {
		frame, info, err := r.ReadPacketData()
		switch {
		case errors.Is(err, io.EOF):
			return packets, nil
		case err != nil:
			return packets, fmt.Errorf("%s: packet %d: %w", name, len(packets)+1, err)
		case info.CaptureLength < info.Length:
			continue
		}
		if p := ipOf(r.LinkType(), frame); p != nil {
			packets = append(packets, p)
		}
	}
}

// unknownLink is what linkHeader returns for a link layer that it does not know.
const unknownLink = -1

// linkHeader returns the length of a frame's link-layer header. With a nil frame it
// only tells whether the link layer is known.
func linkHeader(link layers.LinkType, frame []byte) int {
	switch link {
	case layers.LinkTypeEthernet:
		n := 14
		for len(frame) >= n+4 && isVLAN(binary.BigEndian.Uint16(frame[n-2:])) {
			n += 4
		}
		return n
	case layers.LinkTypeLinuxSLL:
		return 16
	case layers.LinkTypeLinuxSLL2:
		return 20
	case layers.LinkTypeNull, layers.LinkTypeLoop:
		return 4
	case layers.LinkTypeRaw, layers.LinkTypeIPv4, layers.LinkTypeIPv6, 12: // 12: DLT_RAW as some systems write it
		return 0
	}
	return unknownLink
}

func isVLAN(etherType uint16) bool { return etherType == 0x8100 || etherType == 0x88a8 }

// ipOf returns the IP packet in a frame, without what follows it there, or nil.
func ipOf(link layers.LinkType, frame []byte) []byte {
	n := linkHeader(link, frame)
	if len(frame) <= n {
		return nil
	}
	ip := frame[n:]
	if link == layers.LinkTypeEthernet {
		if t := binary.BigEndian.Uint16(frame[n-2:]); t != 0x0800 && t != 0x86dd {
			return nil
		}
	}
	if zerocopy.HeadOf(ip).Version == 0 || !zerocopy.Whole(ip[:zerocopy.DatagramLen(ip)]) {
		return nil
	}
	return ip[:zerocopy.DatagramLen(ip)]
}
