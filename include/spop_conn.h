/*
 * spop_conn: a connection of an agent over a socket, on top of spop.h: buffers, reads, writes, timeouts and the end. Header only, for
 * POSIX; C99 and C++11. A program that polls needs no more than this and its own handler (examples/score.c, 100 lines). One whose answers take
 * time keeps NOTIFYs and answers them later, on HAProxy up to 3.0 also on another connection if theirs is gone (examples/later.c).
 *
 * Buffers. A connection is one block of memory that the caller gives: spop_conn_size() says how much, spop_conn_init() lays it out.
 *
 *     struct spop_conn | agent | in: 4 frames | out: 2 frames | reassembly (config.reassembly_len)
 *
 * A frame has config.max_frame_size + SPOP_PREFIX_LEN bytes. The input holds whole frames, so that views into a NOTIFY are valid while the
 * handler runs and not longer. Frames are handled as long as the output has room for the largest ACK: a peer that asks and does not read fills
 * the output, then nothing more is read from it, and after `write_timeout` the connection is over. Nothing grows.
 *
 * Time is in milliseconds of any clock that does not jump. Nothing here is for several threads at once on the same connection.
 */
#ifndef SPOP_CONN_H
#define SPOP_CONN_H

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "spop.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The caller's part: adds the actions that answer a NOTIFY. Views into it are valid until it returns. */
typedef void (*spop_conn_handler)(void *context, spop_notify_event *notify, spop_writer *ack);

struct spop_conn;

/*
 * For answers that take time: keeps a NOTIFY, that is its ticket (and its ids, for another connection) and a copy of what is needed of it,
 * and answers it later by spop_conn_begin(). 0 if it does not; then the handler answers at once.
 */
typedef int (*spop_conn_keeper)(void *context, struct spop_conn *conn, const spop_notify_event *notify);

#define SPOP_CONN_ENGINE_ID 64

/* A connection. Set `keep` after spop_conn_init(). Read `fd`, `agreed`, `engine_id`, `acks` and `error`; the rest is its own. */
typedef struct spop_conn {
    int fd;
    /* NULL: each NOTIFY is answered at once, by the handler. */
    spop_conn_keeper keep;
    /* What was agreed on with HAProxy. */
    spop_negotiated agreed;
    /* The same on all connections of an engine; empty without one, and if it is longer than any that HAProxy makes. */
    char engine_id[SPOP_CONN_ENGINE_ID];
    size_t engine_id_len;
    /* ACKs written so far. */
    uint64_t acks;
    /* Why it ended, if not as it should: SPOP_E_IDLE_TIMEOUT, a fault of the peer's, SPOP_OK for a failure of the socket. */
    spop_error error;
    /* It ended by a failure: of the protocol, of the socket, or because the peer did not read. */
    int failed;
    spop_agent *agent;
    uint64_t since, progress, write_timeout;
    /* The socket takes nothing, since `progress`. */
    int blocked;
    size_t room, in_len, out_len, out_sent;
    char *in, *out;
} spop_conn;

#define SPOP_CONN_FRAMES_IN 4
#define SPOP_CONN_FRAMES_OUT 2

static inline size_t spop_conn_aligned(size_t size) { return (size + 15) & ~(size_t)15; }

/* Bytes of a connection with this configuration; aligned as malloc() does. */
static inline size_t spop_conn_size(const spop_agent_config *config)
{
    size_t frame = (size_t)config->max_frame_size + SPOP_PREFIX_LEN;
    return spop_conn_aligned(sizeof(spop_conn)) + spop_conn_aligned(spop_agent_size()) +
           (SPOP_CONN_FRAMES_IN + SPOP_CONN_FRAMES_OUT) * frame + config->reassembly_len;
}

/*
 * Begins a connection of a socket that does not block, in memory of spop_conn_size() bytes. `config.reassembly` is set here. A peer that does not
 * read for `write_timeout` ms is given up; UINT64_MAX: never. NULL if the configuration is not valid; the socket is the caller's then.
 */
static inline spop_conn *spop_conn_init(void *memory, const spop_agent_config *config, int fd, uint64_t write_timeout, uint64_t now)
{
    spop_conn *conn = (spop_conn *)memory;
    char *at = (char *)memory + spop_conn_aligned(sizeof(spop_conn)), *agent = at;
    spop_agent_config own = *config;
    memset(conn, 0, sizeof *conn);
    conn->room = (size_t)config->max_frame_size + SPOP_PREFIX_LEN;
    conn->in = at += spop_conn_aligned(spop_agent_size());
    conn->out = at += SPOP_CONN_FRAMES_IN * conn->room;
    own.reassembly = own.reassembly_len > 0 ? at + SPOP_CONN_FRAMES_OUT * conn->room : NULL;
    conn->fd = fd;
    conn->write_timeout = write_timeout;
    conn->since = now;
    return spop_agent_init(agent, spop_agent_size(), &own, &conn->agent) == SPOP_OK ? conn : NULL;
}

/* What poll() is to wait for. */
static inline short spop_conn_events(const spop_conn *conn)
{
    return (short)(conn->out_len > 0 ? POLLOUT : spop_agent_want_read(conn->agent) > 0 ? POLLIN : 0);
}

static inline uint64_t spop_conn_later(uint64_t at, uint64_t by) { return by < UINT64_MAX - at ? at + by : UINT64_MAX; }

/*
 * How long poll() may wait for this connection: milliseconds, `at_most` unless a timeout comes before; -1 is for ever. 0 if an answer waits
 * that no turn has tried to send.
 */
static inline int spop_conn_timeout(const spop_conn *conn, uint64_t now, int at_most)
{
    uint64_t at = UINT64_MAX, give_up = spop_conn_later(conn->progress, conn->write_timeout);
    if (conn->out_len > 0 && !conn->blocked)
        return 0;
    if (spop_agent_poll_timeout(conn->agent, &at) == SPOP_OK)
        at = spop_conn_later(conn->since, at);
    if (conn->blocked && give_up < at)
        at = give_up;
    if (at == UINT64_MAX)
        return at_most;
    at = at > now ? at - now : 0;
    return at_most < 0 || at < (uint64_t)at_most ? (int)(at < 3600000 ? at : 3600000) : at_most;
}

/* Is there room for the largest ACK? */
static inline int spop_conn_has_room(const spop_conn *conn) { return SPOP_CONN_FRAMES_OUT * conn->room - conn->out_len >= conn->room; }

/*
 * Begins the answer to a NOTIFY that was kept: then spop_ack_set_var() and so on, and spop_conn_commit(). SPOP_E_NOT_OPEN: nobody waits for
 * it any more. SPOP_E_NO_SPACE: HAProxy has to read first; try again after the next turn.
 *
 * One at a time: what is begun is committed before another answer of this connection begins, and before its next turn. So not within its
 * handler, which has one begun already.
 */
static inline spop_error spop_conn_begin(spop_conn *conn, uint64_t ticket, spop_writer *ack)
{
    if (!spop_conn_has_room(conn))
        return SPOP_E_NO_SPACE;
    return spop_ack_begin(conn->agent, ticket, conn->out + conn->out_len, conn->room, ack);
}

/*
 * The same for a NOTIFY of another connection, which is gone. SPOP_E_NOT_OPEN if this one is not of its engine, has not agreed on
 * SPOP_CAP_ASYNC, or is ending.
 *
 * The caller owes one thing: HAProxy gives an event up after `timeout processing`, and the next one of its stream has the same ids. What the
 * caller keeps under the ids and the engine-id of a NOTIFY that arrives, of whatever connection, it must drop, by spop_agent_release() if
 * that connection lives; else HAProxy takes the old answer for one to the new event (forget() of examples/later.c). Who asks for
 * SPOP_CAP_ASYNC and keeps NOTIFYs owes it for spop_conn_begin() too.
 */
static inline spop_error spop_conn_begin_for(spop_conn *conn, const char *engine_id, size_t engine_id_len, spop_ids ids, spop_writer *ack)
{
    if (!(conn->agreed.capabilities & SPOP_CAP_ASYNC) || engine_id_len == 0 || conn->engine_id_len != engine_id_len ||
        memcmp(conn->engine_id, engine_id, engine_id_len) != 0 || spop_agent_want_close(conn->agent))
        return SPOP_E_NOT_OPEN;
    if (!spop_conn_has_room(conn))
        return SPOP_E_NO_SPACE;
    return spop_ack_begin_ids(ids.stream_id, ids.frame_id, conn->agreed.max_frame_size, conn->out + conn->out_len, conn->room, ack);
}

/* Completes it. It leaves at the next turn. */
static inline void spop_conn_commit(spop_conn *conn, spop_writer *ack)
{
    size_t len;
    if (spop_ack_finish(ack, &len) == SPOP_OK) {
        conn->out_len += len;
        conn->acks++;
    }
}

/* Remembers what was agreed on. */
static inline void spop_conn_hello(spop_conn *conn, const spop_hello_event *hello)
{
    conn->agreed = hello->negotiated;
    conn->engine_id_len = hello->engine_id.len <= SPOP_CONN_ENGINE_ID ? hello->engine_id.len : 0;
    if (conn->engine_id_len > 0)
        memcpy(conn->engine_id, hello->engine_id.ptr, conn->engine_id_len);
}

/* Handles what has arrived, as long as there is room for the largest answer. */
static inline void spop_conn_process(spop_conn *conn, spop_conn_handler handler, void *context)
{
    size_t used, len, done = 0, out_cap = SPOP_CONN_FRAMES_OUT * conn->room;
    spop_error error;
    int sent;
    do {
        spop_event event;
        spop_writer ack;
        if (!spop_conn_has_room(conn))
            break;
        error = spop_agent_recv(conn->agent, conn->in + done, conn->in_len - done, &used, &event);
        done += used;
        if (error == SPOP_OK && event.type == SPOP_EVENT_HELLO)
            spop_conn_hello(conn, &event.as.hello);
        if (error == SPOP_OK && event.type == SPOP_EVENT_NOTIFY && (!conn->keep || !conn->keep(context, conn, &event.as.notify)) &&
            spop_conn_begin(conn, event.as.notify.ticket, &ack) == SPOP_OK) {
            handler(context, &event.as.notify, &ack);
            spop_conn_commit(conn, &ack);
        }
        if (error < 0) {
            conn->error = error;
            conn->failed = 1;
        }
        for (sent = 0; spop_agent_send(conn->agent, conn->out + conn->out_len, out_cap - conn->out_len, &len) == SPOP_OK; sent = 1)
            conn->out_len += len;
    } while (error == SPOP_OK || sent);
    memmove(conn->in, conn->in + done, conn->in_len - done);
    conn->in_len -= done;
}

/* Sends what is ready; 0 if the socket is broken. */
static inline int spop_conn_flush(spop_conn *conn, uint64_t now)
{
    while (conn->out_sent < conn->out_len) {
        ssize_t n = send(conn->fd, conn->out + conn->out_sent, conn->out_len - conn->out_sent, MSG_NOSIGNAL);
        if (n < 0) {
            int blocked = errno == EAGAIN || errno == EWOULDBLOCK;
            if (blocked && !conn->blocked)
                conn->blocked = 1, conn->progress = now;
            return blocked || errno == EINTR;
        }
        conn->out_sent += (size_t)n;
        conn->blocked = 0;
    }
    conn->out_sent = conn->out_len = 0;
    return 1;
}

/*
 * One turn: timeouts, what poll() found (0 for none), the handler for each NOTIFY, and what is to be sent. 0 if the connection is over:
 * then spop_conn_end().
 */
static inline int spop_conn_turn(spop_conn *conn, short found, uint64_t now, spop_conn_handler handler, void *context)
{
    int sent;
    spop_error error = spop_agent_handle_timeout(conn->agent, now - conn->since);
    if (error < 0) {
        conn->error = error;
        conn->failed |= error != SPOP_E_IDLE_TIMEOUT;
    }
    if (found & (POLLIN | POLLHUP | POLLERR)) {
        ssize_t n = recv(conn->fd, conn->in + conn->in_len, SPOP_CONN_FRAMES_IN * conn->room - conn->in_len, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
            return 0; /* an end without a DISCONNECT is normal */
        conn->in_len += n > 0 ? (size_t)n : 0;
    }
    do {
        spop_conn_process(conn, handler, context);
        sent = conn->out_len > 0;
        if (!spop_conn_flush(conn, now))
            return 0;
    } while (sent && conn->out_len == 0);
    /* Only now: this turn may be late, and the peer may have read meanwhile. */
    if (conn->blocked && now >= spop_conn_later(conn->progress, conn->write_timeout)) {
        conn->failed = 1;
        return 0;
    }
    return !(spop_agent_want_close(conn->agent) && conn->out_len == 0);
}

/* The program stops: what is open is answered, then comes a DISCONNECT. Turns go on until one gives 0. */
static inline void spop_conn_stop(spop_conn *conn) { spop_agent_close(conn->agent, SPOP_STATUS_NORMAL); }

/* Closes the socket. The memory is the caller's again. */
static inline void spop_conn_end(spop_conn *conn)
{
    int reads = 16;
    shutdown(conn->fd, SHUT_WR);
    while (reads-- > 0 && recv(conn->fd, conn->in, SPOP_CONN_FRAMES_IN * conn->room, 0) > 0)
        ; /* unread bytes would make close() a reset, which could overtake the DISCONNECT */
    close(conn->fd);
}

#ifdef __cplusplus
}
#endif

#endif
