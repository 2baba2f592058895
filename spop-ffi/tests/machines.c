/* The golden vectors of faults and sequences through the C interface, at once and byte by byte. */
#include "side.h"
#include "vector_types.h"

static const struct frame *valid(const char *id)
{
    size_t i;
    for (i = 0; i < COUNT(frames_valid); i++)
        if (strcmp(frames_valid[i].id, id) == 0)
            return &frames_valid[i];
    CHECK(!"no such vector");
    return NULL;
}

static void feed_valid(struct side *s, const char *id)
{
    feed(s, valid(id)->hex.data, valid(id)->hex.len);
}

/* What the side sent is one DISCONNECT of this type and status. */
static void check_disconnect(const struct side *s, uint32_t type, int64_t status)
{
    spop_frame frame;
    spop_disconnect disconnect;
    size_t total;
    CHECK_ERROR(SPOP_OK, spop_peek_len(s->sent, s->sent_len, 16380, &total));
    CHECK(total == s->sent_len);
    CHECK_ERROR(SPOP_OK, spop_frame_decode(s->sent + SPOP_PREFIX_LEN, total - SPOP_PREFIX_LEN, &frame));
    CHECK(frame.type == type);
    CHECK_ERROR(SPOP_OK, spop_disconnect_parse(&frame, &disconnect));
    CHECK(disconnect.has_status && disconnect.status == (uint64_t)status);
    CHECK(want_close(s) && want_read(s) == 0);
}

static struct side running_agent(uint32_t max_frame_size, uint32_t capabilities, size_t reassembly_len)
{
    struct side s = agent_side(max_frame_size, capabilities, reassembly_len);
    spop_negotiated negotiated;
    CHECK_ERROR(SPOP_AGAIN, spop_agent_negotiated(s.agent, &negotiated));
    feed_valid(&s, "haproxy-hello-2.6");
    CHECK(s.events[SPOP_EVENT_HELLO] == 1 && s.sent_len > 0);
    CHECK_ERROR(SPOP_OK, spop_agent_negotiated(s.agent, &negotiated));
    CHECK(negotiated.max_frame_size == max_frame_size && negotiated.capabilities == capabilities);
    s.sent_len = 0;
    memset(s.events, 0, sizeof s.events);
    return s;
}

/* A client with NOTIFY 1/1 in flight. */
static struct side waiting_client(void)
{
    struct side s = client_side(NULL);
    spop_writer notify;
    size_t len;
    feed(&s, NULL, 0);
    feed_valid(&s, "agent-hello");
    CHECK(s.events[SPOP_EVENT_HELLO] == 1);
    CHECK_ERROR(SPOP_OK, spop_notify_begin(s.client, 1, 1, s.sent, SIDE_CAP, &notify));
    CHECK_ERROR(SPOP_OK, spop_notify_finish(&notify, &len));
    s.sent_len = 0;
    s.events[SPOP_EVENT_HELLO] = 0;
    return s;
}

static unsigned all_events(const struct side *s)
{
    unsigned i, sum = 0;
    for (i = 0; i <= SPOP_EVENT_ERROR; i++)
        sum += s->events[i];
    return sum;
}

static void fault_at_agent(const struct faulty *v, size_t piece)
{
    int fresh = strcmp(v->state, "await-hello") == 0, fragments = strcmp(v->state, "running+fragmentation") == 0;
    uint32_t capabilities = SPOP_CAP_PIPELINING | (fragments ? SPOP_CAP_FRAGMENTATION : 0);
    size_t reassembly = fragments ? 65536 : 0;
    struct side s = fresh ? agent_side(v->max_frame_size, capabilities, reassembly)
                          : running_agent(v->max_frame_size, capabilities, reassembly);
    spop_agent_stats stats;

    feed_in(&s, v->hex.data, v->hex.len, piece);
    if (strcmp(v->outcome, "incomplete") == 0) {
        CHECK(all_events(&s) == 0 && s.sent_len == 0 && want_read(&s) > 0 && !want_close(&s));
        CHECK(s.input_len == v->hex.len);
    } else if (strcmp(v->outcome, "disconnect") == 0) {
        check_disconnect(&s, SPOP_FRAME_AGENT_DISCONNECT, v->status);
        CHECK(all_events(&s) == 1);
        CHECK(s.events[v->status == 0 ? SPOP_EVENT_DISCONNECT : SPOP_EVENT_ERROR] == 1);
        CHECK(v->status == 0 || spop_error_status(s.error) == (uint64_t)v->status);
    } else {
        CHECK(strcmp(v->outcome, "ignore") == 0 && all_events(&s) == 0 && s.sent_len == 0);
        stats.size = sizeof stats;
        CHECK_ERROR(SPOP_OK, spop_agent_get_stats(s.agent, &stats));
        CHECK(stats.ignored == 1);
        feed_valid(&s, "notify-1");
        CHECK(s.events[SPOP_EVENT_NOTIFY] == 1 && spop_agent_open(s.agent) == 1);
    }
    end(&s);
}

static void fault_at_client(const struct faulty *v, size_t piece)
{
    int fresh = strcmp(v->state, "await-agent-hello") == 0;
    struct side s = fresh ? client_side(NULL) : waiting_client();
    spop_client_stats stats;
    spop_cursor cursor;
    spop_action action;
    spop_error err;

    feed(&s, NULL, 0);
    s.sent_len = 0;
    if (strcmp(v->outcome, "accept") == 0) {
        /* The views of an event need the bytes that were given in. */
        size_t used;
        CHECK_ERROR(SPOP_OK, spop_client_recv(s.client, v->hex.data, v->hex.len, &used, &s.last));
        CHECK(used == v->hex.len && s.last.type == (fresh ? SPOP_EVENT_HELLO : SPOP_EVENT_ACK));
        if (!fresh) {
            cursor = s.last.as.ack.actions;
            while ((err = spop_action_next(&cursor, &action)) == SPOP_OK)
                ;
            CHECK(err <= SPOP_E_TRUNCATED && cursor.offset > 0 && cursor.offset < v->hex.len);
            CHECK_ERROR(SPOP_END, spop_action_next(&cursor, &action));
        }
        end(&s);
        return;
    }
    feed_in(&s, v->hex.data, v->hex.len, piece);
    if (strcmp(v->outcome, "disconnect") == 0) {
        check_disconnect(&s, SPOP_FRAME_HAPROXY_DISCONNECT, v->status);
        CHECK(all_events(&s) == 1 && s.events[SPOP_EVENT_ERROR] == 1);
    } else {
        CHECK(strcmp(v->outcome, "ignore") == 0 && all_events(&s) == 0 && s.sent_len == 0);
        stats.size = sizeof stats;
        CHECK_ERROR(SPOP_OK, spop_client_get_stats(s.client, &stats));
        CHECK(stats.ignored == 1 && spop_client_in_flight(s.client) == 1);
    }
    end(&s);
}

static void faults(size_t piece)
{
    size_t i;
    for (i = 0; i < COUNT(frames_invalid); i++) {
        const struct faulty *v = &frames_invalid[i];
        current = v->id;
        if (strcmp(v->receiver, "agent") == 0)
            fault_at_agent(v, piece);
        else
            fault_at_client(v, piece);
    }
}

static void sequences_of(size_t piece)
{
    struct side s;
    size_t i;

    memset(&s, 0, sizeof s);
    for (i = 0; i < COUNT(sequences); i++) {
        const struct step *v = &sequences[i];
        current = v->id;
        if (v->first) {
            end(&s);
            s = strcmp(v->expect, "hello-healthcheck") == 0
                    ? agent_side(16380, v->capabilities, 0)
                    : running_agent(16380, v->capabilities, v->capabilities & SPOP_CAP_FRAGMENTATION ? 65536 : 0);
        }
        memset(s.events, 0, sizeof s.events);
        s.sent_len = 0;
        feed_in(&s, v->rx.data, v->rx.len, piece);
        if (strcmp(v->expect, "pending") == 0 || strcmp(v->expect, "closed") == 0) {
            CHECK(all_events(&s) == 0 && s.sent_len == 0);
            CHECK(want_close(&s) == (v->expect[0] == 'c'));
        } else if (strcmp(v->expect, "notify") == 0) {
            CHECK(all_events(&s) == v->count && s.events[SPOP_EVENT_NOTIFY] == v->count && s.sent_len == 0);
            if (v->has_payload)
                CHECK(s.stream_id == v->stream_id && s.frame_id == v->frame_id);
            if (v->has_payload)
                CHECK(s.payload_len == v->payload.len && memcmp(s.payload, v->payload.data, v->payload.len) == 0);
        } else if (strcmp(v->expect, "aborted") == 0) {
            CHECK(all_events(&s) == 1 && s.events[SPOP_EVENT_ABORTED] == 1 && s.sent_len == 0);
        } else if (strcmp(v->expect, "disconnect") == 0) {
            check_disconnect(&s, SPOP_FRAME_AGENT_DISCONNECT, v->status);
            CHECK(s.events[v->status == 0 ? SPOP_EVENT_DISCONNECT : SPOP_EVENT_ERROR] == 1);
        } else {
            CHECK(strcmp(v->expect, "hello-healthcheck") == 0 && s.events[SPOP_EVENT_HELLO] == 1);
            CHECK(s.sent_len == v->reply.len && memcmp(s.sent, v->reply.data, v->reply.len) == 0 && want_close(&s));
        }
    }
    end(&s);
}

/* spop_agent_want_read() says exactly what is missing: a reader that reads no byte more gets every frame. */
static void exact_reads(void)
{
    const char *ids[] = {"haproxy-hello-2.6", "notify-all-types", "notify-255-args", "haproxy-disconnect-0"};
    struct side s = agent_side(16380, SPOP_CAP_PIPELINING, 0);
    size_t i, at, want, reads = 0;

    current = "exact reads";
    s.answers = 1;
    for (i = 0; i < COUNT(ids); i++) {
        struct bytes frame = valid(ids[i])->hex;
        unsigned before = all_events(&s);
        for (at = 0; at < frame.len; at += want, reads++) {
            want = want_read(&s);
            CHECK(want > 0 && want <= frame.len - at && all_events(&s) == before);
            feed(&s, frame.data + at, want);
        }
        CHECK(all_events(&s) == before + 1);
    }
    CHECK(reads == 2 * COUNT(ids) && want_read(&s) == 0 && want_close(&s));
    end(&s);
}

int main(void)
{
    const size_t pieces[] = {0, 1, 3};
    size_t i;
    for (i = 0; i < COUNT(pieces); i++) {
        faults(pieces[i]);
        sequences_of(pieces[i]);
    }
    exact_reads();
    printf("machines: %zu faults and %zu steps of sequences, each at once, byte by byte, by 3 bytes\n",
           COUNT(frames_invalid), COUNT(sequences));
    return 0;
}
