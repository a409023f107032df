package rules_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os/signal"
	"syscall"

	"github.com/goipq/goipq/ipq"
	"github.com/goipq/goipq/ipq/rules"
)

// A router inspects web traffic in four queues, each flow in one of them, and lets
// it pass while the program does not run.
func Example() {
	web := []rules.PortRange{{First: 80, Last: 80}, {First: 443, Last: 443}}
	queue := &rules.Queue{First: 0, Count: 4, Bypass: true, Spread: rules.ByFlow}
	set := rules.Set{
		Table: "myips", OwnMark: 0x1d, Defrag: true,
		Chains: []rules.Chain{{Hook: ipq.Forward, Rules: []rules.Rule{
			{Match: rules.Match{Protocol: syscall.IPPROTO_TCP, DstPorts: web}, Queue: queue},
			{Match: rules.Match{Protocol: syscall.IPPROTO_TCP, SrcPorts: web}, Queue: queue},
		}}},
	}
	r, err := rules.Config{Logger: slog.Default()}.Install(set)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	go func() {
		if err := r.Watch(ctx); err != nil {
			log.Print(err)
		}
	}()

	q, err := ipq.Open(ipq.Config{Queue: 0, Queues: 4})
	if err != nil {
		log.Fatal(err)
	}
	handler := ipq.HandlerFunc(func(p *ipq.Packet) ipq.Verdict { return ipq.Accept })
	if err := errors.Join(q.Run(ctx, handler), q.Close()); err != nil {
		log.Fatal(err)
	}
	// The rules stay, and with Bypass all passes. To remove them would drop what
	// waits in other programs' queues.
}

// A list of addresses to block changes while packets wait in queues: none is lost.
func ExampleRuleset_Update() {
	var r *rules.Ruleset // of rules.Install
	var set rules.Set    // that it was installed from

	blocked, err := rules.ParseAddrs("192.0.2.0/24", "2001:db8:bad::/48")
	if err != nil {
		log.Fatal(err) // names the address
	}
	set.Chains[0].Rules[0].Match.SrcAddrs = blocked
	if err := r.Update(set); err != nil {
		log.Print(err) // all is as it was
	}
}

// The same as text, for people who keep their rules themselves.
func ExampleSet_NFT() {
	text, err := rules.Set{
		Table: "dns",
		Chains: []rules.Chain{{Hook: ipq.Output, Rules: []rules.Rule{{
			Match: rules.Match{Protocol: syscall.IPPROTO_UDP, DstPorts: []rules.PortRange{{First: 53, Last: 53}}},
			Not:   rules.Match{OutDevs: []string{"lo"}},
			Queue: &rules.Queue{First: 3, Bypass: true},
		}}}},
	}.NFT()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(text)
	// Output:
	// table inet dns {
	// 	chain output_0 {
	// 		type filter hook output priority 0; policy accept;
	// 		oifname != "lo" udp dport 53 counter queue num 3 bypass
	// 	}
	// }
}
