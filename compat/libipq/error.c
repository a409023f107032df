#include <stdio.h>
#include <string.h>

#include "internal.h"

static __thread int last;

static const char *const text[IPQ_ERR_COUNT] = {
	[IPQ_ERR_NONE] = "Unknown error",
	[IPQ_ERR_IMPL] = "Implementation error",
	[IPQ_ERR_HANDLE] = "Unable to create netlink handle",
	[IPQ_ERR_SOCKET] = "Unable to create netlink socket",
	[IPQ_ERR_BIND] = "Unable to bind netlink socket",
	[IPQ_ERR_BUFFER] = "Unable to allocate buffer",
	[IPQ_ERR_RECV] = "Failed to receive netlink message",
	[IPQ_ERR_RTRUNC] = "Received message truncated",
	[IPQ_ERR_SEND] = "Failed to send netlink message",
	[IPQ_ERR_SUPP] = "Operation not supported",
	[IPQ_ERR_RECVBUF] = "Receive buffer size invalid",
	[IPQ_ERR_TIMEOUT] = "Timeout",
	[IPQ_ERR_PROTOCOL] = "Invalid protocol specified",
	// Which libipq did not have.
	[IPQ_ERR_FORK] = "Forked after the first ipq_read: become a daemon before it",
};

int ipq_fail(int error, int number)
{
	last = error;
	errno = number;
	return -1;
}

int ipq_nothing(int number)
{
	last = IPQ_ERR_TIMEOUT;
	errno = number;
	return 0;
}

char *ipq_errstr(void)
{
	return (char *)text[last];
}

void ipq_perror(const char *s)
{
	int number = errno;

	fputs(s ? s : "ERROR", stderr);
	if (last != IPQ_ERR_NONE)
		fprintf(stderr, ": %s", ipq_errstr());
	if (number != 0)
		fprintf(stderr, ": %s", strerror(number));
	fputc('\n', stderr);
}
