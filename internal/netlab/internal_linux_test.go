package netlab

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Both forms of a queue rule, as they go to the kernel inside NFTA_LIST_ELEM:
// NFTA_EXPR_NAME (1), then NFTA_EXPR_DATA (2, nested).
func TestQueueRuleOnTheWire(t *testing.T) {
	for _, c := range []struct {
		name   string
		rule   Rule
		native string // NFTA_QUEUE_NUM, NFTA_QUEUE_TOTAL, NFTA_QUEUE_FLAGS: be16
		target [3]uint16
	}{
		{"one", Rule{Queue: 5}, "0005 0001 0000", [3]uint16{5, 1, 0}},
		{"bypass", Rule{Queue: 5, Queues: 1, Bypass: true}, "0005 0001 0001", [3]uint16{5, 1, 1}},
		{"balanced", Rule{Queue: 256, Queues: 4}, "0100 0004 0000", [3]uint16{256, 4, 0}},
		{"fanout", Rule{Queue: 1, Queues: 2, FanoutCPU: true}, "0001 0002 0002", [3]uint16{1, 2, 2}},
		{"both", Rule{Queues: 65535, Bypass: true, FanoutCPU: true}, "0000 ffff 0003", [3]uint16{0, 65535, 3}},
		{"last", Rule{Queue: 65535}, "ffff 0001 0000", [3]uint16{65535, 1, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := strings.Fields(c.native)
			native := unhex(t,
				"0a00 0100", hex.EncodeToString([]byte("queue\x00")), "0000", // padded to 12
				"1c00 0280", // 4 + 3 attributes of 8
				"0600 0100", v[0], "0000",
				"0600 0200", v[1], "0000",
				"0600 0300", v[2], "0000")
			checkWire(t, queueExpr, c.rule, native)

			info := make([]byte, 8)
			for i, field := range c.target {
				binary.NativeEndian.PutUint16(info[2*i:], field)
			}
			target := unhex(t,
				"0b00 0100", hex.EncodeToString([]byte("target\x00")), "00", // padded to 12
				"2400 0280", // 4 + 12 + 8 + 12
				"0c00 0100", hex.EncodeToString([]byte("NFQUEUE\x00")),
				"0800 0200", "00000003",
				"0c00 0300", hex.EncodeToString(info))
			checkWire(t, targetExpr, c.rule, target)
		})
	}
}

func checkWire(t *testing.T, build func(Rule) (expr.Any, error), r Rule, want []byte) {
	t.Helper()
	e, err := build(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := expr.Marshal(unix.NFPROTO_INET, e)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%T\ngot  %x\nwant %x", e, got, want)
	}
}

// unhex decodes attributes, which are written here with little-endian headers.
func unhex(t *testing.T, parts ...string) []byte {
	t.Helper()
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("attribute headers are of the machine's byte order, these are little-endian")
	}
	b, err := hex.DecodeString(strings.ReplaceAll(strings.Join(parts, ""), " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

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
