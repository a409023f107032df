/*
 * libipq: packets that the kernel queues, decided by a C program.
 *
 * The functions of libipq(3), for today's kernels. They are described in
 * libipq.3, beside this file's folder.
 */
#ifndef _LIBIPQ_H
#define _LIBIPQ_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <net/if.h>
#include <linux/netlink.h>
#include <linux/netfilter.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Message types, of ipq_message_type; NLMSG_ERROR is the other. */
#define IPQM_BASE	0x10
#define IPQM_MODE	(IPQM_BASE + 1)
#define IPQM_VERDICT	(IPQM_BASE + 2)
#define IPQM_PACKET	(IPQM_BASE + 3)
#define IPQM_MAX	(IPQM_BASE + 4)

/* Modes, for ipq_set_mode; the first is that of a new handle. */
enum {
	IPQ_COPY_NONE,		/* packets are dropped */
	IPQ_COPY_META,		/* what is known of the packet */
	IPQ_COPY_PACKET		/* that, and the packet */
};
#define IPQ_COPY_MAX IPQ_COPY_PACKET

typedef unsigned long ipq_id_t;

/* A packet, of ipq_get_packet. */
typedef struct ipq_packet_msg {
	unsigned long packet_id;	/* for ipq_set_verdict */
	unsigned long mark;
	long timestamp_sec;		/* 0 where the kernel took no time */
	long timestamp_usec;
	unsigned int hook;		/* NF_INET_PRE_ROUTING and so on */
	char indev_name[IFNAMSIZ];	/* "" where there is none */
	char outdev_name[IFNAMSIZ];
	uint16_t hw_protocol;		/* ETH_P_IP or ETH_P_IPV6, in network order */
	unsigned short hw_type;		/* of the incoming device: ARPHRD_ETHER and so on */
	unsigned char hw_addrlen;	/* 0 where there is no address */
	unsigned char hw_addr[8];	/* the sender's */
	size_t data_len;		/* bytes of payload */
	unsigned char payload[];	/* from the IP header on */
} ipq_packet_msg_t;

struct ipq_handle {
	int fd;		/* for poll and the like: readable while there is something to read */
};

/*
 * IPQ_QUEUE(n) among the flags of ipq_create_handle is the queue with that
 * number, as in "-j NFQUEUE --queue-num n". Without, it is that of the
 * environment variable LIBIPQ_QUEUE, or 0, which is that of "-j QUEUE".
 */
#define IPQ_QUEUE(n)	(0x10000u | ((n) & 0xffffu))

struct ipq_handle *ipq_create_handle(uint32_t flags, uint32_t protocol);
int ipq_destroy_handle(struct ipq_handle *h);
int ipq_set_mode(const struct ipq_handle *h, uint8_t mode, size_t range);
ssize_t ipq_read(const struct ipq_handle *h, unsigned char *buf, size_t len, int timeout);
int ipq_message_type(const unsigned char *buf);
ipq_packet_msg_t *ipq_get_packet(const unsigned char *buf);
int ipq_get_msgerr(const unsigned char *buf);
int ipq_set_verdict(const struct ipq_handle *h, ipq_id_t id, unsigned int verdict,
		    size_t data_len, unsigned char *buf);
char *ipq_errstr(void);
void ipq_perror(const char *s);

#ifdef __cplusplus
}
#endif

#endif
