package machine

import (
	"math"
	"testing"
	"testing/fstest"
)

// Files of the kernel say what memory there is.
func TestMemoryLimit(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	machine := file("MemTotal:        1000 kB\nMemFree:         10 kB\n")
	for what, x := range map[string]struct {
		files fstest.MapFS
		want  uint64
		by    string
	}{
		"nothing is known":  {fstest.MapFS{}, math.MaxUint64, ""},
		"only the machine":  {fstest.MapFS{"proc/meminfo": machine}, 1000 << 10, "the machine has"},
		"a group, no limit": {fstest.MapFS{"proc/meminfo": machine, "proc/self/cgroup": file("0::/a/b\n"), "sys/fs/cgroup/a/b/memory.max": file("max\n")}, 1000 << 10, "the machine has"},
		"the group above has one": {fstest.MapFS{"proc/meminfo": machine, "proc/self/cgroup": file("0::/a/b\n"),
			"sys/fs/cgroup/a/b/memory.max": file("max\n"), "sys/fs/cgroup/a/memory.max": file("5000\n")}, 5000, "the control group allows"},
		"a container": {fstest.MapFS{"proc/meminfo": machine, "proc/self/cgroup": file("0::/../x\n"), "sys/fs/cgroup/memory.max": file("7000\n")}, 7000, "the control group allows"},
		"version 1": {fstest.MapFS{"proc/meminfo": machine, "proc/self/cgroup": file("3:cpu,cpuacct:/c\n2:memory:/m\n"),
			"sys/fs/cgroup/memory/m/memory.limit_in_bytes": file("6000\n"), "sys/fs/cgroup/memory/c/memory.limit_in_bytes": file("1\n")}, 6000, "the control group allows"},
		"the machine has less": {fstest.MapFS{"proc/meminfo": machine, "proc/self/cgroup": file("0::/\n"), "sys/fs/cgroup/memory.max": file("9223372036854771712\n")}, 1000 << 10, "the machine has"},
	} {
		if got := memoryLimit(x.files); got.Bytes != x.want || got.By != x.by {
			t.Errorf("%s: %+v", what, got)
		}
	}
}
