/* What the tests share: checks, the golden vectors, typed values. Compiled as C99 and as C++11. */
#ifndef TEST_H
#define TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <spop.h>

/* The vector or case at work, for messages. */
static const char *current = "";

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s: failed: %s\n", __FILE__, __LINE__, current, #condition);                       \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#define CHECK_ERROR(expected, call)                                                                                    \
    do {                                                                                                               \
        spop_error got_ = (call);                                                                                      \
        if (got_ != (expected)) {                                                                                      \
            fprintf(stderr, "%s:%d: %s: %s is %d (%s), not %s\n", __FILE__, __LINE__, current, #call, (int)got_,       \
                    spop_strerror(got_), #expected);                                                                   \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct bytes {
    const unsigned char *data;
    size_t len;
};

struct typed {
    uint32_t type;
    uint64_t number;
    struct bytes bytes;
};

/* 'k' key, 'm' message (number: arguments), 'a' argument, 's' set-var, 'u' unset-var (number: scope) */
struct item {
    char what;
    struct bytes name;
    uint32_t number;
    struct typed value;
};

/* A copy of exactly its length, so that valgrind and the sanitizers see every byte too far. Free it. */
static inline unsigned char *copy_of(const void *data, size_t len)
{
    unsigned char *copy = (unsigned char *)malloc(len > 0 ? len : 1);
    CHECK(copy != NULL);
    if (len > 0)
        memcpy(copy, data, len);
    return copy;
}

static inline int same(struct spop_bytes a, struct bytes b)
{
    return spop_bytes_eq(a, b.data, b.len);
}

static inline spop_value value_of(const struct typed *typed)
{
    switch (typed->type) {
    case SPOP_TYPE_NULL: return spop_null();
    case SPOP_TYPE_BOOL: return spop_bool((int32_t)typed->number);
    case SPOP_TYPE_INT32: return spop_int32((int32_t)typed->number);
    case SPOP_TYPE_UINT32: return spop_uint32((uint32_t)typed->number);
    case SPOP_TYPE_INT64: return spop_int64((int64_t)typed->number);
    case SPOP_TYPE_UINT64: return spop_uint64(typed->number);
    case SPOP_TYPE_IPV4: return spop_ipv4(typed->bytes.data);
    case SPOP_TYPE_IPV6: return spop_ipv6(typed->bytes.data);
    case SPOP_TYPE_STRING: return spop_string(typed->bytes.data, typed->bytes.len);
    default: CHECK(typed->type == SPOP_TYPE_BINARY); return spop_binary(typed->bytes.data, typed->bytes.len);
    }
}

static inline void check_value(const spop_value *value, const struct typed *typed)
{
    CHECK(value->type == typed->type);
    switch (typed->type) {
    case SPOP_TYPE_NULL: break;
    case SPOP_TYPE_BOOL: CHECK(value->as.boolean == typed->number); break;
    case SPOP_TYPE_INT32:
    case SPOP_TYPE_INT64: CHECK((uint64_t)value->as.int64 == typed->number); break;
    case SPOP_TYPE_UINT32:
    case SPOP_TYPE_UINT64: CHECK(value->as.uint64 == typed->number); break;
    case SPOP_TYPE_IPV4: CHECK(memcmp(value->as.ipv4, typed->bytes.data, 4) == 0); break;
    case SPOP_TYPE_IPV6: CHECK(memcmp(value->as.ipv6, typed->bytes.data, 16) == 0); break;
    default: CHECK(same(value->as.bytes, typed->bytes));
    }
}

#endif
