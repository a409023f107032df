// Prints what is known of packets, and accepts them: fields NUMBER 4|6 RANGE
#include <arpa/inet.h>
#include <time.h>
#include "common.h"

int main(int argc, char **argv)
{
	unsigned char buf[SIZE];
	int i, left = argc > 3 ? atoi(argv[1]) : 0;

	h = listen_to(0, *argv[2] == '6' ? PF_INET6 : PF_INET, IPQ_COPY_PACKET);
	if (ipq_set_mode(h, IPQ_COPY_PACKET, atoi(argv[3])) < 0)
		die("mode");
	ready();
	while (left-- > 0) {
		ipq_packet_msg_t *m = next(h, buf, sizeof buf);

		printf("mark %lu hook %u in %s out %s protocol %04x type %u address %d:",
		       m->mark, m->hook, m->indev_name, m->outdev_name, ntohs(m->hw_protocol),
		       m->hw_type, m->hw_addrlen);
		for (i = 0; i < m->hw_addrlen; i++)
			printf("%02x", m->hw_addr[i]);
		printf(" payload %zu version %d\n", m->data_len, m->data_len ? m->payload[0] >> 4 : 0);
		// Whether there is a time depends on what other programs ask the kernel for.
		if (m->timestamp_sec != 0 && labs(m->timestamp_sec - time(NULL)) > 60) {
			fprintf(stderr, "the time is %ld\n", m->timestamp_sec);
			return 1;
		}
		if (ipq_set_verdict(h, m->packet_id, NF_ACCEPT, 0, NULL) < 0)
			die("verdict");
	}
	ipq_destroy_handle(h);
	return 0;
}
