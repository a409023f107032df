/* SPDX-License-Identifier: MIT OR GPL-2.0-only */

/* From a packet to its flow's key: what ipq.Flow is, for those flows that can
 * be told apart for certain. key.go builds the same keys. What is unknown there
 * has no key here. */

#pragma once

#include "kernel.h"

enum {
	IPPROTO_HOPOPTS = 0,
	IPPROTO_ICMP = 1,
	IPPROTO_TCP = 6,
	IPPROTO_UDP = 17,
	IPPROTO_DCCP = 33,
	IPPROTO_ROUTING = 43,
	IPPROTO_FRAGMENT = 44,
	IPPROTO_AH = 51,
	IPPROTO_ICMPV6 = 58,
	IPPROTO_NONE = 59,
	IPPROTO_DSTOPTS = 60,
	IPPROTO_SCTP = 132,
	IPPROTO_UDPLITE = 136,
};

enum {
	ICMP_ECHOREPLY = 0,
	ICMP_ECHO = 8,
	ICMPV6_ECHO_REQUEST = 128,
	ICMPV6_ECHO_REPLY = 129,

	TCP_SYN = 0x02,
	TCP_ACK = 0x10,

	/* The verifier wants a bound, which the library does without: a packet
	 * with more headers is queued, whatever was settled. */
	MAX_EXTENSION_HEADERS = 16,
};

/* An endpoint's address is in network order, an IPv4 one in the first word. */
struct endpoint {
	__u32 addr[4];
};

/* One key stands for both directions: the endpoint whose address, then port,
 * compares lower in memory order of its words comes first. All of it is words,
 * as the kernel hashes it: a word that is read right after parts of it were
 * written makes the CPU wait. */
struct flow_key {
	struct endpoint lo, hi;
	__u32 ports; /* in network order, that of lo in the lower half */
	__u32 kind; /* protocol, and version of IP << 8: an IPv4 address is not its
		     * IPv4-mapped IPv6 one */
} __attribute__((aligned(8)));

struct packet {
	struct flow_key key;
	__u8 opens; /* a TCP segment that opens a connection: SYN without ACK */
};

/* Those that the kernel knows (ipv6_ext_hdr), but for NONE, behind which nothing
 * comes. Mobility (135), HIP (139) and Shim6 (140) look alike, but are protocols. */
static __always_inline int is_extension(__u8 proto)
{
	switch (proto) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_FRAGMENT:
	case IPPROTO_AH:
	case IPPROTO_DSTOPTS:
		return 1;
	}
	return 0;
}

/* The start of a transport header, of TCP's up to the flags. */
union transport {
	__u8 byte[14];
	__u16 half[7];
};

/* needed is how many bytes of a transport header ports_in looks at. */
static __always_inline __u32 needed(__u8 proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return 14;
	case IPPROTO_UDP:
	case IPPROTO_DCCP:
	case IPPROTO_SCTP:
	case IPPROTO_UDPLITE:
		return 4;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return 6;
	}
	return 0;
}

/* ports_in reads what tells a flow of this protocol apart into ports, source
 * first. It returns 0 if the packet belongs to no flow for certain. */
static __always_inline int ports_in(const union transport *h, __u8 proto, __u8 version,
				    __u16 ports[2], __u8 *opens)
{
	switch (proto) {
	case IPPROTO_TCP:
		*opens = (h->byte[13] & (TCP_SYN | TCP_ACK)) == TCP_SYN;
		break;
	case IPPROTO_UDP:
	case IPPROTO_DCCP:
	case IPPROTO_SCTP:
	case IPPROTO_UDPLITE:
		break;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (version == 4 && proto == IPPROTO_ICMP) {
			if (h->byte[0] != ICMP_ECHO && h->byte[0] != ICMP_ECHOREPLY)
				return 0;
		} else if (version == 6 && proto == IPPROTO_ICMPV6) {
			if (h->byte[0] != ICMPV6_ECHO_REQUEST && h->byte[0] != ICMPV6_ECHO_REPLY)
				return 0;
		} else {
			return 0;
		}
		ports[0] = ports[1] = h->half[2];
		return 1;
	default: /* addresses and protocol are the flow, unless headers hide what follows */
		return proto != IPPROTO_NONE && !is_extension(proto);
	}
	ports[0] = h->half[0];
	ports[1] = h->half[1];
	return ports[0] || ports[1];
}

/* load_transport reads as much of a transport header as ports_in looks at. The
 * datagram, and what it tells, ends at end. */
static __always_inline int load_transport(struct __sk_buff *skb, __u32 off, __u32 end, __u8 proto,
					  union transport *h)
{
	if (off + needed(proto) > end)
		return 0;
	switch (needed(proto)) {
	case 14:
		return bpf_skb_load_bytes(skb, off, h, 14) == 0;
	case 6:
		return bpf_skb_load_bytes(skb, off, h, 6) == 0;
	case 4:
		return bpf_skb_load_bytes(skb, off, h, 4) == 0;
	}
	return 1;
}

/* upper6 finds the upper-layer header, as internal/zerocopy does. It returns 0
 * for fragments, and for headers that are cut or too many. */
static __always_inline int upper6(struct __sk_buff *skb, __u32 end, __u8 *proto, __u32 *off)
{
	__u8 h[8];

	for (int i = 0; i < MAX_EXTENSION_HEADERS && is_extension(*proto); i++) {
		__u32 len;

		if (bpf_skb_load_bytes(skb, *off, h, sizeof(h)))
			return 0;
		switch (*proto) {
		case IPPROTO_FRAGMENT: /* an atomic one is whole (RFC 6946) */
			if (h[2] || h[3] & 0xf9)
				return 0;
			len = 8;
			break;
		case IPPROTO_AH:
			len = 8 + h[1] * 4;
			break;
		default:
			len = 8 + h[1] * 8;
		}
		*off += len;
		if (*off > end)
			return 0;
		*proto = h[0];
	}
	return 1;
}

/* fill makes the key of what tells the flow apart, source first; addresses have
 * so many words. */
static __always_inline void fill(struct flow_key *k, const __u32 *src, const __u32 *dst, int words,
				 const __u16 ports[2], __u8 proto, __u8 version)
{
	int swap = ports[0] > ports[1];

	for (int i = words - 1; i >= 0; i--)
		if (src[i] != dst[i])
			swap = src[i] > dst[i];
	for (int i = 0; i < words; i++) {
		k->lo.addr[i] = swap ? dst[i] : src[i];
		k->hi.addr[i] = swap ? src[i] : dst[i];
	}
	k->ports = swap ? ports[1] | (__u32)ports[0] << 16 : ports[0] | (__u32)ports[1] << 16;
	k->kind = proto | version << 8;
}

union ip4 {
	__u8 byte[20];
	__u32 word[5];
};

static __always_inline int is_fragment(const union ip4 *ip)
{
	return ip->byte[6] & 0x3f || ip->byte[7]; /* MF and offset, not DF */
}

/* end4 and end6 are where the datagram ends, as zerocopy.DatagramLen has it: at a
 * packet's end, but for one that says less. A super-packet may say nothing. */
static __always_inline __u32 end4(struct __sk_buff *skb, const union ip4 *ip)
{
	__u32 said = ip->byte[2] << 8 | ip->byte[3];

	return said && said < skb->len ? said : skb->len;
}

static __always_inline __u32 end6(struct __sk_buff *skb, const __u8 *ip)
{
	__u32 said = ip[4] << 8 | ip[5];

	if (!said && ip[6] == IPPROTO_HOPOPTS)
		return skb->len;
	return 40 + said < skb->len ? 40 + said : skb->len;
}

static __always_inline int flow4(const union ip4 *ip, const union transport *h, struct packet *p)
{
	__u16 ports[2] = {};

	if (!ports_in(h, ip->byte[9], 4, ports, &p->opens))
		return 0;
	fill(&p->key, &ip->word[3], &ip->word[4], 1, ports, ip->byte[9], 4);
	return 1;
}

static __always_inline int parse4(struct __sk_buff *skb, const union ip4 *ip, struct packet *p)
{
	union transport h;
	__u32 off = (ip->byte[0] & 0xf) * 4;

	if (off < sizeof(*ip) || is_fragment(ip))
		return 0;
	return load_transport(skb, off, end4(skb, ip), ip->byte[9], &h) && flow4(ip, &h, p);
}

static __always_inline int parse6(struct __sk_buff *skb, struct packet *p)
{
	union {
		__u8 byte[40];
		__u32 word[10];
	} ip;
	union transport h;
	__u16 ports[2] = {};
	__u32 off = sizeof(ip), end;
	__u8 proto;

	if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)))
		return 0;
	proto = ip.byte[6];
	end = end6(skb, ip.byte);
	if (!upper6(skb, end, &proto, &off))
		return 0;
	if (!load_transport(skb, off, end, proto, &h) || !ports_in(&h, proto, 6, ports, &p->opens))
		return 0;
	fill(&p->key, &ip.word[2], &ip.word[6], 4, ports, proto, 6);
	return 1;
}

/* parse_any is parse for every packet. It is a function of its own to leave the
 * cache's lines to the packets that do not come here. */
static __noinline int parse_any(struct __sk_buff *skb, struct packet *p)
{
	union ip4 ip;

	if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)))
		return 0;
	switch (ip.byte[0] >> 4) {
	case 4:
		return parse4(skb, &ip, p);
	case 6:
		return parse6(skb, p);
	}
	return 0;
}

/* parse reports whether the packet belongs to a flow that can be told apart for
 * certain, and which. p is zero when it is called. An IPv4 header without
 * options and all that is needed behind it are read at once, most packets. */
static __always_inline int parse(struct __sk_buff *skb, struct packet *p)
{
	struct {
		union ip4 ip;
		union transport h;
	} plain;

	if (bpf_skb_load_bytes(skb, 0, &plain, sizeof(plain.ip) + sizeof(plain.h)) ||
	    plain.ip.byte[0] != 0x45 || is_fragment(&plain.ip) ||
	    end4(skb, &plain.ip) < sizeof(plain))
		return parse_any(skb, p);
	return flow4(&plain.ip, &plain.h, p);
}
