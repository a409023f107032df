package flood

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"

	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/internal/netlab/labtest"
	"golang.org/x/sys/unix"
)

// hold binds queue 0 in ns and never reads it: what is queued stays there.
func hold(t *testing.T, ns *netlab.NS) {
	t.Helper()
	fd := -1
	if err := ns.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, 16<<20)

	native := binary.NativeEndian
	attribute := func(msg []byte, number uint16, value ...byte) []byte {
		msg = native.AppendUint16(msg, uint16(4+len(value)))
		msg = native.AppendUint16(msg, number)
		msg = append(msg, value...)
		return append(msg, make([]byte, -len(msg)&3)...)
	}
	msg := make([]byte, 16+4)                   // struct nlmsghdr, struct nfgenmsg: queue 0
	msg = attribute(msg, 1, 1, 0, 0, 0)         // NFQA_CFG_CMD: NFQNL_CFG_CMD_BIND
	msg = attribute(msg, 2, 0, 0, 0, 0, 1)      // NFQA_CFG_PARAMS: NFQNL_COPY_META
	msg = attribute(msg, 3, 0, 0, 0x10, 0)      // NFQA_CFG_QUEUE_MAXLEN: 4096
	native.PutUint32(msg[0:], uint32(len(msg))) // nlmsg_len
	native.PutUint16(msg[4:], 3<<8|2)           // nlmsg_type: NFNL_SUBSYS_QUEUE, NFQNL_MSG_CONFIG
	native.PutUint16(msg[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	if err := unix.Sendto(fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil || n < 20 || native.Uint32(answer[16:]) != 0 {
		t.Fatalf("bind queue 0: %v, answer %x", err, answer[:n])
	}
}

// Packets that wait in a queue fill the sender's socket. An open loop counts
// what it refuses, neither blocks nor spins, and can still be stopped.
func TestRefused(t *testing.T) {
	for _, cfg := range []Config{
		{Size: 65000},
		{Size: 65000, Rate: 50_000},
	} {
		ns := labtest.New(t)
		if _, err := ns.InstallQueue(netlab.Rule{Hook: netlab.Output, Match: netlab.Match{EchoRequest: true}}); err != nil {
			t.Fatal(err)
		}
		hold(t, ns)
		f := startIn(t, ns, cfg)
		waitUntil(t, "a full socket", func() bool { return f.Stats().Refused > 10 })
		s, err := f.Stop()
		if err != nil {
			t.Fatal(err)
		}
		// 64 MiB hold fewer packets than the queue does.
		if s.Sent == 0 || s.Sent >= 4096 {
			t.Errorf("%+v: sent %d packets, want 1 to 4095", cfg, s.Sent)
		}
	}
}

// An open loop keeps the replies off its socket: in the kernel's list of raw
// sockets, none has anything to receive.
func TestOpenLoopReceivesNothing(t *testing.T) {
	for name, ipv6 := range map[string]bool{"raw": false, "raw6": true} {
		ns := labtest.New(t)
		f := startIn(t, ns, Config{IPv6: ipv6})
		waitUntil(t, "1000 packets", func() bool { return f.Stats().Sent > 1000 })
		var list []byte
		if err := ns.Do(func() (err error) {
			list, err = os.ReadFile("/proc/thread-self/net/" + name)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(list)), "\n")
		if len(lines) != 2 {
			t.Fatalf("%d raw sockets, want the flood's: %s", len(lines)-1, list)
		}
		queues := strings.Fields(lines[1])[4] // tx_queue:rx_queue
		if !strings.HasSuffix(queues, ":00000000") {
			t.Errorf("%s: replies wait at the flood's socket: %s", name, queues)
		}
	}
}
