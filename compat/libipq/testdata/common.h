// What the programs of the tests have in common.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/netfilter.h>
#include <libipq.h>

#define SIZE 70000

static struct ipq_handle *h;

static inline void die(const char *what)
{
	ipq_perror(what);
	ipq_destroy_handle(h);
	exit(1);
}

// ready tells the test that packets may come.
static inline void ready(void)
{
	puts("ready");
	fflush(stdout);
}

static inline struct ipq_handle *listen_to(uint32_t flags, uint32_t protocol, uint8_t mode)
{
	struct ipq_handle *new = ipq_create_handle(flags, protocol);

	if (!new)
		die("create");
	if (ipq_set_mode(new, mode, SIZE) < 0)
		die("mode");
	return new;
}

// next reads until a packet comes.
static inline ipq_packet_msg_t *next(struct ipq_handle *from, unsigned char *buf, size_t len)
{
	if (ipq_read(from, buf, len, 0) <= 0)
		die("read");
	switch (ipq_message_type(buf)) {
	case IPQM_PACKET:
		return ipq_get_packet(buf);
	case NLMSG_ERROR:
		fprintf(stderr, "refused: %s\n", strerror(ipq_get_msgerr(buf)));
		exit(1);
	}
	fprintf(stderr, "message of type %d\n", ipq_message_type(buf));
	exit(1);
}

// waiting is how many packets the kernel holds in queue 0, as its table says.
static inline int waiting(void)
{
	FILE *f = fopen("/proc/self/net/netfilter/nfnetlink_queue", "r");
	int n = -1;

	if (!f || fscanf(f, "%*d %*d %d", &n) != 1)
		perror("table of queues");
	if (f)
		fclose(f);
	return n;
}
