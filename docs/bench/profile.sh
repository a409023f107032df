#!/bin/sh
# Shows where the consumer's CPU time goes, by perf, for limits.md:
#
#	sh docs/bench/profile.sh inline docs/bench/profile-inline.json -modes inline
#
# It runs ipq-bench with the flags that come after the file, samples all CPUs in
# the midst of it, and keeps what the consumer had: of its samples, the share that
# was in a function itself, and in all that it called. It needs root and perf.
set -eu
mode=$1 out=$2
shift 2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go build -o "$dir/ipq-bench" ./cmd/ipq-bench
"$dir/ipq-bench" "$@" -rounds 1 -duration 8s >/dev/null &
bench=$!
sleep 3 # it is warm
perf record -q -a -g -F 1499 -o "$dir/data" -- sleep 4 >/dev/null 2>&1
wait "$bench"
# The floods are processes of another name.
report() {
	perf report -q -i "$dir/data" --comm ipq-bench --percentage relative -g none --stdio -t '|' "$@" 2>/dev/null
}
# What the whole is made of: the two system calls, and goipq's own parts.
report --children --sort symbol >"$dir/children"
report --no-children --sort symbol | head -n 12 >"$dir/self"
awk -F'|' -v mode="$mode" -v kernel="$(uname -r)" -v command="ipq-bench $*" '
	function trim(s) { gsub(/^ +| +$|%/, "", s); return s }
	function name(s) { s = trim(s); sub(/^\[.\] /, "", s); sub(/github.com\/goipq\/goipq\//, "", s); return s }
	BEGIN {
		printf "{\n\t\"schema\": 1,\n\t\"kind\": \"profile\",\n\t\"mode\": \"%s\",\n\t\"kernel\": \"%s\",\n\t\"command\": \"%s\",\n", mode, kernel, command
		split("ring.(*Batch).Recv ring.(*Gather).Send internal/zerocopy.(*Msg).Decode ipq.(*lane).decide ipq.(*steering).strand worker.(*Pool).Submit nfqnl_reinject runtime.schedule", list, " ")
		for (i in list) wanted[list[i]] = 1
	}
	FNR == 1 { file++; printf "%s\t\"%s\": [", (file == 1 ? "" : "\n\t],\n"), (file == 1 ? "parts" : "functions"); first = 1 }
	file == 1 && !(name($3) in wanted) { next }
	{
		printf "%s\n\t\t{\"function\": \"%s\", \"percent\": %s}", (first ? "" : ","), name((file == 1 ? $3 : $2)), trim($1)
		first = 0
	}
	END { print "\n\t]\n}" }
' "$dir/children" "$dir/self" >"$out"
