package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The sources are found from the root of the module, from a directory in it,
// and from their own.
func TestPeersSources(t *testing.T) {
	want, err := filepath.Abs("../../bench/peers")
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"../..", ".", "../../internal/flood", "../../bench/peers", "../../bench/peers/c"} {
		here, err := filepath.Abs(from)
		if err != nil {
			t.Fatal(err)
		}
		if got := findPeers(here); got != want {
			t.Errorf("from %s the sources are %q, want %q", here, got, want)
		}
	}
	if got := findPeers(t.TempDir()); got != "" {
		t.Errorf("from an empty directory the sources are %q", got)
	}
}

func TestPeersRefuses(t *testing.T) {
	for _, test := range []struct {
		args string
		want string // a part of the one sentence
	}{
		{"-mode fast", `no "fast"`},
		{"-x", "-x"},
		{"-source . -program x", "one of them"},
		{"-source " + t.TempDir(), "clone https://github.com/goipq/goipq"},
		{"-program /nonexistent", "/nonexistent"},
	} {
		var out, errs bytes.Buffer
		status := runPeers(strings.Fields(test.args), &out, &errs)
		if status != exitUsage || !strings.Contains(errs.String(), test.want) || strings.Count(errs.String(), "\n") != 1 || out.Len() > 0 {
			t.Errorf("%s: status %d, %q; want %d and one line with %q", test.args, status, &errs, exitUsage, test.want)
		}
	}
	t.Setenv("PATH", t.TempDir())
	var errs bytes.Buffer
	if status := runPeers([]string{"-source", "../../bench/peers"}, &errs, &errs); status != exitUsage || !strings.Contains(errs.String(), "https://go.dev/dl") {
		t.Errorf("without Go: status %d, %q", status, &errs)
	}
}

// The program gets the flags that were set, and its output and status are ours.
func TestPeersRunsTheProgram(t *testing.T) {
	program := filepath.Join(t.TempDir(), "peers")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho $*\necho trouble >&2\nexit 7\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	status := runPeers([]string{"-program", program, "-mode", "paced,tcp", "-rounds", "3", "-replies"}, &out, &errs)
	if got, want := out.String(), "-mode=paced,tcp -replies=true -rounds=3\n"; got != want || errs.String() != "trouble\n" || status != 7 {
		t.Errorf("status %d, output %q, errors %q; want 7, %q", status, got, &errs, want)
	}
}
