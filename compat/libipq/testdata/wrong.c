// Makes every wrong call, and waits for one packet that does not fit.
#include "common.h"
#include <signal.h>
#include <sys/time.h>

#define WRONG(call, want, number)                                                       \
	do {                                                                            \
		errno = 0;                                                              \
		if (!(call) || strcmp(ipq_errstr(), want) != 0 || errno != (number)) {  \
			fprintf(stderr, "%s: %s: %s\n", #call, ipq_errstr(), strerror(errno)); \
			failed = 1;                                                     \
		}                                                                       \
	} while (0)

#define RIGHT(call)                                                                     \
	do {                                                                            \
		if (!(call)) {                                                          \
			ipq_perror(#call);                                              \
			failed = 1;                                                     \
		}                                                                       \
	} while (0)

static int failed;

static void ignore(int sig)
{
	(void)sig;
}

static void destroy(int sig)
{
	(void)sig;
	ipq_destroy_handle(h);
}

static void say_ready(int sig)
{
	(void)sig;
	if (write(1, "ready\n", 6) < 0)
		_exit(1);
}

// alarmed has a signal come again and again.
static void alarmed(void (*handler)(int), int flags)
{
	struct sigaction s = {.sa_handler = handler, .sa_flags = flags};
	struct itimerval often = {{.tv_usec = 20000}, {.tv_usec = 20000}};

	sigaction(SIGALRM, &s, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
}

int main(void)
{
	static unsigned char buf[SIZE];
	struct ipq_handle *closed, local = {0};

	WRONG(!ipq_create_handle(0, PF_UNIX), "Invalid protocol specified", EPROTONOSUPPORT);
	WRONG(ipq_set_mode(NULL, IPQ_COPY_META, 0) == -1, "Failed to send netlink message", EBADF);
	WRONG(ipq_read(NULL, buf, sizeof buf, -1) == -1, "Failed to receive netlink message", EBADF);
	WRONG(ipq_set_verdict(NULL, 1, NF_DROP, 0, NULL) == -1, "Failed to send netlink message", EBADF);
	WRONG(ipq_destroy_handle(NULL) == -1, "Implementation error", EBADF);
	WRONG(ipq_read(&local, buf, sizeof buf, -1) == -1, "Failed to receive netlink message", EBADF);
	WRONG(ipq_message_type(NULL) == -1, "Implementation error", EFAULT);
	WRONG(ipq_get_msgerr(NULL) == -1, "Implementation error", EFAULT);
	WRONG(ipq_get_packet(NULL) == NULL, "Implementation error", EFAULT);

	h = listen_to(0, PF_INET, IPQ_COPY_PACKET);
	WRONG(!ipq_create_handle(0, PF_INET), "Unable to bind netlink socket", EBUSY);
	WRONG(ipq_set_mode(h, 77, 0) == -1, "Operation not supported", EINVAL);
	WRONG(ipq_read(h, NULL, sizeof buf, -1) == -1, "Receive buffer size invalid", EINVAL);
	WRONG(ipq_read(h, buf, 3, -1) == -1, "Receive buffer size invalid", EINVAL);
	WRONG(ipq_set_verdict(h, 1, NF_STOLEN, 0, NULL) == -1, "Failed to send netlink message", EINVAL);
	WRONG(ipq_set_verdict(h, 1, 0xff00, 0, NULL) == -1, "Failed to send netlink message", EINVAL);
	WRONG(ipq_set_verdict(h, 1, NF_ACCEPT, 1, NULL) == -1, "Failed to send netlink message", EFAULT);
	WRONG(ipq_set_verdict(h, 1, NF_ACCEPT, 9, buf) == -1, "Failed to send netlink message", EINVAL);
	WRONG(ipq_set_verdict(h, 1, NF_ACCEPT, (size_t)-1, buf) == -1, "Failed to send netlink message", EMSGSIZE);
	if (sizeof(ipq_id_t) > 4)
		WRONG(ipq_set_verdict(h, (ipq_id_t)-1, NF_DROP, 0, NULL) == -1, "Failed to send netlink message", ENOENT);

	// The answer to a verdict on a packet that there is not is a message.
	RIGHT(ipq_set_verdict(h, 4711, NF_ACCEPT, 0, NULL) > 0);
	RIGHT(ipq_read(h, buf, sizeof buf, 0) > 0);
	RIGHT(ipq_message_type(buf) == NLMSG_ERROR);
	RIGHT(ipq_get_msgerr(buf) == ENOENT);
	// There is no other.
	WRONG(ipq_read(h, buf, sizeof buf, -1) == 0, "Timeout", EAGAIN);
	WRONG(ipq_read(h, buf, sizeof buf, 1000) == 0, "Timeout", EAGAIN);

	// A signal ends a read that has a time, and one that has none if its handler says so.
	alarmed(ignore, SA_RESTART);
	WRONG(ipq_read(h, buf, sizeof buf, 2000000000) == 0, "Timeout", EINTR);
	alarmed(ignore, 0);
	WRONG(ipq_read(h, buf, sizeof buf, 0) == -1, "Failed to receive netlink message", EINTR);
	alarmed(say_ready, SA_RESTART); // while the program waits for the packet
	WRONG(ipq_read(h, buf, 60, 0) == -1, "Received message truncated", EMSGSIZE);
	setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
	RIGHT(waiting() == 0); // which the program can do nothing about
	RIGHT(ipq_read(h, buf, sizeof buf, -1) == 0);

	// Programs end so.
	closed = h;
	alarmed(destroy, SA_RESTART);
	WRONG(ipq_read(h, buf, sizeof buf, 0) == -1, "Failed to receive netlink message", EBADF);
	setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
	WRONG(ipq_destroy_handle(closed) == -1, "Implementation error", EBADF);
	WRONG(ipq_set_mode(closed, IPQ_COPY_META, 0) == -1, "Failed to send netlink message", EBADF);
	WRONG(ipq_read(closed, buf, sizeof buf, 0) == -1, "Failed to receive netlink message", EBADF);
	WRONG(ipq_set_verdict(closed, 1, NF_ACCEPT, 0, NULL) == -1, "Failed to send netlink message", EBADF);
	RIGHT(closed->fd == -1);
	h = NULL;

	errno = EPERM;
	ipq_perror("wrong");
	ipq_perror(NULL);
	return failed;
}
