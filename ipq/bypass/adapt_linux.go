package bypass

import (
	"errors"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// isBefore511 reports whether the kernel is older than Linux 5.11, which brought
// bpf_ktime_get_coarse_ns, and the accounting of maps by control group. A kernel
// that refuses to say is not: it will refuse the programs, too, and say why.
func isBefore511() bool {
	err := features.HaveProgramHelper(ebpf.SocketFilter, asm.FnKtimeGetCoarseNs)
	return errors.Is(err, ebpf.ErrNotSupported)
}

// adapt changes the programs, and the process's limit on locked memory, to what
// kernels before 5.11 ask for.
func adapt(spec *ebpf.CollectionSpec) {
	exactTime(spec)
	// Maps count as locked memory there, 64 KiB of which are usual. Without the
	// right to more, making the maps fails and says so.
	_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
}

// exactTime has the programs read CLOCK_MONOTONIC itself, in place of its value
// at the last tick.
func exactTime(spec *ebpf.CollectionSpec) {
	for _, p := range spec.Programs {
		for i := range p.Instructions {
			if in := &p.Instructions[i]; in.IsBuiltinCall() && in.Constant == int64(asm.FnKtimeGetCoarseNs) {
				in.Constant = int64(asm.FnKtimeGetNs)
			}
		}
	}
}
