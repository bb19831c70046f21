/* N WebSocket subscribers in one process, timed by the kernel: who got which update when.
 *
 *   receivers PORT N STAMPED PATH SUBSCRIBE [LOOK_US]
 *
 * Connects N times to 127.0.0.1, upgrades, sends SUBSCRIBE, and prints "ready". Then lines on stdin:
 * "go" starts counting anew, "stop" prints one JSON line and ends. Every counted message carries
 * "pub_ns":<ns since the epoch>; the arrival is the kernel's own stamp on the packet, taken inside the
 * sender's send(), so that how late this process wakes does not matter. With STAMPED 0 nothing but
 * messages and bytes is counted: that is for saturation. LOOK_US > 0: nobody sleeps on the sockets, all
 * of them are read every so many us; a send() to them then wakes nobody.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_BYTES (256u << 10)
#define UPDATES_MAX (1u << 17) /* a power of two */

typedef struct subscriber {
    int fd;
    uint32_t have;
    uint8_t *data;
} subscriber;

typedef struct update {
    int64_t published_ns, first_ns, last_ns;
    uint32_t receivers;
} update;

static update *updates;
static uint64_t messages, bytes;
static int64_t started_ns;
static uint32_t subscribers;
static bool stamped;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int64_t wall_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000000 + now.tv_nsec;
}

static void send_text(int fd, const char *text) {
    size_t length = strlen(text);
    uint8_t frame[4096] = {0x81};
    size_t at = 2;
    frame[1] = (uint8_t)(0x80 | (length < 126 ? length : 126));
    if (length >= 126) frame[at++] = (uint8_t)(length >> 8), frame[at++] = (uint8_t)length;
    at += 4; /* a masking key of zeros */
    memcpy(frame + at, text, length);
    if (send(fd, frame, at + length, 0) < 0) fail("send");
}

static int open_one(uint16_t port, const char *path, const char *subscribe) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to)) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (stamped && setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on)) fail("SO_TIMESTAMPNS");
    char text[1024];
    int length = snprintf(text, sizeof text,
                          "GET %s HTTP/1.1\r\nHost: localhost:%u\r\nUpgrade: websocket\r\n"
                           "Connection: Upgrade\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                          path, port);
    if (send(fd, text, (size_t)length, 0) < 0) fail("send");
    size_t have = 0; /* the answer is read byte by byte: what follows it belongs to the stream */
    while (have < 4 || memcmp(text + have - 4, "\r\n\r\n", 4)) {
        if (have == sizeof text || recv(fd, text + have, 1, 0) != 1) fail("upgrade");
        have++;
    }
    if (memcmp(text, "HTTP/1.1 101", 12)) fail("upgrade refused");
    send_text(fd, subscribe);
    return fd;
}

static void count(const uint8_t *payload, size_t length, int64_t arrived_ns) {
    messages++;
    bytes += length;
    if (!stamped) return;
    const char *at = memmem(payload, length, "\"pub_ns\":", 9);
    if (!at) return;
    int64_t published = strtoll(at + 9, NULL, 10);
    if (published < started_ns) return;
    uint64_t slot = (uint64_t)published * 0x9E3779B97F4A7C15u >> 47;
    while (updates[slot & (UPDATES_MAX - 1)].published_ns &&
           updates[slot & (UPDATES_MAX - 1)].published_ns != published)
        slot++;
    update *found = &updates[slot & (UPDATES_MAX - 1)];
    if (!found->receivers || arrived_ns < found->first_ns) found->first_ns = arrived_ns;
    if (!found->receivers || arrived_ns > found->last_ns) found->last_ns = arrived_ns;
    found->published_ns = published;
    found->receivers++;
}

static void parse(subscriber *one, int64_t arrived_ns) {
    uint32_t at = 0;
    for (;;) {
        const uint8_t *frame = one->data + at;
        uint32_t left = one->have - at, head = 2;
        if (left < 2) break;
        uint64_t length = frame[1] & 127;
        if (length == 126) head = 4;
        if (length == 127) head = 10;
        if (left < head) break;
        if (head == 4) length = (uint64_t)frame[2] << 8 | frame[3];
        if (head == 10) {
            length = 0;
            for (int i = 2; i < 10; i++) length = length << 8 | frame[i];
        }
        if (left < head + length) break;
        if ((frame[0] & 15) <= 2) count(frame + head, length, arrived_ns);
        at += head + (uint32_t)length;
    }
    memmove(one->data, one->data + at, one->have - at);
    one->have -= at;
    if (one->have == BUFFER_BYTES) fail("a message larger than the buffer");
}

static void receive(subscriber *one) {
    union {
        struct cmsghdr align;
        char room[64];
    } control;
    struct iovec part = {one->data + one->have, BUFFER_BYTES - one->have};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = stamped ? control.room : NULL,
                             .msg_controllen = stamped ? sizeof control.room : 0};
    ssize_t got = recvmsg(one->fd, &message, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) fail("the server closed");
    int64_t arrived = 0;
    for (struct cmsghdr *c = stamped ? CMSG_FIRSTHDR(&message) : NULL; c; c = CMSG_NXTHDR(&message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec stamp;
            memcpy(&stamp, CMSG_DATA(c), sizeof stamp);
            arrived = stamp.tv_sec * 1000000000 + stamp.tv_nsec;
        }
    one->have += (uint32_t)got;
    parse(one, arrived ? arrived : wall_ns());
}

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void print_stage(const char *name, int64_t *values, uint32_t n) {
    qsort(values, n, sizeof *values, ascending);
    printf(",\"%s_p50_ns\":%lld,\"%s_p99_ns\":%lld", name, n ? (long long)values[n / 2] : 0LL, name,
           n ? (long long)values[(uint64_t)n * 99 / 100] : 0LL);
}

static void report(void) {
    int64_t *first = calloc(UPDATES_MAX, 8), *last = calloc(UPDATES_MAX, 8);
    uint32_t whole = 0, part = 0;
    if (!first || !last) fail("calloc");
    for (uint32_t i = 0; i < UPDATES_MAX; i++) {
        const update *one = &updates[i];
        if (one->receivers != subscribers) {
            part += one->receivers != 0;
            continue;
        }
        first[whole] = one->first_ns - one->published_ns;
        last[whole++] = one->last_ns - one->published_ns;
    }
    printf("{\"messages\":%llu,\"bytes\":%llu,\"seconds\":%.6f,\"updates\":%u,\"partial\":%u",
           (unsigned long long)messages, (unsigned long long)bytes, (double)(wall_ns() - started_ns) / 1e9,
            whole,
           part);
    print_stage("first", first, whole);
    print_stage("last", last, whole);
    printf("}\n");
    fflush(stdout);
}

static bool obey(void) {
    char line[16];
    if (!fgets(line, sizeof line, stdin) || !strncmp(line, "stop", 4)) return false;
    memset(updates, 0, UPDATES_MAX * sizeof *updates);
    messages = bytes = 0;
    started_ns = wall_ns();
    return true;
}

/* Reads all without sleeping on them; ends when told to. */
static void look(subscriber *all, useconds_t pause_us) {
    struct pollfd told = {.fd = 0, .events = POLLIN};
    for (;;) {
        usleep(pause_us);
        for (uint32_t i = 0; i < subscribers; i++) receive(&all[i]);
        if (poll(&told, 1, 0) > 0 && !obey()) return;
    }
}

int main(int argc, char **argv) {
    if (argc < 6) return fprintf(stderr, "receivers PORT N STAMPED PATH SUBSCRIBE [LOOK_US]\n"), 2;
    useconds_t pause_us = argc > 6 ? (useconds_t)atoi(argv[6]) : 0;
    subscribers = (uint32_t)atoi(argv[2]);
    stamped = argv[3][0] == '1';
    updates = calloc(UPDATES_MAX, sizeof *updates);
    subscriber *all = calloc(subscribers, sizeof *all);
    int events = epoll_create1(0);
    struct epoll_event ready[256] = {{.events = EPOLLIN, .data.ptr = NULL}};
    if (!updates || !all || events < 0 || epoll_ctl(events, EPOLL_CTL_ADD, 0, ready)) fail("start");
    for (uint32_t i = 0; i < subscribers; i++) {
        all[i].fd = open_one((uint16_t)atoi(argv[1]), argv[4], argv[5]);
        all[i].data = malloc(BUFFER_BYTES);
        struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = &all[i]};
        if (!all[i].data || epoll_ctl(events, EPOLL_CTL_ADD, all[i].fd, &wanted)) fail("epoll_ctl");
    }
    printf("ready\n");
    fflush(stdout);
    if (pause_us) return look(all, pause_us), report(), 0;
    for (;;) {
        int n = epoll_wait(events, ready, 256, -1);
        for (int i = 0; i < n; i++) {
            if (ready[i].data.ptr) receive(ready[i].data.ptr);
            else if (!obey()) return report(), 0;
        }
    }
}
