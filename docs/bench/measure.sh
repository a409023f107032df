#!/bin/sh
# Measures all that BENCHMARKS.md and the pages beside this file quote, in less than
# two hours, as root, with perf and what ipq-bench peers asks for, and makes the pages
# anew:
#
#	sh docs/bench/measure.sh          # everything
#	sh docs/bench/measure.sh peers    # these parts, and the pages
#	sh docs/bench/measure.sh page     # the pages alone, of the files that are there
#
# Have nothing else run on the machine meanwhile. A figure that was disturbed, or is
# not known well enough, is left out of the pages.
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
	bench peers peers -mode saturated,paced -rounds 21
	bench peers-tcp peers -mode tcp,tcp-shared -rounds 9 -duration 2s
	bench generator peers -mode generator,generator-udp -rounds 9
}

scenarios() {
	bench icmp -rounds 25 -duration 20s -modes unqueued,inline,pool
	bench icmp6 -6 -rounds 9 -duration 5s -modes unqueued,inline,pool
	bench udp -scenario udp -rounds 25 -duration 20s -modes unqueued,inline,pool
	bench udp-imix -scenario udp -imix -handler inspect -rounds 25 -duration 20s -modes unqueued,inline,pool
	bench forward -scenario forward -rounds 9 -duration 5s -modes unqueued,inline,pool
	bench forward-tcp -scenario forward -tcp -rounds 9 -duration 5s -modes unqueued,inline,pool
	bench forward-tcp-segments -scenario forward -tcp -gso=false -rounds 25 -duration 20s -modes unqueued,inline,pool
	bench churn -scenario churn -rounds 15 -duration 15s -modes unqueued,inline,pool
}

throughput() {
	bench rfc2544 -rfc2544 -rounds 5
	bench rfc2544-spin -rfc2544 -rounds 5 -handler spin:2us
}

latency() {
	bench latency -scenario udp -latency -rate 50000 -rounds 60 -duration 18s -modes unqueued,inline,pool
}

sweeps() {
	bench sweep-batch -rounds 9 -duration 9s -sweep batch=1,8,32,64,256
	bench sweep-workers -rounds 9 -duration 9s -sweep workers=1,2,4,8
	bench sweep-queues -rounds 9 -duration 9s -sweep queues=1,2 -pin -replies
	bench sweep-maxlen -rounds 9 -duration 9s -sweep maxlen=64,256,1024,4096,16384
	bench sweep-size -rounds 9 -duration 9s -sweep size=64,256,576,1500,9000
	bench sweep-flows -rounds 9 -duration 9s -sweep flows=1,16,256,4096,65536
	bench sweep-handler -rounds 9 -duration 9s -sweep handler=accept,drop,parse,inspect,rewrite,spin:2us,sleep:50us
}

# Ratios to the path without a queue, near to 1: many rounds, so long that the
# first packets of the flows, which are queued, come while they warm up.
bypass() {
	bench bypass-icmp -sweep bypass=0,25,50,75,90,100 -modes unqueued,inline -rounds 25 -duration 12s
	bench bypass-icmp-replies -replies -sweep bypass=0,25,50,75,90,100 -modes unqueued,inline -rounds 25 -duration 12s
	bench bypass-udp -scenario udp -sweep bypass=0,25,50,75,90,100 -modes unqueued,inline -rounds 25 -duration 12s
	bench bypass-forward -scenario forward -sweep bypass=0,25,50,75,90,100 -modes unqueued,inline -rounds 25 -duration 12s
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

# page writes the pages anew, each from its template.
page() {
	"$bin/ipq-bench" markdown -o BENCHMARKS.md -svg docs/plots docs/bench/BENCHMARKS.md.tmpl
	for name in rivals scenarios bypass sweeps limits; do
		"$bin/ipq-bench" markdown -o "docs/bench/$name.md" -svg docs/plots "docs/bench/$name.md.tmpl"
	done
}

for part in ${*:-peers scenarios throughput latency sweeps bypass profile tried}; do
	"$part"
done
page
