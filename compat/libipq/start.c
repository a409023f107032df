// Go is started late.
//
// A Go library starts threads when it is loaded, and a child of fork has only the
// thread that forked. Programs that call daemon(3), before ipq_create_handle or
// behind it, would have no Go left. So the thread that Go wants at that moment is
// made at the first ipq_read or ipq_set_verdict.

#include <pthread.h>
#include <stddef.h>

#include "internal.h"

// The linker has the calls of the function that is named behind __wrap_ go here,
// and knows it itself by the name with __real_: see cgo's LDFLAGS in main.go.
HIDDEN void __wrap_x_cgo_sys_thread_create(void *(*run)(void *), void *arg);
extern void __real_x_cgo_sys_thread_create(void *(*run)(void *), void *arg);

static void *(*go_run)(void *);
static void *go_arg;

static enum { IDLE, RUNNING, LOST } state;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void __wrap_x_cgo_sys_thread_create(void *(*run)(void *), void *arg)
{
	go_run = run;
	go_arg = arg;
}

void ipq_lock(void)
{
	pthread_mutex_lock(&mutex);
}

void ipq_unlock(void)
{
	pthread_mutex_unlock(&mutex);
}

static void in_child(void)
{
	if (state == RUNNING)
		state = LOST;
	ipq_unlock();
}

__attribute__((constructor)) static void watch_forks(void)
{
	pthread_atfork(ipq_lock, ipq_unlock, in_child);
}

int ipq_lost(void)
{
	return state == LOST;
}

int ipq_start(void)
{
	if (state == LOST)
		return ipq_fail(IPQ_ERR_FORK, ECHILD);
	if (state == IDLE) {
		// The signals are held, for all threads that come of this one.
		__real_x_cgo_sys_thread_create(go_run, go_arg);
		state = RUNNING;
	}
	return 0;
}

// Every call of the library holds the signals back, and lets them in while it waits.
// So the program's handlers run on its own threads, not while those are in Go, whose
// stacks are small, and not while they have the lock: a handler may call the library.
// What a fault raises cannot wait.
void ipq_hold_signals(sigset_t *before)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT};
	sigset_t all;
	size_t i;

	sigfillset(&all);
	for (i = 0; i < sizeof faults / sizeof *faults; i++)
		sigdelset(&all, faults[i]);
	pthread_sigmask(SIG_BLOCK, &all, before);
}

void ipq_release_signals(const sigset_t *before)
{
	pthread_sigmask(SIG_SETMASK, before, NULL);
}
