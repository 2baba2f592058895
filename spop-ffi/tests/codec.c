/* The golden vectors of the codec through the C interface: decoding, walking, and encoding to the same bytes. */
#include "vector_types.h"

static unsigned char out[32 * 1024];

/* The body of a whole frame. */
static spop_frame decoded(const unsigned char *data, size_t len, uint32_t max_frame_size)
{
    spop_frame frame;
    size_t total;
    CHECK_ERROR(SPOP_OK, spop_peek_len(data, len, max_frame_size, &total));
    CHECK(total == len);
    CHECK_ERROR(SPOP_OK, spop_frame_decode(data + SPOP_PREFIX_LEN, len - SPOP_PREFIX_LEN, &frame));
    return frame;
}

static void varints(void)
{
    uint64_t value;
    size_t i, used, len;

    for (i = 0; i < COUNT(varint_valid); i++) {
        const struct varint *v = &varint_valid[i];
        unsigned char *data = copy_of(v->hex.data, v->hex.len);
        current = v->id;
        CHECK_ERROR(SPOP_OK, spop_varint_decode(data, v->hex.len, &value, &used));
        CHECK(value == v->value && used == v->hex.len);
        CHECK(spop_varint_len(v->value) == v->hex.len);
        CHECK_ERROR(SPOP_OK, spop_varint_encode(v->value, out, v->hex.len, &len));
        CHECK(len == v->hex.len && memcmp(out, data, len) == 0);
        CHECK_ERROR(SPOP_E_NO_SPACE, spop_varint_encode(v->value, out, v->hex.len - 1, &len));
        CHECK_ERROR(SPOP_E_TRUNCATED, spop_varint_decode(data, v->hex.len - 1, &value, &used));
        free(data);
    }
    for (i = 0; i < COUNT(varint_invalid); i++) {
        const struct invalid *v = &varint_invalid[i];
        unsigned char *data = copy_of(v->hex.data, v->hex.len);
        spop_error err = spop_varint_decode(data, v->hex.len, &value, &used);
        current = v->id;
        CHECK(v->incomplete ? err == SPOP_E_TRUNCATED : err == SPOP_E_VARINT_LENGTH || err == SPOP_E_VARINT_RANGE);
        free(data);
    }
}

static void values(void)
{
    spop_value value;
    size_t i, used, len;

    for (i = 0; i < COUNT(typed_valid) + COUNT(typed_lenient); i++) {
        int lenient = i >= COUNT(typed_valid);
        const struct value_vector *v = lenient ? &typed_lenient[i - COUNT(typed_valid)] : &typed_valid[i];
        unsigned char *data = copy_of(v->hex.data, v->hex.len);
        current = v->id;
        CHECK_ERROR(SPOP_OK, spop_value_decode(data, v->hex.len, &value, &used));
        CHECK(used == v->hex.len);
        check_value(&value, &v->value);
        CHECK(spop_value_len(&value) == v->hex.len);
        value = value_of(&v->value);
        CHECK_ERROR(SPOP_OK, spop_value_encode(&value, out, v->hex.len, &len));
        CHECK(len == v->hex.len && (lenient || memcmp(out, data, len) == 0));
        for (used = 0; used < len && used < 300; used++)
            CHECK_ERROR(SPOP_E_NO_SPACE, spop_value_encode(&value, out, used, &len));
        free(data);
    }
    for (i = 0; i < COUNT(typed_invalid); i++) {
        const struct invalid *v = &typed_invalid[i];
        unsigned char *data = copy_of(v->hex.data, v->hex.len);
        spop_error err = spop_value_decode(data, v->hex.len, &value, &used);
        current = v->id;
        CHECK(v->incomplete ? err == SPOP_E_TRUNCATED : err <= SPOP_E_VARINT_LENGTH && err > SPOP_E_MALFORMED);
        CHECK(spop_error_status(err) == SPOP_STATUS_INVALID_FRAME);
        free(data);
    }
}

static void check_messages(spop_cursor cursor, const struct item *item)
{
    spop_message message;
    spop_kv arg;
    spop_value found;

    while (item->what == 'm') {
        uint32_t left = item->number;
        CHECK_ERROR(SPOP_OK, spop_message_next(&cursor, &message));
        CHECK(same(message.name, item->name) && message.args.args == left);
        CHECK_ERROR(SPOP_NOT_FOUND, spop_arg_find(&message, SPOP_LIT("no such argument"), &found));
        for (item++; left > 0; left--, item++) {
            CHECK(item->what == 'a');
            CHECK_ERROR(SPOP_OK, spop_arg_find(&message, item->name.data, item->name.len, &found));
            CHECK_ERROR(SPOP_OK, spop_arg_next(&message.args, &arg));
            CHECK(same(arg.key, item->name));
            check_value(&arg.value, &item->value);
            CHECK(found.type == arg.value.type);
        }
        CHECK_ERROR(SPOP_END, spop_arg_next(&message.args, &arg));
    }
    CHECK(item->what == 0);
    CHECK_ERROR(SPOP_END, spop_message_next(&cursor, &message));
    CHECK_ERROR(SPOP_END, spop_message_next(&cursor, &message));
}

static void check_kv(spop_cursor cursor, const struct item *item)
{
    spop_kv kv;
    for (; item->what == 'k'; item++) {
        CHECK_ERROR(SPOP_OK, spop_kv_next(&cursor, &kv));
        CHECK(same(kv.key, item->name));
        check_value(&kv.value, &item->value);
    }
    CHECK_ERROR(SPOP_END, spop_kv_next(&cursor, &kv));
}

static void check_actions(spop_cursor cursor, const struct item *item)
{
    spop_action action;
    for (; item->what != 0; item++) {
        CHECK_ERROR(SPOP_OK, spop_action_next(&cursor, &action));
        CHECK(action.type == (item->what == 's' ? SPOP_ACTION_SET_VAR : SPOP_ACTION_UNSET_VAR));
        CHECK(action.scope == item->number && same(action.name, item->name));
        if (item->what == 's')
            check_value(&action.value, &item->value);
    }
    CHECK_ERROR(SPOP_END, spop_action_next(&cursor, &action));
}

/* Writes the payload again by the writer of its frame; the length. `cap` bytes may be used. */
static spop_error rewrite(const struct frame *v, size_t cap, size_t *len)
{
    const struct item *item = v->items;
    spop_writer writer;
    spop_error err;
    spop_value value;
    spop_frame header;

    header.type = v->type, header.flags = v->flags, header.stream_id = v->stream_id, header.frame_id = v->frame_id;
    if (v->kind == 'm' && v->flags == SPOP_FLAG_FIN) {
        err = spop_notify_begin_ids(v->stream_id, v->frame_id, 16380, out, cap, &writer);
        for (; err == SPOP_OK && item->what != 0; item++) {
            value = value_of(&item->value);
            err = item->what == 'm' ? spop_notify_message(&writer, item->name.data, item->name.len)
                                    : spop_notify_arg(&writer, item->name.data, item->name.len, &value);
        }
        return err == SPOP_OK ? spop_notify_finish(&writer, len) : err;
    }
    if (v->kind == 'a' && v->flags == SPOP_FLAG_FIN) {
        err = spop_ack_begin_ids(v->stream_id, v->frame_id, 16380, out, cap, &writer);
        for (; err == SPOP_OK && item->what != 0; item++) {
            value = value_of(&item->value);
            err = item->what == 's' ? spop_ack_set_var(&writer, item->number, item->name.data, item->name.len, &value)
                                    : spop_ack_unset_var(&writer, item->number, item->name.data, item->name.len);
        }
        return err == SPOP_OK ? spop_ack_finish(&writer, len) : err;
    }
    if (v->type == SPOP_FRAME_AGENT_HELLO || v->type == SPOP_FRAME_HAPROXY_HELLO) {
        err = spop_hello_begin(v->type, 16380, out, cap, &writer);
        for (; err == SPOP_OK && item->what != 0; item++) {
            value = value_of(&item->value);
            err = spop_hello_kv(&writer, item->name.data, item->name.len, &value);
        }
        return err == SPOP_OK ? spop_hello_finish(&writer, len) : err;
    }
    err = spop_frame_begin(&header, 16380, out, cap, &writer);
    if (err == SPOP_OK && v->kind != 'k')
        err = spop_frame_bytes(&writer, v->fragment.data, v->fragment.len);
    for (; err == SPOP_OK && item->what != 0; item++) {
        value = value_of(&item->value);
        if (v->kind == 'm') {
            unsigned char count = (unsigned char)item->number;
            CHECK(item->what == 'm' && count == 0);
            err = spop_frame_string(&writer, item->name.data, item->name.len);
            err = err == SPOP_OK ? spop_frame_bytes(&writer, &count, 1) : err;
            continue;
        }
        err = spop_frame_varint(&writer, item->name.len);
        err = err == SPOP_OK ? spop_frame_bytes(&writer, item->name.data, item->name.len) : err;
        err = err == SPOP_OK ? spop_frame_value(&writer, &value) : err;
    }
    return err == SPOP_OK ? spop_frame_finish(&writer, len) : err;
}

static void frames(void)
{
    size_t i, len, cap;

    for (i = 0; i < COUNT(frames_valid); i++) {
        const struct frame *v = &frames_valid[i];
        unsigned char *data = copy_of(v->hex.data, v->hex.len);
        spop_frame frame = decoded(data, v->hex.len, 16380);
        spop_cursor cursor;
        current = v->id;
        CHECK(frame.type == v->type && frame.flags == v->flags);
        CHECK(frame.stream_id == v->stream_id && frame.frame_id == v->frame_id);
        CHECK(spop_frame_len(v->stream_id, v->frame_id, frame.payload.len) == v->hex.len);
        switch (v->kind) {
        case 'm':
            CHECK_ERROR(SPOP_OK, spop_frame_cursor(&frame, SPOP_LIST_MESSAGES, &cursor));
            check_messages(cursor, v->items);
            break;
        case 'k':
            CHECK_ERROR(SPOP_OK, spop_frame_cursor(&frame, SPOP_LIST_KV, &cursor));
            check_kv(cursor, v->items);
            break;
        case 'a':
            CHECK_ERROR(SPOP_OK, spop_frame_cursor(&frame, SPOP_LIST_ACTIONS, &cursor));
            check_actions(cursor, v->items);
            break;
        default: CHECK(same(frame.payload, v->fragment));
        }
        for (cap = 0; cap < v->hex.len; cap++)
            CHECK_ERROR(SPOP_E_NO_SPACE, rewrite(v, cap, &len));
        CHECK_ERROR(SPOP_OK, rewrite(v, v->hex.len, &len));
        CHECK(len == v->hex.len && memcmp(out, data, len) == 0);
        free(data);
    }
}

/* What real HAProxys sent: every list is whole, every HELLO and DISCONNECT can be read. */
static void from_haproxy(void)
{
    size_t i, messages = 0;

    for (i = 0; i < COUNT(captured); i++) {
        const struct captured *v = &captured[i];
        unsigned char *data = copy_of(v->hex.data, v->hex.len);
        spop_frame frame = decoded(data, v->hex.len, 16380);
        spop_hello hello;
        spop_disconnect disconnect;
        spop_cursor cursor;
        spop_message message;
        spop_error err;
        current = v->id;
        switch (frame.type) {
        case SPOP_FRAME_HAPROXY_HELLO:
            CHECK_ERROR(SPOP_OK, spop_haproxy_hello_parse(&frame, &hello));
            CHECK(hello.max_frame_size == 16380);
            CHECK(hello.healthcheck == (strcmp(v->kind, "haproxy-hello-healthcheck") == 0));
            CHECK((hello.engine_id.ptr != NULL) == !hello.healthcheck);
            CHECK(((hello.capabilities & SPOP_CAP_PIPELINING) != 0) == !hello.healthcheck);
            CHECK_ERROR(SPOP_OK, spop_versions_check(hello.versions.ptr, hello.versions.len));
            break;
        case SPOP_FRAME_HAPROXY_DISCONNECT:
            CHECK_ERROR(SPOP_OK, spop_disconnect_parse(&frame, &disconnect));
            CHECK(disconnect.has_status && disconnect.status == (uint32_t)atoi(strrchr(v->kind, '-') + 1));
            CHECK(spop_bytes_eq(disconnect.message, spop_status_text(disconnect.status),
                                strlen(spop_status_text(disconnect.status))));
            break;
        default:
            CHECK(frame.type == SPOP_FRAME_NOTIFY);
            CHECK_ERROR(SPOP_OK, spop_frame_cursor(&frame, SPOP_LIST_MESSAGES, &cursor));
            while ((err = spop_message_next(&cursor, &message)) == SPOP_OK)
                messages++;
            CHECK_ERROR(SPOP_END, err);
        }
        free(data);
    }
    CHECK(messages > 0);
}

static void grammars(void)
{
    size_t i;
    uint32_t set, major, minor;

    for (i = 0; i < COUNT(supported_versions); i++) {
        const struct text_vector *v = &supported_versions[i];
        current = v->text;
        CHECK_ERROR(v->expected ? SPOP_OK : SPOP_E_VERSION, spop_versions_check(v->text, strlen(v->text)));
    }
    for (i = 0; i < COUNT(agent_version); i++) {
        const struct text_vector *v = &agent_version[i];
        current = v->text;
        set = spop_version_parse(v->text, strlen(v->text), &major, &minor) == SPOP_OK && major == 2 && minor == 0;
        CHECK(set == v->expected);
    }
    for (i = 0; i < COUNT(capabilities); i++) {
        const struct text_vector *v = &capabilities[i];
        current = v->text;
        CHECK_ERROR(SPOP_OK, spop_capabilities_parse(v->text, strlen(v->text), &set));
        CHECK(set == v->expected);
    }
}

static void references(void)
{
    size_t i, len;

    for (i = 0; i < COUNT(reference); i++) {
        const struct reference *v = &reference[i];
        spop_frame frame = decoded(v->hex.data, v->hex.len, 16380);
        spop_cursor cursor;
        spop_writer ack;
        spop_value value = value_of(&v->value);
        current = v->id;
        CHECK_ERROR(SPOP_OK, spop_cursor_init(&cursor, SPOP_LIST_MESSAGES, frame.payload.ptr, frame.payload.len));
        check_messages(cursor, v->items);
        CHECK_ERROR(SPOP_OK, spop_ack_begin_ids(v->stream_id, v->frame_id, 16380, out, sizeof out, &ack));
        CHECK_ERROR(SPOP_OK, spop_ack_unset_var(&ack, SPOP_SCOPE_PROCESS, SPOP_LIT("taken back")));
        CHECK_ERROR(SPOP_OK, spop_ack_clear(&ack));
        CHECK_ERROR(SPOP_OK, spop_ack_set_var(&ack, v->scope, v->name.data, v->name.len, &value));
        CHECK_ERROR(SPOP_OK, spop_ack_finish(&ack, &len));
        CHECK(len == v->ack.len && memcmp(out, v->ack.data, len) == 0);
        CHECK(len == spop_frame_len(v->stream_id, v->frame_id, 3 + spop_string_len(v->name.len) + spop_value_len(&value)));
    }
}

/* The HELLO keys that have a function of their own give the bytes of the vectors. */
static void hellos(void)
{
    size_t i, len;

    for (i = 0; i < COUNT(frames_valid); i++) {
        const struct frame *v = &frames_valid[i];
        int agent = strcmp(v->id, "agent-hello") == 0, check = strcmp(v->id, "haproxy-hello-healthcheck") == 0;
        int haproxy = strcmp(v->id, "haproxy-hello-3.2") == 0;
        spop_writer hello;
        spop_frame frame = decoded(v->hex.data, v->hex.len, 16380);
        spop_hello parsed;
        current = v->id;
        if (!agent && !check && !haproxy)
            continue;
        CHECK_ERROR(SPOP_OK, spop_hello_begin(v->type, 16380, out, sizeof out, &hello));
        CHECK_ERROR(SPOP_OK, spop_hello_version(&hello, 2, 0));
        CHECK_ERROR(SPOP_OK, spop_hello_max_frame_size(&hello, 16380));
        CHECK_ERROR(SPOP_OK, spop_hello_capabilities(&hello, check ? 0 : SPOP_CAP_PIPELINING));
        if (check)
            CHECK_ERROR(SPOP_OK, spop_hello_healthcheck(&hello, 1));
        if (haproxy)
            CHECK_ERROR(SPOP_OK, spop_hello_engine_id(&hello, SPOP_LIT("00000000-1111-4222-8333-444444444444")));
        CHECK_ERROR(SPOP_OK, spop_hello_finish(&hello, &len));
        CHECK(len == v->hex.len && memcmp(out, v->hex.data, len) == 0);
        if (agent) {
            CHECK_ERROR(SPOP_OK, spop_agent_hello_parse(&frame, &parsed));
            CHECK(spop_bytes_eq(parsed.versions, SPOP_LIT("2.0")) && parsed.capabilities == SPOP_CAP_PIPELINING);
            CHECK_ERROR(SPOP_E_NO_VERSION, spop_haproxy_hello_parse(&frame, &parsed));
        }
    }
    current = "agent-disconnect-99";
    CHECK_ERROR(SPOP_OK, spop_disconnect_encode(SPOP_FRAME_AGENT_DISCONNECT, 99, SPOP_LIT("boom"), 16380, out, sizeof out, &len));
    for (i = 0; i < COUNT(frames_valid); i++)
        if (strcmp(frames_valid[i].id, current) == 0)
            break;
    CHECK(i < COUNT(frames_valid) && len == frames_valid[i].hex.len && memcmp(out, frames_valid[i].hex.data, len) == 0);
}

int main(void)
{
    varints();
    values();
    frames();
    from_haproxy();
    grammars();
    references();
    hellos();
    printf("codec: %zu varints, %zu values, %zu frames, %zu frames of HAProxy, %zu texts\n",
           COUNT(varint_valid) + COUNT(varint_invalid),
           COUNT(typed_valid) + COUNT(typed_lenient) + COUNT(typed_invalid), COUNT(frames_valid) + COUNT(reference),
           COUNT(captured), COUNT(supported_versions) + COUNT(agent_version) + COUNT(capabilities));
    return 0;
}
