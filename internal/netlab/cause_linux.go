package netlab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// unavailable wraps the reason why a namespace could not be made.
func unavailable(tried string, err error, userNS bool) error {
	return fmt.Errorf("netlab: %w: %w", ErrUnavailable, cause(tried, err, os.DirFS("/proc"), userNS))
}

// cause adds to err which limit is behind it and what to change. proc is the
// proc file system; userNS says that a user namespace was asked for, too.
func cause(tried string, err error, proc fs.FS, userNS bool) error {
	return fmt.Errorf("%s: %w: %s", tried, err, remedy(err, proc, userNS))
}

func remedy(err error, proc fs.FS, userNS bool) string {
	read := func(name string) string {
		b, err := fs.ReadFile(proc, name)
		if err != nil {
			return "" // this kernel has no such limit
		}
		return strings.TrimSpace(string(b))
	}
	maxUser := read("sys/user/max_user_namespaces")
	maxNet := read("sys/user/max_net_namespaces")
	switch {
	case userNS && maxUser == "0":
		return "user.max_user_namespaces is 0: raise it (sysctl -w user.max_user_namespaces=10000) or run as root"
	case maxNet == "0":
		return "user.max_net_namespaces is 0: raise it (sysctl -w user.max_net_namespaces=10000)"
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		return fmt.Sprintf("a limit on namespaces is reached here or in a user namespace above "+
			"(user.max_net_namespaces is %s, user.max_user_namespaces %s, nesting goes 32 deep): raise it or end their users", maxNet, maxUser)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		return "the kernel may be built without CONFIG_NET_NS or CONFIG_USER_NS"
	case !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES):
		return "no limit on namespaces explains it"
	case userNS && read("sys/kernel/unprivileged_userns_clone") == "0":
		return "kernel.unprivileged_userns_clone is 0: set it to 1 (sysctl -w kernel.unprivileged_userns_clone=1) or run as root"
	case userNS && read("sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
		return "kernel.apparmor_restrict_unprivileged_userns is 1: set it to 0 (sysctl -w kernel.apparmor_restrict_unprivileged_userns=0), " +
			"give the program an AppArmor profile with userns, or run as root"
	case seccomp(read("self/status")):
		return "a seccomp filter is active, as containers have: allow the call (docker run --security-opt seccomp=unconfined, or --privileged)"
	default:
		return "a security module or a chroot may forbid it: run as root outside of them"
	}
}

// seccomp reports whether the text of /proc/self/status tells of a filter
// (SECCOMP_MODE_FILTER is 2).
func seccomp(status string) bool {
	for line := range strings.Lines(status) {
		if mode, ok := strings.CutPrefix(line, "Seccomp:"); ok {
			return strings.TrimSpace(mode) == "2"
		}
	}
	return false
}
