package machine

import (
	"bufio"
	"bytes"
	"io/fs"
	"math"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Memory returns the least of the machine's memory and what its control groups
// allow this process, as far as they can be read.
func Memory() Limit { return memoryLimit(os.DirFS("/")) }

func memoryLimit(root fs.FS) Limit {
	least := Limit{math.MaxUint64, ""}
	lower := func(bytes uint64, by string) {
		if bytes < least.Bytes {
			least = Limit{bytes, by}
		}
	}
	// MemTotal:       24632344 kB
	for _, words := range table(root, "proc/meminfo", " ") {
		if words[0] == "MemTotal:" && len(words) > 1 {
			if kb, err := strconv.ParseUint(words[1], 10, 64); err == nil {
				lower(kb<<10, "the machine has")
			}
		}
	}
	// hierarchy:controllers:path, the second empty for version 2
	for _, group := range table(root, "proc/self/cgroup", ":") {
		if len(group) < 3 {
			continue
		}
		dir, file := "sys/fs/cgroup", "memory.max"
		if group[1] != "" {
			dir, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		}
		if group[1] != "" && !strings.Contains(","+group[1]+",", ",memory,") {
			continue
		}
		// A group has what all above it allow. In a namespace of control groups
		// the path may be that of the host.
		for at := path.Clean("/" + group[2]); ; at = path.Dir(at) {
			text, err := fs.ReadFile(root, path.Join(dir, at, file))
			if n, perr := strconv.ParseUint(string(bytes.TrimSpace(text)), 10, 64); err == nil && perr == nil { // or "max"
				lower(n, "the control group allows")
			}
			if at == "/" {
				break
			}
		}
	}
	return least
}

// AddressSpace returns how much address space there is left.
func AddressSpace() Limit { return addressLimit(os.DirFS("/")) }

func addressLimit(root fs.FS) Limit {
	most := Limit{1 << 46, "there are"} // half of what Linux gives a process
	if strconv.IntSize == 32 {
		most.Bytes = 1 << 30
	}
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_AS, &r) != nil || r.Cur >= most.Bytes {
		return most
	}
	left := uint64(r.Cur)
	// size resident shared text lib data dt, in pages
	for _, words := range table(root, "proc/self/statm", " ") {
		if pages, err := strconv.ParseUint(words[0], 10, 64); err == nil {
			left -= min(left, pages*uint64(os.Getpagesize()))
		}
	}
	return Limit{left, "RLIMIT_AS leaves"}
}

// table returns the words of a file's lines; of one that cannot be read, none.
func table(root fs.FS, name, separator string) (lines [][]string) {
	f, err := root.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		words := strings.Split(s.Text(), separator)
		if separator == " " {
			words = strings.Fields(s.Text())
		}
		if len(words) > 0 {
			lines = append(lines, words)
		}
	}
	return lines
}
