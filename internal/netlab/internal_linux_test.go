package netlab

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"
)

func TestParseQueueStats(t *testing.T) {
	got, err := parseQueueStats([]byte("" +
		"    0  31234    12 2 65531     3     4      100  1\n" +
		"65535 4294967295 65536 1     0 4294967295     0 4294967295  1\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []QueueStat{
		{0, 31234, 12, 2, 65531, 3, 4, 100},
		{65535, 4294967295, 65536, 1, 0, 4294967295, 0, 4294967295},
	}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if _, err := parseQueueStats([]byte("0 1 2\n")); err == nil {
		t.Error("short line: no error")
	}
}

// Each limit is named with the way to change it, and the one that explains the
// error wins.
func TestCauseNamesTheLimit(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		userNS bool
		proc   map[string]string
		want   string
	}{
		{"no user namespaces", unix.ENOSPC, true, map[string]string{"sys/user/max_user_namespaces": "0\n"}, "sysctl -w user.max_user_namespaces="},
		{"not its fault", unix.ENOSPC, false, map[string]string{"sys/user/max_user_namespaces": "0\n", "sys/user/max_net_namespaces": "9\n"}, "user.max_net_namespaces is 9"},
		{"no net namespaces", unix.ENOSPC, false, map[string]string{"sys/user/max_net_namespaces": "0\n"}, "sysctl -w user.max_net_namespaces="},
		{"Debian", unix.EPERM, true, map[string]string{"sys/kernel/unprivileged_userns_clone": "0\n"}, "sysctl -w kernel.unprivileged_userns_clone=1"},
		{"Ubuntu", unix.EPERM, true, map[string]string{"sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}, "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
		{"Ubuntu as root", unix.EPERM, false, map[string]string{"sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}, "security module"},
		{"container", unix.EPERM, true, map[string]string{"self/status": "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"}, "seccomp=unconfined"},
		{"no filter", unix.EPERM, true, map[string]string{"self/status": "Seccomp:\t0\n"}, "security module"},
		{"old kernel", unix.EINVAL, true, nil, "CONFIG_USER_NS"},
		{"something else", unix.ENOMEM, true, nil, "no limit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			proc := fstest.MapFS{}
			for name, text := range c.proc {
				proc[name] = &fstest.MapFile{Data: []byte(text), Mode: fs.FileMode(0o444)}
			}
			wrapped := &os.PathError{Op: "fork/exec", Path: "/x", Err: c.err}
			err := cause("try", wrapped, proc, c.userNS)
			if !strings.Contains(err.Error(), c.want) || !errors.Is(err, c.err) {
				t.Errorf("%v, want it to say %q", err, c.want)
			}
		})
	}
}
