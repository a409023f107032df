package doctor

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"github.com/goipq/goipq/internal/flood"
	"github.com/goipq/goipq/internal/netlab"
	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/bypass"
)

// Examine probes everything, each thing in a network of its own. Kernel is the
// release of this one, survey what [Survey] has returned where the program was started,
// and route makes the network of the routed scenarios.
func Examine(kernel, survey string, route func() error) ([]Finding, error) {
	root := netlab.Privileged()
	cpus, err := flood.AllowedCPUs()
	if err != nil {
		return nil, err
	}
	private, err := Survey()
	if err != nil {
		return nil, err
	}
	if survey == "" {
		survey = private
	}
	here, err := read(survey)
	if err != nil {
		return nil, err
	}
	there, err := read(private)
	if err != nil {
		return nil, err
	}
	findings := []Finding{
		{topic: "kernel", state: isFine, text: fmt.Sprintf("This is Linux %s on %s.", kernel, runtime.GOARCH)},
		describeCPUs(len(cpus)),
		describeUser(root),
		describeNamespaces(root, userNamespaces(root)),
		here["NetRaw"].describe("reject"),
		here["Offload"].describe("flow offload"),
		describeRule(there["QueueRule"].State == ipq.Present, there["QueueTarget"].State == ipq.Present),
		there["Bridge"].describe("bridge"),
		there["Tracking"].describe("connections"),
		there["Datagrams"].describe("UDP GRO"),
		here["Buffer"].describe("socket buffer"),
	}
	for _, probe := range []func() ([]Finding, error){
		probePackets,
		func() ([]Finding, error) { return probeFlags(there) },
		func() ([]Finding, error) { return probeBypass(root) },
	} {
		more, err := probe()
		if err != nil {
			return nil, err
		}
		findings = append(findings, more...)
	}
	return append(findings, describeRoute(route())), nil
}

// in runs a probe in a network of its own.
func in(probe func(*netlab.NS) error) error {
	ns, err := netlab.New()
	if err != nil {
		return err
	}
	return errors.Join(probe(ns), ns.Close())
}

// userNamespaces finds out whether ordinary users may have namespaces. An ordinary
// user has one by now. Root starts the program, which is ipq-bench, as nobody, to
// try it.
func userNamespaces(root bool) error {
	if !root {
		return nil
	}
	const nobody = 65534
	var said strings.Builder
	// The user nobody may have no way to the program's path. An empty environment
	// keeps it from believing that it is inside a namespace already.
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{os.Args[0], "doctor", "namespace"}, Env: []string{},
		Dir: "/", Stderr: &said,
		SysProcAttr: &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}},
	}
	err := cmd.Run()
	if text := strings.TrimSpace(strings.TrimPrefix(said.String(), "ipq-bench: ")); text != "" {
		return errors.New(text)
	}
	return err
}

// probeFlags asks for all the flags that the kernel takes, and looks at what comes with a
// packet.
func probeFlags(features map[string]feature) ([]Finding, error) {
	var cfg ipq.Config
	for _, q := range queueFlags {
		if features[q.field].State == ipq.Present {
			q.set(&cfg)
		}
	}
	var got sighting
	err := in(func(ns *netlab.NS) (err error) {
		got, err = sight(ns, cfg, false)
		return err
	})
	var findings []Finding
	for _, q := range queueFlags {
		findings = append(findings, q.describe(features[q.field], got))
	}
	return findings, err
}

// probePackets has a packet of each family queued, decided and delivered.
func probePackets() ([]Finding, error) {
	var findings []Finding
	for _, ipv6 := range []bool{false, true} {
		err := in(func(ns *netlab.NS) error {
			_, err := sight(ns, ipq.Config{}, ipv6)
			return err
		})
		findings = append(findings, describePackets(ipv6, err))
	}
	return findings, nil
}

// probeBypass installs the rules of both ways to settle flows in the kernel.
func probeBypass(root bool) ([]Finding, error) {
	var findings []Finding
	for _, backend := range []bypass.Backend{bypass.EBPF, bypass.ConnMark} {
		err := in(func(ns *netlab.NS) error {
			b, err := bypass.New(bypass.Config{Backend: backend, NetNS: ns.FD()})
			if err != nil {
				return err
			}
			_, err = b.Install(bypass.Rules{Hook: ipq.Output})
			return errors.Join(err, b.Close())
		})
		findings = append(findings, describeBypass(backend, root, err))
	}
	return findings, nil
}
