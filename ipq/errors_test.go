package ipq

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
)

// An error says what was tried, on which queue, why it failed, and what can be
// done; and it matches what callers look for.
func TestErrors(t *testing.T) {
	for _, x := range []struct {
		err  error
		says []string
		is   []error
		not  error
	}{
		{&OpError{Op: "bind", Queue: 7, Err: syscall.EINVAL},
			[]string{"ipq: queue 7: bind: invalid argument"}, []error{syscall.EINVAL}, syscall.EBUSY},
		{&OpError{Op: "receive", Queue: 65535, Err: ErrClosed},
			[]string{"ipq: queue 65535: receive: ", "closed"}, []error{ErrClosed, os.ErrClosed}, os.ErrDeadlineExceeded},
		{&OpError{Op: "bind", Err: &TakenError{PortID: 4711}},
			[]string{"queue 0", "port id 4711", "process id", "choose another queue number"}, []error{syscall.EBUSY}, fs.ErrPermission},
		{&TakenError{}, []string{"taken by another socket:"}, []error{syscall.EBUSY}, syscall.EPERM},
		{&CapabilityError{Capability: "CAP_NET_ADMIN", Err: syscall.EPERM},
			[]string{"operation not permitted", "no CAP_NET_ADMIN", "run as root", "setcap cap_net_admin+ep", "unshare -Urn"},
			[]error{fs.ErrPermission, syscall.EPERM}, syscall.EBUSY},
		{&FeatureError{Features: []string{"Conntrack", "SecCtx"}, Err: syscall.EOPNOTSUPP},
			[]string{"operation not supported", "Config.Conntrack, Config.SecCtx", "leave it unset"},
			[]error{errors.ErrUnsupported, syscall.EOPNOTSUPP}, fs.ErrPermission},
		{&ModuleError{Module: "nfnetlink_queue", Err: syscall.EINVAL},
			[]string{"nfnetlink_queue is not loaded", "modprobe nfnetlink_queue", "kmod-nfnetlink-queue on OpenWrt"},
			[]error{errors.ErrUnsupported, syscall.EINVAL}, fs.ErrPermission},
		{&VerdictError{ID: 12, Errno: syscall.ENOENT},
			[]string{"verdict on packet 12", "no such packet is waiting", "decided before"}, []error{syscall.ENOENT}, syscall.EINVAL},
		{&VerdictError{ID: 12, Errno: syscall.EINVAL},
			[]string{"verdict on packet 12: invalid argument"}, []error{syscall.EINVAL}, syscall.ENOENT},
		{ErrTimeout, []string{"no packet in time"}, []error{os.ErrDeadlineExceeded}, ErrClosed},
	} {
		text := x.err.Error()
		for _, part := range x.says {
			if !strings.Contains(text, part) {
				t.Errorf("%T says %q, without %q", x.err, text, part)
			}
		}
		for _, target := range x.is {
			if !errors.Is(x.err, target) {
				t.Errorf("%v does not match %v", x.err, target)
			}
		}
		if errors.Is(x.err, x.not) {
			t.Errorf("%v matches %v", x.err, x.not)
		}
	}
	if late := (&OpError{Err: ErrTimeout}); !late.Timeout() || (&OpError{Err: ErrClosed}).Timeout() {
		t.Error("Timeout does not tell time-outs apart")
	}
}
