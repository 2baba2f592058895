/* More peers than a running agent takes, who then just sit there: crowd ADDRESS LIMIT. Those beyond the limit are closed at
 * once, the others once they were idle for too long; then there is room again. */
#define _POSIX_C_SOURCE 200809L

#include "net.h"
#include "vector_types.h"

#define MORE 44

static struct bytes valid(const char *id)
{
    size_t i;
    for (i = 0; i < COUNT(frames_valid); i++)
        if (strcmp(frames_valid[i].id, id) == 0)
            return frames_valid[i].hex;
    CHECK(!"no such vector");
    return frames_valid[0].hex;
}

/* The bytes that come next; 0 at the end. */
static size_t receive(int fd)
{
    struct pollfd readable;
    char reply[4096];
    ssize_t n;
    readable.fd = fd, readable.events = POLLIN;
    CHECK(poll(&readable, 1, 20000) == 1); /* it hangs */
    n = recv(fd, reply, sizeof reply, 0);
    return n > 0 ? (size_t)n : 0;
}

int main(int argc, char **argv)
{
    static int fds[1024];
    struct bytes hello = valid("haproxy-hello-2.6"), check = valid("haproxy-hello-healthcheck");
    int limit = argc == 3 ? atoi(argv[2]) : 0, i;

    CHECK(limit > 0 && limit + MORE < 1024);
    current = "greeted";
    for (i = 0; i < limit; i++) {
        fds[i] = dial(argv[1]);
        send_all(fds[i], hello.data, hello.len);
        CHECK(receive(fds[i]) > 0);
    }
    current = "refused";
    for (i = 0; i < MORE; i++) {
        int fd = dial(argv[1]);
        CHECK(receive(fd) == 0);
        close(fd);
    }
    current = "idle";
    for (i = 0; i < limit; i++) {
        CHECK(receive(fds[i]) > 0); /* DISCONNECT */
        CHECK(receive(fds[i]) == 0);
        close(fds[i]);
    }
    current = "room again";
    i = dial(argv[1]);
    send_all(i, check.data, check.len);
    CHECK(receive(i) == valid("agent-hello-nocap").len);
    close(i);
    printf("crowd: %d idle peers ended, %d refused\n", limit, MORE);
    return 0;
}
