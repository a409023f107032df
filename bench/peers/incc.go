//go:build linux

package main

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
)

//go:embed c
var cSources embed.FS

// The bare loops do what the kernel asks for and nothing else: what they take is
// nearly all the kernel's.
var (
	bareBatch = contestant{
		name:     "c-batch",
		title:    "C, recvmmsg + VERDICT_BATCH",
		settings: "recvmmsg of 32, one VERDICT_BATCH each; read buffer for a full queue, NO_ENOBUFS; GSO in tcp",
		needs:    []need{compiler},
		command:  bareLoop("batch"),
	}
	bareEach = contestant{
		name:     "c-coalesced",
		title:    "C, recvmmsg + coalesced verdicts",
		settings: "recvmmsg of 32, their verdicts in one send; read buffer for a full queue, NO_ENOBUFS; GSO in tcp",
		needs:    []need{compiler},
		command:  bareLoop("each"),
	}
)

func bareLoop(kind string) func(dir string, s setup) (*exec.Cmd, error) {
	return func(dir string, s setup) (*exec.Cmd, error) {
		program, err := build(dir, "loop")
		return exec.Command(program, append([]string{kind}, s.args()...)...), err
	}
}

// libnetfilterQueue is the C library that all distributions have.
var libnetfilterQueue = contestant{
	name:     "libnetfilter_queue",
	title:    "libnetfilter_queue",
	settings: "recv, nfq_handle_packet, nfq_set_verdict; nfnl_rcvbufsiz for a full queue, NO_ENOBUFS, nfq_set_queue_maxlen; GSO in tcp",
	needs:    []need{compiler, library},
	command: func(dir string, s setup) (*exec.Cmd, error) {
		program, err := build(dir, "lnq", "-lnetfilter_queue", "-lnfnetlink")
		return exec.Command(program, s.args()...), err
	},
}

// args are the setup as the C programs take it.
func (s setup) args() []string {
	gso := "0"
	if s.GSO {
		gso = "1"
	}
	return []string{strconv.Itoa(int(s.Queue)), strconv.Itoa(s.MaxQueueLen), strconv.Itoa(s.ReadBuffer), gso}
}

var (
	compiler = need{
		what: "a C compiler, as cc, with the headers of the C library and of Linux",
		get:  "apt-get install gcc libc6-dev; dnf install gcc glibc-devel kernel-headers; apk add gcc musl-dev linux-headers",
		test: sync.OnceValue(func() error { return try("#include <linux/netfilter/nfnetlink_queue.h>") }),
	}
	library = need{
		what: "libnetfilter_queue's development files",
		get:  "apt-get install libnetfilter-queue-dev; dnf install libnetfilter_queue-devel; apk add libnetfilter_queue-dev",
		test: sync.OnceValue(func() error {
			return try("#include <stdint.h>\n#include <libnetfilter_queue/libnetfilter_queue.h>", "-lnetfilter_queue", "-lnfnetlink")
		}),
	}
)

// try compiles and links a program that does nothing but include.
func try(include string, libraries ...string) error {
	args := append([]string{"-x", "c", "-o", os.DevNull, "-"}, libraries...)
	cmd := exec.Command("cc", args...)
	cmd.Stdin = bytes.NewBufferString(include + "\nint main(void) { return 0; }\n")
	return cmd.Run()
}

// build makes one of the C programs with the system's compiler, once, in a dir
// with a copy of cSources.
func build(dir, name string, libraries ...string) (program string, err error) {
	program = filepath.Join(dir, name)
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	args := append([]string{"-O2", "-Wall", "-Wextra", "-Werror", "-o", program, filepath.Join(dir, "c", name+".c")}, libraries...)
	if out, err := exec.Command("cc", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("cc %v: %w\n%s", args, err, out)
	}
	return program, nil
}
