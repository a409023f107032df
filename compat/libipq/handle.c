// Handles, and the queues behind them.
//
// A queue has one socket, and delivers IPv4 and IPv6. So the two handles that a
// process may have on it, one for each, share it.
//
// h->fd is an epoll descriptor with the socket in it and an event of the handle's
// own. As long as a handle has its queue for itself, packets are taken from the
// socket one by one, so that what was not read is still in it and the socket tells.
// Where two share it, Go sorts the packets, and sets the event of the handle that
// has some; the socket is taken out, which would wake both.
//
// Handles are never freed, so that one that is closed can be told from one that is
// open.

#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "internal.h"
#include "_cgo_export.h"

enum { MOST = 64 };

struct queue {
	int users; // 0: not in use
	int sock;
	uint16_t number;
	uintptr_t engine; // 0: Go does not know it yet
	int shared; // Go sorts its packets
	struct handle *of[FAMILIES];
};

struct handle {
	struct ipq_handle public; // first: it is what the program points to
	struct queue *queue; // NULL: closed
	int users; // calls that need the descriptors
	int family;
	int wait; // public.fd, also when it is closed and in use
	int event;
	uint8_t mode;
	uint32_t range;
};

static struct queue queues[MOST];
static struct handle handles[MOST];

static struct handle *find(const struct ipq_handle *h)
{
	int i;

	for (i = 0; i < MOST; i++)
		if (h == &handles[i].public && handles[i].queue)
			return &handles[i];
	return NULL;
}

// queue_number reads the flags and, without any, the environment.
static int queue_number(uint32_t flags, uint16_t *number)
{
	const char *s = secure_getenv("LIBIPQ_QUEUE");
	unsigned long n;
	char *end;

	*number = flags & 0xffff;
	if (flags & IPQ_QUEUE(0))
		return 0;
	*number = 0;
	if (!s)
		return 0;
	n = strtoul(s, &end, 10);
	if (*s < '0' || *s > '9' || *end || n > 0xffff)
		return -1;
	*number = n;
	return 0;
}

static int watch(struct handle *h, int op, int fd)
{
	struct epoll_event e = {.events = EPOLLIN};

	return epoll_ctl(h->wait, op, fd, &e);
}

// take returns the queue with that number, or a new one.
static struct queue *take(uint16_t number)
{
	struct queue *q, *unused = NULL;

	for (q = queues; q < queues + MOST; q++) {
		if (q->users && q->number == number)
			return q;
		if (!q->users)
			unused = q;
	}
	*unused = (struct queue){.number = number}; // as many as handles
	unused->sock = ipq_netlink_open();
	if (unused->sock < 0)
		return NULL;
	if (ipq_netlink_bind(unused->sock, number) < 0) {
		int saved = errno;

		close(unused->sock);
		errno = saved;
		return NULL;
	}
	return unused;
}

static void join(struct handle *h)
{
	struct queue *q = h->queue;

	goipq_join(q->engine, h->family, h->event);
	goipq_mode(q->engine, h->family, h->mode, h->range);
}

// share has Go sort the packets from now on.
static void share(struct queue *q)
{
	int f;

	q->shared = 1;
	for (f = 0; f < FAMILIES; f++)
		watch(q->of[f], EPOLL_CTL_DEL, q->sock);
	goipq_share(q->engine);
}

static void give_up(struct handle *h, struct queue *q)
{
	int saved = errno;

	if (h->wait >= 0)
		close(h->wait);
	if (h->event >= 0)
		close(h->event);
	if (q->users == 0)
		close(q->sock);
	errno = saved;
}

static struct ipq_handle *create(uint16_t number, int family)
{
	struct handle *h;
	struct queue *q;

	for (h = handles; h->queue || h->users; h++)
		if (h == &handles[MOST - 1]) {
			ipq_fail(IPQ_ERR_BUFFER, EMFILE);
			return NULL;
		}
	q = take(number);
	if (!q)
		return NULL;
	if (q->of[family]) {
		ipq_fail(IPQ_ERR_BIND, EBUSY);
		return NULL;
	}
	*h = (struct handle){.family = family, .mode = IPQ_COPY_NONE};
	h->wait = epoll_create1(EPOLL_CLOEXEC);
	h->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->wait < 0 || h->event < 0 || watch(h, EPOLL_CTL_ADD, h->event) < 0 ||
	    (!q->shared && watch(h, EPOLL_CTL_ADD, q->sock) < 0)) {
		ipq_fail(IPQ_ERR_HANDLE, errno);
		give_up(h, q);
		return NULL;
	}
	h->public.fd = h->wait;
	h->queue = q;
	q->users++;
	q->of[family] = h;
	if (q->engine) {
		join(h);
		if (q->users == FAMILIES && !q->shared)
			share(q);
	}
	return &h->public;
}

struct ipq_handle *ipq_create_handle(uint32_t flags, uint32_t protocol)
{
	struct ipq_handle *h = NULL;
	uint16_t number;
	sigset_t before;

	if (protocol != PF_INET && protocol != PF_INET6) {
		ipq_fail(IPQ_ERR_PROTOCOL, EPROTONOSUPPORT);
		return NULL;
	}
	if (queue_number(flags, &number) < 0) {
		ipq_fail(IPQ_ERR_BIND, EINVAL);
		return NULL;
	}
	ipq_hold_signals(&before);
	ipq_lock();
	if (ipq_lost())
		ipq_fail(IPQ_ERR_FORK, ECHILD);
	else
		h = create(number, protocol == PF_INET6 ? IPV6 : IPV4);
	ipq_unlock();
	ipq_release_signals(&before);
	return h;
}

static void close_descriptors(struct handle *h)
{
	close(h->event);
	close(h->wait);
}

static void destroy(struct handle *h)
{
	struct queue *q = h->queue;
	uint64_t one = 1;

	q->of[h->family] = NULL;
	q->users--;
	if (q->engine && !ipq_lost())
		goipq_leave(q->engine, h->family, q->users == 0);
	if (q->users == 0)
		close(q->sock);
	h->queue = NULL;
	h->public.fd = -1;
	if (h->users == 0)
		close_descriptors(h);
	else if (write(h->event, &one, sizeof one) < 0) { // wakes who waits; it is set otherwise
	}
}

int ipq_destroy_handle(struct ipq_handle *h)
{
	struct handle *found;
	sigset_t before;

	ipq_hold_signals(&before);
	ipq_lock();
	found = find(h);
	if (found)
		destroy(found);
	ipq_unlock();
	ipq_release_signals(&before);
	return found ? 0 : ipq_fail(IPQ_ERR_IMPL, EBADF);
}

// set_kernel_mode tells the kernel the most that a handle of the queue wants.
static int set_kernel_mode(struct queue *q)
{
	uint8_t mode = IPQ_COPY_NONE;
	uint32_t range = 0;
	int f;

	for (f = 0; f < FAMILIES; f++) {
		struct handle *h = q->of[f];

		if (!h)
			continue;
		if (h->mode > mode)
			mode = h->mode;
		if (h->mode == IPQ_COPY_PACKET && h->range > range)
			range = h->range;
	}
	return ipq_netlink_mode(q->sock, q->number, mode, range);
}

static int set_mode(struct handle *h, uint8_t mode, uint32_t range)
{
	struct queue *q = h->queue;

	h->mode = mode;
	h->range = range;
	if (q->engine && !ipq_lost())
		goipq_mode(q->engine, h->family, mode, range);
	return set_kernel_mode(q);
}

int ipq_set_mode(const struct ipq_handle *h, uint8_t mode, size_t range)
{
	struct handle *found;
	sigset_t before;
	int n = -1;

	if (mode != IPQ_COPY_META && mode != IPQ_COPY_PACKET)
		return ipq_fail(IPQ_ERR_SUPP, EINVAL);
	if (mode == IPQ_COPY_META || range == 0 || range > 0xffff)
		range = mode == IPQ_COPY_META ? 0 : 0xffff;
	ipq_hold_signals(&before);
	ipq_lock();
	found = find(h);
	if (found)
		n = set_mode(found, mode, range);
	else
		ipq_fail(IPQ_ERR_SEND, EBADF);
	ipq_unlock();
	ipq_release_signals(&before);
	return n;
}

// start hands the queue to Go.
static int start(struct queue *q)
{
	struct outcome o;
	int f;

	goipq_open(q->sock, q->number, &o);
	if (o.error != IPQ_ERR_NONE)
		return ipq_fail(o.error, o.number);
	q->engine = o.n;
	for (f = 0; f < FAMILIES; f++)
		if (q->of[f])
			join(q->of[f]);
	if (q->users == FAMILIES)
		share(q);
	return set_kernel_mode(q) < 0 ? -1 : 0; // Go has asked for all
}

int ipq_use(const struct ipq_handle *h, struct use *u, int error)
{
	struct handle *found;
	int status = -1;

	ipq_lock();
	found = find(h);
	if (!found) {
		ipq_fail(error, EBADF);
	} else if (ipq_start() == 0 && (found->queue->engine || start(found->queue) == 0)) {
		*u = (struct use){found, found->queue->engine, found->family, found->wait};
		found->users++;
		status = 0;
	}
	ipq_unlock();
	return status;
}

int ipq_closed(const struct use *u)
{
	int closed;

	ipq_lock();
	closed = !u->handle->queue;
	ipq_unlock();
	return closed;
}

void ipq_unuse(const struct use *u)
{
	int saved = errno;

	ipq_lock();
	if (--u->handle->users == 0 && !u->handle->queue)
		close_descriptors(u->handle);
	ipq_unlock();
	errno = saved;
}
