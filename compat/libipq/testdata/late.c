// Forks too late: the child is told so, and the parent goes on.
#include "common.h"
#include <sys/wait.h>

static void expect(const char *call, int failed)
{
	if (!failed || errno != ECHILD || strncmp(ipq_errstr(), "Forked after", 12) != 0) {
		fprintf(stderr, "%s: %d, %s: %s\n", call, failed, ipq_errstr(), strerror(errno));
		exit(1);
	}
}

int main(void)
{
	unsigned char buf[SIZE];
	int status;

	h = listen_to(0, PF_INET, IPQ_COPY_PACKET);
	if (ipq_read(h, buf, sizeof buf, -1) != 0)
		die("read");
	switch (fork()) {
	case -1:
		die("fork");
		break;
	case 0:
		expect("read", ipq_read(h, buf, sizeof buf, 0) < 0);
		expect("verdict", ipq_set_verdict(h, 1, NF_ACCEPT, 0, NULL) < 0);
		expect("create", ipq_create_handle(0, PF_INET6) == NULL);
		return ipq_destroy_handle(h) < 0;
	}
	if (wait(&status) < 0 || status != 0) {
		fprintf(stderr, "child: %d\n", status);
		return 1;
	}
	ready();
	if (ipq_set_verdict(h, next(h, buf, sizeof buf)->packet_id, NF_ACCEPT, 0, NULL) < 0)
		die("verdict");
	ipq_destroy_handle(h);
	return 0;
}
