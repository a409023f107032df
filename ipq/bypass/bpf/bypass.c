// SPDX-License-Identifier: MIT OR GPL-2.0-only

/* Two programs that xt_bpf runs at the head of a queueing chain: does the flow
 * table say that the packet is to be accepted, and if not, dropped? They share
 * the table, and each counts what it decides. */

#include "flow.h"

enum {
	ACTION_DROP = 0, /* the kernel's NF_DROP and NF_ACCEPT */
	ACTION_ACCEPT = 1,
};

/* Times are nanoseconds of CLOCK_MONOTONIC, which the programs read to within a
 * tick (CLOCK_MONOTONIC_COARSE): 4 ns, where the exact time takes 28. */
struct flow_state {
	struct flow_key key; /* whose state it is: see mine */
	__u64 deadline;    /* not valid from then on */
	__u64 idle;        /* nor when the flow was silent for so long */
	__u64 max_packets; /* nor when it has had so many */
	__u64 max_bytes;
	__u64 packets;
	__u64 bytes; /* from the IP header on */
	__u64 last_seen;
	__u64 action;
};

/* Sums over all flows, also those that have left the table. */
struct totals {
	__u64 accepted_packets, accepted_bytes;
	__u64 dropped_packets, dropped_bytes;
	__u64 expired; /* packets of flows past their deadline or idle time */
	__u64 spent;   /* packets of flows past their budget */
	__u64 reopened; /* TCP connections opened anew on an accepted flow */
	__u64 suspended; /* packets while the lease had run out */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* the loader's to set */
	__type(key, struct flow_key);
	__type(value, struct flow_state);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct totals);
} sums SEC(".maps");

/* Until when the table is valid as a whole: ~0 for good. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} lease SEC(".maps");

/* mine reports whether what was read of f before is the flow's own. The kernel
 * gives the memory of an entry that was replaced, deleted or evicted to another
 * flow at once, also while a program holds it: the state may then be that of the
 * other one. Machines that reorder loads may see the old key a moment longer. */
static __always_inline int mine(const struct flow_state *f, const struct flow_key *key)
{
	const __u64 *a = (const void *)&f->key, *b = (const void *)key;
	__u64 differ = 0;

	asm volatile("" ::: "memory");
	for (int i = 0; i < (int)sizeof(*key) / 8; i++)
		differ |= a[i] ^ b[i];
	return !differ;
}

static __always_inline int decide(struct __sk_buff *skb, __u64 action)
{
	struct packet p = {};
	struct flow_state *f;
	struct totals *t;
	__u64 now, *lease_end;
	__u32 zero = 0;
	int expired, spent;

	if (!parse(skb, &p))
		return 0;
	f = bpf_map_lookup_elem(&flows, &p.key);
	if (!f || f->action != action)
		return 0;
	t = bpf_map_lookup_elem(&sums, &zero);
	lease_end = bpf_map_lookup_elem(&lease, &zero);
	if (!t || !lease_end)
		return 0;
	now = bpf_ktime_get_coarse_ns();
	/* Another CPU may have seen the flow a moment after now. */
	expired = now >= f->deadline || (__s64)(now - f->last_seen) >= (__s64)f->idle;
	spent = f->packets >= f->max_packets || f->bytes >= f->max_bytes;
	if (!mine(f, &p.key))
		return 0;
	if (expired) {
		__sync_fetch_and_add(&t->expired, 1);
		return 0;
	}
	if (spent) {
		__sync_fetch_and_add(&t->spent, 1);
		return 0;
	}
	if (now >= *lease_end) {
		__sync_fetch_and_add(&t->suspended, 1);
		return 0;
	}
	if (action == ACTION_ACCEPT && p.opens) {
		/* The ports are used again: this is another connection, and
		 * nobody has looked at it. */
		f->deadline = 0;
		__sync_fetch_and_add(&t->reopened, 1);
		return 0;
	}
	f->last_seen = now;
	__sync_fetch_and_add(&f->packets, 1);
	__sync_fetch_and_add(&f->bytes, skb->len);
	/* Atomically, though each CPU has its own: a soft interrupt may come in
	 * between with a packet of its own. */
	if (action == ACTION_ACCEPT) {
		__sync_fetch_and_add(&t->accepted_packets, 1);
		__sync_fetch_and_add(&t->accepted_bytes, skb->len);
	} else {
		__sync_fetch_and_add(&t->dropped_packets, 1);
		__sync_fetch_and_add(&t->dropped_bytes, skb->len);
	}
	return 1;
}

SEC("socket/accept")
int bypass_accept(struct __sk_buff *skb)
{
	return decide(skb, ACTION_ACCEPT);
}

SEC("socket/drop")
int bypass_drop(struct __sk_buff *skb)
{
	return decide(skb, ACTION_DROP);
}

/* Only programs under the GPL may call every helper; these call none of those
 * that ask for it. */
char _license[] SEC("license") = "Dual MIT/GPL";
