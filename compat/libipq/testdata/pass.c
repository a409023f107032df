// Accepts what is queued: pass NUMBER [4|6]
#include "common.h"

int main(int argc, char **argv)
{
	unsigned char buf[SIZE];
	int left = atoi(argv[1]);

	h = listen_to(0, argc > 2 && *argv[2] == '6' ? PF_INET6 : PF_INET, IPQ_COPY_PACKET);
	ready();
	while (left-- > 0) {
		ipq_packet_msg_t *m = next(h, buf, sizeof buf);

		if (ipq_set_verdict(h, m->packet_id, NF_ACCEPT, 0, NULL) < 0)
			die("verdict");
	}
	if (waiting() != 0) {
		fprintf(stderr, "%d packets wait\n", waiting());
		return 1;
	}
	if (ipq_destroy_handle(h) < 0)
		die("destroy");
	return 0;
}
