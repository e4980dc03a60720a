/* A timer wheel: a thousand timers, each of which fires once and in time. */
#include <assert.h>
#include <sys/event.h>

int main(void)
{
	struct timespec soon = {5, 0};
	struct kevent events[64];
	static int fired[1000];
	int kq = kqueue(), n, i, left = 1000;

	for (i = 0; i < 1000; i++) {
		EV_SET(&events[0], i, EVFILT_TIMER, EV_ADD | EV_ONESHOT, NOTE_USECONDS, 1 + i * 37 % 20000, 0);
		assert(kevent(kq, events, 1, NULL, 0, NULL) == 0);
	}
	EV_SET(&events[0], 5000, EVFILT_TIMER, EV_ADD, NOTE_SECONDS, 3600, 0);
	EV_SET(&events[1], 5000, EVFILT_TIMER, EV_DELETE, 0, 0, 0);
	assert(kevent(kq, events, 2, NULL, 0, NULL) == 0);
	while (left > 0) {
		n = kevent(kq, NULL, 0, events, 64, &soon);
		assert(n > 0);
		for (i = 0; i < n; i++) {
			assert(events[i].ident < 1000 && events[i].data == 1 && !fired[events[i].ident]++);
			left--;
		}
	}
	return 0;
}
