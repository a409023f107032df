// What the C files and the Go files of this library say to each other.
#ifndef INTERNAL_H
#define INTERNAL_H

#include <signal.h>
#include <stdint.h>

#include "include/libipq.h"

#define HIDDEN __attribute__((visibility("hidden")))

// What ipq_errstr says, by number: see error.c.
enum {
	IPQ_ERR_NONE,
	IPQ_ERR_IMPL,
	IPQ_ERR_HANDLE,
	IPQ_ERR_SOCKET,
	IPQ_ERR_BIND,
	IPQ_ERR_BUFFER,
	IPQ_ERR_RECV,
	IPQ_ERR_RTRUNC,
	IPQ_ERR_SEND,
	IPQ_ERR_SUPP,
	IPQ_ERR_RECVBUF,
	IPQ_ERR_TIMEOUT,
	IPQ_ERR_PROTOCOL,
	IPQ_ERR_FORK,
	IPQ_ERR_COUNT
};

// An outcome is what a call of Go came to: more than 0, or 0 for nothing; or an
// error.
struct outcome {
	long n;
	int error; // IPQ_ERR_NONE: none
	int number; // for errno
};

enum { IPV4, IPV6, FAMILIES };

// error.c
HIDDEN int ipq_fail(int error, int number); // returns -1
HIDDEN int ipq_nothing(int number); // returns 0: there was nothing to read

// start.c
HIDDEN int ipq_start(void); // 0, or -1 in a child of the process that started
HIDDEN int ipq_lost(void); // such a child
HIDDEN void ipq_lock(void);
HIDDEN void ipq_unlock(void);
HIDDEN void ipq_hold_signals(sigset_t *before);
HIDDEN void ipq_release_signals(const sigset_t *before);

// netlink.c
HIDDEN int ipq_netlink_open(void); // a socket, or -1
HIDDEN int ipq_netlink_bind(int sock, uint16_t queue); // 0, or -1
HIDDEN int ipq_netlink_mode(int sock, uint16_t queue, uint8_t mode, uint32_t range); // bytes, or -1

// handle.c: a handle that is in use, and cannot become another one meanwhile.
struct use {
	struct handle *handle;
	uintptr_t engine; // Go's name of the queue
	int family;
	int fd;
};
HIDDEN int ipq_use(const struct ipq_handle *h, struct use *u, int error); // 0, or -1
HIDDEN int ipq_closed(const struct use *u); // it is, by another thread
HIDDEN void ipq_unuse(const struct use *u);

#endif
