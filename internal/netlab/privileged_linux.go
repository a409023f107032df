package netlab

import "golang.org/x/sys/unix"

// initUserNS is the inode of the machine's first user namespace
// (PROC_USER_INIT_INO).
const initUserNS = 0xEFFFFFFD

// Privileged reports whether this process has root's capabilities in the
// initial user namespace, which loading eBPF programs and SO_RCVBUFFORCE need.
// A process that Enter moved has them if it had them before.
func Privileged() bool {
	return inInitUserNS() && hasCaps(unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN)
}

func inInitUserNS() bool {
	var st unix.Stat_t
	return unix.Stat("/proc/self/ns/user", &st) == nil && st.Ino == initUserNS
}

// hasCaps reports whether all these capabilities are effective in the calling
// thread's own user namespace.
func hasCaps(caps ...uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // 64 capabilities, 32 an element
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	for _, c := range caps {
		if data[c/32].Effective&(1<<(c%32)) == 0 {
			return false
		}
	}
	return true
}
