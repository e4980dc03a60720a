/* kqueue(2) and kevent(2) on Linux. The numbers are FreeBSD's. */
#ifndef OSSATURE_SYS_EVENT_H
#define OSSATURE_SYS_EVENT_H

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct kevent {
	uintptr_t ident;  /* what it is about */
	int16_t filter;   /* what is watched */
	uint16_t flags;   /* EV_* */
	uint32_t fflags;  /* NOTE_* */
	int64_t data;     /* the filter's number */
	void *udata;      /* the program's own */
};

#define EV_SET(kev, id, filt, flg, ffl, dat, ud) do { \
	struct kevent *ev_set_ = (kev);                   \
	ev_set_->ident = (uintptr_t)(id);                 \
	ev_set_->filter = (int16_t)(filt);                \
	ev_set_->flags = (uint16_t)(flg);                 \
	ev_set_->fflags = (uint32_t)(ffl);                \
	ev_set_->data = (int64_t)(dat);                   \
	ev_set_->udata = (void *)(ud);                    \
} while (0)

#define EVFILT_READ   (-1)
#define EVFILT_WRITE  (-2)
#define EVFILT_AIO    (-3)  /* refused: EOPNOTSUPP */
#define EVFILT_VNODE  (-4)
#define EVFILT_PROC   (-5)
#define EVFILT_SIGNAL (-6)  /* blocks the signal in the calling thread */
#define EVFILT_TIMER  (-7)
#define EVFILT_NETDEV (-8)  /* refused */
#define EVFILT_FS     (-9)  /* refused */
#define EVFILT_USER   (-11)
#define EVFILT_EMPTY  (-13) /* refused */

#define EV_ADD      0x0001
#define EV_DELETE   0x0002
#define EV_ENABLE   0x0004
#define EV_DISABLE  0x0008
#define EV_ONESHOT  0x0010
#define EV_CLEAR    0x0020
#define EV_RECEIPT  0x0040
#define EV_DISPATCH 0x0080
#define EV_SYSFLAGS 0xf000
#define EV_FLAG1    0x2000
#define EV_ERROR    0x4000
#define EV_EOF      0x8000

#define NOTE_LOWAT 0x0001

#define NOTE_DELETE      0x0001
#define NOTE_WRITE       0x0002
#define NOTE_EXTEND      0x0004
#define NOTE_ATTRIB      0x0008
#define NOTE_LINK        0x0010
#define NOTE_RENAME      0x0020
#define NOTE_REVOKE      0x0040 /* refused */
#define NOTE_OPEN        0x0080
#define NOTE_CLOSE       0x0100
#define NOTE_CLOSE_WRITE 0x0200
#define NOTE_READ        0x0400

#define NOTE_EXIT      0x80000000U
#define NOTE_FORK      0x40000000U /* refused, as are the rest of PROC */
#define NOTE_EXEC      0x20000000U
#define NOTE_PCTRLMASK 0xf0000000U
#define NOTE_PDATAMASK 0x000fffffU
#define NOTE_TRACK     0x00000001
#define NOTE_TRACKERR  0x00000002
#define NOTE_CHILD     0x00000004

#define NOTE_SECONDS  0x0001
#define NOTE_MSECONDS 0x0002
#define NOTE_USECONDS 0x0004
#define NOTE_NSECONDS 0x0008
#define NOTE_ABSTIME  0x0010

#define NOTE_FFNOP      0x00000000
#define NOTE_FFAND      0x40000000
#define NOTE_FFOR       0x80000000U
#define NOTE_FFCOPY     0xc0000000U
#define NOTE_FFCTRLMASK 0xc0000000U
#define NOTE_FFLAGSMASK 0x00ffffff
#define NOTE_TRIGGER    0x01000000

#ifdef __cplusplus
extern "C" {
#endif
int kqueue(void);
int kqueue1(int flags);
int kevent(int kq, const struct kevent *changelist, int nchanges, struct kevent *eventlist, int nevents,
    const struct timespec *timeout);
#ifdef __cplusplus
}
#endif
#endif
