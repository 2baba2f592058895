/* Malformed frames at a running agent, which has to end each connection and to live on: hostile ADDRESS ROUNDS SEED */
#define _POSIX_C_SOURCE 200809L

#include "net.h"
#include "vector_types.h"

static uint64_t state;

static uint32_t random_below(uint32_t limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 16) % limit);
}

static struct bytes valid(const char *id)
{
    size_t i;
    for (i = 0; i < COUNT(frames_valid); i++)
        if (strcmp(frames_valid[i].id, id) == 0)
            return frames_valid[i].hex;
    CHECK(!"no such vector");
    return frames_valid[0].hex;
}

/* Sends the bytes, then waits for the agent's end of the connection; how many bytes it sent. */
static size_t converse(const char *where, const unsigned char *data, size_t len)
{
    int fd = dial(where);
    struct pollfd readable;
    char reply[4096];
    size_t got = 0;
    ssize_t n;

    send_all(fd, data, len);
    shutdown(fd, SHUT_WR);
    readable.fd = fd, readable.events = POLLIN;
    do {
        CHECK(poll(&readable, 1, 10000) == 1); /* it hangs */
        n = recv(fd, reply, sizeof reply, 0);
        got += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    close(fd);
    return got;
}

int main(int argc, char **argv)
{
    static unsigned char data[64 * 1024];
    struct bytes hello = valid("haproxy-hello-2.6"), check = valid("haproxy-hello-healthcheck");
    unsigned long rounds = argc == 4 ? strtoul(argv[2], NULL, 10) : 0, round, sent = 0;
    size_t i, len;

    if (rounds == 0) {
        fprintf(stderr, "usage: hostile ADDRESS ROUNDS SEED\n");
        return 2;
    }
    state = strtoull(argv[3], NULL, 10) * 2654435761u + 88172645463325252u;
    for (i = 0; i < COUNT(frames_invalid); i++) {
        const struct faulty *v = &frames_invalid[i];
        current = v->id;
        len = strcmp(v->state, "await-hello") == 0 ? 0 : hello.len;
        memcpy(data, hello.data, len);
        memcpy(data + len, v->hex.data, v->hex.len);
        converse(argv[1], data, len + v->hex.len);
    }
    current = "random";
    for (round = 0; round < rounds; round++) {
        uint32_t frames = 1 + random_below(6), flips = random_below(8);
        memcpy(data, hello.data, len = hello.len);
        while (frames-- > 0) {
            struct bytes frame = random_below(3) ? frames_valid[random_below(COUNT(frames_valid))].hex : frames_invalid[random_below(COUNT(frames_invalid))].hex;
            memcpy(data + len, frame.data, frame.len);
            len += frame.len;
        }
        while (flips-- > 0)
            data[random_below(4) ? hello.len + random_below((uint32_t)(len - hello.len) + 1) : random_below((uint32_t)len)] = (unsigned char)random_below(256);
        len -= random_below(3) ? 0 : random_below((uint32_t)len);
        converse(argv[1], data, len);
        sent += len;
    }
    current = "alive";
    CHECK(converse(argv[1], check.data, check.len) == valid("agent-hello-nocap").len);
    printf("hostile: %zu vectors, %lu random conversations of %lu bytes, seed %s\n", COUNT(frames_invalid), rounds, sent, argv[3]);
    return 0;
}
