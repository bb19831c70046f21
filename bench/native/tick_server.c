/* An exchange reduced to its socket: TLS, one WebSocket client, recorded frames, one frame a record.
 *
 *   tick_server CERTIFICATE KEY FRAMES RATE
 *
 * Prints its port, accepts one client, upgrades it (CERTIFICATE "-": neither TLS nor upgrade, frames at once)
 * and plays the frames file (see bench/frames.py) over
 * and over, RATE messages a second (by sleeping to the next time), RATE 0: as fast as the client takes
 * them. Ends when the client leaves.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

static int plain_fd;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int accept_one(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    if (listener < 0 || bind(listener, (struct sockaddr *)&at, size) || listen(listener, 1)) fail("listen");
    if (getsockname(listener, (struct sockaddr *)&at, &size)) fail("getsockname");
    printf("%u\n", ntohs(at.sin_port));
    fflush(stdout);
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) fail("accept");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void upgrade(SSL *ssl) {
    char request[4096] = "", joined[128], answer[512];
    int have = 0;
    while (!strstr(request, "\r\n\r\n")) {
        int got = SSL_read(ssl, request + have, (int)sizeof request - 1 - have);
        if (got <= 0) fail("SSL_read");
        request[have += got] = 0;
    }
    const char *key = strcasestr(request, "Sec-WebSocket-Key: ");
    if (!key) fail("no key");
    snprintf(joined, sizeof joined, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + 19);
    uint8_t digest[SHA_DIGEST_LENGTH];
    char text[64];
    SHA1((const uint8_t *)joined, strlen(joined), digest);
    EVP_EncodeBlock((uint8_t *)text, digest, sizeof digest);
    int length = snprintf(answer, sizeof answer,
                          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Accept: %s\r\n\r\n", text);
    if (SSL_write(ssl, answer, length) != length) fail("SSL_write");
}

static int send_frame(SSL *ssl, const uint8_t *text, uint32_t bytes) {
    static uint8_t frame[1 << 24];
    uint32_t at = 2;
    if (bytes + 10 > sizeof frame) fail("frame too large");
    frame[0] = 0x81;
    frame[1] = (uint8_t)(bytes < 126 ? bytes : bytes < 65536 ? 126 : 127);
    if (bytes >= 65536)
        for (int shift = 56; shift >= 0; shift -= 8) frame[at++] = (uint8_t)((uint64_t)bytes >> shift);
    else if (bytes >= 126)
        frame[at++] = (uint8_t)(bytes >> 8), frame[at++] = (uint8_t)bytes;
    memcpy(frame + at, text, bytes);
    if (!ssl) return send(plain_fd, frame, at + bytes, 0) > 0;
    return SSL_write(ssl, frame, (int)(at + bytes)) > 0;
}

static void play(SSL *ssl, const uint8_t *data, size_t size, long rate) {
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    for (size_t at = 0;;) {
        uint32_t bytes;
        memcpy(&bytes, data + at, sizeof bytes);
        if (!send_frame(ssl, data + at + 4, bytes)) return;
        at += 4 + bytes;
        if (at >= size) at = 0;
        if (!rate) continue;
        next.tv_nsec += 1000000000 / rate;
        if (next.tv_nsec >= 1000000000) next.tv_nsec -= 1000000000, next.tv_sec++;
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL)) continue;
    }
}

static SSL *open_tls(int fd, const char *certificate, const char *key) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (!context || SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
        fail("certificate or key");
    SSL *ssl = SSL_new(context);
    if (!ssl || !SSL_set_fd(ssl, fd) || SSL_accept(ssl) != 1) fail("SSL_accept");
    upgrade(ssl);
    return ssl;
}

int main(int argc, char **argv) {
    if (argc < 5) return fprintf(stderr, "tick_server CERTIFICATE KEY FRAMES RATE\n"), 2;
    signal(SIGPIPE, SIG_IGN);
    int file = open(argv[3], O_RDONLY);
    struct stat about;
    if (file < 0 || fstat(file, &about)) fail(argv[3]);
    uint8_t *data = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (data == MAP_FAILED) fail("mmap");
    plain_fd = accept_one();
    SSL *ssl = argv[1][0] == '-' ? NULL : open_tls(plain_fd, argv[1], argv[2]);
    play(ssl, data, (size_t)about.st_size, strtol(argv[4], NULL, 10));
    return 0;
}
