//go:build linux

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/goipq/goipq/internal/peers"
	"golang.org/x/sys/unix"
)

func machine(cpus int) peers.Machine {
	m := peers.Machine{Arch: runtime.GOARCH, CPUs: cpus, Go: runtime.Version(), SystemCall: systemCall()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	info, _ := os.ReadFile("/proc/cpuinfo")
	m.CPU = field(info, "model name")
	// In the initial user namespace all ids are themselves: one line.
	ids, _ := os.ReadFile("/proc/self/uid_map")
	m.Root = os.Geteuid() == 0 && strings.Join(strings.Fields(string(ids)), " ") == "0 0 4294967295"
	return m
}

// systemCall is the CPU time, in nanoseconds, of a system call that does
// nothing. Some mitigations of the CPU's faults multiply it.
func systemCall() float64 {
	const calls = 100_000
	before := ownCPU()
	for range calls {
		unix.Getppid()
	}
	return float64(ownCPU()-before) / calls
}

func ownCPU() time.Duration {
	var ru unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &ru)
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// field is the value of the first line "name: value", "" without one.
func field(text []byte, name string) string {
	for line := range bytes.Lines(text) {
		if key, value, ok := bytes.Cut(line, []byte(":")); ok && string(bytes.TrimSpace(key)) == name {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}

// versions are those of what takes part.
func versions() map[string]string {
	all := make(map[string]string)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/florianl/go-nfqueue/v2" {
				all["go-nfqueue"] = m.Version
			}
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				all["goipq"] = s.Value
			}
		}
	}
	if out, err := exec.Command("cc", "--version").Output(); err == nil {
		first, _, _ := bytes.Cut(out, []byte("\n"))
		all["cc"] = string(first)
	}
	for _, dir := range []string{"/usr/lib/*/pkgconfig", "/usr/lib*/pkgconfig", "/usr/local/lib/pkgconfig"} {
		files, _ := filepath.Glob(filepath.Join(dir, "libnetfilter_queue.pc"))
		for _, file := range files {
			text, _ := os.ReadFile(file)
			if v := field(text, "Version"); v != "" {
				all["libnetfilter_queue"] = v
			}
		}
	}
	return all
}
