// The floor: what a queue costs when the program around it costs next to
// nothing. Plain sockets, recvmmsg of 16, one VERDICT_BATCH a receive.
//
// usage: floor QUEUE MAXLEN RCVBUF
//
// It says "ready", accepts every packet, measures from SIGUSR1 to SIGUSR2, and
// on SIGTERM or when its parent dies writes the figures as JSON.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH 16
// Longer packets are cut off: their id stands first.
#define SLOT 4096

struct header {
	struct nlmsghdr nl;
	struct nfgenmsg nf;
};

struct figures {
	uint64_t packets, nanos, cpu;
};

static volatile sig_atomic_t begin, end, quit;

static void on_signal(int sig)
{
	if (sig == SIGUSR1)
		begin = 1;
	else if (sig == SIGUSR2)
		end = 1;
	else
		quit = 1;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

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

static void bind_queue(int fd, int queue, int maxlen)
{
	char msg[256], answer[1024];
	struct nfqnl_msg_config_cmd cmd = { .command = NFQNL_CFG_CMD_BIND };
	struct nfqnl_msg_config_params params = { htonl(0xffff), NFQNL_COPY_PACKET };
	uint32_t len = htonl(maxlen);
	struct nlmsghdr *nl = (void *)msg;
	struct nlmsgerr *err = NLMSG_DATA(answer);

	start(msg, NFQNL_MSG_CONFIG, NLM_F_ACK, queue);
	put(msg, NFQA_CFG_CMD, &cmd, sizeof cmd);
	put(msg, NFQA_CFG_PARAMS, &params, sizeof params);
	put(msg, NFQA_CFG_QUEUE_MAXLEN, &len, sizeof len);
	if (send(fd, msg, nl->nlmsg_len, 0) < 0 || recv(fd, answer, sizeof answer, 0) < 0)
		die("bind queue");
	errno = -err->error;
	if (errno)
		die("bind queue");
}

static struct figures now(uint64_t packets)
{
	struct rusage ru;
	struct timespec ts;
	struct figures f = { .packets = packets };

	getrusage(RUSAGE_SELF, &ru);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	f.nanos = ts.tv_sec * 1000000000ull + ts.tv_nsec;
	f.cpu = (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000000ull +
		(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) * 1000ull;
	return f;
}

int main(int argc, char **argv)
{
	static char slots[BATCH][SLOT];
	static struct iovec iov[BATCH];
	static struct mmsghdr msgs[BATCH];
	struct sigaction sa = { .sa_handler = on_signal };
	struct timeval timeout = { .tv_usec = 100000 };
	struct figures from = { 0 }, to = { 0 };
	struct nfqnl_msg_verdict_hdr verdict = { .verdict = htonl(NF_ACCEPT) };
	char batch[64];
	uint64_t packets = 0;
	int fd, queue, rcvbuf, on = 1;

	if (argc != 4)
		return 2;
	queue = atoi(argv[1]);
	rcvbuf = atoi(argv[3]) / 2; // the kernel doubles it
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGUSR2, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);

	fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	if (fd < 0)
		die("socket");
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf, sizeof rcvbuf) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf);
	setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
	bind_queue(fd, queue, atoi(argv[2]));

	for (int i = 0; i < BATCH; i++) {
		iov[i].iov_base = slots[i];
		iov[i].iov_len = SLOT;
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	puts("ready");
	fflush(stdout);

	while (!quit) {
		int got = 0;
		int n = recvmmsg(fd, msgs, BATCH, MSG_WAITFORONE, NULL);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			die("recvmmsg");
		for (int i = 0; i < n; i++) {
			struct header *h = (void *)slots[i];
			struct nfqnl_msg_packet_hdr *p = (void *)(slots[i] + sizeof *h + NLA_HDRLEN);

			if (h->nl.nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET))
				continue;
			verdict.id = p->packet_id;
			got++;
		}
		if (got) {
			start(batch, NFQNL_MSG_VERDICT_BATCH, 0, queue);
			put(batch, NFQA_VERDICT_HDR, &verdict, sizeof verdict);
			if (send(fd, batch, ((struct nlmsghdr *)batch)->nlmsg_len, 0) < 0)
				die("send verdict");
			packets += got;
		}
		if (begin) {
			begin = 0;
			from = now(packets);
		}
		if (end) {
			end = 0;
			to = now(packets);
		}
		if (n < 0) {
			// Idle: the parent's death closes our standard input.
			struct pollfd in = { .fd = 0 };
			if (poll(&in, 1, 0) > 0)
				break;
		}
	}
	printf("{\"total\":%llu,\"packets\":%llu,\"nanos\":%llu,\"cpu_nanos\":%llu}\n",
	       (unsigned long long)packets, (unsigned long long)(to.packets - from.packets),
	       (unsigned long long)(to.nanos - from.nanos), (unsigned long long)(to.cpu - from.cpu));
	return 0;
}
