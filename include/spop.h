/*
 * libspop: SPOP 2.0, the protocol between HAProxy's SPOE filter and its agents (SPOA), for C99 and C++11.
 *
 * Made by cbindgen from spop-ffi; do not edit. Licence: MIT OR Apache-2.0.
 *
 * OVERVIEW
 *
 * The library allocates nothing, does no I/O, starts no thread, calls nothing back and has no global state: bytes go in,
 * bytes and events come out. In the order of this file:
 *
 *   the library      spop_version(), spop_abi_version(), spop_strerror(), statuses
 *   decoding         spop_peek_len(), spop_frame_decode(), cursors: spop_message_next(), spop_arg_next(), spop_kv_next(),
 *                    spop_action_next()
 *   values           spop_int64(), spop_string() ...
 *   encoding         writers: spop_ack_..., spop_notify_..., spop_hello_..., spop_frame_..., spop_disconnect_encode()
 *   an agent         spop_agent_init(), spop_agent_recv(), spop_agent_send(), spop_ack_begin() ...
 *   a client         spop_client_...: HAProxy's side, for tests, health checks and load generators
 *
 * An agent for each connection:
 *
 *   while ((err = spop_agent_recv(agent, in, in_len, &used, &event)) == SPOP_OK) {
 *       in += used, in_len -= used;
 *       if (event.type == SPOP_EVENT_NOTIFY &&
 *           spop_ack_begin(agent, event.as.notify.ticket, out, out_cap, &ack) == SPOP_OK) {
 *           while (spop_message_next(&event.as.notify.messages, &message) == SPOP_OK)
 *               if (spop_arg_find(&message, SPOP_LIT("ip"), &value) == SPOP_OK && value.type == SPOP_TYPE_IPV4)
 *                   spop_ack_set_var(&ack, SPOP_SCOPE_SESSION, SPOP_LIT("score"), &score);
 *           spop_ack_finish(&ack, &out_len);
 *           send out_len bytes of out
 *       }
 *       while (spop_agent_send(agent, out, out_cap, &out_len) == SPOP_OK)
 *           send out_len bytes of out
 *   }
 *   in += used; do the same sending once more; close the connection if spop_agent_want_close(agent)
 *
 * examples/ip_reputation.c of spop-ffi is a whole agent.
 *
 * RULES FOR CALLERS
 *
 * 1. A pointer is NULL, or points to a live object of its type; a pointer with a length, to that many bytes.
 * 2. Memory that a call writes overlaps no other memory that the same call is given: not the input, not a name. It may be
 *    uninitialised.
 * 3. What the library gives out (struct spop_bytes, cursors, events) points into the memory that was given in. It holds
 *    as long as that memory is unchanged; nothing is to be freed.
 * 4. No object is used by two threads at the same time. Different objects may be, and one may go from thread to thread.
 * 5. An object is set up by its function (spop_..._init, spop_..._begin, spop_..._decode) before others use it; its private
 *    members are left alone.
 *
 * Besides these, any argument is safe: NULL, a short buffer, an absurd length or hostile input gives an error. All
 * results are set only if the function returns SPOP_OK, unless it says otherwise. Every function that can fail may return
 * SPOP_E_NULL and SPOP_E_ARGUMENT; every writer SPOP_E_NO_SPACE and SPOP_E_WRITER.
 */

#ifndef SPOP_H
#define SPOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A string literal as the two arguments pointer and length: spop_arg_find(&message, SPOP_LIT("ip"), &value) */
#define SPOP_LIT(literal) (literal), (sizeof(literal) - 1)


/* ---- The interface, and the statuses of a DISCONNECT ------------------------------------------------------------- */

/**
 * The version of the interface that this header describes; see spop_abi_version().
 */
#define SPOP_ABI_VERSION 1

/**
 * A normal end.
 */
#define SPOP_STATUS_NORMAL 0

/**
 * The transport failed.
 */
#define SPOP_STATUS_IO_ERROR 1

/**
 * A timeout occurred.
 */
#define SPOP_STATUS_TIMEOUT 2

/**
 * A frame is longer than the max-frame-size.
 */
#define SPOP_STATUS_FRAME_TOO_BIG 3

/**
 * A frame is malformed or came out of order.
 */
#define SPOP_STATUS_INVALID_FRAME 4

/**
 * `version` or `supported-versions` is missing.
 */
#define SPOP_STATUS_NO_VERSION 5

/**
 * `max-frame-size` is missing.
 */
#define SPOP_STATUS_NO_MAX_FRAME_SIZE 6

/**
 * `capabilities` is missing.
 */
#define SPOP_STATUS_NO_CAPABILITIES 7

/**
 * No common version.
 */
#define SPOP_STATUS_UNSUPPORTED_VERSION 8

/**
 * `max-frame-size` is too big or too small.
 */
#define SPOP_STATUS_BAD_MAX_FRAME_SIZE 9

/**
 * A fragment came where fragmentation was not announced.
 */
#define SPOP_STATUS_NO_FRAGMENTATION 10

/**
 * Fragments of different NOTIFYs are mixed.
 */
#define SPOP_STATUS_INTERLACED_FRAMES 11

/**
 * An ACK names no open NOTIFY.
 */
#define SPOP_STATUS_FRAME_ID_NOT_FOUND 12

/**
 * Out of some resource.
 */
#define SPOP_STATUS_RESOURCES 13

/**
 * Any other error. Codes without a name here are free for agents; HAProxy reports them as they are.
 */
#define SPOP_STATUS_UNKNOWN 99

/* ---- Frames ------------------------------------------------------------------------------------------------------ */

/**
 * Continues a fragmented NOTIFY.
 */
#define SPOP_FRAME_UNSET 0

/**
 * HAProxy's first frame.
 */
#define SPOP_FRAME_HAPROXY_HELLO 1

/**
 * HAProxy ends the connection.
 */
#define SPOP_FRAME_HAPROXY_DISCONNECT 2

/**
 * The messages of an event.
 */
#define SPOP_FRAME_NOTIFY 3

/**
 * The agent's first frame.
 */
#define SPOP_FRAME_AGENT_HELLO 101

/**
 * The agent ends the connection.
 */
#define SPOP_FRAME_AGENT_DISCONNECT 102

/**
 * The answer to a NOTIFY.
 */
#define SPOP_FRAME_ACK 103

/**
 * Flag: the last fragment, or the only one.
 */
#define SPOP_FLAG_FIN 1

/**
 * Flag: the sender gives up the fragmented frame.
 */
#define SPOP_FLAG_ABORT 2

/**
 * The bytes of the length before a frame.
 */
#define SPOP_PREFIX_LEN 4

/**
 * The most bytes that a frame without payload takes, its length included: room for this is room for an empty ACK.
 */
#define SPOP_MAX_HEADER_LEN 29

/**
 * The smallest max-frame-size.
 */
#define SPOP_MIN_MAX_FRAME_SIZE 256

/* ---- Values ------------------------------------------------------------------------------------------------------ */

/**
 * No value: HAProxy found nothing. As the value of set-var it unsets the variable.
 */
#define SPOP_TYPE_NULL 0

/**
 * A boolean, in `as.boolean`.
 */
#define SPOP_TYPE_BOOL 1

/**
 * A signed integer of 32 bits, in `as.int64`. Prefer INT64, which every HAProxy reads the same way.
 */
#define SPOP_TYPE_INT32 2

/**
 * An unsigned integer of 32 bits, in `as.uint64`.
 */
#define SPOP_TYPE_UINT32 3

/**
 * A signed integer of 64 bits, in `as.int64`. Every integer argument from HAProxy is one.
 */
#define SPOP_TYPE_INT64 4

/**
 * An unsigned integer of 64 bits, in `as.uint64`. HAProxy takes values above INT64_MAX for negative ones.
 */
#define SPOP_TYPE_UINT64 5

/**
 * An IPv4 address in network order, in `as.ipv4`.
 */
#define SPOP_TYPE_IPV4 6

/**
 * An IPv6 address in network order, in `as.ipv6`.
 */
#define SPOP_TYPE_IPV6 7

/**
 * A string, in `as.bytes`: bytes, not necessarily UTF-8, NUL included.
 */
#define SPOP_TYPE_STRING 8

/**
 * Binary data, in `as.bytes`.
 */
#define SPOP_TYPE_BINARY 9

/**
 * No type of the protocol: what spop_ipv4() and spop_ipv6() make of NULL. Writers refuse it.
 */
#define SPOP_TYPE_INVALID 255

/* ---- Lists ------------------------------------------------------------------------------------------------------- */

/**
 * A list of messages (NOTIFY).
 */
#define SPOP_LIST_MESSAGES 1

/**
 * A list of keys with values (HELLO, DISCONNECT).
 */
#define SPOP_LIST_KV 2

/**
 * A list of actions (ACK).
 */
#define SPOP_LIST_ACTIONS 3

/**
 * The arguments of a message.
 */
#define SPOP_LIST_ARGS 4

/**
 * The action sets a variable.
 */
#define SPOP_ACTION_SET_VAR 1

/**
 * The action unsets a variable.
 */
#define SPOP_ACTION_UNSET_VAR 2

/**
 * `proc`: HAProxy's process. It sets only names that its configuration knows.
 */
#define SPOP_SCOPE_PROCESS 0

/**
 * `sess`: the client's session.
 */
#define SPOP_SCOPE_SESSION 1

/**
 * `txn`: request and response.
 */
#define SPOP_SCOPE_TRANSACTION 2

/**
 * `req`: the request.
 */
#define SPOP_SCOPE_REQUEST 3

/**
 * `res`: the response.
 */
#define SPOP_SCOPE_RESPONSE 4

/* ---- Capabilities ------------------------------------------------------------------------------------------------ */

/**
 * Capability `pipelining`: several NOTIFYs in flight on a connection, ACKs in any order.
 */
#define SPOP_CAP_PIPELINING 1

/**
 * Capability `async`: ACKs on any connection of the same engine-id. HAProxy up to 3.0.
 */
#define SPOP_CAP_ASYNC 2

/**
 * Capability `fragmentation`: a NOTIFY may come in fragments. HAProxy up to 3.0 sends such if the agent announces it.
 */
#define SPOP_CAP_FRAGMENTATION 4

/* ---- Events ------------------------------------------------------------------------------------------------------ */

/**
 * Nothing happened.
 */
#define SPOP_EVENT_NONE 0

/**
 * The peer's HELLO was accepted: `as.hello`. An agent has its own HELLO ready in spop_agent_send().
 */
#define SPOP_EVENT_HELLO 1

/**
 * To an agent: messages to answer by spop_ack_begin(): `as.notify`.
 */
#define SPOP_EVENT_NOTIFY 2

/**
 * To a client: the answer to a NOTIFY: `as.ack`.
 */
#define SPOP_EVENT_ACK 3

/**
 * To an agent: HAProxy gave up a NOTIFY that it was still sending: `as.ids`. No answer.
 */
#define SPOP_EVENT_ABORTED 4

/**
 * To an agent: a fragmented NOTIFY went beyond the bounds and was dropped: `as.ids`. Its empty ACK is ready in
 * spop_agent_send().
 */
#define SPOP_EVENT_TOO_BIG 5

/**
 * The peer ends the connection: `as.disconnect`. Open NOTIFYs are void. An agent has the answer ready in
 * spop_agent_send().
 */
#define SPOP_EVENT_DISCONNECT 6

/**
 * The call failed: `as.error`.
 */
#define SPOP_EVENT_ERROR 7

/* ---- Limits ------------------------------------------------------------------------------------------------------ */

/**
 * The most NOTIFYs that wait for their ACK; beyond it an agent reads nothing more.
 */
#define SPOP_MAX_OPEN 128

/**
 * The bytes that spop_agent_send() and spop_client_send() need at most.
 */
#define SPOP_MAX_TRANSMIT_LEN 256

/**
 * The longest varint, in bytes.
 */
#define SPOP_VARINT_MAX_LEN 10

/* ---- Types ------------------------------------------------------------------------------------------------------- */

/**
 * The agent's side of one connection: handshake, NOTIFYs in, ACKs out. It lives in the caller's memory and needs no end:
 * when the connection is over, use the memory for something else.
 */
typedef struct spop_agent spop_agent;

/**
 * HAProxy's side of one connection, for tests, health checks, load generators: handshake, NOTIFYs out, ACKs in. It lives
 * in the caller's memory and needs no end.
 */
typedef struct spop_client spop_client;

/**
 * What a function returns: SPOP_OK, a positive code that is no error, or a negative one.
 *
 * -1 to -99: the call had no effect (where a function says otherwise, it says so) and the connection goes on. -100 and
 * below: the bytes are malformed or the peer broke the protocol; a connection is over then, and spop_error_status() is
 * the status of the DISCONNECT to send, which spop_agent_send() and spop_client_send() have ready.
 */
typedef int32_t spop_error;

/**
 * Bytes that belong to somebody else, with their length; not ended by a NUL.
 *
 * What the library gives out points into the memory that the caller gave in. If `len` is 0, `ptr` may be anything, NULL
 * too. To print it: `printf("%.*s", (int)b.len, b.ptr)`.
 */
typedef struct spop_bytes {
    /**
     * The first byte.
     */
    const char *ptr;
    /**
     * The number of bytes.
     */
    size_t len;
} spop_bytes;

/**
 * A decoded frame.
 */
typedef struct spop_frame {
    /**
     * SPOP_FRAME_..., or any other number below 256: unknown types are no error.
     */
    uint32_t type;
    /**
     * SPOP_FLAG_...; reserved flags are kept.
     */
    uint32_t flags;
    /**
     * The stream-id; 0 is a legal value in NOTIFY and ACK.
     */
    uint64_t stream_id;
    /**
     * The frame-id.
     */
    uint64_t frame_id;
    /**
     * What follows the header, inside the bytes that were decoded.
     */
    struct spop_bytes payload;
} spop_frame;

/**
 * The content of a value; its type says which member.
 */
typedef union spop_value_content {
    /**
     * BOOL: 0 is false, all else true.
     */
    uint8_t boolean;
    /**
     * INT32 and INT64.
     */
    int64_t int64;
    /**
     * UINT32 and UINT64.
     */
    uint64_t uint64;
    /**
     * IPV4.
     */
    uint8_t ipv4[4];
    /**
     * IPV6.
     */
    uint8_t ipv6[16];
    /**
     * STRING and BINARY.
     */
    struct spop_bytes bytes;
} spop_value_content;

/**
 * A typed value. STRING and BINARY point to bytes that belong to somebody else.
 */
typedef struct spop_value {
    /**
     * SPOP_TYPE_NULL to SPOP_TYPE_BINARY.
     */
    uint32_t type;
    /**
     * The content.
     */
    union spop_value_content as;
} spop_value;

/**
 * A position in a list. It points into the payload; copy it to come back to that position. After an error the walk is at
 * its end. The members are private but for `offset`.
 */
typedef struct spop_cursor {
    /**
     * What is left.
     */
    struct spop_bytes rest;
    /**
     * Where that begins in the frame's body, or in the bytes given to spop_cursor_init(). After an error: where it is.
     */
    size_t offset;
    /**
     * SPOP_LIST_...
     */
    uint32_t list;
    /**
     * How many arguments are left.
     */
    uint32_t args;
} spop_cursor;

/**
 * A message of a NOTIFY.
 */
typedef struct spop_message {
    /**
     * The name, as in the `spoe-message` line of HAProxy's configuration.
     */
    struct spop_bytes name;
    /**
     * The arguments in the order of the configuration, for spop_arg_next(); keys may be empty or come twice.
     */
    struct spop_cursor args;
} spop_message;

/**
 * A key with its value: an argument of a message, or an item of a HELLO or DISCONNECT.
 */
typedef struct spop_kv {
    /**
     * The key; empty for an unnamed argument.
     */
    struct spop_bytes key;
    /**
     * The value.
     */
    struct spop_value value;
} spop_kv;

/**
 * An action of an ACK.
 */
typedef struct spop_action {
    /**
     * SPOP_ACTION_SET_VAR or SPOP_ACTION_UNSET_VAR.
     */
    uint32_t type;
    /**
     * SPOP_SCOPE_...
     */
    uint32_t scope;
    /**
     * The name of the variable. HAProxy puts the scope and the engine's prefix before it; together they may have 63
     * characters.
     */
    struct spop_bytes name;
    /**
     * The value to set; NULL unsets. Of unset-var: NULL.
     */
    struct spop_value value;
} spop_action;

/**
 * The payload of a HELLO. What the frame does not have is empty or 0.
 */
typedef struct spop_hello {
    /**
     * HAPROXY-HELLO: `supported-versions`. AGENT-HELLO: `version`. As it came.
     */
    struct spop_bytes versions;
    /**
     * HAPROXY-HELLO: `engine-id`, the same in all connections of an engine, new at every reload; `ptr` is NULL without.
     */
    struct spop_bytes engine_id;
    /**
     * `max-frame-size`.
     */
    uint32_t max_frame_size;
    /**
     * `capabilities`, the known ones: SPOP_CAP_...
     */
    uint32_t capabilities;
    /**
     * HAPROXY-HELLO: `healthcheck`: HAProxy only wants to see the AGENT-HELLO.
     */
    uint32_t healthcheck;
} spop_hello;

/**
 * The payload of a DISCONNECT.
 */
typedef struct spop_disconnect {
    /**
     * 1 if there is a `status-code`.
     */
    uint32_t has_status;
    /**
     * `status-code`.
     */
    uint32_t status;
    /**
     * `message`; empty if it is missing.
     */
    struct spop_bytes message;
} spop_disconnect;

/**
 * A frame that is being written. A call that does not fit returns SPOP_E_NO_SPACE and leaves it as it was: finish it
 * with what is in it, or try something shorter. Nothing needs to be freed. All members are private.
 *
 * The buffer belongs to the writer until it is finished.
 */
typedef struct spop_writer {
    /**
     * The buffer.
     */
    void *out;
    /**
     * How much of it may be filled.
     */
    size_t limit;
    /**
     * How much is filled.
     */
    size_t len;
    /**
     * Of an ACK: the length of its header. Of a NOTIFY: where the argument count of the last message is, 0 for none.
     */
    size_t mark;
    /**
     * Of a NOTIFY: that count.
     */
    uint32_t args;
    /**
     * What may be written.
     */
    uint32_t kind;
} spop_writer;

/**
 * What an agent offers and tolerates. Set the defaults by spop_agent_config_init(), then change what you need. Times are
 * in ticks, whose unit is yours; 0 is no timeout.
 */
typedef struct spop_agent_config {
    /**
     * sizeof(spop_agent_config), by spop_agent_config_init().
     */
    size_t size;
    /**
     * The largest frame that the agent takes, at least 256. The smaller of this and HAProxy's is negotiated. Default
     * 1 MiB, so that HAProxy's counts.
     */
    uint32_t max_frame_size;
    /**
     * The same before HELLO, when nothing is known of the peer. Default 4096.
     */
    uint32_t hello_max_frame_size;
    /**
     * What to announce: SPOP_CAP_PIPELINING and SPOP_CAP_ASYNC if HAProxy has them too, SPOP_CAP_FRAGMENTATION if there is
     * reassembly memory. Default pipelining and fragmentation. Without concurrent handling of NOTIFYs, if that can take
     * long, leave pipelining out.
     */
    uint32_t capabilities;
    /**
     * The most fragments of one NOTIFY. Default 4096.
     */
    uint32_t max_fragments;
    /**
     * How long HAProxy may take for its HELLO. Default 0.
     */
    uint64_t hello_timeout;
    /**
     * How long a frame, or a fragmented NOTIFY, may stand still half received. Default 0.
     */
    uint64_t half_frame_timeout;
    /**
     * How long a connection may be without any frame and any open NOTIFY. Default 0: HAProxy ends idle connections, and
     * an agent that does so first races with a NOTIFY.
     */
    uint64_t idle_timeout;
    /**
     * Memory for fragmented NOTIFYs, which the agent uses as long as it lives. Default NULL.
     */
    void *reassembly;
    /**
     * Its length: the most bytes of one NOTIFY. Default 0: `fragmentation` is not announced.
     */
    size_t reassembly_len;
} spop_agent_config;

/**
 * What a client offers. Set the defaults by spop_client_config_init(), then change what you need.
 */
typedef struct spop_client_config {
    /**
     * sizeof(spop_client_config), by spop_client_config_init().
     */
    size_t size;
    /**
     * The largest frame, at least 256. Default 16380, HAProxy's.
     */
    uint32_t max_frame_size;
    /**
     * What to announce: SPOP_CAP_... Default pipelining, as HAProxy since 3.1.
     */
    uint32_t capabilities;
    /**
     * Not 0: ask for a health check, which ends after the agent's HELLO. Capabilities and engine-id stay away then, as in
     * HAProxy's `option spop-check`. Default 0.
     */
    uint32_t healthcheck;
    /**
     * 0. Reserved.
     */
    uint32_t reserved;
    /**
     * How long the agent may take for its HELLO, in ticks. Default 0: no timeout.
     */
    uint64_t hello_timeout;
    /**
     * The engine-id to send, up to 64 bytes, which are copied. Default none (`ptr` is NULL).
     */
    struct spop_bytes engine_id;
} spop_client_config;

/**
 * What the two sides agreed on.
 */
typedef struct spop_negotiated {
    /**
     * The largest frame of both directions, its 4-byte prefix not counted.
     */
    uint32_t max_frame_size;
    /**
     * The capabilities in effect: SPOP_CAP_...
     */
    uint32_t capabilities;
    /**
     * 1 if HAProxy only checked the agent's health: the connection ends here.
     */
    uint32_t healthcheck;
} spop_negotiated;

/**
 * SPOP_EVENT_HELLO.
 */
typedef struct spop_hello_event {
    /**
     * What was agreed on.
     */
    struct spop_negotiated negotiated;
    /**
     * To an agent: groups the connections of one engine; `ptr` is NULL without.
     */
    struct spop_bytes engine_id;
} spop_hello_event;

/**
 * SPOP_EVENT_NOTIFY. It points into the input, or into the agent's reassembly memory if it came in fragments: it holds
 * until the input is overwritten or the next spop_agent_recv().
 */
typedef struct spop_notify_event {
    /**
     * Names it in spop_ack_begin(). Ids alone do not: HAProxy 2.6 and 3.0 use them again after a timeout.
     */
    uint64_t ticket;
    /**
     * Its stream-id.
     */
    uint64_t stream_id;
    /**
     * Its frame-id.
     */
    uint64_t frame_id;
    /**
     * The messages, for spop_message_next(). They were walked to their end already, and have no error.
     */
    struct spop_cursor messages;
    /**
     * The same as bytes, for spop_cursor_init() with SPOP_LIST_MESSAGES: to copy and answer it later.
     */
    struct spop_bytes payload;
    /**
     * 1 if it came in fragments.
     */
    uint32_t fragmented;
} spop_notify_event;

/**
 * SPOP_EVENT_ACK.
 */
typedef struct spop_ack_event {
    /**
     * The NOTIFY's stream-id.
     */
    uint64_t stream_id;
    /**
     * The NOTIFY's frame-id.
     */
    uint64_t frame_id;
    /**
     * The actions, for spop_action_next(); errors show there.
     */
    struct spop_cursor actions;
    /**
     * 1 if ABORT is set: the agent gave up a NOTIFY that was still being sent.
     */
    uint32_t aborted;
} spop_ack_event;

/**
 * SPOP_EVENT_ABORTED and SPOP_EVENT_TOO_BIG.
 */
typedef struct spop_ids {
    /**
     * The stream-id.
     */
    uint64_t stream_id;
    /**
     * The frame-id.
     */
    uint64_t frame_id;
} spop_ids;

/**
 * SPOP_EVENT_ERROR.
 */
typedef struct spop_error_event {
    /**
     * What the function returned.
     */
    spop_error error;
    /**
     * The status of the DISCONNECT that is ready.
     */
    uint32_t status;
    /**
     * Of malformed bytes (above SPOP_E_UNEXPECTED_FRAME): where, in the frame's body, or in the messages of a NOTIFY that
     * came in fragments. Else 0.
     */
    size_t offset;
} spop_error_event;

/**
 * The content of an event; its type says which member.
 */
typedef union spop_event_content {
    /**
     * SPOP_EVENT_HELLO.
     */
    struct spop_hello_event hello;
    /**
     * SPOP_EVENT_NOTIFY.
     */
    struct spop_notify_event notify;
    /**
     * SPOP_EVENT_ACK.
     */
    struct spop_ack_event ack;
    /**
     * SPOP_EVENT_ABORTED and SPOP_EVENT_TOO_BIG.
     */
    struct spop_ids ids;
    /**
     * SPOP_EVENT_DISCONNECT.
     */
    struct spop_disconnect disconnect;
    /**
     * SPOP_EVENT_ERROR.
     */
    struct spop_error_event error;
} spop_event_content;

/**
 * What happened. It points into the input, so it holds as long as the input is not overwritten.
 */
typedef struct spop_event {
    /**
     * SPOP_EVENT_...
     */
    uint32_t type;
    /**
     * The content.
     */
    union spop_event_content as;
} spop_event;

/**
 * What an agent counted. Set `size` to sizeof(spop_agent_stats) before spop_agent_get_stats().
 */
typedef struct spop_agent_stats {
    /**
     * sizeof(spop_agent_stats), set by the caller.
     */
    size_t size;
    /**
     * NOTIFYs given out as events.
     */
    uint64_t notifies;
    /**
     * ACKs begun, and NOTIFYs released.
     */
    uint64_t acks;
    /**
     * NOTIFYs that a later one with the same ids, or without pipelining any later one, made void.
     */
    uint64_t superseded;
    /**
     * NOTIFYs that came with FIN and ABORT at once: nobody waits for an answer.
     */
    uint64_t cancelled;
    /**
     * Fragmented NOTIFYs that HAProxy gave up.
     */
    uint64_t aborted;
    /**
     * Fragmented NOTIFYs beyond the bounds.
     */
    uint64_t too_big;
    /**
     * Fragments received.
     */
    uint64_t fragments;
    /**
     * Frames of unknown types, and aborts of nothing.
     */
    uint64_t ignored;
    /**
     * NOTIFYs that were open when the connection ended: nobody waits for their answer.
     */
    uint64_t voided;
} spop_agent_stats;

/**
 * What a client counted. Set `size` to sizeof(spop_client_stats) before spop_client_get_stats().
 */
typedef struct spop_client_stats {
    /**
     * sizeof(spop_client_stats), set by the caller.
     */
    size_t size;
    /**
     * NOTIFYs begun.
     */
    uint64_t notifies;
    /**
     * ACKs that answered one.
     */
    uint64_t acks;
    /**
     * ACKs that answered nothing, and frames of unknown types.
     */
    uint64_t ignored;
    /**
     * NOTIFYs that were in flight when the connection ended.
     */
    uint64_t voided;
} spop_client_stats;

/* ---- Results ----------------------------------------------------------------------------------------------------- */

/**
 * Done.
 */
#define SPOP_OK 0

/**
 * More bytes are needed first, or it is not known yet.
 */
#define SPOP_AGAIN 1

/**
 * There is no more: the end of a list, no frame to send, the end of a connection.
 */
#define SPOP_END 2

/**
 * No argument has this name.
 */
#define SPOP_NOT_FOUND 3

/**
 * A pointer is NULL that must not be.
 */
#define SPOP_E_NULL (-1)

/**
 * An argument is out of its range: an unknown type, list, scope or capability, a length above half the address space,
 * misaligned memory.
 */
#define SPOP_E_ARGUMENT (-2)

/**
 * No room for it in the buffer or in the max-frame-size.
 */
#define SPOP_E_NO_SPACE (-3)

/**
 * A message has 255 arguments already.
 */
#define SPOP_E_TOO_MANY_ARGS (-4)

/**
 * An argument came before any message.
 */
#define SPOP_E_NO_MESSAGE (-5)

/**
 * This writer is not for that, or is finished.
 */
#define SPOP_E_WRITER (-6)

/**
 * The `size` of a struct is less than in the first version, or it has members, other than 0, that this library does not
 * know.
 */
#define SPOP_E_SIZE (-7)

/**
 * This NOTIFY is not open: answered, superseded by a later one, or the connection ended. Nothing is to be sent.
 */
#define SPOP_E_NOT_OPEN (-8)

/**
 * No HELLO yet, or the connection ended.
 */
#define SPOP_E_NOT_RUNNING (-9)

/**
 * As many NOTIFYs are in flight as may be: 128, or one without `pipelining`.
 */
#define SPOP_E_IN_FLIGHT (-10)

/**
 * A NOTIFY with these ids is in flight.
 */
#define SPOP_E_IDS_IN_USE (-11)

/**
 * A fragmented NOTIFY is being sent; nothing may come between its fragments.
 */
#define SPOP_E_FRAGMENTING (-12)

/**
 * The agent did not announce `fragmentation`.
 */
#define SPOP_E_NO_FRAGMENTATION (-13)

/**
 * The bytes end inside a field, or a length goes past their end.
 */
#define SPOP_E_TRUNCATED (-100)

/**
 * A varint has more than 10 bytes.
 */
#define SPOP_E_VARINT_LENGTH (-101)

/**
 * A varint is above 64 bits.
 */
#define SPOP_E_VARINT_RANGE (-102)

/**
 * A value has one of the reserved types 10 to 15, whose length is unknown.
 */
#define SPOP_E_RESERVED_TYPE (-103)

/**
 * The value of an INT32 or UINT32 does not fit 32 bits.
 */
#define SPOP_E_INTEGER_RANGE (-104)

/**
 * A frame is shorter than the smallest header, 7 bytes.
 */
#define SPOP_E_FRAME_TOO_SHORT (-105)

/**
 * A frame is longer than the max-frame-size.
 */
#define SPOP_E_FRAME_TOO_BIG (-106)

/**
 * An action is neither set-var nor unset-var.
 */
#define SPOP_E_UNKNOWN_ACTION (-107)

/**
 * An action has another number of arguments than its type.
 */
#define SPOP_E_ARG_COUNT (-108)

/**
 * A scope above 4.
 */
#define SPOP_E_SCOPE (-109)

/**
 * A key of a HELLO or DISCONNECT is empty.
 */
#define SPOP_E_EMPTY_KEY (-110)

/**
 * A known key of a HELLO or DISCONNECT has a value of another type.
 */
#define SPOP_E_VALUE_TYPE (-111)

/**
 * A HELLO has no version.
 */
#define SPOP_E_NO_VERSION (-112)

/**
 * A HELLO has no max-frame-size.
 */
#define SPOP_E_NO_MAX_FRAME_SIZE (-113)

/**
 * A HELLO has no capabilities.
 */
#define SPOP_E_NO_CAPABILITIES (-114)

/**
 * Malformed in another way.
 */
#define SPOP_E_MALFORMED (-119)

/**
 * This frame type may not come from this peer, or not now.
 */
#define SPOP_E_UNEXPECTED_FRAME (-120)

/**
 * A HELLO or DISCONNECT with a stream-id or frame-id other than 0.
 */
#define SPOP_E_IDS_NOT_ZERO (-121)

/**
 * A HELLO, DISCONNECT or ACK without FIN.
 */
#define SPOP_E_NOT_FRAGMENTABLE (-122)

/**
 * A fragment, although fragmentation was not announced.
 */
#define SPOP_E_FRAGMENT (-123)

/**
 * A fragment with ABORT and without FIN.
 */
#define SPOP_E_ABORT_WITHOUT_FIN (-124)

/**
 * Fragments of different NOTIFYs are mixed.
 */
#define SPOP_E_INTERLACED (-125)

/**
 * No common version.
 */
#define SPOP_E_VERSION (-126)

/**
 * The max-frame-size is below 256, or the agent's is above HAProxy's.
 */
#define SPOP_E_MAX_FRAME_SIZE (-127)

/**
 * An ACK for no open NOTIFY, without `pipelining`.
 */
#define SPOP_E_UNKNOWN_ACK (-128)

/**
 * The peer's HELLO did not come in time.
 */
#define SPOP_E_HELLO_TIMEOUT (-129)

/**
 * A frame, or a fragmented NOTIFY, was begun and not finished in time.
 */
#define SPOP_E_HALF_FRAME_TIMEOUT (-130)

/**
 * The connection was idle for too long.
 */
#define SPOP_E_IDLE_TIMEOUT (-131)

/**
 * The peer broke the protocol in another way.
 */
#define SPOP_E_PROTOCOL (-139)

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/* ---- Functions: the library -------------------------------------------------------------------------------------- */

/**
 * The text of a code, in English, ended by NUL; never NULL. Static: it is not to be freed. Safe in any thread.
 */
const char *spop_strerror(spop_error error);

/**
 * The version of this library, for example "0.1.0"; never NULL. Static: it is not to be freed. Safe in any thread.
 */
const char *spop_version(void);

/**
 * The interface of this library. The upper 16 bits are the number in its SONAME, the lower 16 grow with what is added.
 * A program fits if the upper bits equal those of SPOP_ABI_VERSION and the lower are not below. Safe in any thread.
 */
uint32_t spop_abi_version(void);

/**
 * The status of the DISCONNECT that answers an error of -100 or below; SPOP_STATUS_UNKNOWN for other codes. Safe in any
 * thread.
 */
uint32_t spop_error_status(spop_error error);

/**
 * The text that HAProxy puts beside a status, ended by NUL; "unknown error" for a status without a name; never NULL.
 * Static: it is not to be freed. Safe in any thread.
 */
const char *spop_status_text(uint32_t status);

/* ---- Functions: frames ------------------------------------------------------------------------------------------- */

/**
 * The length of the frame at the start of `data`, its 4-byte prefix included, into `*total`.
 *
 * Only the prefix is looked at, so a hostile length is refused before anything is stored. SPOP_AGAIN while the prefix is
 * incomplete. SPOP_E_FRAME_TOO_SHORT, SPOP_E_FRAME_TOO_BIG.
 */
spop_error spop_peek_len(const void *data,
                         size_t len,
                         uint32_t max_frame_size,
                         size_t *total);

/**
 * Decodes the body of a frame, that is all but its 4-byte prefix, into `*frame`, which then points into `body`. Types and
 * flags are not judged. SPOP_E_FRAME_TOO_SHORT, and the errors of a varint for the ids.
 */
spop_error spop_frame_decode(const void *body,
                             size_t len,
                             struct spop_frame *frame);

/**
 * The name of a frame type as the specification has it, ended by NUL; "unknown" for an unknown type; never NULL. Static:
 * it is not to be freed. Safe in any thread.
 */
const char *spop_frame_type_name(uint32_t type);

/* ---- Functions: values ------------------------------------------------------------------------------------------- */

/**
 * A NULL value.
 */
struct spop_value spop_null(void);

/**
 * A BOOL; 0 is false, all else true.
 */
struct spop_value spop_bool(int32_t boolean);

/**
 * An INT32. Prefer spop_int64().
 */
struct spop_value spop_int32(int32_t number);

/**
 * An UINT32.
 */
struct spop_value spop_uint32(uint32_t number);

/**
 * An INT64.
 */
struct spop_value spop_int64(int64_t number);

/**
 * An UINT64. HAProxy takes values above INT64_MAX for negative ones.
 */
struct spop_value spop_uint64(uint64_t number);

/**
 * An IPV4 from 4 bytes in network order, for example a struct in_addr. They are copied. Of NULL: SPOP_TYPE_INVALID.
 */
struct spop_value spop_ipv4(const void *address);

/**
 * An IPV6 from 16 bytes in network order, for example a struct in6_addr. They are copied. Of NULL: SPOP_TYPE_INVALID.
 */
struct spop_value spop_ipv6(const void *address);

/**
 * A STRING of `len` bytes, which have to stay there until it is written.
 */
struct spop_value spop_string(const void *text, size_t len);

/**
 * A BINARY of `len` bytes, which have to stay there until it is written.
 */
struct spop_value spop_binary(const void *data, size_t len);

/**
 * Reads a typed value at the start of `data` into `*value`, which then points into `data`, and how many bytes it took
 * into `*used`. Flags of the type byte are ignored, but for the value of BOOL.
 *
 * SPOP_E_TRUNCATED (read more and try again, unless this is a whole frame), SPOP_E_RESERVED_TYPE, SPOP_E_INTEGER_RANGE,
 * the errors of a varint.
 */
spop_error spop_value_decode(const void *data, size_t len, struct spop_value *value, size_t *used);

/**
 * Writes a typed value to `out`, and its length into `*len`.
 *
 * SPOP_E_NO_SPACE if `cap` bytes do not suffice. SPOP_E_ARGUMENT for an unknown type, and for an INT32 or UINT32 that
 * does not fit 32 bits; so in all functions that take a value.
 */
spop_error spop_value_encode(const struct spop_value *value, void *out, size_t cap, size_t *len);

/**
 * The number of bytes that spop_value_encode() writes; 0 for a value that it refuses.
 */
size_t spop_value_len(const struct spop_value *value);

/* ---- Functions: lists -------------------------------------------------------------------------------------------- */

/**
 * A cursor at the start of a list: `list` is SPOP_LIST_MESSAGES, SPOP_LIST_KV or SPOP_LIST_ACTIONS, `data` the whole
 * payload. The data has to stay there as long as the cursor and what came from it is used.
 *
 * SPOP_E_ARGUMENT for another list.
 */
spop_error spop_cursor_init(struct spop_cursor *cursor, uint32_t list, const void *data, size_t len);

/**
 * A cursor over the payload of a frame, as spop_cursor_init(); its `offset` counts from the start of the frame's body.
 */
spop_error spop_frame_cursor(const struct spop_frame *frame, uint32_t list, struct spop_cursor *cursor);

/**
 * The next message into `*message`. A broken argument of a message shows here at the next call, so that a walk over the
 * messages alone finds every error. SPOP_END after the last one; a list may be empty.
 */
spop_error spop_message_next(struct spop_cursor *cursor, struct spop_message *message);

/**
 * The next argument into `*arg`: `args` is the member of a spop_message, or a copy of it. SPOP_END after the last one.
 */
spop_error spop_arg_next(struct spop_cursor *args, struct spop_kv *arg);

/**
 * The value of the first argument of that name, of those that spop_arg_next() has not passed in this message. The
 * message is left as it is. SPOP_NOT_FOUND; the errors of the arguments before it.
 */
spop_error spop_arg_find(const struct spop_message *message,
                         const void *name,
                         size_t name_len,
                         struct spop_value *value);

/**
 * The next key with its value into `*kv`, of a HELLO or DISCONNECT. SPOP_END after the last one.
 */
spop_error spop_kv_next(struct spop_cursor *cursor, struct spop_kv *kv);

/**
 * The next action into `*action`. SPOP_END after the last one; a list may be empty. HAProxy applies the actions before
 * an error and drops the rest.
 */
spop_error spop_action_next(struct spop_cursor *cursor, struct spop_action *action);

/**
 * Is `bytes` the same as these `len` bytes? For names and keys.
 */
bool spop_bytes_eq(struct spop_bytes bytes, const void *other, size_t len);

/**
 * HAProxy's prefix for variables of a scope, ended by NUL: "proc", "sess", "txn", "req", "res"; "unknown" for another
 * scope; never NULL. Static: it is not to be freed. Safe in any thread.
 */
const char *spop_scope_name(uint32_t scope);

/* ---- Functions: HELLO and DISCONNECT ----------------------------------------------------------------------------- */

/**
 * Reads the payload of a HAPROXY-HELLO into `*hello`, which then points into the frame. Keys in any order; unknown ones
 * are skipped, of a repeated one the last counts. The values are not judged.
 *
 * SPOP_E_EMPTY_KEY, SPOP_E_VALUE_TYPE, the errors of the list; then, in this order, SPOP_E_NO_VERSION,
 * SPOP_E_NO_MAX_FRAME_SIZE, SPOP_E_NO_CAPABILITIES.
 */
spop_error spop_haproxy_hello_parse(const struct spop_frame *frame, struct spop_hello *hello);

/**
 * Reads the payload of an AGENT-HELLO, as spop_haproxy_hello_parse().
 */
spop_error spop_agent_hello_parse(const struct spop_frame *frame, struct spop_hello *hello);

/**
 * Reads the payload of a DISCONNECT of either side into `*disconnect`, which then points into the frame.
 *
 * SPOP_E_EMPTY_KEY, SPOP_E_VALUE_TYPE, the errors of the list.
 */
spop_error spop_disconnect_parse(const struct spop_frame *frame, struct spop_disconnect *disconnect);

/**
 * Reads the text of a `capabilities` value into `*capabilities` (SPOP_CAP_...). Unknown items are ignored.
 */
spop_error spop_capabilities_parse(const void *text, size_t len, uint32_t *capabilities);

/**
 * Reads the text of a `version` value. SPOP_E_VERSION if it is none.
 */
spop_error spop_version_parse(const void *text, size_t len, uint32_t *major, uint32_t *minor);

/**
 * Judges the text of a `supported-versions` value: SPOP_OK if it offers 2.0, the version of this library, else
 * SPOP_E_VERSION.
 */
spop_error spop_versions_check(const void *text, size_t len);

/* ---- Functions: writers ------------------------------------------------------------------------------------------ */

/**
 * How many bytes the writer still takes; 0 for NULL and after the end.
 */
size_t spop_writer_room(const struct spop_writer *writer);

/**
 * Begins an ACK of one's own: for an answer on another connection of the engine (see spop_agent_release()), or without
 * a spop_agent. `max_frame_size` is what was negotiated. SPOP_E_NO_SPACE below SPOP_MAX_HEADER_LEN bytes, perhaps.
 */
spop_error spop_ack_begin_ids(uint64_t stream_id,
                              uint64_t frame_id,
                              uint32_t max_frame_size,
                              void *out,
                              size_t cap,
                              struct spop_writer *ack);

/**
 * Adds a set-var to an ACK. `scope` is SPOP_SCOPE_... HAProxy allows A-Z a-z 0-9 _ . in names, and 63 characters with
 * scope and engine prefix; it says nothing of others.
 */
spop_error spop_ack_set_var(struct spop_writer *ack,
                            uint32_t scope,
                            const void *name,
                            size_t name_len,
                            const struct spop_value *value);

/**
 * Adds an unset-var to an ACK.
 */
spop_error spop_ack_unset_var(struct spop_writer *ack, uint32_t scope, const void *name, size_t name_len);

/**
 * Takes all actions out of an ACK again.
 */
spop_error spop_ack_clear(struct spop_writer *ack);

/**
 * Completes an ACK: the first `*len` bytes of its buffer are the frame. Send them in one write.
 */
spop_error spop_ack_finish(struct spop_writer *ack, size_t *len);

/**
 * Begins a HELLO: `type` is SPOP_FRAME_AGENT_HELLO or SPOP_FRAME_HAPROXY_HELLO. A spop_agent or spop_client sends its
 * own; this is for programs without. The peer wants all of its keys, in any order.
 */
spop_error spop_hello_begin(uint32_t type, uint32_t max_frame_size, void *out, size_t cap, struct spop_writer *hello);

/**
 * Adds `version` to an AGENT-HELLO, `supported-versions` to a HAPROXY-HELLO. The version of SPOP is 2.0.
 */
spop_error spop_hello_version(struct spop_writer *hello, uint32_t major, uint32_t minor);

/**
 * Adds `max-frame-size` to a HELLO.
 */
spop_error spop_hello_max_frame_size(struct spop_writer *hello, uint32_t size);

/**
 * Adds `capabilities` (SPOP_CAP_...) to a HELLO. SPOP_E_ARGUMENT for unknown ones.
 */
spop_error spop_hello_capabilities(struct spop_writer *hello, uint32_t capabilities);

/**
 * Adds `healthcheck` to a HAPROXY-HELLO; 0 is false, all else true.
 */
spop_error spop_hello_healthcheck(struct spop_writer *hello, int32_t healthcheck);

/**
 * Adds `engine-id` to a HAPROXY-HELLO.
 */
spop_error spop_hello_engine_id(struct spop_writer *hello, const void *id, size_t len);

/**
 * Adds any key to a HELLO. An agent must not send a key that begins with a known one: HAProxy compares prefixes.
 */
spop_error spop_hello_kv(struct spop_writer *hello, const void *key, size_t key_len, const struct spop_value *value);

/**
 * Completes a HELLO: the first `*len` bytes of its buffer are the frame. Send them in one write: HAProxy 3.5-dev refuses
 * an AGENT-HELLO in two segments.
 */
spop_error spop_hello_finish(struct spop_writer *hello,
                             size_t *len);

/**
 * Writes a whole DISCONNECT to `out`, and its length into `*frame_len`: `type` is SPOP_FRAME_AGENT_DISCONNECT or
 * SPOP_FRAME_HAPROXY_DISCONNECT, `status` SPOP_STATUS_... or one's own, `message` a text for people; HAProxy 2.6 refuses
 * more than 255 bytes of it.
 */
spop_error spop_disconnect_encode(uint32_t type,
                                  uint32_t status,
                                  const void *message,
                                  size_t message_len,
                                  uint32_t max_frame_size,
                                  void *out,
                                  size_t cap,
                                  size_t *frame_len);

/**
 * Begins a frame of any type, with any flags and any payload, for tests and special peers: the members of `header` but
 * `payload` are written. SPOP_E_ARGUMENT for a type above 255.
 */
spop_error spop_frame_begin(const struct spop_frame *header,
                            uint32_t max_frame_size,
                            void *out,
                            size_t cap,
                            struct spop_writer *frame);

/**
 * Appends bytes as they are to a frame of spop_frame_begin().
 */
spop_error spop_frame_bytes(struct spop_writer *frame, const void *bytes, size_t len);

/**
 * Appends a varint to a frame of spop_frame_begin().
 */
spop_error spop_frame_varint(struct spop_writer *frame, uint64_t number);

/**
 * Appends a length as varint and so many bytes to a frame of spop_frame_begin(): a name or key.
 */
spop_error spop_frame_string(struct spop_writer *frame, const void *bytes, size_t len);

/**
 * Appends a typed value to a frame of spop_frame_begin().
 */
spop_error spop_frame_value(struct spop_writer *frame, const struct spop_value *value);

/**
 * Completes a frame of spop_frame_begin(): the first `*len` bytes of its buffer.
 */
spop_error spop_frame_finish(struct spop_writer *frame, size_t *len);

/**
 * The length of a whole frame with these ids and a payload of `payload_len` bytes. Safe in any thread.
 */
size_t spop_frame_len(uint64_t stream_id, uint64_t frame_id, size_t payload_len);

/**
 * The length of a string with its length before it: a name or key. A key with its value takes spop_string_len() and
 * spop_value_len(), a message without arguments 1 more than its name, an action 3 more than its name and value. Safe in
 * any thread.
 */
size_t spop_string_len(size_t len);

/**
 * Begins a NOTIFY of one's own, without a spop_client. `max_frame_size` is what was negotiated.
 */
spop_error spop_notify_begin_ids(uint64_t stream_id,
                                 uint64_t frame_id,
                                 uint32_t max_frame_size,
                                 void *out,
                                 size_t cap,
                                 struct spop_writer *notify);

/**
 * Begins the payload of a NOTIFY without a frame around it, for spop_client_send_fragment().
 */
spop_error spop_notify_begin_payload(void *out, size_t cap, struct spop_writer *notify);

/**
 * Begins a message; its arguments follow. If it does not fit, none can.
 */
spop_error spop_notify_message(struct spop_writer *notify, const void *name, size_t name_len);

/**
 * Adds an argument to the last message; an empty key makes it unnamed. SPOP_E_TOO_MANY_ARGS beyond 255,
 * SPOP_E_NO_MESSAGE before the first message and after one that did not fit.
 */
spop_error spop_notify_arg(struct spop_writer *notify, const void *key, size_t key_len, const struct spop_value *value);

/**
 * Completes a NOTIFY, or its payload: the first `*len` bytes of its buffer.
 */
spop_error spop_notify_finish(struct spop_writer *notify, size_t *len);

/* ---- Functions: an agent and a client ---------------------------------------------------------------------------- */

/**
 * Sets the defaults: `spop_agent_config_init(&config, sizeof config)`. SPOP_E_SIZE if the size is not that of any version
 * of the struct.
 */
spop_error spop_agent_config_init(struct spop_agent_config *config,
                                  size_t size);

/**
 * Sets the defaults: `spop_client_config_init(&config, sizeof config)`. SPOP_E_SIZE if the size is not that of any
 * version of the struct.
 */
spop_error spop_client_config_init(struct spop_client_config *config, size_t size);

/**
 * The bytes that spop_agent_init() needs. Safe in any thread.
 */
size_t spop_agent_size(void);

/**
 * The alignment that spop_agent_init() needs; malloc() gives it. Safe in any thread.
 */
size_t spop_agent_align(void);

/**
 * Makes an agent for a new connection in `mem`, of `len` bytes, and sets `*agent` to it. The configuration is copied; NULL
 * for the defaults. The clock of the connection starts at 0 ticks.
 *
 * SPOP_E_NO_SPACE if `len` is below spop_agent_size(). SPOP_E_ARGUMENT for misaligned memory, a max-frame-size below 256,
 * unknown capabilities. SPOP_E_SIZE for the configuration's size.
 */
spop_error spop_agent_init(void *mem,
                           size_t len,
                           const struct spop_agent_config *config,
                           struct spop_agent **agent);

/**
 * Takes what arrived, `len` bytes at `data`, up to the first event: `*consumed` bytes were used, and are not to be given
 * again; `*event` tells what happened.
 *
 * - SPOP_OK: an event. Handle it, then call again with the rest.
 * - SPOP_AGAIN: no whole frame is left, or nothing is read now (spop_agent_want_read() is 0). Send what spop_agent_send()
 *   has. If it had something, or a NOTIFY was answered, call again with the rest; else read more.
 * - SPOP_END: the connection is over. Send what spop_agent_send() has, then close.
 * - -100 and below: the peer broke the protocol, or a NOTIFY is malformed (SPOP_EVENT_ERROR). Open NOTIFYs are void. Send
 *   what spop_agent_send() has, the DISCONNECT, then close.
 *
 * In all these cases `*consumed` and `*event` are set.
 */
spop_error spop_agent_recv(struct spop_agent *agent,
                           const void *data,
                           size_t len,
                           size_t *consumed,
                           struct spop_event *event);

/**
 * Writes the next frame of the agent itself (HELLO, DISCONNECT, the ACK of a NOTIFY that was too big) to `out`, and its
 * length into `*len`; SPOP_MAX_TRANSMIT_LEN bytes suffice. SPOP_END if there is none. SPOP_E_NO_SPACE: it stays ready.
 *
 * Send each frame in one write: HAProxy 3.5-dev refuses an AGENT-HELLO that comes in two segments.
 */
spop_error spop_agent_send(struct spop_agent *agent, void *out, size_t cap, size_t *len);

/**
 * How many bytes to read at least: 0 for none now, that is, first send what spop_agent_send() has, answer an open NOTIFY,
 * or close (spop_agent_want_close()). 0 for NULL.
 *
 * After spop_agent_recv() returned SPOP_AGAIN it is exactly what the next step lacks, beyond the bytes that were given and
 * not consumed: the length prefix, or the rest of the frame. Otherwise, 1.
 */
size_t spop_agent_want_read(const struct spop_agent *agent);

/**
 * True if the connection is over: send what spop_agent_send() has, then close. True for NULL.
 */
bool spop_agent_want_close(const struct spop_agent *agent);

/**
 * Answers a NOTIFY: begins its ACK in `out`, at most `cap` bytes and at most the negotiated size. Add actions by
 * spop_ack_set_var() and spop_ack_unset_var(), then spop_ack_finish(), then send it. An ACK that is begun and not sent
 * leaves the NOTIFY without an answer.
 *
 * SPOP_E_NOT_OPEN: nothing is to be sent. SPOP_E_NO_SPACE: `out` has no room for an empty ACK, at most
 * SPOP_MAX_HEADER_LEN bytes; the NOTIFY stays open.
 */
spop_error spop_ack_begin(struct spop_agent *agent, uint64_t ticket, void *out, size_t cap, struct spop_writer *ack);

/**
 * Takes a NOTIFY over, to be answered on another connection of the same engine-id by spop_ack_begin_ids(); only if
 * SPOP_CAP_ASYNC was agreed on. SPOP_E_NOT_OPEN.
 *
 * With SPOP_CAP_ASYNC it is also how to drop one: an event that HAProxy gave up (`timeout processing`) and the next one of
 * its stream have the same ids, perhaps on two connections of the engine. When the second arrives, the first, released or
 * not, must not be answered any more.
 */
spop_error spop_agent_release(struct spop_agent *agent,
                              uint64_t ticket,
                              uint64_t *stream_id,
                              uint64_t *frame_id);

/**
 * Ends the connection by a DISCONNECT, which spop_agent_send() gives.
 *
 * With SPOP_STATUS_NORMAL nothing more is read, and the DISCONNECT follows when the last open NOTIFY has its ACK; an agent
 * that still waits for HAProxy's HELLO closes without one. With any other status the open NOTIFYs are void and the
 * DISCONNECT is ready at once.
 */
spop_error spop_agent_close(struct spop_agent *agent,
                            uint32_t status);

/**
 * The transport ended: nothing more is sent, and open NOTIFYs are void; returns how many there were, 0 for NULL. That is
 * a normal end: HAProxy 3.1 and later close without a word.
 */
size_t spop_agent_eof(struct spop_agent *agent);

/**
 * What was agreed on. SPOP_AGAIN before HELLO.
 */
spop_error spop_agent_negotiated(const struct spop_agent *agent, struct spop_negotiated *negotiated);

/**
 * The number of NOTIFYs that wait for their ACK; 0 for NULL.
 */
size_t spop_agent_open(const struct spop_agent *agent);

/**
 * The status of the DISCONNECT that waits in spop_agent_send(). SPOP_END if none does.
 */
spop_error spop_agent_pending_disconnect(const struct spop_agent *agent, uint32_t *status);

/**
 * What was counted so far. Set `stats->size` before. SPOP_E_SIZE for a wrong size.
 */
spop_error spop_agent_get_stats(const struct spop_agent *agent, struct spop_agent_stats *stats);

/**
 * When spop_agent_handle_timeout() has to be called at the latest, in ticks since the connection began. SPOP_END: no
 * timeout runs.
 */
spop_error spop_agent_poll_timeout(const struct spop_agent *agent, uint64_t *at);

/**
 * Tells the time, in ticks since the connection began; only for agents with timeouts. Call it before input that came
 * later than the last call, and at spop_agent_poll_timeout(). SPOP_E_HELLO_TIMEOUT, SPOP_E_HALF_FRAME_TIMEOUT,
 * SPOP_E_IDLE_TIMEOUT: send what spop_agent_send() has, then close.
 */
spop_error spop_agent_handle_timeout(struct spop_agent *agent, uint64_t now);

/**
 * The bytes that spop_client_init() needs. Safe in any thread.
 */
size_t spop_client_size(void);

/**
 * The alignment that spop_client_init() needs; malloc() gives it. Safe in any thread.
 */
size_t spop_client_align(void);

/**
 * Makes a client for a new connection in `mem`, of `len` bytes, and sets `*client` to it; its HELLO is ready in
 * spop_client_send(). The configuration is copied; NULL for the defaults. The clock starts at 0 ticks.
 *
 * SPOP_E_NO_SPACE if `len` is below spop_client_size(). SPOP_E_ARGUMENT for misaligned memory, a max-frame-size below 256,
 * unknown capabilities, an engine-id above 64 bytes. SPOP_E_SIZE for the configuration's size.
 */
spop_error spop_client_init(void *mem,
                            size_t len,
                            const struct spop_client_config *config,
                            struct spop_client **client);

/**
 * Takes what arrived, `len` bytes at `data`, up to the first event, as spop_agent_recv() does: SPOP_OK with an event,
 * SPOP_AGAIN for more bytes, SPOP_END after the end, or an error of -100 and below.
 */
spop_error spop_client_recv(struct spop_client *client,
                            const void *data,
                            size_t len,
                            size_t *consumed,
                            struct spop_event *event);

/**
 * Writes the next frame of the client itself (HELLO, DISCONNECT) to `out`, and its length into `*len`;
 * SPOP_MAX_TRANSMIT_LEN bytes suffice. SPOP_END if there is none. SPOP_E_NO_SPACE: it stays ready.
 */
spop_error spop_client_send(struct spop_client *client, void *out, size_t cap, size_t *len);

/**
 * How many bytes to read at least, as spop_agent_want_read(); 0 for none, and for NULL.
 */
size_t spop_client_want_read(const struct spop_client *client);

/**
 * True if the connection is over: send what spop_client_send() has, then close. True for NULL.
 */
bool spop_client_want_close(const struct spop_client *client);

/**
 * Begins a NOTIFY in `out`, at most `cap` bytes and at most the negotiated size; it is in flight from now on. Add messages
 * by spop_notify_message() and spop_notify_arg(), then spop_notify_finish(), then send it, or take it back by
 * spop_client_forget().
 *
 * SPOP_E_NOT_RUNNING, SPOP_E_IN_FLIGHT, SPOP_E_IDS_IN_USE, SPOP_E_FRAGMENTING, SPOP_E_NO_SPACE: nothing is in flight.
 */
spop_error spop_notify_begin(struct spop_client *client,
                             uint64_t stream_id,
                             uint64_t frame_id,
                             void *out,
                             size_t cap,
                             struct spop_writer *notify);

/**
 * Begins a fragmented NOTIFY; then spop_client_send_fragment() gives its frames. The errors of spop_notify_begin(), and
 * SPOP_E_NO_FRAGMENTATION.
 */
spop_error spop_client_start_fragmented(struct spop_client *client, uint64_t stream_id, uint64_t frame_id);

/**
 * Writes the next frame of the fragmented NOTIFY to `out`, and its length into `*len`. `payload` is the same at every
 * call, made by spop_notify_begin_payload(); each fragment takes as much of it as `out` and the negotiated size allow, at
 * most `max_fragment` bytes (1 or more). SPOP_END when all is sent, or the agent gave it up. SPOP_E_NO_SPACE if `out` has
 * no room for a header and one byte; nothing is lost.
 */
spop_error spop_client_send_fragment(struct spop_client *client,
                                     const void *payload,
                                     size_t payload_len,
                                     size_t max_fragment,
                                     void *out,
                                     size_t cap,
                                     size_t *len);

/**
 * Gives up the fragmented NOTIFY: writes the frame that tells the agent to `out`, and its length into `*len`. SPOP_END if
 * no frame is to be sent. SPOP_E_NO_SPACE: it stays as it was.
 */
spop_error spop_client_abort_fragmented(struct spop_client *client,
                                        void *out,
                                        size_t cap,
                                        size_t *len);

/**
 * Gives up waiting for an ACK: a late one is then an unknown one. SPOP_E_NOT_OPEN if it was not in flight.
 */
spop_error spop_client_forget(struct spop_client *client, uint64_t stream_id, uint64_t frame_id);

/**
 * Ends the connection by a DISCONNECT, which spop_client_send() gives; NOTIFYs in flight are void. The agent's DISCONNECT
 * may follow.
 */
spop_error spop_client_close(struct spop_client *client,
                             uint32_t status);

/**
 * The transport ended: nothing more is sent. Returns how many NOTIFYs were in flight, 0 for NULL.
 */
size_t spop_client_eof(struct spop_client *client);

/**
 * What was agreed on. SPOP_AGAIN before the agent's HELLO.
 */
spop_error spop_client_negotiated(const struct spop_client *client, struct spop_negotiated *negotiated);

/**
 * The number of NOTIFYs in flight; 0 for NULL.
 */
size_t spop_client_in_flight(const struct spop_client *client);

/**
 * What was counted so far. Set `stats->size` before. SPOP_E_SIZE for a wrong size.
 */
spop_error spop_client_get_stats(const struct spop_client *client, struct spop_client_stats *stats);

/**
 * When spop_client_handle_timeout() has to be called at the latest, in ticks since the connection began. SPOP_END: no
 * timeout runs.
 */
spop_error spop_client_poll_timeout(const struct spop_client *client, uint64_t *at);

/**
 * Tells the time, in ticks since the connection began. SPOP_E_HELLO_TIMEOUT: send what spop_client_send() has, then close.
 */
spop_error spop_client_handle_timeout(struct spop_client *client,
                                      uint64_t now);

/* ---- Functions: varints ------------------------------------------------------------------------------------------ */

/**
 * Reads a varint at the start of `data` into `*value`, and how many bytes it took into `*used`.
 *
 * SPOP_E_TRUNCATED (read more and try again, unless this is a whole frame), SPOP_E_VARINT_LENGTH, SPOP_E_VARINT_RANGE.
 */
spop_error spop_varint_decode(const void *data, size_t len, uint64_t *value, size_t *used);

/**
 * Writes `value` as a varint to `out`, and its length into `*len`. SPOP_E_NO_SPACE if `cap` bytes do not suffice.
 */
spop_error spop_varint_encode(uint64_t value, void *out, size_t cap, size_t *len);

/**
 * The number of bytes that `value` takes as a varint, 1 to 10. Safe in any thread.
 */
size_t spop_varint_len(uint64_t value);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SPOP_H */
