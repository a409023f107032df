// Has two handles, of which one goes and comes again. Each decides its own packets only.
#include "common.h"

int main(void)
{
	static unsigned char buf[SIZE];
	struct ipq_handle *six;
	ipq_packet_msg_t *m;
	ipq_id_t id;

	h = listen_to(0, PF_INET, IPQ_COPY_PACKET);
	six = listen_to(0, PF_INET6, IPQ_COPY_PACKET);
	if (ipq_set_mode(h, IPQ_COPY_PACKET, 20) < 0) // the other one has all
		die("mode");
	ready();
	m = next(h, buf, sizeof buf);
	if (m->data_len != 20) {
		fprintf(stderr, "%zu bytes of payload, not 20\n", m->data_len);
		return 1;
	}
	id = m->packet_id;
	if (ipq_set_verdict(six, id, NF_DROP, 0, NULL) < 0)
		die("verdict by the other handle");
	if (ipq_read(six, buf, sizeof buf, 0) <= 0 || ipq_message_type(buf) != NLMSG_ERROR || ipq_get_msgerr(buf) != ENOENT)
		die("answer to the verdict by the other handle");
	if (ipq_set_verdict(h, id, NF_ACCEPT, 0, NULL) < 0)
		die("verdict");

	// One that it has, and one that it has not read.
	next(six, buf, sizeof buf);
	if (ipq_destroy_handle(six) < 0)
		die("destroy");
	puts("left");
	fflush(stdout);
	if (ipq_set_verdict(h, next(h, buf, sizeof buf)->packet_id, NF_ACCEPT, 0, NULL) < 0)
		die("verdict without the other handle");

	six = ipq_create_handle(0, PF_INET6);
	if (!six)
		die("create anew");
	puts("again");
	fflush(stdout);
	if (ipq_set_verdict(h, next(h, buf, sizeof buf)->packet_id, NF_ACCEPT, 0, NULL) < 0)
		die("verdict beside the new handle");
	if (ipq_read(six, buf, sizeof buf, -1) != 0)
		die("read without a mode");
	if (ipq_set_mode(six, IPQ_COPY_PACKET, 0) < 0)
		die("mode of the new handle");
	puts("mode");
	fflush(stdout);
	if (ipq_read(six, buf, 80, 0) != -1 || strcmp(ipq_errstr(), "Received message truncated") != 0)
		die("short buffer");
	if (ipq_set_verdict(six, next(six, buf, sizeof buf)->packet_id, NF_ACCEPT, 0, NULL) < 0)
		die("verdict by the new handle");
	if (ipq_destroy_handle(h) < 0 || ipq_destroy_handle(six) < 0)
		die("destroy");

	// The queue is free.
	h = listen_to(0, PF_INET, IPQ_COPY_PACKET);
	if (ipq_read(h, buf, sizeof buf, 1) != 0)
		die("read anew");
	ipq_destroy_handle(h);
	return 0;
}
