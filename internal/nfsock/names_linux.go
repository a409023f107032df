package nfsock

import "golang.org/x/sys/unix"

// lookupName asks the kernel for an interface's name, through the netlink
// socket because that is in the right namespace.
func (s *Socket) lookupName(index int) string {
	// A name must be given, and is overwritten by the answer.
	ifr, err := unix.NewIfreq("x")
	if err != nil {
		return ""
	}
	ifr.SetUint32(uint32(index)) // ifr_ifindex
	if cerr := s.raw.Control(func(fd uintptr) {
		err = unix.IoctlIfreq(int(fd), unix.SIOCGIFNAME, ifr)
	}); cerr != nil || err != nil {
		return ""
	}
	return ifr.Name()
}
