/* A file watcher. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/event.h>
#include <unistd.h>

int main(void)
{
	char name[] = "/tmp/kqueue-c-XXXXXX", renamed[64];
	struct timespec soon = {5, 0};
	struct kevent event;
	int kq = kqueue(), fd = mkstemp(name);

	assert(kq >= 0 && fd >= 0);
	snprintf(renamed, sizeof renamed, "%s-again", name);
	EV_SET(&event, fd, EVFILT_VNODE, EV_ADD | EV_CLEAR, NOTE_WRITE | NOTE_EXTEND | NOTE_RENAME | NOTE_DELETE, 0, 0);
	assert(kevent(kq, &event, 1, NULL, 0, NULL) == 0);
	assert(write(fd, "news", 4) == 4);
	assert(kevent(kq, NULL, 0, &event, 1, &soon) == 1 && event.fflags == (NOTE_WRITE | NOTE_EXTEND));
	assert(rename(name, renamed) == 0);
	assert(kevent(kq, NULL, 0, &event, 1, &soon) == 1 && event.fflags == NOTE_RENAME);
	assert(unlink(renamed) == 0);
	assert(kevent(kq, NULL, 0, &event, 1, &soon) == 1 && event.fflags == NOTE_DELETE);
	return 0;
}
