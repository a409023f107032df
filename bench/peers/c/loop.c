// A bare loop: what a queue costs when the program around it costs next to
// nothing. Plain sockets, recvmmsg of 32, and for what a receive brought either
// one VERDICT_BATCH or a VERDICT for each packet, all in one write.
//
// usage: loop batch|each QUEUE MAXLEN RCVBUF GSO
#include "contestant.h"
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>

#define BATCH 32
// The longest packet, and room for its attributes: some 200 bytes. Not whole
// pages, or all slots would begin in the same lines of the cache.
#define SLOT (65536 + 4096 + 64)
// A header, and the one attribute of a verdict: 32 bytes.
#define VERDICT 64

struct header {
	struct nlmsghdr nl;
	struct nfgenmsg nf;
};

static void put(char *msg, int type, const void *value, int len)
{
	struct nlmsghdr *nl = (void *)msg;
	struct nlattr *a = (void *)(msg + NLMSG_ALIGN(nl->nlmsg_len));

	a->nla_type = type;
	a->nla_len = NLA_HDRLEN + len;
	memcpy((char *)a + NLA_HDRLEN, value, len);
	nl->nlmsg_len = NLMSG_ALIGN(nl->nlmsg_len) + NLA_ALIGN(a->nla_len);
}

static void start(char *msg, int type, int flags, int queue)
{
	struct header *h = (void *)msg;

	memset(h, 0, sizeof *h);
	h->nl.nlmsg_len = sizeof *h;
	h->nl.nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | type;
	h->nl.nlmsg_flags = NLM_F_REQUEST | flags;
	h->nf.res_id = htons(queue);
}

static void bind_queue(int fd, int queue, int maxlen, int gso)
{
	char msg[256], answer[1024];
	struct nfqnl_msg_config_cmd cmd = { .command = NFQNL_CFG_CMD_BIND };
	struct nfqnl_msg_config_params params = { htonl(0xffff), NFQNL_COPY_PACKET };
	uint32_t len = htonl(maxlen), flags = htonl(NFQA_CFG_F_GSO);
	struct nlmsghdr *nl = (void *)msg;
	struct nlmsgerr *err = NLMSG_DATA(answer);

	start(msg, NFQNL_MSG_CONFIG, NLM_F_ACK, queue);
	put(msg, NFQA_CFG_CMD, &cmd, sizeof cmd);
	put(msg, NFQA_CFG_PARAMS, &params, sizeof params);
	put(msg, NFQA_CFG_QUEUE_MAXLEN, &len, sizeof len);
	if (gso) {
		put(msg, NFQA_CFG_FLAGS, &flags, sizeof flags);
		put(msg, NFQA_CFG_MASK, &flags, sizeof flags);
	}
	if (send(fd, msg, nl->nlmsg_len, 0) < 0 || recv(fd, answer, sizeof answer, 0) < 0)
		die("bind queue");
	errno = -err->error;
	if (errno)
		die("bind queue");
}

static int add_verdict(char *buf, int type, int queue, uint32_t id)
{
	struct nfqnl_msg_verdict_hdr verdict = { .verdict = htonl(NF_ACCEPT), .id = id };

	start(buf, type, 0, queue);
	put(buf, NFQA_VERDICT_HDR, &verdict, sizeof verdict);
	return ((struct nlmsghdr *)buf)->nlmsg_len;
}

int main(int argc, char **argv)
{
	static char slots[BATCH][SLOT];
	static struct iovec iov[BATCH];
	static struct mmsghdr msgs[BATCH];
	static char verdicts[BATCH * VERDICT];
	struct timeval timeout = { .tv_usec = 100000 };
	uint64_t packets = 0;
	int fd, each, queue, rcvbuf, on = 1;

	if (argc != 6)
		return 2;
	each = strcmp(argv[1], "each") == 0;
	queue = atoi(argv[2]);
	rcvbuf = atoi(argv[4]) / 2; // the kernel doubles it
	catch_signals();

	fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	if (fd < 0)
		die("socket");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf, sizeof rcvbuf) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
	setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
	bind_queue(fd, queue, atoi(argv[3]), atoi(argv[5]));

	for (int i = 0; i < BATCH; i++) {
		iov[i].iov_base = slots[i];
		iov[i].iov_len = SLOT;
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	ready();

	while (!quit) {
		int got = 0, len = 0;
		uint32_t last = 0;
		int n = recvmmsg(fd, msgs, BATCH, MSG_WAITFORONE, NULL);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			die("recvmmsg");
		for (int i = 0; i < n; i++) {
			struct header *h = (void *)slots[i];
			struct nfqnl_msg_packet_hdr *p = (void *)(slots[i] + sizeof *h + NLA_HDRLEN);

			if (h->nl.nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET))
				continue;
			got++;
			last = p->packet_id;
			if (each)
				len += add_verdict(verdicts + len, NFQNL_MSG_VERDICT, queue, last);
		}
		if (got && !each)
			len = add_verdict(verdicts, NFQNL_MSG_VERDICT_BATCH, queue, last);
		if (len && send(fd, verdicts, len, 0) < 0)
			die("send verdicts");
		packets += got;
		if (n < 0)
			look_for_parent();
	}
	return report(packets);
}
