package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"

	"github.com/goipq/goipq/internal/netlab"
)

const (
	// envProgram makes the test binary do what systemd does between fork and exec, and
	// names the program that it then executes.
	envProgram = "PACKETD_TEST_PROGRAM"
	// envLacks names calls to take out of SystemCallFilter.
	envLacks = "PACKETD_TEST_LACKS"
)

// nobody is whom the service runs as, where there are users: DynamicUser.
const nobody = 65534

// become confines the process as the unit says, and executes the program. It does not
// return.
func become(program string) {
	os.Unsetenv(envProgram)
	pid := strconv.Itoa(os.Getpid())
	for of, v := range map[string]string{"WATCHDOG_USEC": "WATCHDOG_PID", "LISTEN_FDS": "LISTEN_PID"} {
		if os.Getenv(of) != "" {
			os.Setenv(v, pid)
		}
	}
	lacks := strings.Fields(os.Getenv(envLacks))
	os.Unsetenv(envLacks)
	runtime.LockOSThread() // all this is the thread's, which then becomes the program
	for _, step := range []func() error{
		dropCapabilities,
		func() error { return filter(lacks) },
		func() error { return syscall.Exec(program, os.Args, os.Environ()) },
	} {
		if err := step(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// dropCapabilities does what CapabilityBoundingSet, AmbientCapabilities and, if there are
// users to choose from, DynamicUser say.
func dropCapabilities() error {
	for _, name := range []string{"CapabilityBoundingSet", "AmbientCapabilities"} {
		if words := setting(name); !slices.Equal(words, []string{"CAP_NET_ADMIN"}) {
			return fmt.Errorf("%s=%s, want CAP_NET_ADMIN", name, words)
		}
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if c == unix.CAP_NET_ADMIN {
			continue
		}
		// EINVAL: this kernel does not know so many.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && err != unix.EINVAL {
			return os.NewSyscallError("prctl PR_CAPBSET_DROP", err)
		}
	}
	if netlab.Privileged() {
		if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
			return os.NewSyscallError("prctl PR_SET_KEEPCAPS", err)
		}
		for _, c := range []struct {
			name string
			call uintptr
			id   uintptr
		}{{"setgroups", unix.SYS_SETGROUPS, 0}, {"setresgid", unix.SYS_SETRESGID, nobody}, {"setresuid", unix.SYS_SETRESUID, nobody}} {
			if _, _, errno := unix.RawSyscall(c.call, c.id, c.id, c.id); errno != 0 {
				return os.NewSyscallError(c.name, errno)
			}
		}
	}
	const netAdmin = 1 << unix.CAP_NET_ADMIN
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	sets := [2]unix.CapUserData{{Effective: netAdmin, Permitted: netAdmin, Inheritable: netAdmin}}
	if err := unix.Capset(&header, &sets[0]); err != nil {
		return os.NewSyscallError("capset", err)
	}
	return os.NewSyscallError("prctl PR_CAP_AMBIENT",
		unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_NET_ADMIN, 0, 0))
}

// filter does what SystemCallFilter and RestrictAddressFamilies say, but that a call that
// is not allowed ends the program with its stack (SIGSYS as a trap), so that one sees
// which, where systemd kills. A socket of another family is refused, as by systemd: Open
// asks for some by which Reject would answer, and does without.
func filter(lacks []string) error {
	here, err := arch.GetInfo("")
	if err != nil {
		return err
	}
	group := seccomp.SyscallGroup{Action: seccomp.ActionAllow}
	for _, name := range setting("SystemCallFilter") {
		_, isHere := here.SyscallNames[name]
		_, isElsewhere := arch.X86_64.SyscallNames[name]
		switch {
		case slices.Contains(lacks, name), slices.Contains(group.Names, name):
		case isHere:
			group.Names = append(group.Names, name)
		case !isElsewhere:
			return fmt.Errorf("SystemCallFilter has %s, which is no call", name)
		}
	}
	var other seccomp.ArgumentConditions // that a family is none of these
	for _, name := range setting("RestrictAddressFamilies") {
		family, ok := map[string]uint64{"AF_NETLINK": unix.AF_NETLINK, "AF_UNIX": unix.AF_UNIX}[name]
		if !ok {
			return fmt.Errorf("RestrictAddressFamilies has %s, which this test does not know", name)
		}
		other = append(other, seccomp.Condition{Argument: 0, Operation: seccomp.NotEqual, Value: family})
	}
	refused := seccomp.SyscallGroup{
		Action:             seccomp.ActionErrno | seccomp.Action(unix.EAFNOSUPPORT),
		NamesWithCondtions: []seccomp.NameWithConditions{{Name: "socket", Conditions: other}},
	}
	return seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true,
		Policy:     seccomp.Policy{DefaultAction: seccomp.ActionTrap, Syscalls: []seccomp.SyscallGroup{refused, group}},
	})
}
