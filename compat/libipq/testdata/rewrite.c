// Writes the payload of datagrams in capitals, and an exclamation mark behind it:
// rewrite NUMBER
#include <ctype.h>
#include <netinet/in.h> // before linux/netfilter.h, as these two want it
#include <netinet/ip.h>
#include <netinet/udp.h>
#include "common.h"

static uint16_t sum(const unsigned char *b, size_t n)
{
	uint32_t s = 0;
	size_t i;

	for (i = 0; i < n; i += 2)
		s += b[i] << 8 | (i + 1 < n ? b[i + 1] : 0);
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return htons(~s);
}

int main(int argc, char **argv)
{
	unsigned char buf[SIZE], packet[SIZE];
	int left = argc > 1 ? atoi(argv[1]) : 0;

	h = listen_to(0, PF_INET, IPQ_COPY_PACKET);
	ready();
	while (left-- > 0) {
		ipq_packet_msg_t *m = next(h, buf, sizeof buf);
		struct iphdr *ip = (struct iphdr *)packet;
		struct udphdr *udp = (struct udphdr *)(ip + 1);
		size_t n = m->data_len, i;

		memcpy(packet, m->payload, n);
		for (i = sizeof *ip + sizeof *udp; i < n; i++)
			packet[i] = toupper(packet[i]);
		packet[n++] = '!';
		ip->tot_len = htons(n);
		ip->check = 0;
		ip->check = sum(packet, sizeof *ip);
		udp->len = htons(n - sizeof *ip);
		// None, which IPv4 allows; or a wrong one, which stays.
		udp->check = packet[sizeof *ip + sizeof *udp] == 'W' ? htons(1) : 0;
		if (ipq_set_verdict(h, m->packet_id, NF_ACCEPT, n, packet) < 0)
			die("verdict");
	}
	ipq_destroy_handle(h);
	return 0;
}
