/*
 * An agent whose answers take time: each message says by `ms` after how many milliseconds it wants its answer, sess.<prefix>.done. What waits
 * here stands for a question to a database or to another service. With `option async` (HAProxy up to 3.0) what a connection that is gone left
 * open is answered on another one of its engine.
 *
 *   cc -O2 -o later later.c $(pkg-config --cflags --libs spop)
 *   ./later 12345        # a port of 127.0.0.1; 0 is a free one
 */
#define _POSIX_C_SOURCE 200809L

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <spop_conn.h>

#define MAX_CONNECTIONS 256
#define MAX_JOBS 4096
#define GRACE_MS 5000
/* Without a connection of its engine an answer waits for so long: HAProxy connects again. */
#define ORPHAN_MS 2000

/* A NOTIFY that waits for its answer. */
struct job {
    spop_conn *conn; /* NULL once it is gone */
    uint64_t ticket, due;
    spop_ids ids;
    char engine_id[SPOP_CONN_ENGINE_ID];
    size_t engine_id_len;
};

static struct job jobs[MAX_JOBS];
static spop_conn *conns[MAX_CONNECTIONS];
static int job_count, count;
static unsigned long elsewhere, lost;
static volatile sig_atomic_t stopping;

static void on_signal(int signal)
{
    (void)signal;
    stopping = 1;
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/*
 * HAProxy gives an event up after `timeout processing`, and the next one of its stream has the same ids, perhaps on another connection: with
 * `option async` an answer to the first would be taken for one to the second. So who waits under these ids is dropped.
 */
static void forget(const spop_conn *conn, const spop_notify_event *notify)
{
    uint64_t ids[2];
    int i;
    if (!(conn->agreed.capabilities & SPOP_CAP_ASYNC) || conn->engine_id_len == 0)
        return; /* an answer counts on the connection of its NOTIFY only */
    for (i = job_count; i-- > 0;) {
        struct job *job = &jobs[i];
        if (job->ids.stream_id != notify->stream_id || job->ids.frame_id != notify->frame_id ||
            job->engine_id_len != conn->engine_id_len || memcmp(job->engine_id, conn->engine_id, conn->engine_id_len) != 0)
            continue;
        if (job->conn) /* on this very connection its ticket is void already */
            spop_agent_release(job->conn->agent, job->ticket, &ids[0], &ids[1]);
        *job = jobs[--job_count], lost++;
    }
}

/* Takes a NOTIFY over. Its bytes are gone when this returns, so it copies what it needs. */
static int keep(void *context, spop_conn *conn, const spop_notify_event *notify)
{
    spop_cursor messages = notify->messages;
    spop_message message;
    spop_value ms;
    struct job *job;
    (void)context;
    forget(conn, notify);
    job = &jobs[job_count];
    if (job_count == MAX_JOBS)
        return 0;
    job->conn = conn, job->ticket = notify->ticket, job->due = now_ms();
    job->ids.stream_id = notify->stream_id, job->ids.frame_id = notify->frame_id;
    memcpy(job->engine_id, conn->engine_id, job->engine_id_len = conn->engine_id_len);
    while (spop_message_next(&messages, &message) == SPOP_OK)
        if (spop_arg_find(&message, SPOP_LIT("ms"), &ms) == SPOP_OK && ms.type == SPOP_TYPE_INT64 && ms.as.int64 > 0)
            job->due += (uint64_t)(ms.as.int64 < 60000 ? ms.as.int64 : 60000);
    job_count++;
    return 1;
}

/* More wait than there is room for: HAProxy gets an empty answer at once. */
static void busy(void *context, spop_notify_event *notify, spop_writer *ack) { (void)context, (void)notify, (void)ack; }

/* Answers it on its connection, or on another one of its engine; SPOP_E_NO_SPACE and SPOP_E_NOT_OPEN as spop_conn_begin(). */
static spop_error answer(struct job *job)
{
    spop_value done = spop_bool(1);
    spop_writer ack;
    spop_conn *on = job->conn;
    spop_error error = on ? spop_conn_begin(on, job->ticket, &ack) : SPOP_E_NOT_OPEN;
    int i;
    for (i = 0; !job->conn && error != SPOP_OK && i < count; i++) {
        spop_error other = spop_conn_begin_for(on = conns[i], job->engine_id, job->engine_id_len, job->ids, &ack);
        error = other == SPOP_E_NOT_OPEN ? error : other;
    }
    if (error == SPOP_OK) {
        spop_ack_set_var(&ack, SPOP_SCOPE_SESSION, SPOP_LIT("done"), &done);
        spop_conn_commit(on, &ack);
        elsewhere += !job->conn;
    }
    return error;
}

/* Answers what is due; the milliseconds until the next one is, at most `timeout`. */
static int answer_due(uint64_t now, int timeout)
{
    int i;
    for (i = job_count; i-- > 0;) {
        struct job *job = &jobs[i];
        spop_error error = job->due <= now ? answer(job) : SPOP_E_NO_SPACE;
        int waits = error == SPOP_E_NO_SPACE || (error != SPOP_OK && !job->conn && now < job->due + ORPHAN_MS);
        lost += !waits && error != SPOP_OK;
        if (!waits)
            *job = jobs[--job_count];
        else if (job->due > now && job->due - now < (uint64_t)timeout)
            timeout = (int)(job->due - now);
        else if (job->due <= now && timeout > 10)
            timeout = 10; /* nothing tells of room, or of a connection of the engine */
    }
    return timeout;
}

static void drop(int i)
{
    int k;
    for (k = 0; k < job_count; k++)
        jobs[k].conn = jobs[k].conn == conns[i] ? NULL : jobs[k].conn;
    spop_conn_end(conns[i]), free(conns[i]);
    conns[i] = conns[--count];
}

int main(int argc, char **argv)
{
    struct pollfd fds[1 + MAX_CONNECTIONS];
    struct sockaddr_in addr = {0};
    socklen_t len = sizeof addr;
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, i;
    struct sigaction action = {0};
    uint64_t end = UINT64_MAX; /* until the connections were told */
    spop_agent_config config;
    spop_agent_config_init(&config, sizeof config);
    config.max_frame_size = 16380;
    config.capabilities = SPOP_CAP_PIPELINING | SPOP_CAP_ASYNC;
    config.hello_timeout = 10000, config.half_frame_timeout = 30000, config.idle_timeout = 120000;
    action.sa_handler = on_signal;
    sigaction(SIGTERM, &action, NULL), sigaction(SIGINT, &action, NULL);
    addr.sin_family = AF_INET, addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    addr.sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 12345));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&addr, len) < 0 || listen(listener, 128) < 0 || fcntl(listener, F_SETFL, O_NONBLOCK) < 0)
        return perror("later: cannot listen"), 1;
    getsockname(listener, (struct sockaddr *)&addr, &len);
    printf("listening on 127.0.0.1:%d\n", ntohs(addr.sin_port)), fflush(stdout);
    while (!stopping || (count > 0 && now_ms() < end)) {
        int tells = stopping && end == UINT64_MAX, polled = count, fd;
        int timeout = tells ? 0 : answer_due(now_ms(), stopping ? 10 : 1000); /* what is to be written would come before what is to be read */
        for (i = 0; i < count; i++) {
            fds[1 + i].fd = conns[i]->fd, fds[1 + i].events = spop_conn_events(conns[i]), fds[1 + i].revents = 0;
            timeout = spop_conn_timeout(conns[i], now_ms(), timeout);
        }
        fds[0].fd = stopping ? -1 : listener, fds[0].events = POLLIN, fds[0].revents = 0;
        tells = poll(fds, (nfds_t)(1 + polled), timeout) >= 0 && tells; /* else a signal: what can be read is told the next time */
        for (i = polled; i-- > 0;) /* backwards: the last one takes the place of one that is over */
            if (!spop_conn_turn(conns[i], fds[1 + i].revents, now_ms(), busy, NULL))
                drop(i);
        for (i = 0; tells && i < count; i++) /* what was there when poll() looked has been read: nothing more is */
            spop_conn_stop(conns[i]), end = now_ms() + GRACE_MS;
        if ((fds[0].revents & POLLIN) && (fd = accept(listener, NULL, NULL)) >= 0) {
            void *memory = count < MAX_CONNECTIONS ? malloc(spop_conn_size(&config)) : NULL;
            fcntl(fd, F_SETFL, O_NONBLOCK), setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            if (memory && (conns[count] = spop_conn_init(memory, &config, fd, 30000, now_ms())) != NULL)
                conns[count++]->keep = keep;
            else
                close(fd), free(memory);
        }
    }
    fprintf(stderr, "later: %lu answered elsewhere, %lu lost\n", elsewhere, lost + (unsigned long)job_count);
    return 0;
}
