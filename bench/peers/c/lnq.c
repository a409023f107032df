// libnetfilter_queue's usual loop: recv, nfq_handle_packet, and a callback that
// calls nfq_set_verdict. Tuned as its documentation says: a larger socket
// buffer, NETLINK_NO_ENOBUFS, and the queue's length.
//
// usage: lnq QUEUE MAXLEN RCVBUF GSO
#include "contestant.h"
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netlink.h>
#include <libnfnetlink/libnfnetlink.h>
#include <libnetfilter_queue/libnetfilter_queue.h>

static uint64_t packets;

static int accept_packet(struct nfq_q_handle *q, struct nfgenmsg *msg, struct nfq_data *packet, void *data)
{
	struct nfqnl_msg_packet_hdr *h = nfq_get_msg_packet_hdr(packet);

	(void)msg;
	(void)data;
	if (!h)
		return 0;
	packets++;
	return nfq_set_verdict(q, ntohl(h->packet_id), NF_ACCEPT, 0, NULL);
}

int main(int argc, char **argv)
{
	// The longest packet, and room for its attributes: some 200 bytes.
	static char buf[65536 + 4096] __attribute__((aligned));
	struct timeval timeout = { .tv_usec = 100000 };
	struct nfq_handle *h;
	struct nfq_q_handle *q;
	int fd, rcvbuf, on = 1;

	if (argc != 5)
		return 2;
	rcvbuf = atoi(argv[3]) / 2; // the kernel doubles it
	catch_signals();

	h = nfq_open();
	if (!h)
		die("nfq_open");
	q = nfq_create_queue(h, atoi(argv[1]), accept_packet, NULL);
	if (!q)
		die("nfq_create_queue");
	if (nfq_set_mode(q, NFQNL_COPY_PACKET, 0xffff) < 0)
		die("nfq_set_mode");
	if (nfq_set_queue_maxlen(q, atoi(argv[2])) < 0)
		die("nfq_set_queue_maxlen");
	if (atoi(argv[4]) && nfq_set_queue_flags(q, NFQA_CFG_F_GSO, NFQA_CFG_F_GSO) < 0)
		die("nfq_set_queue_flags");
	fd = nfq_fd(h);
	nfnl_rcvbufsiz(nfq_nfnlh(h), rcvbuf); // SO_RCVBUFFORCE, else SO_RCVBUF
	setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
	ready();

	while (!quit) {
		int n = recv(fd, buf, sizeof buf, 0);

		if (n >= 0)
			nfq_handle_packet(h, buf, n);
		else if (errno != EAGAIN && errno != EINTR)
			die("recv");
		if (n < 0)
			look_for_parent();
	}
	return report(packets);
}
