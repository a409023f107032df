// Waits by poll, reads without waiting: poller NUMBER
#include "common.h"
#include <poll.h>

int main(int argc, char **argv)
{
	unsigned char buf[SIZE];
	int left = argc > 1 ? atoi(argv[1]) : 0;

	h = listen_to(0, PF_INET, IPQ_COPY_PACKET);
	ready();
	while (left > 0) {
		struct pollfd p = {.fd = h->fd, .events = POLLIN};
		ssize_t n;

		if (poll(&p, 1, -1) < 0)
			die("poll");
		n = ipq_read(h, buf, sizeof buf, -1);
		if (n < 0)
			die("read");
		if (n == 0)
			continue;
		// The verdict comes once there is nothing more to read.
		do {
			if (ipq_set_verdict(h, ipq_get_packet(buf)->packet_id, NF_ACCEPT, 0, NULL) < 0)
				die("verdict");
			left--;
		} while (left > 0 && ipq_read(h, buf, sizeof buf, -1) > 0);
	}
	if (poll(&(struct pollfd){.fd = h->fd, .events = POLLIN}, 1, 0) != 0) {
		fputs("nothing is left, and poll says there is\n", stderr);
		return 1;
	}
	ipq_destroy_handle(h);
	return 0;
}
