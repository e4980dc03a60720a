/* A process supervisor: starts each of three children again until it has ended twice. */
#include <assert.h>
#include <sys/event.h>
#include <sys/wait.h>
#include <unistd.h>

static void start(int kq, int code)
{
	struct kevent change;
	pid_t pid = fork();
	if (pid == 0)
		_exit(code);
	EV_SET(&change, pid, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, (void *)(long)code);
	assert(kevent(kq, &change, 1, NULL, 0, NULL) == 0);
}

int main(void)
{
	struct timespec soon = {10, 0};
	int kq = kqueue(), ends[4] = {0}, code, left = 6;

	for (code = 1; code <= 3; code++)
		start(kq, code);
	while (left > 0) {
		struct kevent event;
		int status;
		assert(kevent(kq, NULL, 0, &event, 1, &soon) == 1);
		code = (int)(long)event.udata;
		assert(event.fflags == NOTE_EXIT && WEXITSTATUS(event.data) == code);
		assert(waitpid((pid_t)event.ident, &status, 0) == (pid_t)event.ident && status == event.data);
		left--;
		if (++ends[code] < 2)
			start(kq, code);
	}
	return 0;
}
