// Accepts IPv4 and IPv6 by two handles, in one loop over poll that trusts what it
// says: two NUMBER [AFTER]. With AFTER the second handle comes after the first read.
#include "common.h"
#include <poll.h>

static struct ipq_handle *both[2];

static void pass(int i, int version)
{
	unsigned char buf[SIZE];
	ipq_packet_msg_t *m = next(both[i], buf, sizeof buf);

	if (m->payload[0] >> 4 != version) {
		fprintf(stderr, "handle %d got a packet of version %d\n", i, m->payload[0] >> 4);
		exit(1);
	}
	if (ipq_set_verdict(both[i], m->packet_id, NF_ACCEPT, 0, NULL) < 0)
		die("verdict");
}

int main(int argc, char **argv)
{
	unsigned char buf[SIZE];
	struct pollfd p[2];
	int i, left = atoi(argv[1]);

	both[0] = listen_to(0, PF_INET, IPQ_COPY_PACKET);
	if (argc > 2 && ipq_read(both[0], buf, sizeof buf, -1) != 0)
		die("early read");
	both[1] = listen_to(0, PF_INET6, IPQ_COPY_PACKET);
	if (ipq_create_handle(0, PF_INET6) || errno != EBUSY)
		die("a third handle");
	// Go begins to sort with the first read.
	for (i = 0; i < 2; i++)
		if (ipq_read(both[i], buf, sizeof buf, -1) != 0)
			die("empty read");
	ready();
	while (left > 0) {
		for (i = 0; i < 2; i++)
			p[i] = (struct pollfd){.fd = both[i]->fd, .events = POLLIN};
		if (poll(p, 2, -1) < 0)
			die("poll");
		for (i = 0; i < 2; i++)
			if (p[i].revents & POLLIN) {
				pass(i, i ? 6 : 4);
				left--;
			}
	}
	ipq_destroy_handle(both[0]);
	ipq_destroy_handle(both[1]);
	return 0;
}
