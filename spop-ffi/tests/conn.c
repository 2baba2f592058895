/* spop_conn.h where a running agent does not show it: the clock is the test's, the peer a socketpair. */
#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>

#include "test.h"

#include <spop_conn.h>

#define WRITE_MS 1000
#define LONG 10000 /* bytes of an answer: three do not fit the socket */

struct stand {
    spop_conn *conn;
    void *memory, *client_memory;
    spop_client *client;
    int peer;
    unsigned kept;
    uint64_t tickets[64];
};

static struct stand stand;

static int keep(void *context, spop_conn *conn, const spop_notify_event *notify)
{
    (void)context, (void)conn;
    CHECK(stand.kept < COUNT(stand.tickets));
    stand.tickets[stand.kept++] = notify->ticket;
    return 1;
}

static void never(void *context, spop_notify_event *notify, spop_writer *ack)
{
    (void)context, (void)notify, (void)ack;
    CHECK(!"a NOTIFY was not kept");
}

static int turn(short found, uint64_t now) { return spop_conn_turn(stand.conn, found, now, never, NULL); }

/* What the client has to say; `notifies` of them are new. */
static void say(unsigned notifies)
{
    char frame[SPOP_MAX_TRANSMIT_LEN];
    static uint64_t stream_id;
    spop_writer notify;
    size_t len;
    while (spop_client_send(stand.client, frame, sizeof frame, &len) == SPOP_OK)
        CHECK(send(stand.peer, frame, len, 0) == (ssize_t)len);
    while (notifies-- > 0) {
        CHECK_ERROR(SPOP_OK, spop_notify_begin(stand.client, ++stream_id, 1, frame, sizeof frame, &notify));
        CHECK_ERROR(SPOP_OK, spop_notify_finish(&notify, &len));
        CHECK(send(stand.peer, frame, len, 0) == (ssize_t)len);
    }
}

/* Reads all that is there; the ACKs among it. */
static unsigned read_all(void)
{
    static char input[1 << 18];
    static size_t len;
    unsigned acks = 0;
    spop_event event;
    size_t used;
    ssize_t n;
    while ((n = recv(stand.peer, input + len, sizeof input - len, MSG_DONTWAIT)) > 0)
        len += (size_t)n;
    while (spop_client_recv(stand.client, input, len, &used, &event) == SPOP_OK) {
        memmove(input, input + used, len -= used);
        acks += event.type == SPOP_EVENT_ACK;
    }
    memmove(input, input + used, len -= used);
    return acks;
}

/* A connection with so many kept NOTIFYs, at 0 ms. */
static void begin(uint64_t write_timeout, uint64_t idle_timeout, unsigned notifies)
{
    int fds[2], small = 1; /* the system's least */
    spop_agent_config config;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    CHECK(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0 && fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
    CHECK_ERROR(SPOP_OK, spop_agent_config_init(&config, sizeof config));
    config.max_frame_size = 16380;
    config.idle_timeout = idle_timeout;
    stand.memory = malloc(spop_conn_size(&config));
    stand.conn = spop_conn_init(stand.memory, &config, fds[0], write_timeout, 0);
    CHECK(stand.conn != NULL);
    stand.conn->keep = keep;
    stand.peer = fds[1], stand.kept = 0;
    stand.client_memory = malloc(spop_client_size());
    CHECK_ERROR(SPOP_OK, spop_client_init(stand.client_memory, spop_client_size(), NULL, &stand.client));
    say(0);
    CHECK(turn(POLLIN, 0));
    CHECK(read_all() == 0);
    say(notifies);
    CHECK(turn(POLLIN, 0) && stand.kept == notifies && stand.conn->out_len == 0);
}

static void finish(void)
{
    spop_conn_end(stand.conn);
    close(stand.peer);
    free(stand.memory), free(stand.client_memory);
}

/* Answers a NOTIFY outside of a turn, in so many bytes; 0 if there is no room. */
static int answer(unsigned which, size_t bytes)
{
    static const char text[LONG] = "";
    spop_value value = spop_binary(text, bytes);
    spop_writer ack;
    spop_error error = spop_conn_begin(stand.conn, stand.tickets[which], &ack);
    if (error == SPOP_E_NO_SPACE)
        return 0;
    CHECK_ERROR(SPOP_OK, error);
    CHECK_ERROR(SPOP_OK, spop_ack_set_var(&ack, SPOP_SCOPE_SESSION, SPOP_LIT("v"), &value));
    spop_conn_commit(stand.conn, &ack);
    return 1;
}

/* Answers until the peer has to read. The turns are at `now`; answers that left. */
static unsigned fill(uint64_t now)
{
    unsigned n = 0;
    while (n < stand.kept && answer(n, LONG)) {
        n++;
        CHECK(turn(0, now));
    }
    CHECK(n < stand.kept && stand.conn->out_len > 0);
    return n;
}

/* However long after the last turn an answer is ready, it leaves at the next one, which is wanted at once. */
static void late_answer(void)
{
    current = "a late answer";
    begin(WRITE_MS, 0, 1);
    CHECK(spop_conn_timeout(stand.conn, 0, -1) == -1);
    CHECK(answer(0, 1));
    CHECK(spop_conn_timeout(stand.conn, 60000, -1) == 0 && spop_conn_timeout(stand.conn, 60000, 500) == 0);
    CHECK(turn(0, 60000) && stand.conn->out_len == 0 && !stand.conn->failed && read_all() == 1);
    CHECK(spop_conn_timeout(stand.conn, 60000, -1) == -1);
    finish();
}

/* Who does not read is given up, after the timeout and not before: it runs from the first byte that the socket did not take. */
static void who_does_not_read(void)
{
    current = "who does not read";
    begin(WRITE_MS, 0, 32);
    fill(60000);
    CHECK(spop_conn_events(stand.conn) == POLLOUT);
    CHECK(spop_conn_timeout(stand.conn, 60000, -1) == WRITE_MS && spop_conn_timeout(stand.conn, 60400, -1) == WRITE_MS - 400);
    CHECK(turn(0, 60000 + WRITE_MS - 1));
    CHECK(spop_conn_timeout(stand.conn, 60000 + WRITE_MS, -1) == 0);
    CHECK(!turn(0, 60000 + WRITE_MS) && stand.conn->failed && stand.conn->error == SPOP_OK);
    finish();
}

/* Answers that are added do not put it off. */
static void no_respite(void)
{
    current = "no respite";
    begin(WRITE_MS, 0, 32);
    CHECK(answer(0, LONG) && answer(1, LONG) && turn(0, 0) && stand.conn->out_len > 0);
    CHECK(!answer(2, 1) && turn(0, WRITE_MS / 2));
    CHECK(!turn(0, WRITE_MS) && stand.conn->failed);
    finish();
}

/* Who reads, if slowly, stays; also if the next turn comes late. */
static void who_reads(void)
{
    unsigned answers, acks;
    current = "who reads";
    begin(WRITE_MS, 0, 32);
    answers = fill(0);
    acks = read_all();
    CHECK(turn(POLLOUT, WRITE_MS - 1) && turn(0, WRITE_MS) && turn(0, 2 * WRITE_MS - 2) && !stand.conn->failed);
    acks += read_all();
    CHECK(turn(POLLOUT, 60000) && !stand.conn->failed); /* all was read long ago */
    while (stand.conn->out_len > 0) {
        acks += read_all();
        CHECK(turn(POLLOUT, 60000));
    }
    CHECK(acks + read_all() == answers);
    finish();
}

/* UINT64_MAX is never. */
static void timeouts_without_end(void)
{
    current = "timeouts without end";
    begin(UINT64_MAX, UINT64_MAX, 32);
    fill(60000);
    CHECK(spop_conn_timeout(stand.conn, 60000, -1) == -1 && spop_conn_timeout(stand.conn, UINT64_MAX - 1, 500) == 500);
    CHECK(turn(0, UINT64_MAX - 1) && !stand.conn->failed);
    finish();
}

int main(void)
{
    late_answer();
    who_does_not_read();
    no_respite();
    who_reads();
    timeouts_without_end();
    printf("conn: answers that leave late, peers that read and do not\n");
    return 0;
}
