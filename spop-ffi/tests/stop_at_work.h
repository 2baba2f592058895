/*
 * For an example, by -include: SIGTERM comes while its loop works, not while it waits in poll(): with the third write, the first ACK after
 * two HELLOs. What the peers ask then is there before the next poll().
 */
#ifndef STOP_AT_WORK_H
#define STOP_AT_WORK_H

#include <signal.h>
#include <sys/socket.h>
#include <time.h>

static inline ssize_t send_and_stop(int fd, const void *data, size_t len, int flags)
{
    static const struct timespec pause = {0, 300000000};
    static int sent;
    ssize_t n = send(fd, data, len, flags);
    if (++sent == 3) {
        raise(SIGTERM);
        nanosleep(&pause, NULL);
    }
    return n;
}

#define send send_and_stop

#endif
