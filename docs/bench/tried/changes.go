package main

// A change is something that was tried for speed. It is measured with it and
// without: one is the tree as it is, the other one differs from it.
type change struct {
	what   string
	kept   bool // this tree has it
	other  other
	run    string // flags of ipq-bench: of one mode
	figure string // of its summary
}

// An other is what the other tree differs by: one of these.
type other struct {
	edits  []edit
	commit string // it is older; run has the defaults that have changed since
	flags  string // it is the same, with these flags
}

// An edit replaces what occurs once in a file.
type edit struct{ file, from, to string }

const (
	packetRate = "arrived_per_second"
	consumer   = "cpu_ns_per_packet"
)

var changes = []change{
	{
		what:  "system calls that do not tell the Go scheduler, for batches up to 64",
		kept:  true,
		other: other{edits: []edit{{"ring/recv_unsafe_linux.go", "const RawLimit = 64", "const RawLimit = 0"}}},
		run:   "-modes inline -replies", figure: packetRate,
	},
	{
		what:  "receiving 64 packets at a time for the pool instead of 32",
		kept:  true,
		other: other{flags: "-batch 32"},
		run:   "-modes pool -replies", figure: packetRate,
	},
	{
		what:  "receiving 32 packets at a time inline instead of 16",
		kept:  true,
		other: other{flags: "-batch 16"},
		run:   "-modes inline -replies", figure: packetRate,
	},
	{
		what:  "the same, two pinned queues",
		kept:  true,
		other: other{flags: "-batch 16"},
		run:   "-modes inline -queues 2 -pin", figure: packetRate,
	},
	{
		what: "`runtime.Gosched` after handing over a span, which would leave the processor to any busy goroutine",
		other: other{edits: []edit{
			{"ipq/dispatch_pool.go", "sh.use(k))\n", "sh.use(k))\n\t\truntime.Gosched()\n"},
			{"ipq/dispatch_pool.go", "import (\n", "import (\n\t\"runtime\"\n"},
		}},
		run: "-modes pool -replies", figure: packetRate,
	},
	{
		what:  "a pinned loop waits in the runtime's poller, not in poll(2), and yields its CPU before",
		kept:  true,
		other: other{commit: "d2afe5f"},
		run:   "-modes inline -pin -batch 32 -rate 20000", figure: consumer,
	},
	{
		what:  "the same, saturated",
		kept:  true,
		other: other{commit: "d2afe5f"},
		run:   "-modes inline -queues 2 -pin -batch 32", figure: packetRate,
	},
	{
		what:  "yielding alone",
		kept:  true,
		other: other{edits: []edit{{"internal/machine/pin_linux.go", "const shortWait = 50 *", "const shortWait = 0 *"}}},
		run:   "-modes inline -queues 2 -pin", figure: packetRate,
	},
	{
		what: "the flood forbids fragmentation, so that packets need no identification",
		kept: true,
		other: other{edits: []edit{{
			"internal/flood/socket_linux.go",
			"would contend.\n\t\terr = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)",
			"would contend.\n\t\terr = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)",
		}}},
		run: "-modes unqueued -queues 2", figure: packetRate,
	},
	{
		what:  "the bypass asks its program in the first rule, which reads plain packets at once and makes the key of whole words",
		kept:  true,
		other: other{commit: "d2afe5f"},
		run:   "-modes inline -batch 32 -bypass 100", figure: packetRate,
	},
}
