/* Sockets for the tests of a running agent: HOST:PORT or unix:PATH. */
#ifndef NET_H
#define NET_H

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "test.h"

static inline int dial(const char *where)
{
    struct sockaddr_storage addr;
    socklen_t len;
    int fd, one = 1;

    memset(&addr, 0, sizeof addr);
    if (strncmp(where, "unix:", 5) == 0) {
        struct sockaddr_un *un = (struct sockaddr_un *)&addr;
        un->sun_family = AF_UNIX;
        strncpy(un->sun_path, where + 5, sizeof un->sun_path - 1);
        len = sizeof *un;
    } else {
        struct addrinfo hints, *found;
        char host[64];
        const char *colon = strrchr(where, ':');
        CHECK(colon != NULL && (size_t)(colon - where) < sizeof host);
        memcpy(host, where, (size_t)(colon - where));
        host[colon - where] = 0;
        memset(&hints, 0, sizeof hints);
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
        hints.ai_socktype = SOCK_STREAM;
        CHECK(getaddrinfo(host, colon + 1, &hints, &found) == 0);
        memcpy(&addr, found->ai_addr, found->ai_addrlen);
        len = found->ai_addrlen;
        freeaddrinfo(found);
    }
    fd = socket(addr.ss_family, SOCK_STREAM, 0);
    CHECK(fd >= 0);
    if (connect(fd, (struct sockaddr *)&addr, len) < 0) {
        fprintf(stderr, "cannot connect to %s: %s\n", where, strerror(errno));
        exit(1);
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* Sends all, unless the peer is gone. */
static inline void send_all(int fd, const void *data, size_t len)
{
    const char *at = (const char *)data;
    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n < 0)
            return;
        at += n;
        len -= (size_t)n;
    }
}

#endif
