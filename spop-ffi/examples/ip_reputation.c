/*
 * An agent that rates client addresses (SPOA): it answers every message that has an argument "ip" by
 * sess.<prefix>.ip_score, 42 for 192.0.2.17, else the sum of the address's bytes modulo 101.
 *
 *   cc -O2 -o ip_reputation ip_reputation.c $(pkg-config --cflags --libs spop)
 *   ./ip_reputation 127.0.0.1:12345 unix:/run/ip_reputation.sock
 *
 * One thread and poll(); spop_conn.h has the connections. SIGTERM, SIGINT and SIGUSR1 (HAProxy's word to a
 * `program`) stop it: it answers what is open, sends DISCONNECT and ends, after 5 seconds at the latest. SIGHUP does nothing.
 * Connections that are idle or do not read are ended, and those beyond the limit closed at once, with a word in the log.
 */
#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include <spop_conn.h>

#define MAX_LISTENERS 8
#define MAX_CONNECTIONS 256
#define MAX_FRAME_SIZE 16380
#define REASSEMBLY (64 * 1024)
#define GRACE_MS 5000
#define HELLO_MS 10000
#define HALF_FRAME_MS 30000
#define WRITE_MS 30000
#ifndef IDLE_MS
#define IDLE_MS 120000 /* HAProxy ends what it does not need; this is for those who just sit there */
#endif

static spop_conn *connections[MAX_CONNECTIONS];
static size_t connection_count;
static unsigned long accepted, acks, failed, idle, refused;
static int stop_pipe[2];

static void on_signal(int signal)
{
    if (write(stop_pipe[1], "", 1) < 0)
        _exit(128 + signal);
}

static void on_hangup(int signal)
{
    static const char said[] = "ip_reputation: SIGHUP is ignored\n";
    if (write(STDERR_FILENO, said, sizeof said - 1) < 0)
        (void)signal; /* nobody reads it */
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void die(const char *what, const char *which)
{
    fprintf(stderr, "ip_reputation: %s %s: %s\n", what, which, strerror(errno));
    exit(1);
}

static int64_t rate(const spop_value *ip)
{
    static const uint8_t bad[4] = {192, 0, 2, 17};
    const uint8_t *bytes = ip->type == SPOP_TYPE_IPV4 ? ip->as.ipv4 : ip->as.ipv6;
    int i, len = ip->type == SPOP_TYPE_IPV4 ? 4 : 16, sum = 0;
    for (i = 0; i < len; i++)
        sum += bytes[i];
    return len == 4 && memcmp(bytes, bad, 4) == 0 ? 42 : sum % 101;
}

/* Answers a NOTIFY. */
static void answer(void *context, spop_notify_event *notify, spop_writer *ack)
{
    spop_message message;
    spop_value ip, score;
    (void)context;
    while (spop_message_next(&notify->messages, &message) == SPOP_OK) {
        if (spop_arg_find(&message, SPOP_LIT("ip"), &ip) != SPOP_OK ||
            (ip.type != SPOP_TYPE_IPV4 && ip.type != SPOP_TYPE_IPV6))
            continue;
        score = spop_int64(rate(&ip));
        if (spop_ack_set_var(ack, SPOP_SCOPE_SESSION, SPOP_LIT("ip_score"), &score) != SPOP_OK)
            break; /* the frame is full: HAProxy gets what is in it */
    }
}

/* One turn of a connection; false if it is over. */
static int turn(spop_conn *c, short found) { return spop_conn_turn(c, found, now_ms(), answer, NULL); }

static void drop(size_t i)
{
    spop_conn *c = connections[i];
    if (c->error < 0 && c->error != SPOP_E_IDLE_TIMEOUT)
        fprintf(stderr, "ip_reputation: %s\n", spop_strerror(c->error));
    idle += c->error == SPOP_E_IDLE_TIMEOUT;
    failed += c->failed != 0;
    acks += c->acks;
    spop_conn_end(c);
    free(c);
    connections[i] = connections[--connection_count];
}

/* Too many are here: HAProxy learns it at once and goes elsewhere, and the log says it once a second. */
static void refuse(int listener)
{
    static uint64_t said;
    close(accept(listener, NULL, NULL));
    refused++;
    if (said == 0 || now_ms() - said >= 1000) {
        said = now_ms();
        fprintf(stderr, "ip_reputation: connection refused: %d are open (%lu refused so far)\n", MAX_CONNECTIONS, refused);
    }
}

static void welcome(int listener)
{
    spop_conn *c;
    void *memory;
    int fd = accept(listener, NULL, NULL), one = 1;
    spop_agent_config config;
    spop_agent_config_init(&config, sizeof config);
    config.max_frame_size = MAX_FRAME_SIZE;
    config.hello_timeout = HELLO_MS;
    config.half_frame_timeout = HALF_FRAME_MS;
    config.idle_timeout = IDLE_MS;
    config.reassembly_len = REASSEMBLY;
    memory = fd < 0 ? NULL : malloc(spop_conn_size(&config));
    c = memory ? spop_conn_init(memory, &config, fd, WRITE_MS, now_ms()) : NULL;
    if (!c) {
        free(memory), close(fd);
        return;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* fails on a unix socket, which does not need it */
    connections[connection_count++] = c;
    accepted++;
}

/* Removes the socket that a process left behind; one that is in use, and any other file, stays, and bind() fails. */
static void remove_stale(const struct sockaddr_un *un)
{
    struct stat file;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (lstat(un->sun_path, &file) == 0 && S_ISSOCK(file.st_mode) &&
        connect(fd, (const struct sockaddr *)un, sizeof *un) < 0 && errno == ECONNREFUSED)
        unlink(un->sun_path);
    close(fd);
}

/* Listens on ADDRESS:PORT or unix:PATH and says where. */
static int listen_on(const char *where)
{
    struct sockaddr_storage addr = {0};
    socklen_t len = sizeof addr;
    const char *colon = strrchr(where, ':');
    char host[64] = "";
    int fd, one = 1;
    if (strncmp(where, "unix:", 5) == 0) {
        struct sockaddr_un *un = (struct sockaddr_un *)&addr;
        un->sun_family = AF_UNIX;
        if (strlen(where + 5) >= sizeof un->sun_path)
            errno = ENAMETOOLONG, die("cannot listen on", where);
        strcpy(un->sun_path, where + 5);
        remove_stale(un);
        len = sizeof *un;
    } else {
        struct addrinfo hints = {0}, *found;
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
        hints.ai_socktype = SOCK_STREAM;
        if (colon)
            snprintf(host, sizeof host, "%.*s", (int)(colon - where), where);
        if (!colon || getaddrinfo(host, colon + 1, &hints, &found) != 0)
            errno = EINVAL, die(where, "is neither ADDRESS:PORT nor unix:PATH");
        memcpy(&addr, found->ai_addr, len = found->ai_addrlen);
        freeaddrinfo(found);
    }
    fd = socket(addr.ss_family, SOCK_STREAM, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, 128) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
        die("cannot listen on", where);
    if (addr.ss_family == AF_UNIX)
        printf("listening on %s\n", where);
    else /* the port stands at the same place in IPv4 and IPv6 */
        printf("listening on %s:%d\n", host, ntohs(((struct sockaddr_in *)&addr)->sin_port));
    fflush(stdout);
    return fd;
}

/* Says what to wait for; the milliseconds until the next timeout of a connection, at most `timeout` unless that is -1. */
static int prepare(struct pollfd *fds, int timeout)
{
    size_t k;
    for (k = 0; k < connection_count; k++) {
        fds[k].fd = connections[k]->fd;
        fds[k].events = spop_conn_events(connections[k]);
        timeout = spop_conn_timeout(connections[k], now_ms(), timeout);
    }
    return timeout;
}

int main(int argc, char **argv)
{
    struct pollfd fds[1 + MAX_LISTENERS + MAX_CONNECTIONS];
    int listeners = 0, stopping = 0, i;
    uint64_t stop_at = 0, now = 0;
    size_t k;
    struct sigaction action = {0}, hangup = {0};
    action.sa_handler = on_signal, hangup.sa_handler = on_hangup;
    if (pipe(stop_pipe) < 0 || sigaction(SIGTERM, &action, NULL) < 0 || sigaction(SIGINT, &action, NULL) < 0 ||
        sigaction(SIGUSR1, &action, NULL) < 0 || sigaction(SIGHUP, &hangup, NULL) < 0)
        die("cannot", "handle signals");
    fds[0].fd = stop_pipe[0], fds[0].events = POLLIN;
    if (argc < 2 || argc > 1 + MAX_LISTENERS)
        errno = EINVAL, die("usage: ip_reputation ADDRESS:PORT|unix:PATH ...,", "at most 8");
    for (; listeners < argc - 1; listeners++)
        fds[1 + listeners].fd = listen_on(argv[1 + listeners]);

    while (!stopping || (connection_count > 0 && (now = now_ms()) < stop_at)) {
        size_t polled = connection_count;
        int timeout = prepare(fds + 1 + listeners, stopping ? (int)(stop_at - now) : -1);
        for (i = 1; i <= listeners; i++)
            fds[i].events = POLLIN;
        if (poll(fds, (nfds_t)(1 + (size_t)listeners + polled), timeout) < 0)
            continue; /* a signal */
        for (k = polled; k-- > 0;) /* backwards, since drop() moves the last one */
            if (!turn(connections[k], fds[1 + (size_t)listeners + k].revents))
                drop(k);
        for (i = 1; i <= listeners; i++)
            if (fds[i].revents & POLLIN)
                (connection_count < MAX_CONNECTIONS ? welcome : refuse)(fds[i].fd);
        if (fds[0].revents & POLLIN) {
            stopping = 1, stop_at = now_ms() + GRACE_MS;
            fds[0].fd = -1;
            while (listeners > 0)
                close(fds[listeners--].fd);
            for (k = connection_count; k-- > 0;) {
                spop_conn_stop(connections[k]);
                if (!turn(connections[k], 0))
                    drop(k);
            }
        }
    }
    while (connection_count > 0)
        drop(connection_count - 1);
    fprintf(stderr, "ip_reputation: %lu connections, %lu idle, %lu refused, %lu ACKs, %lu errors\n", accepted, idle, refused,
            acks, failed);
    return 0;
}
