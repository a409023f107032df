// A bare generator: sendmmsg of packets that were made beforehand, over and
// over. They are what the flood sends: ICMP echo requests or UDP datagrams to
// the discard service, one for each of its flows, which have an address each
// from 127.1.0.0 on.
//
// usage: send icmp|udp SIZE FLOWS BURST SNDBUF
#include "contestant.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>

#define MAX_FLOWS 65536
#define MAX_BURST 1024
#define ICMP_FILTER 1 // of <linux/icmp.h>, which excludes the C library's

static uint16_t checksum(const uint8_t *p, int len)
{
	uint32_t sum = 0;

	for (int i = 0; i < len; i++)
		sum += i % 2 ? p[i] : p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons(~sum);
}

int main(int argc, char **argv)
{
	static struct iovec iov[MAX_FLOWS];
	static struct sockaddr_in addr[MAX_FLOWS];
	static struct mmsghdr msgs[MAX_FLOWS];
	uint64_t packets = 0;
	int udp, payload, flows, burst, sndbuf, fd;
	int pmtu = IP_PMTUDISC_DO, none = -1;

	if (argc != 6)
		return 2;
	udp = strcmp(argv[1], "udp") == 0;
	payload = atoi(argv[2]) - 20 - (udp ? 8 : 0); // the kernel writes the headers
	flows = atoi(argv[3]);
	burst = atoi(argv[4]);
	sndbuf = atoi(argv[5]) / 2; // the kernel doubles it
	if (payload < 8 || flows < 1 || flows > MAX_FLOWS || burst < 1 || burst > MAX_BURST)
		return 2;
	catch_signals();

	fd = udp ? socket(AF_INET, SOCK_DGRAM, 0) : socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	if (fd < 0)
		die("socket");
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &sndbuf, sizeof sndbuf) < 0)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof sndbuf);
	if (setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &pmtu, sizeof pmtu) < 0)
		die("IP_MTU_DISCOVER");
	if (!udp && setsockopt(fd, SOL_RAW, ICMP_FILTER, &none, sizeof none) < 0)
		die("ICMP_FILTER");

	for (int i = 0; i < flows; i++) {
		struct icmphdr *icmp = calloc(1, payload);

		if (!icmp)
			die("calloc");
		if (!udp) {
			icmp->type = ICMP_ECHO;
			icmp->un.echo.id = htons(i);
			icmp->checksum = checksum((void *)icmp, payload);
		}
		addr[i].sin_family = AF_INET;
		addr[i].sin_port = udp ? htons(9) : 0;
		addr[i].sin_addr.s_addr = htonl(0x7f010000 + i);
		iov[i].iov_base = icmp;
		iov[i].iov_len = payload;
		msgs[i].msg_hdr.msg_name = &addr[i];
		msgs[i].msg_hdr.msg_namelen = sizeof addr[i];
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	ready();

	for (int next = 0; !quit;) {
		int rest = flows - next;
		int n = sendmmsg(fd, msgs + next, burst < rest ? burst : rest, MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN && errno != ENOBUFS && errno != EINTR)
			die("sendmmsg");
		if (n > 0) {
			packets += n;
			next = (next + n) % flows;
		}
		if (packets % (1 << 16) < (unsigned)burst) // seldom
			look_for_parent();
	}
	return report(packets);
}
