/* The floor of a fan-out: a bare loop of send() over N sockets, nothing decided, nothing looked up.
 *
 *   send_floor N BYTES RATE busy|sleep
 *
 * Prints its port, accepts N WebSocket clients (the upgrade is answered with the key every client of
 * the bench uses), waits for a subscribe text from each and then sends one text frame of BYTES to all,
 * RATE times a second. "busy" waits for the next time by looking at the clock, "sleep" by sleeping.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEADER_BYTES 4u
#define SEND_BUFFER_BYTES (256 << 10) /* as the gateway asks for by default */

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int64_t ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000 + now.tv_nsec;
}

static int listen_anywhere(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, size) || listen(fd, 1024)) fail("listen");
    if (getsockname(fd, (struct sockaddr *)&at, &size)) fail("getsockname");
    printf("%u\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

static int accept_one(int listener) {
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                 "Connection: Upgrade\r\n"
                                 "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    char request[2048];
    size_t have = 0;
    int on = 1, buffer = SEND_BUFFER_BYTES, fd = accept(listener, NULL, NULL);
    if (fd < 0) fail("accept");
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while (!memmem(request, have, "\r\n\r\n", 4)) {
        ssize_t got = recv(fd, request + have, sizeof request - have, 0);
        if (got <= 0) fail("recv");
        have += (size_t)got;
    }
    if (send(fd, answer, sizeof answer - 1, 0) < 0) fail("send");
    if (recv(fd, request, sizeof request, 0) <= 0) fail("recv"); /* the subscribe */
    return fd;
}

static void wait_until(int64_t when, int busy) {
    if (busy) {
        while (ns(CLOCK_MONOTONIC) < when) __builtin_ia32_pause();
        return;
    }
    struct timespec until = {when / 1000000000, when % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL)) continue;
}

int main(int argc, char **argv) {
    if (argc < 5) return fprintf(stderr, "send_floor N BYTES RATE busy|sleep\n"), 2;
    size_t count = strtoul(argv[1], NULL, 10), bytes = strtoul(argv[2], NULL, 10);
    int64_t step = 1000000000 / strtol(argv[3], NULL, 10);
    int listener = listen_anywhere(), *fd = calloc(count, sizeof *fd);
    uint8_t *frame = malloc(HEADER_BYTES + bytes + 64);
    if (!fd || !frame || bytes < 126 || bytes > 65535) fail("arguments");
    for (size_t i = 0; i < count; i++) fd[i] = accept_one(listener);
    memset(frame, ' ', HEADER_BYTES + bytes);
    memcpy(frame, (uint8_t[]){0x81, 126, (uint8_t)(bytes >> 8), (uint8_t)bytes}, HEADER_BYTES);
    for (int64_t next = ns(CLOCK_MONOTONIC) + step;; next += step) {
        wait_until(next, argv[4][0] == 'b');
        char stamp[48];
        int length = snprintf(stamp, sizeof stamp, "{\"pub_ns\":%lld,", (long long)ns(CLOCK_REALTIME));
        memcpy(frame + HEADER_BYTES, stamp, (size_t)length);
        for (size_t i = 0; i < count; i++)
            /* the clients left */
            if (send(fd[i], frame, HEADER_BYTES + bytes, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) return 0;
    }
}
