/* SPDX-License-Identifier: MIT OR GPL-2.0-only */

/* What the programs use of the kernel's interface. It is written out here, so
 * that the objects depend on the compiler alone and not on the headers that are
 * installed beside it, whose types would end up in the BTF. */

#pragma once

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef long long __s64;

#define SEC(name) __attribute__((section(name), used))
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))

/* Members of a map's definition, as loaders read them from its BTF. */
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name

enum {
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
};

/* The start of the context; the rest of it is not read. */
struct __sk_buff {
	__u32 len; /* from the IP header on: at netfilter's hooks that is offset 0 */
};

/* Helpers, by their numbers in enum bpf_func_id. */
static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_skb_load_bytes)(const void *skb, __u32 offset, void *to, __u32 len) = (void *)26;
static __u64 (*const bpf_ktime_get_coarse_ns)(void) = (void *)160; /* Linux 5.11; replaced before */
