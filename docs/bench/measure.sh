#!/bin/sh
# Measures all that BENCHMARKS.md quotes, in less than an hour, as root, with perf
# and what ipq-bench peers asks for, and makes the page anew:
#
#	sh docs/bench/measure.sh          # everything
#	sh docs/bench/measure.sh peers    # these parts, and the page
#	sh docs/bench/measure.sh page     # the page alone, of the files that are there
#
# Have nothing else run on the machine meanwhile. Figures that were disturbed are
# marked on the page.
set -eu
cd "$(dirname "$0")/../.."
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
go build -o "$bin/ipq-bench" ./cmd/ipq-bench

# bench FILE FLAGS... writes docs/bench/FILE.json.
bench() {
	name=$1
	shift
	printf '\n=== %s: ipq-bench %s\n' "$name" "$*"
	"$bin/ipq-bench" "$@" -json "docs/bench/$name.json"
}

peers() {
	"$bin/ipq-bench" peers -mode saturated,paced -rounds 7 -json docs/bench/peers.json
	"$bin/ipq-bench" peers -mode tcp,tcp-shared -rounds 5 -json docs/bench/peers-tcp.json
	"$bin/ipq-bench" peers -mode generator,generator-udp -rounds 7 -json docs/bench/generator.json
}

scenarios() {
	bench icmp -rounds 7 -duration 7s -modes unqueued,inline,pool
	bench icmp6 -6 -rounds 5 -duration 5s -modes unqueued,inline,pool
	bench udp -scenario udp -rounds 5 -duration 5s -modes unqueued,inline,pool
	bench udp-imix -scenario udp -imix -handler inspect -rounds 5 -duration 5s -modes unqueued,inline,pool
	bench forward -scenario forward -rounds 5 -duration 5s -modes unqueued,inline,pool
	bench forward-tcp -scenario forward -tcp -rounds 5 -duration 5s -modes unqueued,inline,pool
	bench forward-tcp-segments -scenario forward -tcp -gso=false -rounds 5 -duration 5s -modes unqueued,inline,pool
	bench churn -scenario churn -rounds 5 -duration 5s -modes unqueued,inline,pool
}

throughput() {
	bench rfc2544 -rfc2544 -rounds 5
	bench rfc2544-spin -rfc2544 -rounds 5 -handler spin:2us
}

latency() {
	bench latency -scenario udp -latency -rate 50000 -rounds 5 -duration 10s -modes unqueued,inline,pool
}

sweeps() {
	bench sweep-batch -sweep batch=1,8,32,64,256
	bench sweep-workers -sweep workers=1,2,4,8
	bench sweep-queues -sweep queues=1,2 -pin -replies
	bench sweep-maxlen -sweep maxlen=64,256,1024,4096,16384
	bench sweep-size -sweep size=64,256,576,1500,9000
	bench sweep-flows -sweep flows=1,16,256,4096,65536
	bench sweep-handler -sweep handler=accept,drop,parse,inspect,rewrite,spin:2us,sleep:50us
}

# Ratios to the path without a queue, near to 1: many rounds, so long that the
# first packets of the flows, which are queued, come while they warm up.
bypass() {
	set -- -sweep bypass=0,25,50,75,90,100 -modes unqueued,inline -rounds 25 -duration 12s
	bench bypass-icmp "$@"
	bench bypass-icmp-replies -replies "$@"
	bench bypass-udp -scenario udp "$@"
	bench bypass-forward -scenario forward "$@"
	bench bypass-flows -replies -bypass 100 -sweep flows=1,64,1024,4096 -modes unqueued,inline -rounds 25 -duration 20s
	bench bypass-tcp -scenario forward -tcp -bypass 100 -rounds 25 -duration 10s -modes unqueued,inline
}

tried() {
	printf '\n=== tried\n'
	go run ./docs/bench/tried -o docs/bench/tried.json
}

profile() {
	sh docs/bench/profile.sh inline docs/bench/profile-inline.json -modes inline
	sh docs/bench/profile.sh pool docs/bench/profile-pool.json -modes pool
	sh docs/bench/profile.sh inline docs/bench/profile-inspect.json -modes inline -scenario udp -imix -handler inspect
	sh docs/bench/profile.sh inline docs/bench/profile-tcp.json -modes inline -scenario forward -tcp
	sh docs/bench/profile.sh inline docs/bench/profile-churn.json -modes inline -scenario churn
}

page() {
	"$bin/ipq-bench" markdown -o BENCHMARKS.md -svg docs/plots docs/bench/BENCHMARKS.md.tmpl
}

for part in ${*:-peers scenarios throughput latency sweeps bypass profile tried}; do
	"$part"
done
page
