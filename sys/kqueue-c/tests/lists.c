/* What programs throw at kevent(2): null lists, no room, one array for both, libevent's start-up check, threads. */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/event.h>
#include <sys/resource.h>
#include <unistd.h>

static int kq;

static void *trigger(void *unused)
{
	struct kevent change;
	(void)unused;
	EV_SET(&change, 1, EVFILT_USER, 0, NOTE_TRIGGER, 0, 0);
	assert(kevent(kq, &change, 1, NULL, 0, NULL) == 0);
	return NULL;
}

int main(void)
{
	struct kevent events[4], change;
	struct timespec none = {0, 0}, bad = {0, 1000000000};
	struct rlimit few = {64, 64};
	pthread_t thread;
	int ends[2], n;

	kq = kqueue();
	assert(kq >= 0);
	assert(kevent(kq, NULL, 0, NULL, 0, NULL) == 0);
	assert(kevent(kq, NULL, 5, events, 4, &none) == 0);
	assert(kevent(kq, NULL, 0, events, 4, &bad) == -1 && errno == EINVAL);
	assert(kevent(999, NULL, 0, events, 4, &none) == -1 && errno == EBADF);
	assert(kevent(-1, NULL, 0, events, 4, &none) == -1 && errno == EBADF);
	assert(kqueue1(1) == -1 && errno == EINVAL);

	/* libevent looks for a broken kqueue of old Macs so. */
	memset(&change, 0, sizeof change);
	change.ident = (uintptr_t)-1;
	change.filter = EVFILT_READ;
	change.flags = EV_ADD;
	assert(kevent(kq, &change, 1, events, 4, NULL) == 1);
	assert((int)events[0].ident == -1 && (events[0].flags & EV_ERROR) && events[0].data == EBADF);
	assert(kevent(kq, &change, 1, NULL, 0, NULL) == -1 && errno == EBADF);

	/* One array for the changes and the answers. */
	assert(pipe(ends) == 0);
	EV_SET(&events[0], 7, EVFILT_USER, EV_DELETE, 0, 0, (void *)1);
	EV_SET(&events[1], ends[0], EVFILT_READ, EV_ADD, 0, 0, (void *)2);
	EV_SET(&events[2], 1, EVFILT_USER, EV_ADD | EV_CLEAR | EV_RECEIPT, 0, 0, (void *)3);
	assert(kevent(kq, events, 3, events, 4, NULL) == 2);
	assert(events[0].ident == 7 && events[0].data == ENOENT && events[0].udata == (void *)1);
	assert(events[1].ident == 1 && events[1].data == 0 && events[1].flags == EV_ERROR);
	assert(write(ends[1], "five!", 5) == 5);
	assert(kevent(kq, NULL, 0, events, 4, NULL) == 1);
	assert(events[0].ident == (uintptr_t)ends[0] && events[0].data == 5 && events[0].udata == (void *)2);
	EV_SET(&events[0], ends[0], EVFILT_READ, EV_DELETE, 0, 0, 0);
	assert(kevent(kq, events, 1, events, 4, &none) == 0);

	assert(pthread_create(&thread, NULL, trigger, NULL) == 0);
	assert(kevent(kq, NULL, 0, events, 4, NULL) == 1 && events[0].filter == EVFILT_USER);
	assert(pthread_join(thread, NULL) == 0);

	EV_SET(&change, SIGUSR1, EVFILT_SIGNAL, EV_ADD, 0, 0, 0);
	assert(kevent(kq, &change, 1, NULL, 0, NULL) == 0);
	assert(raise(SIGUSR1) == 0);
	assert(kevent(kq, NULL, 0, events, 4, NULL) == 1 && events[0].ident == SIGUSR1 && events[0].data == 1);

	/* Closed and made again, many times: the number is another queue's, and what the old one had is closed with it. */
	assert(setrlimit(RLIMIT_NOFILE, &few) == 0);
	for (n = 0; n < 3000; n++) {
		assert(close(kq) == 0);
		kq = kqueue();
		assert(kq >= 0);
		assert(kevent(kq, NULL, 0, events, 4, &none) == 0);
		EV_SET(&change, 1, EVFILT_USER, EV_ADD, 0, 0, 0);
		assert(kevent(kq, &change, 1, NULL, 0, NULL) == 0);
	}
	return 0;
}
