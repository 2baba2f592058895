/* The structs of vectors.h, which vectors.py makes from the golden vectors. */
#ifndef VECTOR_TYPES_H
#define VECTOR_TYPES_H

#include "test.h"

struct varint {
    const char *id;
    struct bytes hex;
    uint64_t value;
};

struct invalid {
    const char *id;
    struct bytes hex;
    int incomplete;
};

struct value_vector {
    const char *id;
    struct bytes hex;
    struct typed value;
};

struct frame {
    const char *id;
    struct bytes hex;
    uint32_t type, flags;
    uint64_t stream_id, frame_id;
    char kind; /* 'k' kv, 'm' messages, 'a' actions, 'f' fragment */
    const struct item *items;
    struct bytes fragment;
};

struct faulty {
    const char *id;
    struct bytes hex;
    const char *receiver, *state, *outcome;
    int64_t status; /* -1: none */
    uint32_t max_frame_size;
};

struct step {
    const char *id;
    int first;
    uint32_t capabilities;
    struct bytes rx;
    const char *expect;
    struct bytes payload;
    int has_payload;
    uint64_t stream_id, frame_id;
    int64_t status; /* -1: none */
    unsigned count;
    struct bytes reply;
};

struct text_vector {
    const char *text;
    uint32_t expected;
};

struct reference {
    const char *id;
    struct bytes hex;
    uint64_t stream_id, frame_id;
    const struct item *items;
    uint32_t scope;
    struct bytes name;
    struct typed value;
    struct bytes ack;
};

struct captured {
    const char *id, *kind;
    struct bytes hex;
};

#include "vectors.h"

#endif
