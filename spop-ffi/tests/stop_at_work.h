/* For an example, by -include: SIGTERM comes while its loop works, not while it waits in poll(): with the second write, the first ACK. */
#ifndef STOP_AT_WORK_H
#define STOP_AT_WORK_H

#include <signal.h>
#include <sys/socket.h>

static inline ssize_t send_and_stop(int fd, const void *data, size_t len, int flags)
{
    static int sent;
    if (++sent == 2)
        raise(SIGTERM);
    return send(fd, data, len, flags);
}

#define send send_and_stop

#endif
