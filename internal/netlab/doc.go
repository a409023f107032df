// Package netlab makes private networks for tests, benchmarks and load
// generators: network namespaces, the links between them, and the rules that
// send packets to a queue. It speaks netlink to the kernel and needs no ip, nft
// or iptables binary.
//
// A program calls [Enter] first thing in main, a test package calls
// labtest.Main in TestMain. From then on the process runs in a network
// namespace of its own: root keeps its privileges over the machine (so that
// eBPF programs load), anybody else becomes root of a private user namespace.
// The machine's own interfaces, rules and settings are out of reach for
// everything here: rules and sysctls go only into a namespace that [New] made,
// or that [Current] returned because [Enter] made it.
//
//	if err := netlab.Enter(); err != nil {
//		log.Fatal(err) // says which limit forbids it, and what to change
//	}
//	lab, err := netlab.Current()
//	...
//	rules, err := lab.InstallQueue(netlab.Rule{
//		Hook:  netlab.Output,
//		Match: netlab.Match{L4Proto: unix.IPPROTO_UDP, DstPort: 9},
//		Queue: 0,
//	})
//
// # Threads
//
// A network namespace belongs to a thread, not to a process. [NS.Do] lends its
// function a thread inside the namespace and gives that thread back to Go only
// when it is home again. Sockets stay where they were opened, so most programs
// need Do for opening them and for nothing else.
//
// # Order
//
// While packets wait in any queue of a namespace, install only chains that
// come later at their hook, and remove none: see [NS.InstallQueue] and
// [Ruleset.Remove].
//
// On systems other than Linux the package compiles, and everything that would
// need a namespace returns an error matching [errors.ErrUnsupported].
package netlab
