/* What receiving costs, one frame a record: a bare OpenSSL loop, bw_tls alone, and with bw_websocket.
 *
 *   tls_receive CERTIFICATE KEY CA FRAME_BYTES ROUNDS
 *
 * One thread, one loopback TCP connection a contestant. A round: the server side writes records until
 * the burst is in the receiver's socket buffer, then the receiver drains it; only the draining is
 * timed, in CPU of the thread. Contestants take turns. Prints ns a record of each, medians over rounds.
 */
#include "tls.h"
#include "websocket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BURST 64u
#define ROUNDS_MAX 4096u

enum way { WAY_BARE, WAY_TLS, WAY_WEBSOCKET, WAYS };
static const char *const way_name[WAYS] = {"bare", "bw_tls", "bw_tls_websocket"};

typedef struct contestant {
    SSL *server, *bare;
    bw_tls *tls;
    bw_ws *ws;
    int64_t spent[ROUNDS_MAX];
} contestant;

static char buffer[1 << 16];

static void fail(const char *what) {
    fprintf(stderr, "tls_receive: %s\n", what);
    exit(1);
}

static int64_t cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1000000000 + now.tv_nsec;
}

static void connect_pair(int pair[2]) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&at, size) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&at, &size) ||
        connect(pair[0], (struct sockaddr *)&at, size))
        fail("connect");
    pair[1] = accept(listener, NULL, NULL);
    close(listener);
    for (int i = 0; i < 2; i++) {
        setsockopt(pair[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        fcntl(pair[i], F_SETFL, O_NONBLOCK);
    }
}

static SSL_CTX *bare_context(const char *ca) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_read_ahead(context, 1); /* or every record costs two reads of the socket */
    SSL_CTX_set_default_read_buffer_len(context, 1 << 16);
    if (SSL_CTX_load_verify_locations(context, ca, NULL) != 1) fail("CA");
    return context;
}

static void handshake(contestant *one, enum way way, SSL_CTX *server, SSL_CTX *bare,
                      bw_tls_context *context) {
    int pair[2];
    connect_pair(pair);
    one->server = SSL_new(server);
    SSL_set_fd(one->server, pair[1]);
    if (way == WAY_BARE) {
        one->bare = SSL_new(bare);
        SSL_set_tlsext_host_name(one->bare, "localhost");
        SSL_set1_host(one->bare, "localhost");
        SSL_set_fd(one->bare, pair[0]);
    } else {
        one->tls = bw_tls_client(context, bw_socket_adopt(pair[0]), "localhost");
        one->ws = bw_ws_new(BW_WS_CLIENT, 1 << 20, false);
    }
    bool ours = false, theirs = false;
    for (int tries = 0; !(ours && theirs); tries++) {
        if (tries > 100000 || (one->tls && bw_tls_handshake(one->tls) < 0)) fail("handshake");
        ours = one->tls ? bw_tls_handshake(one->tls) == 1 : SSL_connect(one->bare) == 1;
        theirs = SSL_accept(one->server) == 1;
    }
}

static uint32_t drain(contestant *one, enum way way, uint32_t wanted) {
    uint32_t records = 0;
    bw_ws_event event;
    while (records < wanted) {
        int64_t receive_ns;
        if (way == WAY_BARE) {
            if (SSL_read(one->bare, buffer, sizeof buffer) <= 0) break;
            records++;
        } else if (way == WAY_TLS) {
            ssize_t got = bw_tls_read(one->tls, buffer, sizeof buffer, &receive_ns);
            if (got <= 0) break;
            records++;
        } else {
            size_t room;
            uint8_t *to = bw_ws_room(one->ws, &room);
            ssize_t got = bw_tls_read(one->tls, to, room, &receive_ns);
            if (got <= 0) break;
            bw_ws_filled(one->ws, (size_t)got);
            while (bw_ws_next(one->ws, &event) == BW_WS_TEXT) records++;
        }
    }
    return records;
}

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc < 6) return fprintf(stderr, "tls_receive CERTIFICATE KEY CA FRAME_BYTES ROUNDS\n"), 2;
    size_t bytes = strtoul(argv[4], NULL, 10);
    uint32_t rounds = (uint32_t)strtoul(argv[5], NULL, 10);
    char error[256] = "", *frame = malloc(bytes + BW_WS_HEADER_MAX);
    SSL_CTX *server = SSL_CTX_new(TLS_server_method());
    if (rounds > ROUNDS_MAX || SSL_CTX_use_certificate_chain_file(server, argv[1]) != 1 ||
        SSL_CTX_use_PrivateKey_file(server, argv[2], SSL_FILETYPE_PEM) != 1)
        fail("arguments");
    bw_tls_context *context = bw_tls_client_context(argv[3], error, sizeof error);
    if (!context || !frame) fail(error);
    size_t head = bw_ws_header((uint8_t *)frame, BW_WS_OP_TEXT, bytes, NULL);
    memset(frame + head, 'x', bytes);
    static contestant all[WAYS];
    SSL_CTX *bare = bare_context(argv[3]);
    for (int way = 0; way < WAYS; way++) handshake(&all[way], way, server, bare, context);
    for (uint32_t round = 0; round < rounds; round++)
        for (int way = 0; way < WAYS; way++) {
            contestant *one = &all[way];
            for (uint32_t i = 0; i < BURST; i++)
                if (SSL_write(one->server, frame, (int)(head + bytes)) <= 0) fail("SSL_write");
            int64_t started = cpu_ns();
            uint32_t records = drain(one, way, BURST);
            one->spent[round] = cpu_ns() - started;
            if (records != BURST) fail("records are missing");
        }
    for (int way = 0; way < WAYS; way++) {
        qsort(all[way].spent, rounds, sizeof(int64_t), ascending);
        printf("%s\"%s\":%.1f", way ? "," : "{", way_name[way], (double)all[way].spent[rounds / 2] / BURST);
    }
    printf("}\n");
}
