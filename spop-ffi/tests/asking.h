/* HAProxy's part towards a running agent, by frames that are made and read here, byte by byte, without a library. Ids are below 240, one
 * byte each. */
#ifndef ASKING_H
#define ASKING_H

#include <time.h>

#include "net.h"

#define BARRIER 200 /* a stream-id of its own */

struct frame {
    char bytes[512];
    size_t len;
};

struct peer {
    int fd;
    unsigned char in[4096];
    size_t len;
};

static inline uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static inline void put(struct frame *f, const void *bytes, size_t len)
{
    CHECK(f->len + len <= sizeof f->bytes);
    memcpy(f->bytes + f->len, bytes, len);
    f->len += len;
}

static inline void put_byte(struct frame *f, unsigned byte)
{
    unsigned char as = (unsigned char)byte;
    put(f, &as, 1);
}

static inline void put_text(struct frame *f, const char *text)
{
    put_byte(f, (unsigned)strlen(text));
    put(f, text, strlen(text));
}

static inline void put_varint(struct frame *f, unsigned value)
{
    if (value < 240) {
        put_byte(f, value);
        return;
    }
    put_byte(f, (value & 15) | 240);
    for (value = (value - 240) >> 4; value >= 128; value = (value - 128) >> 7)
        put_byte(f, (value & 127) | 128);
    put_byte(f, value);
}

static inline struct frame begun(unsigned type, unsigned stream_id, unsigned frame_id)
{
    struct frame f;
    f.len = 0;
    put(&f, "\0\0\0\0", 4);
    put_byte(&f, type);
    put(&f, "\0\0\0\1", 4);
    put_byte(&f, stream_id);
    put_byte(&f, frame_id);
    return f;
}

/* Adds it, with its length, to what is to be sent. */
static inline void finish(struct frame *f, struct frame *all)
{
    size_t len = f->len - 4;
    f->bytes[2] = (char)(len >> 8);
    f->bytes[3] = (char)(len & 255);
    put(all, f->bytes, f->len);
}

static inline void hello(struct frame *all, const char *engine_id, const char *capabilities)
{
    struct frame f = begun(SPOP_FRAME_HAPROXY_HELLO, 0, 0);
    put_text(&f, "supported-versions"), put_byte(&f, SPOP_TYPE_STRING), put_text(&f, "2.0");
    put_text(&f, "max-frame-size"), put_byte(&f, SPOP_TYPE_UINT32), put_varint(&f, 16380);
    put_text(&f, "capabilities"), put_byte(&f, SPOP_TYPE_STRING), put_text(&f, capabilities);
    put_text(&f, "engine-id"), put_byte(&f, SPOP_TYPE_STRING), put_text(&f, engine_id);
    finish(&f, all);
}

static inline void disconnect(struct frame *all)
{
    struct frame f = begun(SPOP_FRAME_HAPROXY_DISCONNECT, 0, 0);
    put_text(&f, "status-code"), put_byte(&f, SPOP_TYPE_UINT32), put_varint(&f, 0);
    put_text(&f, "message"), put_byte(&f, SPOP_TYPE_STRING), put_text(&f, "normal");
    finish(&f, all);
}

/* The type of the next frame, with its ids; 0 at the end of the connection. */
static inline unsigned next(struct peer *p, unsigned *stream_id, unsigned *frame_id)
{
    for (;;) {
        size_t whole = p->len < 4 ? 0 : 4 + ((size_t)p->in[2] << 8) + p->in[3];
        struct pollfd readable;
        ssize_t n;
        if (whole > 0 && p->len >= whole) {
            unsigned type = p->in[4];
            CHECK(p->in[0] == 0 && p->in[1] == 0 && whole >= 11 && p->in[9] < 240 && p->in[10] < 240);
            *stream_id = p->in[9], *frame_id = p->in[10];
            memmove(p->in, p->in + whole, p->len -= whole);
            return type;
        }
        CHECK(whole <= sizeof p->in);
        readable.fd = p->fd, readable.events = POLLIN;
        CHECK(poll(&readable, 1, 20000) == 1); /* it hangs */
        n = recv(p->fd, p->in + p->len, sizeof p->in - p->len, 0);
        if (n <= 0)
            return 0;
        p->len += (size_t)n;
    }
}

static inline struct peer greeted(const char *address, const char *engine_id, const char *capabilities)
{
    struct peer p;
    struct frame all;
    unsigned ids[2];
    p.fd = dial(address);
    p.len = all.len = 0;
    hello(&all, engine_id, capabilities);
    send_all(p.fd, all.bytes, all.len);
    CHECK(next(&p, &ids[0], &ids[1]) == SPOP_FRAME_AGENT_HELLO);
    return p;
}

/* A NOTIFY whose answer takes so many milliseconds. */
static inline void notify(struct frame *all, unsigned stream_id, unsigned ms)
{
    struct frame f = begun(SPOP_FRAME_NOTIFY, stream_id, 1);
    put_text(&f, "slow"), put_byte(&f, 1), put_text(&f, "ms"), put_byte(&f, SPOP_TYPE_INT64), put_varint(&f, ms);
    finish(&f, all);
}

static inline void ask(struct peer *p, unsigned stream_id, unsigned ms)
{
    struct frame all;
    all.len = 0;
    notify(&all, stream_id, ms);
    send_all(p->fd, all.bytes, all.len);
}

/* The stream-id of the next ACK, which is what comes next. */
static inline unsigned answered(struct peer *p)
{
    unsigned stream_id, frame_id;
    CHECK(next(p, &stream_id, &frame_id) == SPOP_FRAME_ACK && frame_id == 1);
    return stream_id;
}

/* All that was sent before has been handled, and no other ACK has come. */
static inline void nothing_else(struct peer *p)
{
    ask(p, BARRIER, 0);
    CHECK(answered(p) == BARRIER);
}

#endif
