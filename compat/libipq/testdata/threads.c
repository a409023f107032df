// Closes a handle that another thread reads: threads
#include "common.h"
#include <pthread.h>

static void *reader(void *arg)
{
	unsigned char buf[SIZE];

	(void)arg;
	if (ipq_read(h, buf, sizeof buf, 0) != -1 || errno != EBADF)
		die("read of a handle that is closed meanwhile");
	return NULL;
}

int main(void)
{
	unsigned char buf[SIZE];
	pthread_t t;
	int i;

	for (i = 0; i < 200; i++) {
		h = listen_to(IPQ_QUEUE(7), PF_INET, IPQ_COPY_PACKET);
		if (ipq_read(h, buf, sizeof buf, -1) != 0)
			die("read");
		if (pthread_create(&t, NULL, reader, NULL) != 0)
			return 1;
		if (i % 2) // it may be waiting by then, or not
			usleep(1000);
		if (ipq_destroy_handle(h) < 0)
			die("destroy");
		pthread_join(t, NULL);
	}
	return 0;
}
