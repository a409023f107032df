// What the library says to the kernel before Go runs: the bind, and the copy mode.

#include <arpa/inet.h>
#include <string.h>
#include <unistd.h>

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>

#include "internal.h"

// A request with one attribute, of the longest kind.
struct request {
	struct nlmsghdr nlh;
	struct nfgenmsg gen;
	struct nlattr attr;
	union {
		struct nfqnl_msg_config_cmd cmd;
		struct nfqnl_msg_config_params params;
		char room[NLA_ALIGN(sizeof(struct nfqnl_msg_config_params))];
	} u;
};

static void begin(struct request *r, uint16_t queue, uint16_t type, size_t len)
{
	memset(r, 0, sizeof *r);
	r->nlh.nlmsg_len = offsetof(struct request, u) + NLA_ALIGN(len);
	r->nlh.nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_CONFIG;
	r->nlh.nlmsg_flags = NLM_F_REQUEST;
	r->gen.version = NFNETLINK_V0;
	r->gen.res_id = htons(queue);
	r->attr.nla_type = type;
	r->attr.nla_len = sizeof r->attr + len;
}

int ipq_netlink_open(void)
{
	struct sockaddr_nl local = {.nl_family = AF_NETLINK};
	int one = 1, number;
	int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

	if (sock < 0)
		return ipq_fail(IPQ_ERR_SOCKET, errno);
	// A socket that overflows would take no packet until it is empty.
	if (setsockopt(sock, SOL_NETLINK, NETLINK_NO_ENOBUFS, &one, sizeof one) < 0 ||
	    bind(sock, (struct sockaddr *)&local, sizeof local) < 0) {
		number = errno;
		close(sock);
		return ipq_fail(IPQ_ERR_BIND, number);
	}
	return sock;
}

// The answer to a command is there when the command has been sent.
static int command(int sock, uint16_t queue, uint8_t cmd)
{
	struct request r;
	struct {
		struct nlmsghdr nlh;
		struct nlmsgerr err;
		char request[sizeof(struct request)];
	} answer;
	ssize_t n;

	begin(&r, queue, NFQA_CFG_CMD, sizeof r.u.cmd);
	r.nlh.nlmsg_flags |= NLM_F_ACK;
	r.u.cmd.command = cmd;
	if (send(sock, &r, r.nlh.nlmsg_len, 0) < 0)
		return errno;
	n = recv(sock, &answer, sizeof answer, MSG_DONTWAIT);
	if (n < 0)
		return errno;
	if ((size_t)n < NLMSG_LENGTH(sizeof(struct nlmsgerr)) || answer.nlh.nlmsg_type != NLMSG_ERROR)
		return EPROTO;
	return -answer.err.error;
}

int ipq_netlink_bind(int sock, uint16_t queue)
{
	int number = command(sock, queue, NFQNL_CFG_CMD_BIND);

	// The kernel answers alike to who may not bind any queue and to who wants one that
	// is taken. A command that does nothing tells them apart.
	if (number == EPERM && command(sock, queue, NFQNL_CFG_CMD_PF_UNBIND) == 0)
		number = EBUSY;
	return number == 0 ? 0 : ipq_fail(IPQ_ERR_BIND, number);
}

// No answer is asked for: it would stand behind packets.
int ipq_netlink_mode(int sock, uint16_t queue, uint8_t mode, uint32_t range)
{
	struct request r;
	ssize_t n;

	begin(&r, queue, NFQA_CFG_PARAMS, sizeof r.u.params);
	r.u.params.copy_mode = mode; // which have the same numbers
	r.u.params.copy_range = htonl(range);
	n = send(sock, &r, r.nlh.nlmsg_len, 0);
	return n < 0 ? ipq_fail(IPQ_ERR_SEND, errno) : (int)n;
}
