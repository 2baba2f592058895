/*
 * A whole agent in a hundred lines: it rates the address in `ip` of each message by sess.<prefix>.ip_score.
 *
 *   cc -O2 -o score score.c $(pkg-config --cflags --libs spop)
 *   ./score 12345        # a port of 127.0.0.1; 0 is a free one
 *
 * Many connections, one thread, poll(). SIGTERM or Ctrl-C: what is open is answered, HAProxy gets its DISCONNECT.
 */
#define _POSIX_C_SOURCE 200809L

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <spop_conn.h>

#define MAX_CONNECTIONS 256
#define GRACE_MS 5000

static volatile sig_atomic_t stopping;

static void on_signal(int signal)
{
    (void)signal;
    stopping = 1;
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Your part. */
static void answer(void *context, spop_notify_event *notify, spop_writer *ack)
{
    spop_message message;
    spop_value ip, score;
    (void)context;
    while (spop_message_next(&notify->messages, &message) == SPOP_OK)
        if (spop_arg_find(&message, SPOP_LIT("ip"), &ip) == SPOP_OK && ip.type == SPOP_TYPE_IPV4) {
            score = spop_int64(ip.as.ipv4[3] % 101);
            spop_ack_set_var(ack, SPOP_SCOPE_SESSION, SPOP_LIT("ip_score"), &score);
        }
}

int main(int argc, char **argv)
{
    static spop_conn *conns[MAX_CONNECTIONS];
    struct pollfd fds[1 + MAX_CONNECTIONS];
    struct sockaddr_in addr = {0};
    socklen_t len = sizeof addr;
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, count = 0, i;
    struct sigaction action = {0};
    uint64_t end = UINT64_MAX; /* until the connections were told */
    spop_agent_config config;
    spop_agent_config_init(&config, sizeof config);
    config.max_frame_size = 16380;
    config.reassembly_len = 64 * 1024;
    config.hello_timeout = 10000, config.half_frame_timeout = 30000, config.idle_timeout = 120000;
    action.sa_handler = on_signal;
    sigaction(SIGTERM, &action, NULL), sigaction(SIGINT, &action, NULL);
    addr.sin_family = AF_INET, addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    addr.sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 12345));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&addr, len) < 0 || listen(listener, 128) < 0 || fcntl(listener, F_SETFL, O_NONBLOCK) < 0)
        return perror("score: cannot listen"), 1;
    getsockname(listener, (struct sockaddr *)&addr, &len);
    printf("listening on 127.0.0.1:%d\n", ntohs(addr.sin_port)), fflush(stdout);
    while (!stopping || (count > 0 && now_ms() < end)) {
        int tells = stopping && end == UINT64_MAX, polled = count, fd, timeout = stopping ? 10 : 1000; /* a signal may come before poll() */
        for (i = 0; i < count; i++) {
            fds[1 + i].fd = conns[i]->fd, fds[1 + i].events = spop_conn_events(conns[i]), fds[1 + i].revents = 0;
            timeout = spop_conn_timeout(conns[i], now_ms(), timeout);
        }
        fds[0].fd = stopping ? -1 : listener, fds[0].events = POLLIN, fds[0].revents = 0;
        tells = poll(fds, (nfds_t)(1 + polled), timeout) >= 0 && tells; /* else a signal: what can be read is told the next time */
        for (i = polled; i-- > 0;) /* backwards: the last one takes the place of one that is over */
            if (!spop_conn_turn(conns[i], fds[1 + i].revents, now_ms(), answer, NULL)) {
                spop_conn_end(conns[i]), free(conns[i]);
                conns[i] = conns[--count];
            }
        for (i = 0; tells && i < count; i++) /* what was there when poll() looked has been read: nothing more is */
            spop_conn_stop(conns[i]), end = now_ms() + GRACE_MS;
        if ((fds[0].revents & POLLIN) && (fd = accept(listener, NULL, NULL)) >= 0) {
            void *memory = count < MAX_CONNECTIONS ? malloc(spop_conn_size(&config)) : NULL;
            fcntl(fd, F_SETFL, O_NONBLOCK), setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            if (memory && (conns[count] = spop_conn_init(memory, &config, fd, 30000, now_ms())) != NULL)
                count++;
            else
                close(fd), free(memory);
        }
    }
    return 0;
}
