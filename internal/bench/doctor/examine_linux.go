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
// release of this one, and route makes the network of the routed scenarios.
func Examine(kernel string, route func() error) ([]Finding, error) {
	root := netlab.Privileged()
	cpus, err := flood.AllowedCPUs()
	if err != nil {
		return nil, err
	}
	findings := []Finding{
		{topic: "kernel", state: isFine, text: fmt.Sprintf("This is Linux %s on %s.", kernel, runtime.GOARCH)},
		describeCPUs(len(cpus)),
		describeUser(root),
		describeNamespaces(root, userNamespaces(root)),
	}
	for _, probe := range []func() ([]Finding, error){
		probeRule,
		probePackets,
		probeFlags,
		func() ([]Finding, error) { return probeBuffer(root) },
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

func probeRule() ([]Finding, error) {
	var native, target bool
	err := in(func(ns *netlab.NS) (err error) {
		if native, err = netlab.ProbeQueueExpr(ns); err != nil || native {
			return err
		}
		_, err = ns.InstallQueue(netlab.Rule{Hook: netlab.Output})
		target = err == nil
		if errors.Is(err, syscall.ENOENT) {
			return nil
		}
		return err
	})
	return []Finding{describeRule(native, target)}, err
}

// probeFlags asks for each flag that a queue may have, and looks at what comes
// with a packet.
func probeFlags() ([]Finding, error) {
	var findings []Finding
	for _, f := range queueFlags {
		var got sighting
		err := in(func(ns *netlab.NS) (err error) {
			cfg := ipq.Config{}
			f.set(&cfg)
			got, err = sight(ns, cfg, false)
			return err
		})
		var missing *ipq.FeatureError
		if err != nil && !errors.As(err, &missing) {
			return nil, err
		}
		findings = append(findings, f.describe(err == nil, got))
	}
	return findings, nil
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

func probeBuffer(root bool) ([]Finding, error) {
	var limit int
	text, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	if err == nil {
		_, err = fmt.Sscan(string(text), &limit)
	}
	if err != nil {
		limit = 0 // hidden in namespaces of older kernels
	}
	var granted int
	err = in(func(ns *netlab.NS) error {
		q, err := ipq.Open(ipq.Config{NetNS: ns.FD(), ReadBuffer: fullFrames(ipq.DefaultMaxQueueLen)})
		if err != nil {
			return err
		}
		granted = q.Stats().ReadBuffer
		return q.Close()
	})
	return []Finding{describeBuffer(root, limit, granted)}, err
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
