// Becomes a daemon, and then accepts what is queued: demon NUMBER
#include "common.h"

int main(int argc, char **argv)
{
	unsigned char buf[SIZE];
	int left = argc > 1 ? atoi(argv[1]) : 0;

	h = listen_to(0, PF_INET, IPQ_COPY_PACKET);
	if (daemon(0, 1) < 0)
		die("daemon");
	ready();
	while (left-- > 0)
		if (ipq_set_verdict(h, next(h, buf, sizeof buf)->packet_id, NF_ACCEPT, 0, NULL) < 0)
			die("verdict");
	ipq_destroy_handle(h);
	puts("done");
	return 0;
}
