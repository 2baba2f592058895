/* Every function with NULL, absurd lengths and numbers out of range; the sizes and values of the header. The test script
 * checks that every exported function is named here. */
#include "test.h"

#define NUL(call) CHECK_ERROR(SPOP_E_NULL, call)
#define BAD(call) CHECK_ERROR(SPOP_E_ARGUMENT, call)
#define HUGE_LEN ((size_t)-1)

static char buf[512];
static size_t len;
static spop_value value;

static void header(void)
{
    current = "header";
    CHECK(strcmp(spop_version(), "0.1.0") == 0 && spop_abi_version() == SPOP_ABI_VERSION);
    CHECK(strcmp(spop_strerror(SPOP_OK), "no error") == 0 && strcmp(spop_strerror(12345), "unknown error code") == 0);
    CHECK(spop_error_status(SPOP_E_FRAME_TOO_BIG) == SPOP_STATUS_FRAME_TOO_BIG && spop_error_status(1) == SPOP_STATUS_UNKNOWN);
    CHECK(strcmp(spop_status_text(0), "normal") == 0 && strcmp(spop_status_text(4711), "unknown error") == 0);
    CHECK(strcmp(spop_frame_type_name(SPOP_FRAME_ACK), "ACK") == 0 && strcmp(spop_frame_type_name(300), "unknown") == 0);
    CHECK(strcmp(spop_scope_name(SPOP_SCOPE_RESPONSE), "res") == 0 && strcmp(spop_scope_name(5), "unknown") == 0);
#if UINTPTR_MAX == UINT64_MAX /* tests/abi.rs has the same numbers */
    CHECK(sizeof(spop_bytes) == 16 && sizeof(spop_value) == 24 && sizeof(spop_kv) == 40 && sizeof(spop_cursor) == 32);
    CHECK(sizeof(spop_message) == 48 && sizeof(spop_action) == 48 && sizeof(spop_frame) == 40 && sizeof(spop_hello) == 48);
    CHECK(sizeof(spop_disconnect) == 24 && sizeof(spop_writer) == 40 && sizeof(spop_event) == 88);
    CHECK(sizeof(spop_agent_config) == 64 && sizeof(spop_client_config) == 48);
    CHECK(sizeof(spop_agent_stats) == 80 && sizeof(spop_client_stats) == 40);
    CHECK(offsetof(spop_event, as) == 8 && offsetof(spop_frame, payload) == 24 && offsetof(spop_action, value) == 24);
#endif
}

static void codec(void)
{
    uint64_t number;
    uint32_t major, minor, caps;
    spop_frame frame, wrong;
    spop_hello hello;
    spop_disconnect disconnect;

    current = "codec";
    NUL(spop_varint_decode(NULL, 1, &number, &len));
    NUL(spop_varint_decode(buf, 1, NULL, &len));
    NUL(spop_varint_decode(buf, 1, &number, NULL));
    BAD(spop_varint_decode(buf, HUGE_LEN, &number, &len));
    CHECK_ERROR(SPOP_E_TRUNCATED, spop_varint_decode(NULL, 0, &number, &len));
    NUL(spop_varint_encode(1, NULL, 1, &len));
    NUL(spop_varint_encode(1, buf, 1, NULL));
    BAD(spop_varint_encode(1, buf, HUGE_LEN, &len));
    CHECK_ERROR(SPOP_E_NO_SPACE, spop_varint_encode(1, NULL, 0, &len));
    CHECK(spop_varint_len(UINT64_MAX) == SPOP_VARINT_MAX_LEN);

    NUL(spop_value_decode(NULL, 1, &value, &len));
    NUL(spop_value_decode(buf, 1, NULL, &len));
    NUL(spop_value_decode(buf, 1, &value, NULL));
    BAD(spop_value_decode(buf, HUGE_LEN, &value, &len));
    value = spop_null();
    NUL(spop_value_encode(NULL, buf, 9, &len));
    NUL(spop_value_encode(&value, NULL, 9, &len));
    NUL(spop_value_encode(&value, buf, 9, NULL));
    BAD(spop_value_encode(&value, buf, HUGE_LEN, &len));
    CHECK(spop_value_len(NULL) == 0 && spop_value_len(&value) == 1);
    value = spop_string(NULL, 3);
    NUL(spop_value_encode(&value, buf, 9, &len));
    value = spop_binary(buf, HUGE_LEN);
    BAD(spop_value_encode(&value, buf, 9, &len));
    value = spop_ipv4(NULL);
    CHECK(value.type == SPOP_TYPE_INVALID);
    BAD(spop_value_encode(&value, buf, 9, &len));
    value = spop_ipv6(NULL);
    CHECK(value.type == SPOP_TYPE_INVALID && spop_value_len(&value) == 0);
    value = spop_int32(-1);
    value.as.int64 = INT64_C(0x100000000);
    BAD(spop_value_encode(&value, buf, 19, &len));
    value = spop_uint32(1);
    value.as.uint64 = UINT64_C(0x100000000);
    BAD(spop_value_encode(&value, buf, 19, &len));
    value = spop_bool(7);
    CHECK(value.as.boolean == 1);
    value = spop_uint64(7);
    CHECK(value.as.uint64 == 7);
    value = spop_int64(-7);

    NUL(spop_peek_len(NULL, 4, 16380, &len));
    NUL(spop_peek_len(buf, 4, 16380, NULL));
    BAD(spop_peek_len(buf, HUGE_LEN, 16380, &len));
    CHECK_ERROR(SPOP_AGAIN, spop_peek_len(NULL, 0, 16380, &len));
    CHECK_ERROR(SPOP_E_FRAME_TOO_SHORT, spop_peek_len("\0\0\0\6", 4, 16380, &len));
    CHECK_ERROR(SPOP_E_FRAME_TOO_BIG, spop_peek_len("\0\0\1\1", 4, 256, &len));
    NUL(spop_frame_decode(NULL, 7, &frame));
    NUL(spop_frame_decode(buf, 7, NULL));
    BAD(spop_frame_decode(buf, HUGE_LEN, &frame));
    CHECK_ERROR(SPOP_E_FRAME_TOO_SHORT, spop_frame_decode(buf, 6, &frame));
    CHECK_ERROR(SPOP_OK, spop_frame_decode("\1\0\0\0\1\0\0", 7, &frame));
    wrong = frame;
    wrong.payload.ptr = NULL, wrong.payload.len = 3;
    NUL(spop_haproxy_hello_parse(NULL, &hello));
    NUL(spop_haproxy_hello_parse(&frame, NULL));
    NUL(spop_haproxy_hello_parse(&wrong, &hello));
    CHECK_ERROR(SPOP_E_NO_VERSION, spop_haproxy_hello_parse(&frame, &hello));
    NUL(spop_agent_hello_parse(NULL, &hello));
    NUL(spop_agent_hello_parse(&frame, NULL));
    NUL(spop_disconnect_parse(NULL, &disconnect));
    NUL(spop_disconnect_parse(&frame, NULL));
    NUL(spop_capabilities_parse(NULL, 1, &caps));
    NUL(spop_capabilities_parse(buf, 1, NULL));
    NUL(spop_version_parse(NULL, 1, &major, &minor));
    NUL(spop_version_parse(buf, 1, NULL, &minor));
    NUL(spop_version_parse(buf, 1, &major, NULL));
    CHECK_ERROR(SPOP_E_VERSION, spop_version_parse("x", 1, &major, &minor));
    NUL(spop_versions_check(NULL, 1));
    BAD(spop_versions_check(buf, HUGE_LEN));
    CHECK(spop_frame_len(0, 0, HUGE_LEN) == HUGE_LEN && spop_string_len(HUGE_LEN) == HUGE_LEN);
}

static void lists(void)
{
    spop_frame frame;
    spop_cursor cursor, other;
    spop_message message;
    spop_kv kv;
    spop_action action;
    spop_bytes bytes;

    current = "lists";
    CHECK_ERROR(SPOP_OK, spop_frame_decode("\3\0\0\0\1\1\1\1m\2\1a\4\7", 14, &frame));
    NUL(spop_cursor_init(NULL, SPOP_LIST_KV, buf, 1));
    NUL(spop_cursor_init(&cursor, SPOP_LIST_KV, NULL, 1));
    BAD(spop_cursor_init(&cursor, SPOP_LIST_KV, buf, HUGE_LEN));
    BAD(spop_cursor_init(&cursor, SPOP_LIST_ARGS, buf, 1));
    BAD(spop_cursor_init(&cursor, 0, buf, 1));
    NUL(spop_frame_cursor(NULL, SPOP_LIST_KV, &cursor));
    NUL(spop_frame_cursor(&frame, SPOP_LIST_KV, NULL));
    BAD(spop_frame_cursor(&frame, SPOP_LIST_ARGS, &cursor));
    CHECK_ERROR(SPOP_OK, spop_frame_cursor(&frame, SPOP_LIST_MESSAGES, &cursor));
    CHECK(cursor.offset == 7);
    other = cursor;
    NUL(spop_message_next(NULL, &message));
    NUL(spop_message_next(&cursor, NULL));
    BAD(spop_kv_next(&cursor, &kv));
    BAD(spop_action_next(&cursor, &action));
    BAD(spop_arg_next(&cursor, &kv));
    CHECK_ERROR(SPOP_OK, spop_message_next(&cursor, &message));
    NUL(spop_arg_next(NULL, &kv));
    NUL(spop_arg_next(&message.args, NULL));
    NUL(spop_arg_find(NULL, "a", 1, &value));
    NUL(spop_arg_find(&message, NULL, 1, &value));
    NUL(spop_arg_find(&message, "a", 1, NULL));
    BAD(spop_arg_find(&message, "a", HUGE_LEN, &value));
    CHECK_ERROR(SPOP_OK, spop_arg_find(&message, "a", 1, &value));
    CHECK_ERROR(SPOP_E_TRUNCATED, spop_arg_find(&message, "b", 1, &value));
    /* The second argument is missing: found in both walks, at the same place; then they are at their end. */
    CHECK_ERROR(SPOP_OK, spop_arg_next(&message.args, &kv));
    CHECK_ERROR(SPOP_E_TRUNCATED, spop_arg_next(&message.args, &kv));
    CHECK_ERROR(SPOP_END, spop_arg_next(&message.args, &kv));
    CHECK_ERROR(SPOP_E_TRUNCATED, spop_message_next(&cursor, &message));
    CHECK(cursor.offset == 14 && message.args.offset == 14);
    CHECK_ERROR(SPOP_END, spop_message_next(&cursor, &message));
    other.rest.ptr = NULL;
    NUL(spop_message_next(&other, &message));
    CHECK_ERROR(SPOP_OK, spop_cursor_init(&cursor, SPOP_LIST_KV, NULL, 0));
    NUL(spop_kv_next(NULL, &kv));
    NUL(spop_kv_next(&cursor, NULL));
    CHECK_ERROR(SPOP_END, spop_kv_next(&cursor, &kv));
    CHECK_ERROR(SPOP_OK, spop_cursor_init(&cursor, SPOP_LIST_ACTIONS, "\x09", 1));
    NUL(spop_action_next(NULL, &action));
    NUL(spop_action_next(&cursor, NULL));
    CHECK_ERROR(SPOP_E_UNKNOWN_ACTION, spop_action_next(&cursor, &action));
    bytes.ptr = NULL, bytes.len = 2;
    CHECK(!spop_bytes_eq(bytes, "ab", 2));
    bytes.ptr = "ab";
    CHECK(!spop_bytes_eq(bytes, NULL, 2) && !spop_bytes_eq(bytes, NULL, 0) && spop_bytes_eq(bytes, "ab", 2));
}

/* The members that all writers share: `begin` with a capacity, until it fits; `finish`. */
#define SHORT_BUFFERS(begin, finish)                                                                                   \
    do {                                                                                                               \
        size_t cap;                                                                                                    \
        for (cap = 0; cap <= 11; cap++) {                                                                              \
            unsigned char *exact = copy_of(buf, cap);                                                                  \
            CHECK_ERROR(cap < 11 ? SPOP_E_NO_SPACE : SPOP_OK, begin(exact, cap, &w));                                  \
            if (cap == 11) {                                                                                           \
                NUL(finish(NULL, &len));                                                                               \
                NUL(finish(&w, NULL));                                                                                 \
                CHECK_ERROR(SPOP_OK, finish(&w, &len));                                                                \
                CHECK(len == 11);                                                                                      \
                CHECK_ERROR(SPOP_E_WRITER, finish(&w, &len));                                                          \
            }                                                                                                          \
            free(exact);                                                                                               \
        }                                                                                                              \
        NUL(begin(NULL, 11, &w));                                                                                      \
        NUL(begin(buf, 11, NULL));                                                                                     \
        BAD(begin(buf, HUGE_LEN, &w));                                                                                 \
    } while (0)

static spop_frame any_header;
#define BEGIN_ACK(out, cap, w) spop_ack_begin_ids(1, 1, 16380, out, cap, w)
#define BEGIN_NOTIFY(out, cap, w) spop_notify_begin_ids(1, 1, 16380, out, cap, w)
#define BEGIN_HELLO(out, cap, w) spop_hello_begin(SPOP_FRAME_AGENT_HELLO, 16380, out, cap, w)
#define BEGIN_FRAME(out, cap, w) spop_frame_begin(&any_header, 16380, out, cap, w)

static void writers(void)
{
    spop_writer w, none;
    unsigned i;

    current = "writers";
    memset(&none, 0, sizeof none);
    memset(&any_header, 0, sizeof any_header);
    value = spop_int64(1);
    SHORT_BUFFERS(BEGIN_ACK, spop_ack_finish);
    SHORT_BUFFERS(BEGIN_NOTIFY, spop_notify_finish);
    SHORT_BUFFERS(BEGIN_HELLO, spop_hello_finish);
    SHORT_BUFFERS(BEGIN_FRAME, spop_frame_finish);
    CHECK(spop_writer_room(NULL) == 0 && spop_writer_room(&none) == 0);

    CHECK_ERROR(SPOP_E_NO_SPACE, spop_ack_begin_ids(1, 1, 6, buf, sizeof buf, &w)); /* max-frame-size below a header */
    CHECK_ERROR(SPOP_OK, spop_ack_begin_ids(1, 1, 10, buf, sizeof buf, &w));
    CHECK(spop_writer_room(&w) == 3);
    CHECK_ERROR(SPOP_OK, BEGIN_ACK(buf, sizeof buf, &w));
    NUL(spop_ack_set_var(NULL, 0, "a", 1, &value));
    NUL(spop_ack_set_var(&w, 0, NULL, 1, &value));
    NUL(spop_ack_set_var(&w, 0, "a", 1, NULL));
    BAD(spop_ack_set_var(&w, 5, "a", 1, &value));
    BAD(spop_ack_set_var(&w, 256, "a", 1, &value));
    BAD(spop_ack_set_var(&w, 0, "a", HUGE_LEN, &value));
    NUL(spop_ack_unset_var(NULL, 0, "a", 1));
    NUL(spop_ack_unset_var(&w, 0, NULL, 1));
    BAD(spop_ack_unset_var(&w, 5, "a", 1));
    NUL(spop_ack_clear(NULL));
    CHECK_ERROR(SPOP_E_WRITER, spop_ack_clear(&none));
    CHECK_ERROR(SPOP_E_WRITER, spop_notify_message(&w, "a", 1));
    CHECK_ERROR(SPOP_E_WRITER, spop_hello_version(&w, 2, 0));
    CHECK_ERROR(SPOP_E_WRITER, spop_frame_bytes(&w, "a", 1));
    CHECK_ERROR(SPOP_E_WRITER, spop_notify_finish(&w, &len));
    CHECK(spop_writer_room(&w) == sizeof buf - 11); /* all that changed nothing */

    CHECK_ERROR(SPOP_OK, BEGIN_NOTIFY(buf, sizeof buf, &w));
    CHECK_ERROR(SPOP_E_WRITER, spop_ack_set_var(&w, 0, "a", 1, &value));
    NUL(spop_notify_message(NULL, "a", 1));
    NUL(spop_notify_message(&w, NULL, 1));
    CHECK_ERROR(SPOP_E_NO_MESSAGE, spop_notify_arg(&w, "a", 1, &value));
    CHECK_ERROR(SPOP_OK, spop_notify_message(&w, "a", 1));
    NUL(spop_notify_arg(NULL, "a", 1, &value));
    NUL(spop_notify_arg(&w, NULL, 1, &value));
    NUL(spop_notify_arg(&w, "a", 1, NULL));
    CHECK_ERROR(SPOP_E_NO_SPACE, spop_notify_arg(&w, buf, sizeof buf, &value));
    /* After a message that does not fit, an argument must not go to the one before. */
    CHECK_ERROR(SPOP_E_NO_SPACE, spop_notify_message(&w, buf, sizeof buf));
    CHECK_ERROR(SPOP_E_NO_MESSAGE, spop_notify_arg(&w, "a", 1, &value));
    {
        unsigned char *large = (unsigned char *)malloc(4096);
        NUL(spop_notify_begin_payload(NULL, 1, &w));
        NUL(spop_notify_begin_payload(large, 1, NULL));
        BAD(spop_notify_begin_payload(large, HUGE_LEN, &w));
        CHECK_ERROR(SPOP_OK, spop_notify_begin_payload(large, 4096, &w));
        CHECK_ERROR(SPOP_E_NO_MESSAGE, spop_notify_arg(&w, "a", 1, &value));
        CHECK_ERROR(SPOP_OK, spop_notify_message(&w, "a", 1));
        for (i = 0; i < 255; i++)
            CHECK_ERROR(SPOP_OK, spop_notify_arg(&w, "a", 1, &value));
        CHECK_ERROR(SPOP_E_TOO_MANY_ARGS, spop_notify_arg(&w, "a", 1, &value));
        CHECK_ERROR(SPOP_OK, spop_notify_message(&w, "b", 1));
        CHECK_ERROR(SPOP_OK, spop_notify_arg(&w, "a", 1, &value));
        CHECK_ERROR(SPOP_OK, spop_notify_finish(&w, &len));
        CHECK(len == 3 + 255 * 4 + 3 + 4 && large[2] == 255);
        free(large);
    }

    BAD(spop_hello_begin(SPOP_FRAME_ACK, 16380, buf, sizeof buf, &w));
    CHECK_ERROR(SPOP_OK, BEGIN_HELLO(buf, 12, &w));
    NUL(spop_hello_version(NULL, 2, 0));
    NUL(spop_hello_max_frame_size(NULL, 256));
    NUL(spop_hello_capabilities(NULL, 0));
    NUL(spop_hello_healthcheck(NULL, 0));
    NUL(spop_hello_engine_id(NULL, "a", 1));
    NUL(spop_hello_engine_id(&w, NULL, 1));
    NUL(spop_hello_kv(NULL, "a", 1, &value));
    NUL(spop_hello_kv(&w, NULL, 1, &value));
    NUL(spop_hello_kv(&w, "a", 1, NULL));
    BAD(spop_hello_capabilities(&w, 8));
    CHECK_ERROR(SPOP_E_NO_SPACE, spop_hello_version(&w, UINT32_MAX, UINT32_MAX));
    CHECK_ERROR(SPOP_E_NO_SPACE, spop_hello_max_frame_size(&w, 256));
    CHECK_ERROR(SPOP_E_NO_SPACE, spop_hello_capabilities(&w, 7));
    CHECK_ERROR(SPOP_E_NO_SPACE, spop_hello_healthcheck(&w, 1));
    CHECK_ERROR(SPOP_E_NO_SPACE, spop_hello_engine_id(&w, "a", 1));
    CHECK_ERROR(SPOP_E_NO_SPACE, spop_hello_kv(&w, "a", 1, &value));
    CHECK(spop_writer_room(&w) == 1);

    NUL(spop_disconnect_encode(SPOP_FRAME_AGENT_DISCONNECT, 0, NULL, 1, 16380, buf, 99, &len));
    NUL(spop_disconnect_encode(SPOP_FRAME_AGENT_DISCONNECT, 0, "a", 1, 16380, NULL, 99, &len));
    NUL(spop_disconnect_encode(SPOP_FRAME_AGENT_DISCONNECT, 0, "a", 1, 16380, buf, 99, NULL));
    BAD(spop_disconnect_encode(SPOP_FRAME_ACK, 0, "a", 1, 16380, buf, 99, &len));
    CHECK_ERROR(SPOP_OK, spop_disconnect_encode(SPOP_FRAME_HAPROXY_DISCONNECT, 0, "a", 1, 16380, buf, 99, &len));
    for (i = 0; i < len; i++) {
        unsigned char *exact = copy_of(buf, i);
        size_t unused;
        CHECK_ERROR(SPOP_E_NO_SPACE, spop_disconnect_encode(SPOP_FRAME_HAPROXY_DISCONNECT, 0, "a", 1, 16380, exact, i, &unused));
        free(exact);
    }

    NUL(spop_frame_begin(NULL, 16380, buf, sizeof buf, &w));
    any_header.type = 256;
    BAD(BEGIN_FRAME(buf, sizeof buf, &w));
    any_header.type = 255;
    CHECK_ERROR(SPOP_OK, BEGIN_FRAME(buf, 11, &w));
    NUL(spop_frame_bytes(NULL, "a", 1));
    NUL(spop_frame_bytes(&w, NULL, 1));
    NUL(spop_frame_varint(NULL, 1));
    NUL(spop_frame_string(NULL, "a", 1));
    NUL(spop_frame_string(&w, NULL, 1));
    NUL(spop_frame_value(NULL, &value));
    NUL(spop_frame_value(&w, NULL));
    CHECK_ERROR(SPOP_E_NO_SPACE, spop_frame_bytes(&w, "a", 1));
    CHECK_ERROR(SPOP_E_NO_SPACE, spop_frame_varint(&w, 1));
    CHECK_ERROR(SPOP_E_NO_SPACE, spop_frame_string(&w, "a", 1));
    CHECK_ERROR(SPOP_E_NO_SPACE, spop_frame_value(&w, &value));
}

/* A configuration of a later version: `more` bytes behind the members known here. */
static void versioned(void)
{
    union {
        spop_agent_config agent;
        spop_client_config client;
        unsigned char bytes[200];
    } c;
    void *memory = malloc(spop_agent_size() + spop_client_size());
    spop_agent *agent;
    spop_client *client;

    current = "versioned structs";
    NUL(spop_agent_config_init(NULL, sizeof c.agent));
    NUL(spop_client_config_init(NULL, sizeof c.client));
    CHECK_ERROR(SPOP_E_SIZE, spop_agent_config_init(&c.agent, sizeof c.agent - 1));
    CHECK_ERROR(SPOP_E_SIZE, spop_client_config_init(&c.client, HUGE_LEN));
    memset(&c, 0xff, sizeof c);
    CHECK_ERROR(SPOP_OK, spop_agent_config_init(&c.agent, 200));
    CHECK(c.agent.size == 200 && c.bytes[199] == 0);
    CHECK_ERROR(SPOP_OK, spop_agent_init(memory, spop_agent_size(), &c.agent, &agent));
    c.bytes[199] = 1;
    CHECK_ERROR(SPOP_E_SIZE, spop_agent_init(memory, spop_agent_size(), &c.agent, &agent));
    c.agent.size = sizeof c.agent;
    CHECK_ERROR(SPOP_OK, spop_agent_init(memory, spop_agent_size(), &c.agent, &agent));
    c.agent.size = 0;
    CHECK_ERROR(SPOP_E_SIZE, spop_agent_init(memory, spop_agent_size(), &c.agent, &agent));
    CHECK_ERROR(SPOP_OK, spop_client_config_init(&c.client, 200));
    CHECK_ERROR(SPOP_OK, spop_client_init(memory, spop_client_size(), &c.client, &client));
    c.client.reserved = 1;
    CHECK_ERROR(SPOP_E_SIZE, spop_client_init(memory, spop_client_size(), &c.client, &client));
    free(memory);
}

static void agents(void)
{
    void *memory = malloc(spop_agent_size()), *exact;
    spop_agent *a;
    spop_agent_config config;
    spop_agent_stats stats;
    spop_negotiated negotiated;
    spop_event event;
    spop_writer w;
    uint64_t n;
    uint32_t status;
    size_t used, i;

    current = "agent";
    CHECK(spop_agent_size() < 8192 && spop_agent_align() <= sizeof(void *));
    NUL(spop_agent_init(NULL, spop_agent_size(), NULL, &a));
    NUL(spop_agent_init(memory, spop_agent_size(), NULL, NULL));
    CHECK_ERROR(SPOP_E_NO_SPACE, spop_agent_init(memory, spop_agent_size() - 1, NULL, &a));
    BAD(spop_agent_init((char *)memory + 1, spop_agent_size(), NULL, &a));
    CHECK_ERROR(SPOP_OK, spop_agent_config_init(&config, sizeof config));
    config.max_frame_size = SPOP_MIN_MAX_FRAME_SIZE - 1;
    BAD(spop_agent_init(memory, spop_agent_size(), &config, &a));
    CHECK_ERROR(SPOP_OK, spop_agent_config_init(&config, sizeof config));
    config.capabilities = 8;
    BAD(spop_agent_init(memory, spop_agent_size(), &config, &a));
    CHECK_ERROR(SPOP_OK, spop_agent_config_init(&config, sizeof config));
    config.reassembly_len = 5;
    NUL(spop_agent_init(memory, spop_agent_size(), &config, &a));
    CHECK_ERROR(SPOP_OK, spop_agent_init(memory, spop_agent_size(), NULL, &a));
    CHECK((void *)a == memory);

    NUL(spop_agent_recv(NULL, buf, 1, &used, &event));
    NUL(spop_agent_recv(a, NULL, 1, &used, &event));
    NUL(spop_agent_recv(a, buf, 1, NULL, &event));
    NUL(spop_agent_recv(a, buf, 1, &used, NULL));
    BAD(spop_agent_recv(a, buf, HUGE_LEN, &used, &event));
    CHECK_ERROR(SPOP_AGAIN, spop_agent_recv(a, NULL, 0, &used, &event));
    CHECK(used == 0 && event.type == SPOP_EVENT_NONE && spop_agent_want_read(a) == SPOP_PREFIX_LEN);
    NUL(spop_agent_send(NULL, buf, sizeof buf, &len));
    NUL(spop_agent_send(a, NULL, 1, &len));
    NUL(spop_agent_send(a, buf, sizeof buf, NULL));
    CHECK(spop_agent_want_read(NULL) == 0 && spop_agent_want_close(NULL) && !spop_agent_want_close(a));
    NUL(spop_ack_begin(NULL, 0, buf, sizeof buf, &w));
    NUL(spop_ack_begin(a, 0, NULL, 1, &w));
    NUL(spop_ack_begin(a, 0, buf, sizeof buf, NULL));
    CHECK_ERROR(SPOP_E_NOT_OPEN, spop_ack_begin(a, 0, buf, sizeof buf, &w));
    NUL(spop_agent_release(NULL, 0, &n, &n));
    NUL(spop_agent_release(a, 0, NULL, &n));
    NUL(spop_agent_release(a, 0, &n, NULL));
    CHECK_ERROR(SPOP_E_NOT_OPEN, spop_agent_release(a, 0, &n, &n));
    NUL(spop_agent_negotiated(NULL, &negotiated));
    NUL(spop_agent_negotiated(a, NULL));
    CHECK(spop_agent_open(NULL) == 0 && spop_agent_open(a) == 0 && spop_agent_eof(NULL) == 0);
    NUL(spop_agent_pending_disconnect(NULL, &status));
    NUL(spop_agent_pending_disconnect(a, NULL));
    stats.size = 7;
    CHECK_ERROR(SPOP_E_SIZE, spop_agent_get_stats(a, &stats));
    NUL(spop_agent_get_stats(NULL, &stats));
    NUL(spop_agent_get_stats(a, NULL));
    NUL(spop_agent_poll_timeout(NULL, &n));
    NUL(spop_agent_poll_timeout(a, NULL));
    NUL(spop_agent_handle_timeout(NULL, 1));
    NUL(spop_agent_close(NULL, 0));

    /* A short output buffer: the frame stays ready. */
    CHECK_ERROR(SPOP_OK, spop_agent_close(a, 4711));
    for (i = 0; spop_agent_send(a, exact = malloc(i + 1), i, &len) == SPOP_E_NO_SPACE; i++)
        free(exact);
    free(exact);
    CHECK(len == i && i > 20 && i <= SPOP_MAX_TRANSMIT_LEN);
    CHECK_ERROR(SPOP_END, spop_agent_recv(a, buf, sizeof buf, &used, &event));
    CHECK(used == sizeof buf);
    free(memory);
}

static void clients(void)
{
    void *memory = malloc(spop_client_size()), *exact;
    spop_client *c;
    spop_client_config config;
    spop_client_stats stats;
    spop_negotiated negotiated;
    spop_event event;
    spop_writer w;
    uint64_t n;
    size_t used, i;

    current = "client";
    CHECK(spop_client_size() < 8192 && spop_client_align() <= sizeof(void *));
    NUL(spop_client_init(NULL, spop_client_size(), NULL, &c));
    NUL(spop_client_init(memory, spop_client_size(), NULL, NULL));
    CHECK_ERROR(SPOP_E_NO_SPACE, spop_client_init(memory, spop_client_size() - 1, NULL, &c));
    BAD(spop_client_init((char *)memory + 1, spop_client_size(), NULL, &c));
    CHECK_ERROR(SPOP_OK, spop_client_config_init(&config, sizeof config));
    config.engine_id.ptr = buf;
    config.engine_id.len = 65;
    BAD(spop_client_init(memory, spop_client_size(), &config, &c));
    config.engine_id.ptr = NULL;
    NUL(spop_client_init(memory, spop_client_size(), &config, &c));
    CHECK_ERROR(SPOP_OK, spop_client_init(memory, spop_client_size(), NULL, &c));

    NUL(spop_client_recv(NULL, buf, 1, &used, &event));
    NUL(spop_client_recv(c, NULL, 1, &used, &event));
    NUL(spop_client_recv(c, buf, 1, NULL, &event));
    NUL(spop_client_recv(c, buf, 1, &used, NULL));
    BAD(spop_client_recv(c, buf, HUGE_LEN, &used, &event));
    NUL(spop_client_send(NULL, buf, sizeof buf, &len));
    NUL(spop_client_send(c, NULL, 1, &len));
    NUL(spop_client_send(c, buf, sizeof buf, NULL));
    for (i = 0; spop_client_send(c, exact = malloc(i + 1), i, &len) == SPOP_E_NO_SPACE; i++)
        free(exact);
    free(exact);
    CHECK(len == i && i > 20 && i <= SPOP_MAX_TRANSMIT_LEN);
    CHECK(spop_client_want_read(NULL) == 0 && spop_client_want_read(c) == SPOP_PREFIX_LEN);
    CHECK(spop_client_want_close(NULL) && !spop_client_want_close(c));
    NUL(spop_notify_begin(NULL, 1, 1, buf, sizeof buf, &w));
    NUL(spop_notify_begin(c, 1, 1, NULL, 1, &w));
    NUL(spop_notify_begin(c, 1, 1, buf, sizeof buf, NULL));
    CHECK_ERROR(SPOP_E_NOT_RUNNING, spop_notify_begin(c, 1, 1, buf, sizeof buf, &w));
    NUL(spop_client_start_fragmented(NULL, 1, 1));
    CHECK_ERROR(SPOP_E_NOT_RUNNING, spop_client_start_fragmented(c, 1, 1));
    NUL(spop_client_send_fragment(NULL, buf, 1, 1, buf, sizeof buf, &len));
    NUL(spop_client_send_fragment(c, NULL, 1, 1, buf, sizeof buf, &len));
    NUL(spop_client_send_fragment(c, buf, 1, 1, NULL, 1, &len));
    NUL(spop_client_send_fragment(c, buf, 1, 1, buf + 1, 1, NULL));
    CHECK_ERROR(SPOP_END, spop_client_send_fragment(c, buf, 1, 0, buf + 1, 1, &len));
    NUL(spop_client_abort_fragmented(NULL, buf, sizeof buf, &len));
    NUL(spop_client_abort_fragmented(c, NULL, 1, &len));
    NUL(spop_client_abort_fragmented(c, buf, sizeof buf, NULL));
    NUL(spop_client_forget(NULL, 1, 1));
    NUL(spop_client_negotiated(NULL, &negotiated));
    NUL(spop_client_negotiated(c, NULL));
    CHECK(spop_client_in_flight(NULL) == 0 && spop_client_in_flight(c) == 0 && spop_client_eof(NULL) == 0);
    stats.size = HUGE_LEN;
    CHECK_ERROR(SPOP_E_SIZE, spop_client_get_stats(c, &stats));
    NUL(spop_client_get_stats(NULL, &stats));
    NUL(spop_client_get_stats(c, NULL));
    NUL(spop_client_poll_timeout(NULL, &n));
    NUL(spop_client_poll_timeout(c, NULL));
    NUL(spop_client_handle_timeout(NULL, 1));
    NUL(spop_client_close(NULL, 0));
    free(memory);
}

int main(void)
{
    header();
    codec();
    lists();
    writers();
    versioned();
    agents();
    clients();
    printf("bounds: NULL, short buffers, absurd lengths, sizes and values\n");
    return 0;
}
