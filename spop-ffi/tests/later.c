/*
 * HAProxy's part towards an agent that answers later, with `option async`: later ADDRESS PID. The agent is examples/later.c, or that of the
 * Lua module.
 */
#define _POSIX_C_SOURCE 200809L

#include <signal.h>

#include "asking.h"

#define ASYNC "pipelining,async"
#define SOON 300
#define LATE 900

static void hang_up(struct peer *p)
{
    unsigned ids[2];
    shutdown(p->fd, SHUT_WR);
    CHECK(next(p, &ids[0], &ids[1]) == 0);
    close(p->fd);
}

enum first { LIVES, IS_CUT, IS_THE_SAME };

/* HAProxy gave an event up (`timeout processing`) and sends the next one of its stream, with the same ids: what is ready first answers the
 * first and must not be taken for the answer to the second. */
static void ids_come_again(const char *address, enum first connection)
{
    struct peer a = greeted(address, "an-engine", ASYNC), b = greeted(address, "an-engine", ASYNC);
    uint64_t asked = now_ms();
    ask(&a, 5, SOON);
    if (connection == IS_THE_SAME)
        ask(&a, 5, LATE);
    nothing_else(&a);
    if (connection != LIVES)
        hang_up(&a);
    if (connection != IS_THE_SAME) {
        asked = now_ms();
        ask(&b, 5, LATE);
    }
    CHECK(answered(&b) == 5);
    CHECK(now_ms() - asked > (SOON + LATE) / 2); /* the agent's clock may be another */
    nothing_else(&b);
    hang_up(&b);
    if (connection == LIVES) {
        nothing_else(&a);
        hang_up(&a);
    }
}

/* The same ids mean something else: both are answered where they were asked. */
static void ids_of_others(const char *address, const char *engine_a, const char *engine_b, const char *capabilities)
{
    struct peer a = greeted(address, engine_a, capabilities), b = greeted(address, engine_b, capabilities);
    ask(&a, 5, SOON);
    nothing_else(&a);
    ask(&b, 5, SOON);
    CHECK(answered(&a) == 5 && answered(&b) == 5);
    hang_up(&a);
    hang_up(&b);
}

static void wait_ms(long ms)
{
    struct timespec t;
    t.tv_sec = 0, t.tv_nsec = ms * 1000000;
    nanosleep(&t, NULL);
}

/* Until the process sleeps (S), or is stopped (T). */
static void wait_until(pid_t pid, char wanted, uint64_t end)
{
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    for (; state != wanted; wait_ms(1)) {
        FILE *stat = fopen(path, "r");
        CHECK(stat != NULL && fscanf(stat, "%*d (%*[^)]) %c", &state) == 1);
        fclose(stat);
        CHECK(now_ms() < end); /* else the machine is too slow for this */
    }
}

/* An answer becomes due while its connection goes, and while the only other one of its engine is ending: nothing follows a DISCONNECT, the
 * answer waits for the next connection. The agent is stopped meanwhile, so that it finds all of this at once. */
static void the_other_connection_ends(const char *address, pid_t agent)
{
    struct peer a = greeted(address, "an-engine", ASYNC), b = greeted(address, "an-engine", ASYNC);
    struct frame all;
    uint64_t asked;
    unsigned ids[2];
    all.len = 0;
    disconnect(&all);
    /* An agent that reads frame by frame has had the length when the rest comes. */
    send_all(b.fd, all.bytes, 4);
    asked = now_ms();
    ask(&a, 5, SOON);
    nothing_else(&a);
    wait_until(agent, 'S', asked + SOON);
    CHECK(kill(agent, SIGSTOP) == 0);
    wait_until(agent, 'T', asked + SOON);
    shutdown(a.fd, SHUT_WR);
    send_all(b.fd, all.bytes + 4, all.len - 4);
    while (now_ms() <= asked + SOON + 20)
        wait_ms(5);
    CHECK(kill(agent, SIGCONT) == 0);
    CHECK(next(&b, &ids[0], &ids[1]) == SPOP_FRAME_AGENT_DISCONNECT && next(&b, &ids[0], &ids[1]) == 0);
    close(b.fd);
    CHECK(next(&a, &ids[0], &ids[1]) == 0);
    close(a.fd);
    b = greeted(address, "an-engine", ASYNC);
    CHECK(answered(&b) == 5);
    hang_up(&b);
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    current = "ids come again, the first connection lives";
    ids_come_again(argv[1], LIVES);
    current = "ids come again, the first connection is cut";
    ids_come_again(argv[1], IS_CUT);
    current = "ids come again on a connection that is cut then";
    ids_come_again(argv[1], IS_THE_SAME);
    current = "ids of two engines";
    ids_of_others(argv[1], "an-engine", "another-engine", ASYNC);
    current = "ids without async";
    ids_of_others(argv[1], "an-engine", "an-engine", "pipelining");
    current = "the other connection ends";
    the_other_connection_ends(argv[1], (pid_t)atol(argv[2]));
    printf("later: no answer was taken for another's\n");
    return 0;
}
