/* What both floors share: WebSocket clients of the bench accepted, and the one text frame they are sent. */
#ifndef FLOOR_ACCEPT_H
#define FLOOR_ACCEPT_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define FLOOR_HEADER_BYTES 4u
#define FLOOR_SEND_BUFFER_BYTES (256 << 10) /* as the gateway asks for by default */

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* Anywhere; prints the port. */
static int floor_listen(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, size) || listen(fd, 1024)) fail("listen");
    if (getsockname(fd, (struct sockaddr *)&at, &size)) fail("getsockname");
    printf("%u\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

/* The next client, upgraded (every client of the bench uses one key), its subscribe text read. */
static int floor_accept(int listener) {
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                 "Connection: Upgrade\r\n"
                                 "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    char request[2048];
    size_t have = 0;
    int on = 1, buffer = FLOOR_SEND_BUFFER_BYTES, fd = accept(listener, NULL, NULL);
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

/* A final text frame of `bytes` spaces, 126 to 65,535 of them, behind its header. */
static void floor_frame(uint8_t *frame, size_t bytes) {
    if (bytes < 126 || bytes > 65535) fail("arguments");
    memset(frame, ' ', FLOOR_HEADER_BYTES + bytes);
    memcpy(frame, (uint8_t[]){0x81, 126, (uint8_t)(bytes >> 8), (uint8_t)bytes}, FLOOR_HEADER_BYTES);
}

#endif
