// Drops every second packet: second NUMBER
#include "common.h"

int main(int argc, char **argv)
{
	unsigned char buf[SIZE];
	int i, number = argc > 1 ? atoi(argv[1]) : 0;

	h = listen_to(0, PF_INET, IPQ_COPY_META);
	ready();
	for (i = 0; i < number; i++) {
		ipq_packet_msg_t *m = next(h, buf, sizeof buf);

		if (m->data_len != 0) {
			fprintf(stderr, "%zu bytes of payload without IPQ_COPY_PACKET\n", m->data_len);
			return 1;
		}
		if (ipq_set_verdict(h, m->packet_id, i % 2 ? NF_DROP : NF_ACCEPT, 0, NULL) < 0)
			die("verdict");
	}
	ipq_destroy_handle(h);
	return 0;
}
