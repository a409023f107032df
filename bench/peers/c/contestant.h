// What the C programs have in common: they say "ready", measure from SIGUSR1 to
// SIGUSR2, and on SIGTERM or when their parent dies write the figures as JSON.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

struct figures {
	uint64_t packets, nanos, cpu;
};

static volatile sig_atomic_t begin, end, quit;
static struct figures from, to;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void on_signal(int sig)
{
	if (sig == SIGUSR1)
		begin = 1;
	else if (sig == SIGUSR2)
		end = 1;
	else
		quit = 1;
}

// Without SA_RESTART: a call that waits ends with EINTR.
static void catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGUSR2, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

static void ready(void)
{
	puts("ready");
	fflush(stdout);
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

// To be called often, with the packets so far.
static void measure(uint64_t packets)
{
	if (begin) {
		begin = 0;
		from = now(packets);
	}
	if (end) {
		end = 0;
		to = now(packets);
	}
}

// To be called when there is nothing else to do: the parent's death closes our
// standard input.
static void look_for_parent(void)
{
	struct pollfd in = { .fd = 0 };

	if (poll(&in, 1, 0) > 0)
		quit = 1;
}

static int report(uint64_t packets)
{
	printf("{\"total\":%llu,\"packets\":%llu,\"nanos\":%llu,\"cpu_nanos\":%llu}\n",
	       (unsigned long long)packets, (unsigned long long)(to.packets - from.packets),
	       (unsigned long long)(to.nanos - from.nanos), (unsigned long long)(to.cpu - from.cpu));
	return 0;
}
