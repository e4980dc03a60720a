/* An echo server with one client, which asks it a hundred times. */
#include <arpa/inet.h>
#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <sys/event.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in address;

static void *client(void *unused)
{
	char line[16], answer[16];
	int n, s = socket(AF_INET, SOCK_STREAM, 0);
	(void)unused;
	assert(connect(s, (struct sockaddr *)&address, sizeof address) == 0);
	for (n = 0; n < 100; n++) {
		memset(line, 'a' + n % 26, sizeof line);
		assert(write(s, line, sizeof line) == sizeof line);
		assert(recv(s, answer, sizeof answer, MSG_WAITALL) == sizeof answer);
		assert(memcmp(line, answer, sizeof line) == 0);
	}
	close(s);
	return NULL;
}

int main(void)
{
	struct kevent change, events[8];
	socklen_t len = sizeof address;
	pthread_t thread;
	int kq = kqueue(), listener = socket(AF_INET, SOCK_STREAM, 0), n, i, gone = 0;

	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 5) == 0);
	assert(getsockname(listener, (struct sockaddr *)&address, &len) == 0);
	EV_SET(&change, listener, EVFILT_READ, EV_ADD, 0, 0, 0);
	assert(kevent(kq, &change, 1, NULL, 0, NULL) == 0);
	assert(pthread_create(&thread, NULL, client, NULL) == 0);
	while (!gone) {
		n = kevent(kq, NULL, 0, events, 8, NULL);
		assert(n > 0);
		for (i = 0; i < n; i++) {
			int fd = (int)events[i].ident;
			char buffer[256];
			if (fd == listener) {
				EV_SET(&change, accept(listener, NULL, NULL), EVFILT_READ, EV_ADD, 0, 0, 0);
				assert(events[i].data == 1 && kevent(kq, &change, 1, NULL, 0, NULL) == 0);
			} else if (events[i].data > 0) {
				ssize_t got = read(fd, buffer, sizeof buffer);
				assert(got > 0 && write(fd, buffer, (size_t)got) == got);
			} else {
				assert(events[i].flags & EV_EOF);
				close(fd);
				gone = 1;
			}
		}
	}
	assert(pthread_join(thread, NULL) == 0);
	return 0;
}
