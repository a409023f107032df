package main

import (
	"bytes"
	"testing"
)

func TestHandlingReadsWhatItWrites(t *testing.T) {
	for _, text := range []string{"accept", "drop", "mix:12.5", "parse", "inspect", "rewrite", "stream", "spin:2µs", "sleep:50µs"} {
		h, err := parseHandling(text)
		if err != nil || h.String() != text {
			t.Errorf("%s: became %s, %v", text, h, err)
		}
	}
}

// The built-in patterns are searched all at once, and do not match the floods'
// filling.
func TestPatterns(t *testing.T) {
	patterns, err := readPatterns("")
	if err != nil || len(patterns) < 100 {
		t.Fatalf("%d patterns, %v", len(patterns), err)
	}
	filling := make([]byte, 9000)
	for i := range filling {
		filling[i] = byte(i)
	}
	trie := newInspector(patterns).trie
	if m := trie.MatchFirst(filling); m != nil {
		t.Errorf("%q is in the floods' packets", m.Match())
	}
	for _, p := range patterns {
		if trie.MatchFirst(append(bytes.Repeat([]byte("/"), 100), p...)) == nil {
			t.Errorf("%q is not found", p)
		}
	}
}
