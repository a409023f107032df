// What the C programs have in common: they say "ready", and on SIGTERM or when
// their parent dies write as JSON what they have done.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static volatile sig_atomic_t quit;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void on_signal(int sig)
{
	(void)sig;
	quit = 1;
}

// Without SA_RESTART: a call that waits ends with EINTR.
static void catch_signals(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGTERM, &sa, NULL);
}

static void ready(void)
{
	puts("ready");
	fflush(stdout);
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
	printf("{\"total\":%llu}\n", (unsigned long long)packets);
	return 0;
}
