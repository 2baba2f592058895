/* A client and an agent joined in memory: handshake, pipelining, fragments, limits, timeouts, ends. */
#include "side.h"

#define ALL_CAPS (SPOP_CAP_PIPELINING | SPOP_CAP_ASYNC | SPOP_CAP_FRAGMENTATION)

static void connect_both(struct side *client, struct side *agent, uint32_t client_caps, uint32_t agent_caps, size_t reassembly)
{
    spop_client_config config;
    CHECK_ERROR(SPOP_OK, spop_client_config_init(&config, sizeof config));
    CHECK(config.size == sizeof config && config.max_frame_size == 16380 && config.capabilities == SPOP_CAP_PIPELINING);
    config.capabilities = client_caps;
    config.engine_id.ptr = "engine";
    config.engine_id.len = 6;
    *client = client_side(&config);
    *agent = agent_side(8192, agent_caps, reassembly);
    join(client, agent);
    CHECK(client->events[SPOP_EVENT_HELLO] == 1 && agent->events[SPOP_EVENT_HELLO] == 1);
}

static void notify(struct side *client, uint64_t stream_id, uint64_t frame_id, int64_t number)
{
    spop_writer writer;
    spop_value value = spop_int64(number);
    size_t len;
    CHECK_ERROR(SPOP_OK, spop_notify_begin(client->client, stream_id, frame_id, client->sent + client->sent_len, SIDE_CAP - client->sent_len, &writer));
    CHECK_ERROR(SPOP_OK, spop_notify_message(&writer, SPOP_LIT("check")));
    CHECK_ERROR(SPOP_OK, spop_notify_arg(&writer, SPOP_LIT("number"), &value));
    CHECK_ERROR(SPOP_OK, spop_notify_finish(&writer, &len));
    client->sent_len += len;
}

static spop_error answer(struct side *agent, uint64_t ticket)
{
    spop_writer ack;
    spop_value value = spop_string(SPOP_LIT("ok"));
    size_t len;
    spop_error err = spop_ack_begin(agent->agent, ticket, agent->sent + agent->sent_len, SIDE_CAP - agent->sent_len, &ack);
    if (err != SPOP_OK)
        return err;
    CHECK_ERROR(SPOP_OK, spop_ack_set_var(&ack, SPOP_SCOPE_TRANSACTION, SPOP_LIT("result"), &value));
    CHECK_ERROR(SPOP_OK, spop_ack_finish(&ack, &len));
    agent->sent_len += len;
    return SPOP_OK;
}

/* As many NOTIFYs as may be open, answered from the last to the first. */
static void pipelining(void)
{
    struct side client, agent;
    spop_writer writer;
    spop_agent_stats stats;
    size_t i, len;

    current = "pipelining";
    connect_both(&client, &agent, ALL_CAPS, ALL_CAPS, 4096);
    for (i = 0; i < SPOP_MAX_OPEN; i++)
        notify(&client, i, 1, (int64_t)i);
    CHECK_ERROR(SPOP_E_IN_FLIGHT, spop_notify_begin(client.client, 999, 1, client.sent, 64, &writer));
    join(&client, &agent);
    CHECK(agent.events[SPOP_EVENT_NOTIFY] == SPOP_MAX_OPEN && spop_agent_open(agent.agent) == SPOP_MAX_OPEN);
    CHECK(want_read(&agent) == 0 && !want_close(&agent)); /* full: nothing more is read */
    for (i = SPOP_MAX_OPEN; i-- > 0;)
        CHECK_ERROR(SPOP_OK, answer(&agent, agent.tickets[i]));
    CHECK_ERROR(SPOP_E_NOT_OPEN, answer(&agent, agent.tickets[0]));
    join(&client, &agent);
    CHECK(client.events[SPOP_EVENT_ACK] == SPOP_MAX_OPEN && spop_client_in_flight(client.client) == 0);
    CHECK(want_read(&agent) > 0);

    /* A released NOTIFY is answered by whoever has its ids. */
    notify(&client, 7, 3, 1);
    CHECK_ERROR(SPOP_E_IDS_IN_USE, spop_notify_begin(client.client, 7, 3, client.sent + 1000, 64, &writer));
    join(&client, &agent);
    {
        uint64_t stream_id, frame_id;
        spop_negotiated negotiated;
        CHECK_ERROR(SPOP_OK, spop_agent_negotiated(agent.agent, &negotiated));
        CHECK(negotiated.max_frame_size == 8192 && negotiated.capabilities == ALL_CAPS && !negotiated.healthcheck);
        CHECK_ERROR(SPOP_OK, spop_agent_release(agent.agent, agent.tickets[SPOP_MAX_OPEN], &stream_id, &frame_id));
        CHECK_ERROR(SPOP_OK, spop_ack_begin_ids(stream_id, frame_id, negotiated.max_frame_size, agent.sent, SIDE_CAP, &writer));
        CHECK_ERROR(SPOP_OK, spop_ack_finish(&writer, &len));
        agent.sent_len = len;
    }
    join(&client, &agent);
    CHECK(client.events[SPOP_EVENT_ACK] == SPOP_MAX_OPEN + 1);

    /* The same ids while the first is open: the older one is void. */
    notify(&client, 9, 1, 1);
    CHECK_ERROR(SPOP_OK, spop_client_forget(client.client, 9, 1));
    CHECK_ERROR(SPOP_E_NOT_OPEN, spop_client_forget(client.client, 9, 1));
    notify(&client, 9, 1, 2);
    join(&client, &agent);
    CHECK_ERROR(SPOP_E_NOT_OPEN, answer(&agent, agent.tickets[SPOP_MAX_OPEN + 1]));
    CHECK_ERROR(SPOP_OK, answer(&agent, agent.tickets[SPOP_MAX_OPEN + 2]));
    stats.size = sizeof stats;
    CHECK_ERROR(SPOP_OK, spop_agent_get_stats(agent.agent, &stats));
    CHECK(stats.notifies == SPOP_MAX_OPEN + 3 && stats.acks == SPOP_MAX_OPEN + 2 && stats.superseded == 1);

    /* A normal end waits for the open ones. */
    join(&client, &agent);
    notify(&client, 11, 1, 1);
    join(&client, &agent);
    CHECK_ERROR(SPOP_OK, spop_agent_close(agent.agent, SPOP_STATUS_NORMAL));
    feed(&agent, NULL, 0);
    CHECK(agent.sent_len == 0 && want_read(&agent) == 0 && !want_close(&agent));
    CHECK_ERROR(SPOP_OK, answer(&agent, agent.tickets[SPOP_MAX_OPEN + 3]));
    join(&client, &agent);
    CHECK(client.events[SPOP_EVENT_DISCONNECT] == 1 && want_close(&client) && want_close(&agent));
    end(&client);
    end(&agent);
}

/* A NOTIFY in fragments of every small size; then one given up, and one beyond the bound. */
static void fragments(void)
{
    unsigned char *payload = (unsigned char *)malloc(3000), *copy;
    struct side client, agent;
    spop_writer writer;
    spop_agent_stats stats;
    spop_value value;
    size_t payload_len, fragment, len;
    spop_error err;

    current = "fragments";
    memset(payload, 'x', 3000);
    copy = copy_of(payload, 2000);
    value = spop_binary(copy, 2000);
    CHECK_ERROR(SPOP_OK, spop_notify_begin_payload(payload, 3000, &writer));
    CHECK_ERROR(SPOP_OK, spop_notify_message(&writer, SPOP_LIT("big")));
    CHECK_ERROR(SPOP_OK, spop_notify_arg(&writer, SPOP_LIT("body"), &value));
    CHECK(spop_writer_room(&writer) == 3000 - spop_string_len(3) - 1 - spop_string_len(4) - spop_value_len(&value));
    CHECK_ERROR(SPOP_OK, spop_notify_finish(&writer, &payload_len));
    connect_both(&client, &agent, ALL_CAPS, ALL_CAPS, 2500);
    agent.answers = 1;
    for (fragment = 1; fragment <= payload_len; fragment += fragment < 40 ? 1 : 517) {
        unsigned acks = client.events[SPOP_EVENT_ACK];
        memset(agent.events, 0, sizeof agent.events);
        CHECK_ERROR(SPOP_OK, spop_client_start_fragmented(client.client, fragment, 1));
        CHECK_ERROR(SPOP_E_FRAGMENTING, spop_notify_begin(client.client, 5000, 1, client.sent, 64, &writer));
        CHECK_ERROR(SPOP_E_NO_SPACE, spop_client_send_fragment(client.client, payload, payload_len, fragment, client.sent, 11, &len));
        while ((err = spop_client_send_fragment(client.client, payload, payload_len, fragment, client.sent + client.sent_len, SIDE_CAP - client.sent_len, &len)) == SPOP_OK)
            client.sent_len += len;
        CHECK_ERROR(SPOP_END, err);
        join(&client, &agent);
        CHECK(agent.events[SPOP_EVENT_NOTIFY] == 1 && client.events[SPOP_EVENT_ACK] == acks + 1);
        CHECK(agent.payload_len == payload_len && memcmp(agent.payload, payload, payload_len) == 0);
    }

    CHECK_ERROR(SPOP_OK, spop_client_start_fragmented(client.client, 6000, 1));
    CHECK_ERROR(SPOP_OK, spop_client_send_fragment(client.client, payload, payload_len, 100, client.sent, SIDE_CAP, &client.sent_len));
    join(&client, &agent);
    CHECK_ERROR(SPOP_OK, spop_client_abort_fragmented(client.client, client.sent, SIDE_CAP, &client.sent_len));
    join(&client, &agent);
    CHECK(agent.events[SPOP_EVENT_ABORTED] == 1 && spop_client_in_flight(client.client) == 0);
    CHECK_ERROR(SPOP_END, spop_client_abort_fragmented(client.client, client.sent, SIDE_CAP, &len));

    /* 3000 bytes do not fit 2500: dropped, answered by an empty ACK, and the connection goes on. */
    CHECK_ERROR(SPOP_OK, spop_client_start_fragmented(client.client, 6001, 1));
    while (spop_client_send_fragment(client.client, payload, 3000, 1000, client.sent + client.sent_len, SIDE_CAP - client.sent_len, &len) == SPOP_OK)
        client.sent_len += len;
    join(&client, &agent);
    CHECK(agent.events[SPOP_EVENT_TOO_BIG] == 1 && spop_client_in_flight(client.client) == 0);
    notify(&client, 6002, 1, 1);
    join(&client, &agent);
    CHECK(spop_client_in_flight(client.client) == 0);
    stats.size = sizeof stats;
    CHECK_ERROR(SPOP_OK, spop_agent_get_stats(agent.agent, &stats));
    CHECK(stats.too_big == 1 && stats.aborted == 1 && stats.fragments > 100);
    CHECK_ERROR(SPOP_OK, spop_client_close(client.client, SPOP_STATUS_NORMAL));
    feed(&client, NULL, 0);
    join(&client, &agent);
    CHECK(agent.events[SPOP_EVENT_DISCONNECT] == 1 && client.events[SPOP_EVENT_DISCONNECT] == 1);
    end(&client);
    end(&agent);

    /* Without reassembly memory fragmentation is not announced. */
    connect_both(&client, &agent, ALL_CAPS, ALL_CAPS, 0);
    CHECK_ERROR(SPOP_E_NO_FRAGMENTATION, spop_client_start_fragmented(client.client, 1, 1));
    end(&client);
    end(&agent);
    free(payload);
    free(copy);
}

/* The ACK never exceeds the negotiated size, and stays usable when it is full. */
static void full_ack(void)
{
    struct side client, agent;
    spop_writer ack;
    spop_value value = spop_int64(1);
    unsigned i, fitted = 0;
    size_t room;

    current = "full ACK";
    connect_both(&client, &agent, SPOP_CAP_PIPELINING, SPOP_CAP_PIPELINING, 0);
    notify(&client, 1, 1, 1);
    join(&client, &agent);
    CHECK_ERROR(SPOP_OK, spop_ack_begin(agent.agent, agent.tickets[0], agent.sent, SIDE_CAP, &ack));
    for (i = 0; i < 2000; i++) {
        room = spop_writer_room(&ack);
        if (spop_ack_set_var(&ack, SPOP_SCOPE_REQUEST, SPOP_LIT("variable"), &value) == SPOP_OK)
            fitted++;
        else
            CHECK(spop_writer_room(&ack) == room);
    }
    CHECK_ERROR(SPOP_OK, spop_ack_finish(&ack, &agent.sent_len));
    CHECK(agent.sent_len <= 8192 + SPOP_PREFIX_LEN && agent.sent_len > 8192 - 20 && fitted == (8192 - 7) / 14);
    CHECK_ERROR(SPOP_E_WRITER, spop_ack_set_var(&ack, SPOP_SCOPE_REQUEST, SPOP_LIT("late"), &value));
    join(&client, &agent);
    CHECK(client.events[SPOP_EVENT_ACK] == 1);
    end(&client);
    end(&agent);
}

static void healthcheck(void)
{
    spop_client_config config;
    struct side client, agent = agent_side(16380, ALL_CAPS, 4096);
    spop_negotiated negotiated;

    current = "health check";
    CHECK_ERROR(SPOP_OK, spop_client_config_init(&config, sizeof config));
    config.healthcheck = 1;
    client = client_side(&config);
    CHECK_ERROR(SPOP_AGAIN, spop_client_negotiated(client.client, &negotiated));
    join(&client, &agent);
    CHECK(client.events[SPOP_EVENT_HELLO] == 1 && want_close(&client) && want_close(&agent));
    CHECK_ERROR(SPOP_OK, spop_client_negotiated(client.client, &negotiated));
    CHECK(negotiated.healthcheck && negotiated.capabilities == 0);
    end(&client);
    end(&agent);
}

static void timeouts(void)
{
    spop_agent_config config;
    spop_client_config client_config;
    struct side agent = agent_side(16380, 0, 0), client;
    uint64_t at;
    uint32_t status;

    current = "timeouts";
    CHECK_ERROR(SPOP_END, spop_agent_poll_timeout(agent.agent, &at));
    CHECK_ERROR(SPOP_OK, spop_agent_config_init(&config, sizeof config));
    config.hello_timeout = 100;
    config.half_frame_timeout = 20;
    config.idle_timeout = 500;
    CHECK_ERROR(SPOP_OK, spop_agent_init(agent.memory, spop_agent_size(), &config, &agent.agent));
    CHECK_ERROR(SPOP_OK, spop_agent_poll_timeout(agent.agent, &at));
    CHECK(at == 100);
    CHECK_ERROR(SPOP_OK, spop_agent_handle_timeout(agent.agent, 30));
    feed(&agent, "\0\0", 2);
    CHECK_ERROR(SPOP_OK, spop_agent_poll_timeout(agent.agent, &at));
    CHECK(at == 50);
    CHECK_ERROR(SPOP_OK, spop_agent_handle_timeout(agent.agent, 49));
    CHECK_ERROR(SPOP_END, spop_agent_pending_disconnect(agent.agent, &status));
    CHECK_ERROR(SPOP_E_HALF_FRAME_TIMEOUT, spop_agent_handle_timeout(agent.agent, 50));
    CHECK_ERROR(SPOP_OK, spop_agent_pending_disconnect(agent.agent, &status));
    CHECK(status == SPOP_STATUS_TIMEOUT && want_close(&agent));

    CHECK_ERROR(SPOP_OK, spop_agent_init(agent.memory, spop_agent_size(), &config, &agent.agent));
    CHECK_ERROR(SPOP_E_HELLO_TIMEOUT, spop_agent_handle_timeout(agent.agent, 100));

    CHECK_ERROR(SPOP_OK, spop_agent_init(agent.memory, spop_agent_size(), &config, &agent.agent));
    agent.input_len = agent.sent_len = 0;
    CHECK_ERROR(SPOP_OK, spop_client_config_init(&client_config, sizeof client_config));
    client_config.hello_timeout = 60;
    client = client_side(&client_config);
    CHECK_ERROR(SPOP_OK, spop_client_poll_timeout(client.client, &at));
    CHECK(at == 60);
    CHECK_ERROR(SPOP_OK, spop_client_handle_timeout(client.client, 59));
    join(&client, &agent);
    CHECK_ERROR(SPOP_END, spop_client_poll_timeout(client.client, &at));
    CHECK_ERROR(SPOP_OK, spop_client_handle_timeout(client.client, 1000));
    CHECK_ERROR(SPOP_OK, spop_agent_handle_timeout(agent.agent, 499));
    CHECK_ERROR(SPOP_E_IDLE_TIMEOUT, spop_agent_handle_timeout(agent.agent, 500));
    join(&client, &agent);
    CHECK(client.events[SPOP_EVENT_DISCONNECT] == 1);

    CHECK_ERROR(SPOP_OK, spop_client_init(client.memory, spop_client_size(), &client_config, &client.client));
    CHECK_ERROR(SPOP_E_HELLO_TIMEOUT, spop_client_handle_timeout(client.client, 60));
    end(&client);
    end(&agent);
}

/* The transport ends: how many were open, and nothing more is sent. */
static void broken_off(void)
{
    struct side client, agent;

    current = "broken off";
    connect_both(&client, &agent, SPOP_CAP_PIPELINING, SPOP_CAP_PIPELINING, 0);
    notify(&client, 1, 1, 1);
    notify(&client, 3, 1, 1);
    join(&client, &agent);
    CHECK(spop_agent_eof(agent.agent) == 2 && spop_client_eof(client.client) == 2);
    CHECK_ERROR(SPOP_E_NOT_OPEN, answer(&agent, agent.tickets[0]));
    feed(&agent, "anything", 8);
    feed(&client, "anything", 8);
    CHECK(agent.input_len == 0 && agent.sent_len == 0 && want_close(&agent) && want_close(&client));
    end(&client);
    end(&agent);
}

int main(void)
{
    pipelining();
    fragments();
    full_ack();
    healthcheck();
    timeouts();
    broken_off();
    printf("pair: pipelining, fragments, full ACK, health check, timeouts, ends\n");
    return 0;
}
