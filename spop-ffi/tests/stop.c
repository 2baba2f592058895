/*
 * An agent that is told to stop by its first ACK (stop_at_work.h): stop ADDRESS. What is open is answered, and what has arrived when it turns
 * to poll() again, on whatever connection; then comes the DISCONNECT.
 */
#define _POSIX_C_SOURCE 200809L

#include "asking.h"

int main(int argc, char **argv)
{
    struct peer p, q;
    struct frame all;
    unsigned ids[2], type, acks = 0;

    CHECK(argc == 2);
    p = greeted(argv[1], "an-engine", "pipelining");
    q = greeted(argv[1], "an-engine", "pipelining");
    all.len = 0;
    /* In one go, so that both are there when the first is answered. An agent that answers later answers the second one first. */
    notify(&all, 1, 200);
    notify(&all, 2, 0);
    send_all(p.fd, all.bytes, all.len);
    while ((type = next(&p, &ids[0], &ids[1])) == SPOP_FRAME_ACK)
        if (++acks == 1)
            ask(&p, 3, 0), ask(&q, 4, 0);
    CHECK(acks == 3);
    CHECK(type == SPOP_FRAME_AGENT_DISCONNECT && next(&p, &ids[0], &ids[1]) == 0);
    CHECK(answered(&q) == 4);
    CHECK(next(&q, &ids[0], &ids[1]) == SPOP_FRAME_AGENT_DISCONNECT && next(&q, &ids[0], &ids[1]) == 0);
    printf("stop: the answers, then the DISCONNECT\n");
    return 0;
}
