/* One side of a connection, an agent or a client, with what it was given, what it reported and what it wants to send. */
#ifndef SIDE_H
#define SIDE_H

#include "test.h"

#define SIDE_CAP (256 * 1024)

struct side {
    spop_agent *agent;   /* one of both */
    spop_client *client;
    void *memory, *reassembly;
    unsigned char *input; /* what is not used up */
    size_t input_len;
    unsigned char *sent; /* what it sent */
    size_t sent_len;
    unsigned events[SPOP_EVENT_ERROR + 1]; /* how many of each type */
    spop_event last;
    spop_error error;
    uint64_t tickets[256];        /* of the NOTIFYs, in order */
    uint64_t stream_id, frame_id; /* of the last NOTIFY */
    unsigned char *payload; /* a copy of that of the last NOTIFY */
    size_t payload_len;
    int answers; /* acknowledge each NOTIFY at once */
};

static inline struct side agent_side(uint32_t max_frame_size, uint32_t capabilities, size_t reassembly_len)
{
    struct side s;
    spop_agent_config config;
    memset(&s, 0, sizeof s);
    CHECK_ERROR(SPOP_OK, spop_agent_config_init(&config, sizeof config));
    config.max_frame_size = max_frame_size;
    config.capabilities = capabilities;
    config.reassembly = s.reassembly = malloc(reassembly_len > 0 ? reassembly_len : 1);
    config.reassembly_len = reassembly_len;
    s.memory = malloc(spop_agent_size());
    s.input = copy_of(NULL, 0);
    s.sent = (unsigned char *)malloc(SIDE_CAP);
    CHECK_ERROR(SPOP_OK, spop_agent_init(s.memory, spop_agent_size(), &config, &s.agent));
    return s;
}

static inline struct side client_side(const spop_client_config *config)
{
    struct side s;
    memset(&s, 0, sizeof s);
    s.memory = malloc(spop_client_size());
    s.input = copy_of(NULL, 0);
    s.sent = (unsigned char *)malloc(SIDE_CAP);
    CHECK_ERROR(SPOP_OK, spop_client_init(s.memory, spop_client_size(), config, &s.client));
    return s;
}

static inline void end(struct side *s)
{
    free(s->memory);
    free(s->reassembly);
    free(s->input);
    free(s->sent);
    free(s->payload);
}

static inline size_t want_read(const struct side *s)
{
    return s->agent ? spop_agent_want_read(s->agent) : spop_client_want_read(s->client);
}

static inline int want_close(const struct side *s)
{
    return s->agent ? spop_agent_want_close(s->agent) : spop_client_want_close(s->client);
}

/* Takes the frames of the machine itself; were there any? */
static inline int take_frames(struct side *s)
{
    spop_error err;
    size_t len;
    int any = 0;
    for (;;) {
        unsigned char *out = (unsigned char *)malloc(SPOP_MAX_TRANSMIT_LEN);
        err = s->agent ? spop_agent_send(s->agent, out, SPOP_MAX_TRANSMIT_LEN, &len)
                       : spop_client_send(s->client, out, SPOP_MAX_TRANSMIT_LEN, &len);
        if (err == SPOP_OK) {
            CHECK(s->sent_len + len <= SIDE_CAP);
            memcpy(s->sent + s->sent_len, out, len);
            s->sent_len += len;
            any = 1;
        }
        free(out);
        if (err != SPOP_OK)
            break;
    }
    CHECK_ERROR(SPOP_END, err);
    return any;
}

static inline void on_event(struct side *s)
{
    spop_writer ack;
    size_t len;
    CHECK(s->last.type >= SPOP_EVENT_HELLO && s->last.type < SPOP_EVENT_ERROR);
    s->events[s->last.type]++;
    if (s->last.type != SPOP_EVENT_NOTIFY)
        return;
    CHECK(s->events[SPOP_EVENT_NOTIFY] <= COUNT(s->tickets));
    s->tickets[s->events[SPOP_EVENT_NOTIFY] - 1] = s->last.as.notify.ticket;
    s->stream_id = s->last.as.notify.stream_id;
    s->frame_id = s->last.as.notify.frame_id;
    free(s->payload);
    s->payload_len = s->last.as.notify.payload.len;
    s->payload = copy_of(s->last.as.notify.payload.ptr, s->payload_len);
    if (s->answers) {
        CHECK_ERROR(SPOP_OK, spop_ack_begin(s->agent, s->last.as.notify.ticket, s->sent + s->sent_len, SIDE_CAP - s->sent_len, &ack));
        CHECK_ERROR(SPOP_OK, spop_ack_finish(&ack, &len));
        s->sent_len += len;
    }
}

/* Gives bytes to a side, which does all it can with them. */
static inline void feed(struct side *s, const void *data, size_t len)
{
    int any;
    if (len > 0) {
        s->input = (unsigned char *)realloc(s->input, s->input_len + len);
        CHECK(s->input != NULL);
        memcpy(s->input + s->input_len, data, len);
        s->input_len += len;
    }
    do {
        unsigned char *exact = copy_of(s->input, s->input_len);
        size_t used = 0;
        spop_error err = s->agent ? spop_agent_recv(s->agent, exact, s->input_len, &used, &s->last)
                                  : spop_client_recv(s->client, exact, s->input_len, &used, &s->last);
        CHECK(used <= s->input_len);
        memmove(s->input, s->input + used, s->input_len - used);
        s->input_len -= used;
        if (err == SPOP_OK)
            on_event(s);
        if (err < 0) {
            s->events[SPOP_EVENT_ERROR]++;
            s->error = err;
            CHECK(s->last.type == SPOP_EVENT_ERROR && s->last.as.error.error == err);
            CHECK(s->last.as.error.status == spop_error_status(err));
        }
        CHECK(err == SPOP_OK || err == SPOP_AGAIN || err == SPOP_END || err <= SPOP_E_TRUNCATED);
        CHECK(err != SPOP_END || want_close(s));
        any = take_frames(s) || err == SPOP_OK;
        free(exact);
    } while (any);
}

/* The same in pieces: 0 for all at once, else so many bytes each. */
static inline void feed_in(struct side *s, const void *data, size_t len, size_t piece)
{
    const unsigned char *bytes = (const unsigned char *)data;
    size_t at, n;
    for (at = 0; at < len || at == 0; at += n) {
        n = piece == 0 || piece > len - at ? len - at : piece;
        feed(s, bytes + at, n);
        if (n == 0)
            break;
    }
}

/* Carries bytes to and fro until nothing moves. */
static inline void join(struct side *a, struct side *b)
{
    do {
        size_t len = a->sent_len;
        a->sent_len = 0;
        feed(b, a->sent, len);
        len = b->sent_len;
        b->sent_len = 0;
        feed(a, b->sent, len);
    } while (a->sent_len + b->sent_len > 0);
}

#endif
