/* What no program should do: negative and huge counts, numbers that are no queue, queues that are closed while a thread
 * waits, forks while a thread waits. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/event.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 4
#define ROUNDS 2000

static int kq, go;
static struct timespec none = {0, 0};

static int change(int queue, uintptr_t ident, int filter, int flags, unsigned notes, int64_t data)
{
	struct kevent one;
	EV_SET(&one, ident, filter, flags, notes, data, NULL);
	return kevent(queue, &one, 1, NULL, 0, NULL);
}

static void refused(int errnum, uintptr_t ident, int filter, int flags, unsigned notes, int64_t data)
{
	assert(change(kq, ident, filter, flags, notes, data) == -1);
	assert(errno == errnum);
}

/* Waits until the knote comes that ends it. */
static void *waiter(void *unused)
{
	struct kevent event;
	(void)unused;
	while (kevent(kq, NULL, 0, &event, 1, NULL) == 1 && event.ident != 99)
		;
	return NULL;
}

/* Adds, triggers and deletes knotes of its own. */
static void *changer(void *number)
{
	uintptr_t n, first = 1000 * (uintptr_t)number;
	while (!__atomic_load_n(&go, __ATOMIC_ACQUIRE))
		;
	for (n = first; n < first + ROUNDS; n++) {
		assert(change(kq, n, EVFILT_USER, EV_ADD | EV_ONESHOT, 0, 0) == 0);
		assert(change(kq, n, EVFILT_USER, 0, NOTE_TRIGGER, 0) == 0);
		assert(change(kq, n, EVFILT_USER, EV_DELETE, 0, 0) == 0 || errno == ENOENT);
	}
	return NULL;
}

static void lists(void)
{
	struct kevent events[2];
	struct timespec below = {-1, 0}, negative = {0, -1};

	memset(events, 0, sizeof events);
	assert(kevent(kq, events, -1, NULL, 0, NULL) == 0);
	assert(kevent(kq, NULL, INT_MAX, NULL, INT_MAX, NULL) == 0);
	assert(kevent(kq, NULL, INT_MIN, events, INT_MIN, &none) == 0);
	assert(kevent(kq, NULL, 0, events, 2, &below) == -1 && errno == EINVAL);
	assert(kevent(kq, NULL, 0, events, 2, &negative) == -1 && errno == EINVAL);
	assert(kevent(INT_MAX, NULL, 0, events, 2, &none) == -1 && errno == EBADF);
	assert(kevent(INT_MIN, NULL, 0, events, 2, &none) == -1 && errno == EBADF);
	assert(kevent(0, NULL, 0, events, 2, &none) == -1 && errno == EBADF);

	/* As many errors as there is room for; the first without room ends the call. */
	events[0].filter = events[1].filter = 77;
	events[0].flags = events[1].flags = EV_ADD;
	assert(kevent(kq, events, 2, events, 1, &none) == -1 && errno == EINVAL);
	assert(kevent(kq, events, 2, events, 2, &none) == 2 && events[1].data == EINVAL);
}

static void numbers(void)
{
	refused(EBADF, INT_MAX, EVFILT_READ, EV_ADD, 0, 0);
	refused(EBADF, UINTPTR_MAX, EVFILT_WRITE, EV_ADD, 0, 0);
	refused(EBADF, 12345, EVFILT_VNODE, EV_ADD, NOTE_WRITE, 0);
	refused(ENOENT, 1, EVFILT_TIMER, EV_DELETE, 0, 0);
	refused(EINVAL, 1, EVFILT_TIMER, EV_ADD, 0, -1);
	refused(EINVAL, 1, EVFILT_TIMER, EV_ADD, NOTE_SECONDS | NOTE_NSECONDS, 1);
	refused(EINVAL, 0, EVFILT_SIGNAL, EV_ADD, 0, 0);
	refused(EINVAL, UINTPTR_MAX, EVFILT_SIGNAL, EV_ADD, 0, 0);
	refused(EINVAL, 9, EVFILT_SIGNAL, EV_ADD, 0, 0);
	refused(ESRCH, 0, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0);
	refused(ESRCH, INT_MAX, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0);
	refused(ESRCH, UINTPTR_MAX, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0);
	refused(EINVAL, 1, SHRT_MIN, EV_ADD, 0, 0);
	assert(change(kq, UINTPTR_MAX, EVFILT_TIMER, EV_ADD, NOTE_SECONDS, INT64_MAX) == 0);
	assert(change(kq, UINTPTR_MAX, EVFILT_TIMER, EV_DELETE, 0, 0) == 0);
}

/* The number of a watched descriptor is closed, and then another file's. */
static void reused(void)
{
	struct kevent event;
	int ends[2], others[2];

	assert(pipe(ends) == 0 && pipe(others) == 0);
	assert(change(kq, ends[0], EVFILT_READ, EV_ADD, 0, 0) == 0);
	assert(write(ends[1], "x", 1) == 1);
	assert(close(ends[0]) == 0);
	assert(kevent(kq, NULL, 0, &event, 1, &none) == 0);
	assert(dup2(others[0], ends[0]) == ends[0]);
	assert(write(others[1], "yy", 2) == 2);
	assert(kevent(kq, NULL, 0, &event, 1, &none) == 0);
	assert(change(kq, ends[0], EVFILT_READ, EV_ADD, 0, 0) == 0);
	assert(kevent(kq, NULL, 0, &event, 1, NULL) == 1 && event.data == 2);
	assert(close(ends[0]) == 0 && close(ends[1]) == 0 && close(others[0]) == 0 && close(others[1]) == 0);
}

/* What the table of differences says about a queue's number. */
static void closed(void)
{
	int queue = kqueue();

	assert(queue >= 0 && close(queue) == 0);
	assert(change(queue, 1, EVFILT_USER, EV_ADD, 0, 0) == 0);
	assert(kqueue() == queue);
	assert(change(queue, 1, EVFILT_USER, EV_DELETE, 0, 0) == -1 && errno == ENOENT);
	assert(close(queue) == 0);
}

static void duplicated(void)
{
	struct pollfd asked = {fcntl(kq, F_DUPFD, 200), POLLIN, 0};
	struct kevent event;

	assert(asked.fd >= 0 && poll(&asked, 1, 0) == 0);
	assert(change(kq, 1, EVFILT_USER, EV_ADD | EV_ONESHOT, NOTE_TRIGGER, 0) == 0);
	assert(poll(&asked, 1, -1) == 1);
	assert(kevent(asked.fd, NULL, 0, &event, 1, &none) == -1 && errno == EBADF);
	assert(kevent(kq, NULL, 0, &event, 1, NULL) == 1);
	assert(close(asked.fd) == 0);
}

/* kevent64 of macOS, whose records are longer than ours. A program that looks for it finds nothing, so it is not linked
 * to a call that would read them wrongly. */
struct kevent64_s {
	uint64_t ident;
	int16_t filter;
	uint16_t flags;
	uint32_t fflags;
	int64_t data;
	uint64_t udata;
	uint64_t ext[2];
};
#ifdef __cplusplus
extern "C"
#else
extern
#endif
int kevent64(int kq, const struct kevent64_s *changelist, int nchanges, struct kevent64_s *eventlist, int nevents,
    unsigned flags, const struct timespec *timeout) __attribute__((weak));

static void absent(void)
{
	assert(sizeof(struct kevent64_s) >= sizeof(struct kevent) + 2 * sizeof(uint64_t));
	assert(kevent64 == NULL);
}

static void threads(void)
{
	pthread_t waiting, changing[THREADS];
	uintptr_t n;

	assert(pthread_create(&waiting, NULL, waiter, NULL) == 0);
	for (n = 0; n < THREADS; n++)
		assert(pthread_create(&changing[n], NULL, changer, (void *)(100 * (n + 1))) == 0);
	__atomic_store_n(&go, 1, __ATOMIC_RELEASE);
	for (n = 0; n < THREADS; n++)
		assert(pthread_join(changing[n], NULL) == 0);
	assert(change(kq, 99, EVFILT_USER, EV_ADD | EV_ONESHOT, NOTE_TRIGGER, 0) == 0);
	assert(pthread_join(waiting, NULL) == 0);
}

/* A child has no queue, also where a thread of its parent waits, and makes its own with the same number. */
static void forked(void)
{
	struct rlimit few = {64, 64};
	pthread_t waiting;
	pid_t child;
	int status, made, n;

	assert(pthread_create(&waiting, NULL, waiter, NULL) == 0);
	/* The event is taken, so the thread is inside. */
	assert(change(kq, 5, EVFILT_USER, EV_ADD | EV_ONESHOT, NOTE_TRIGGER, 0) == 0);
	while (change(kq, 5, EVFILT_USER, EV_ENABLE, 0, 0) == 0)
		;
	child = fork();
	assert(child >= 0);
	if (child == 0) {
		assert(kevent(kq, NULL, 0, NULL, 0, NULL) == -1 && errno == EBADF);
		/* As a daemon does. */
		assert(setrlimit(RLIMIT_NOFILE, &few) == 0);
		for (n = 3; n < 64; n++)
			close(n);
		for (n = 0; n < 100; n++) {
			made = kqueue();
			assert(made >= 0);
			assert(change(made, 1, EVFILT_USER, EV_ADD, NOTE_TRIGGER, 0) == 0);
			assert(change(made, 1, EVFILT_TIMER, EV_ADD, 0, 1000) == 0);
			assert(close(made) == 0);
		}
		_exit(0);
	}
	assert(waitpid(child, &status, 0) == child && status == 0);
	assert(change(kq, 99, EVFILT_USER, EV_ADD | EV_ONESHOT, NOTE_TRIGGER, 0) == 0);
	assert(pthread_join(waiting, NULL) == 0);
}

int main(void)
{
	kq = kqueue();
	assert(kq >= 0);
	lists();
	numbers();
	reused();
	closed();
	duplicated();
	absent();
	threads();
	forked();
	return 0;
}
