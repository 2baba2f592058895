/* A load generator that checks every answer of the ip_reputation agent: load ADDRESS CONNECTIONS IN-FLIGHT COUNT */
#define _POSIX_C_SOURCE 200809L

#include <time.h>

#include "net.h"

#define BUF (64 * 1024)

struct connection {
    int fd;
    spop_client *client;
    unsigned long next, answered;
    size_t in_len;
    char in[BUF], out[BUF];
};

/* The address that NOTIFY `n` asks for, and its score. */
static int64_t address(unsigned long n, unsigned char *ip)
{
    ip[0] = 10, ip[1] = (unsigned char)(n >> 16), ip[2] = (unsigned char)(n >> 8), ip[3] = (unsigned char)n;
    return (ip[0] + ip[1] + ip[2] + ip[3]) % 101;
}

static void check_ack(struct connection *c, spop_ack_event *ack)
{
    unsigned char ip[4];
    int64_t score = address(ack->stream_id, ip);
    spop_action action;
    CHECK_ERROR(SPOP_OK, spop_action_next(&ack->actions, &action));
    CHECK(action.type == SPOP_ACTION_SET_VAR && action.scope == SPOP_SCOPE_SESSION);
    CHECK(spop_bytes_eq(action.name, SPOP_LIT("ip_score")));
    CHECK(action.value.type == SPOP_TYPE_INT64 && action.value.as.int64 == score);
    CHECK_ERROR(SPOP_END, spop_action_next(&ack->actions, &action));
    c->answered++;
}

/* Keeps `in_flight` NOTIFYs in flight, as long as there are some left. */
static void fill(struct connection *c, size_t in_flight, unsigned long count)
{
    size_t out_len = 0, len;
    while (c->next < count && spop_client_in_flight(c->client) < in_flight && BUF - out_len > 256) {
        unsigned char ip[4];
        spop_writer notify;
        spop_value value;
        address(c->next, ip);
        value = spop_ipv4(ip);
        CHECK_ERROR(SPOP_OK, spop_notify_begin(c->client, c->next, 1, c->out + out_len, BUF - out_len, &notify));
        CHECK_ERROR(SPOP_OK, spop_notify_message(&notify, SPOP_LIT("check-client-ip")));
        CHECK_ERROR(SPOP_OK, spop_notify_arg(&notify, SPOP_LIT("ip"), &value));
        CHECK_ERROR(SPOP_OK, spop_notify_finish(&notify, &len));
        out_len += len;
        c->next++;
    }
    send_all(c->fd, c->out, out_len);
}

/* Reads what is there; true once the agent has ended the connection. */
static int turn(struct connection *c, size_t in_flight, unsigned long count)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, BUF - c->in_len, 0);
    size_t used, done = 0, len;
    spop_event event;
    spop_error err;

    CHECK(n > 0);
    c->in_len += (size_t)n;
    while ((err = spop_client_recv(c->client, c->in + done, c->in_len - done, &used, &event)) == SPOP_OK) {
        done += used;
        if (event.type == SPOP_EVENT_ACK)
            check_ack(c, &event.as.ack);
        else
            CHECK(event.type == SPOP_EVENT_HELLO || (event.type == SPOP_EVENT_DISCONNECT && c->answered == count));
    }
    CHECK(err == SPOP_AGAIN || err == SPOP_END);
    done += used;
    memmove(c->in, c->in + done, c->in_len - done);
    c->in_len -= done;
    if (err == SPOP_END)
        return 1;
    if (c->answered == count) {
        CHECK_ERROR(SPOP_OK, spop_client_close(c->client, SPOP_STATUS_NORMAL));
        while (spop_client_send(c->client, c->out, BUF, &len) == SPOP_OK)
            send_all(c->fd, c->out, len);
    }
    fill(c, in_flight, count);
    return 0;
}

int main(int argc, char **argv)
{
    struct connection *all;
    struct pollfd fds[256];
    struct timespec start, now;
    int connections = argc == 5 ? atoi(argv[2]) : 0, i, left;
    unsigned long in_flight, each;
    double seconds;
    size_t len;

    if (connections < 1 || connections > 256) {
        fprintf(stderr, "usage: load ADDRESS CONNECTIONS IN-FLIGHT COUNT\n");
        return 2;
    }
    current = "load";
    in_flight = strtoul(argv[3], NULL, 10);
    each = strtoul(argv[4], NULL, 10) / (unsigned long)connections;
    all = (struct connection *)calloc((size_t)connections, sizeof *all);
    CHECK(all != NULL && in_flight > 0 && in_flight <= SPOP_MAX_OPEN && each > 0);
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (i = 0; i < connections; i++) {
        struct connection *c = &all[i];
        CHECK_ERROR(SPOP_OK, spop_client_init(malloc(spop_client_size()), spop_client_size(), NULL, &c->client));
        fds[i].fd = c->fd = dial(argv[1]);
        fds[i].events = POLLIN;
        CHECK_ERROR(SPOP_OK, spop_client_send(c->client, c->out, BUF, &len));
        send_all(c->fd, c->out, len);
    }
    for (left = connections; left > 0;) {
        CHECK(poll(fds, (nfds_t)connections, 30000) > 0);
        for (i = 0; i < connections; i++) {
            if (fds[i].fd >= 0 && fds[i].revents && turn(&all[i], in_flight, each)) {
                close(fds[i].fd);
                fds[i].fd = -1;
                free(all[i].client);
                left--;
            }
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    seconds = (double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9;
    printf("%lu ACKs in %.3f s\n", each * (unsigned long)connections, seconds);
    free(all);
    return 0;
}
