package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"syscall"

	ahocorasick "github.com/BobuSumisu/aho-corasick"

	"github.com/goipq/goipq/ipq"
)

// usualPatterns are in the form that -patterns reads.
//
//go:embed patterns.txt
var usualPatterns []byte

// maxPatterns is the most bytes of all patterns together. It bounds the automaton,
// which takes 2 KiB for each of them.
const maxPatterns = 1 << 20

// readPatterns reads the file name, or the usual patterns without one.
func readPatterns(name string) ([][]byte, error) {
	text := usualPatterns
	if name != "" {
		var err error
		if text, err = os.ReadFile(name); err != nil {
			return nil, fmt.Errorf("-patterns: %w", err)
		}
	}
	var patterns [][]byte
	total := 0
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) > 0 && line[0] != '#' {
			patterns = append(patterns, line)
			total += len(line)
		}
	}
	switch {
	case len(patterns) == 0:
		return nil, fmt.Errorf("-patterns %s has no pattern", name)
	case total > maxPatterns:
		return nil, fmt.Errorf("-patterns %s has %d bytes of patterns, more than %d", name, total, maxPatterns)
	}
	return patterns, nil
}

// An inspector drops packets with any of its patterns in their payload.
type inspector struct{ trie *ahocorasick.Trie }

func newInspector(patterns [][]byte) inspector {
	return inspector{ahocorasick.NewTrieBuilder().AddPatterns(patterns).Build()}
}

func (i inspector) HandlePacket(p *ipq.Packet) ipq.Verdict {
	verdict := ipq.Accept
	i.trie.Walk(transportPayload(p), func(_, _, _ int64) bool {
		verdict = ipq.Drop
		return false
	})
	return verdict
}

// transportPayload returns what a packet carries behind the header of TCP, UDP or
// ICMP. It returns nothing for other packets, and for IPv6 with extension headers.
func transportPayload(p *ipq.Packet) []byte {
	b := p.Payload()
	var protocol byte
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		protocol = b[9]
		b = b[min(int(b[0]&0xf)*4, len(b)):]
	case len(b) >= 40 && b[0]>>4 == 6:
		protocol = b[6]
		b = b[40:]
	default:
		return nil
	}
	header := 8
	switch protocol {
	case syscall.IPPROTO_TCP:
		if len(b) < 20 {
			return nil
		}
		header = int(b[12]>>4) * 4
	case syscall.IPPROTO_UDP, syscall.IPPROTO_ICMP, syscall.IPPROTO_ICMPV6:
	default:
		return nil
	}
	return b[min(header, len(b)):]
}
