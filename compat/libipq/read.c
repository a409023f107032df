// Messages, and verdicts.

#define _GNU_SOURCE
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "internal.h"
#include "_cgo_export.h"

static const size_t least = NLMSG_LENGTH(sizeof(struct nlmsgerr));

// restarts reports whether a signal that interrupts a read lets it go on. The program
// has said so for each signal by SA_RESTART, which poll does not heed.
static int restarts(void)
{
	struct sigaction s;
	int i;

	for (i = 1; i < NSIG; i++)
		if (sigaction(i, NULL, &s) == 0 && s.sa_handler != SIG_DFL && s.sa_handler != SIG_IGN &&
		    !(s.sa_flags & SA_RESTART))
			return 0;
	return 1;
}

static void after(struct timespec *t, int usec)
{
	clock_gettime(CLOCK_MONOTONIC, t);
	t->tv_sec += usec / 1000000;
	t->tv_nsec += usec % 1000000 * 1000L;
	if (t->tv_nsec >= 1000000000) {
		t->tv_sec++;
		t->tv_nsec -= 1000000000;
	}
}

static struct timespec until(const struct timespec *t)
{
	struct timespec now, left;

	clock_gettime(CLOCK_MONOTONIC, &now);
	left.tv_sec = t->tv_sec - now.tv_sec;
	left.tv_nsec = t->tv_nsec - now.tv_nsec;
	if (left.tv_nsec < 0) {
		left.tv_sec--;
		left.tv_nsec += 1000000000;
	}
	if (left.tv_sec < 0)
		left = (struct timespec){0};
	return left;
}

// read_message waits with the signals that the program had before.
static ssize_t read_message(const struct use *u, unsigned char *buf, size_t len, int timeout,
			    sigset_t before)
{
	struct pollfd p = {.fd = u->fd, .events = POLLIN};
	struct timespec end, left;
	struct outcome o;
	int n;

	sigaddset(&before, SIGURG); // which Go sends to threads
	if (timeout > 0)
		after(&end, timeout);
	for (;;) {
		goipq_read(u->engine, u->family, buf, len, &o);
		if (o.error != IPQ_ERR_NONE)
			return ipq_fail(o.error, o.number);
		if (o.n > 0)
			return o.n;
		if (timeout < 0)
			return ipq_nothing(EAGAIN);
		if (timeout > 0)
			left = until(&end);
		n = ppoll(&p, 1, timeout > 0 ? &left : NULL, &before);
		if (ipq_closed(u))
			return ipq_fail(IPQ_ERR_RECV, EBADF);
		if (n == 0)
			return ipq_nothing(EAGAIN);
		if (n < 0 && errno != EINTR)
			return ipq_fail(IPQ_ERR_RECV, errno);
		if (n < 0 && timeout > 0)
			return ipq_nothing(EINTR);
		if (n < 0 && !restarts())
			return ipq_fail(IPQ_ERR_RECV, EINTR);
	}
}

ssize_t ipq_read(const struct ipq_handle *h, unsigned char *buf, size_t len, int timeout)
{
	sigset_t before;
	struct use u;
	ssize_t n = -1;

	if (!buf || len < least)
		return ipq_fail(IPQ_ERR_RECVBUF, EINVAL);
	ipq_hold_signals(&before);
	if (ipq_use(h, &u, IPQ_ERR_RECV) == 0) {
		n = read_message(&u, buf, len, timeout, before);
		ipq_unuse(&u);
	}
	ipq_release_signals(&before);
	return n;
}

// A buffer of bytes may begin anywhere, so its headers are copied.

int ipq_message_type(const unsigned char *buf)
{
	struct nlmsghdr nlh;

	if (!buf)
		return ipq_fail(IPQ_ERR_IMPL, EFAULT);
	memcpy(&nlh, buf, sizeof nlh);
	return nlh.nlmsg_type;
}

int ipq_get_msgerr(const unsigned char *buf)
{
	struct nlmsgerr err;

	if (!buf)
		return ipq_fail(IPQ_ERR_IMPL, EFAULT);
	memcpy(&err, NLMSG_DATA(buf), sizeof err);
	return -err.error;
}

ipq_packet_msg_t *ipq_get_packet(const unsigned char *buf)
{
	if (!buf) {
		ipq_fail(IPQ_ERR_IMPL, EFAULT);
		return NULL;
	}
	return (ipq_packet_msg_t *)NLMSG_DATA(buf);
}

int ipq_set_verdict(const struct ipq_handle *h, ipq_id_t id, unsigned int verdict,
		    size_t data_len, unsigned char *buf)
{
	sigset_t before;
	struct outcome o;
	struct use u;
	int n = -1;

	if (data_len > 0 && !buf)
		return ipq_fail(IPQ_ERR_SEND, EFAULT);
#if ULONG_MAX > 0xffffffff
	if (id > 0xffffffff)
		return ipq_fail(IPQ_ERR_SEND, ENOENT);
#endif
	ipq_hold_signals(&before);
	if (ipq_use(h, &u, IPQ_ERR_SEND) == 0) {
		goipq_verdict(u.engine, u.family, id, verdict, data_len, buf, &o);
		ipq_unuse(&u);
		n = o.error == IPQ_ERR_NONE ? 1 : ipq_fail(o.error, o.number);
	}
	ipq_release_signals(&before);
	return n;
}
