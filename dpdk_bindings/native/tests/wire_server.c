#include "wire_server.h"

#include "check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define MESSAGE_MAX (1u << 20)

struct wire_server {
    int listener;
    unsigned port;
    bw_tls_context *tls;
    void (*talk)(wire_peer *peer, void *context);
    void *context;
    pthread_t thread;
    bw_ws *ws;
};

static void wait_for(int descriptor, short what) {
    struct pollfd one = {.fd = descriptor, .events = what};
    poll(&one, 1, -1);
}

bool wire_send(wire_peer *peer, const void *data, size_t bytes) {
    const char *at = data;
    while (bytes) {
        ssize_t sent = peer->tls ? bw_tls_write(peer->tls, at, bytes)
                                 : peer->transport->ops->write(peer->transport, at, bytes);
        if (sent < 0) return false;
        if (sent == 0) wait_for(peer->descriptor, POLLOUT);
        at += sent;
        bytes -= (size_t)sent;
    }
    return true;
}

bool wire_send_text(wire_peer *peer, const char *text, size_t bytes) {
    char frame[BW_WS_HEADER_MAX + 8192];
    CHECK(bytes <= 8192);
    size_t header = bw_ws_header((uint8_t *)frame, BW_WS_OP_TEXT, bytes, NULL);
    memcpy(frame + header, text, bytes);
    return wire_send(peer, frame, header + bytes);
}

static bool fill(wire_peer *peer) {
    for (;;) {
        size_t room;
        int64_t stamp;
        uint8_t *into = bw_ws_room(peer->ws, &room);
        ssize_t got = peer->tls ? bw_tls_read(peer->tls, into, room, &stamp)
                                : peer->transport->ops->read(peer->transport, into, room, &stamp);
        if (got < 0) return false;
        bw_ws_filled(peer->ws, (size_t)got);
        if (got) return true;
        wait_for(peer->descriptor, POLLIN);
    }
}

bool wire_receive(wire_peer *peer, bw_ws_event *event) {
    while (bw_ws_next(peer->ws, event) == BW_WS_NONE) {
        if (!fill(peer)) return false;
    }
    return true;
}

static bool upgrade(wire_peer *peer) {
    bw_upgrade request;
    char response[256];
    int head;
    for (;;) {
        size_t bytes;
        const char *data = bw_ws_unparsed(peer->ws, &bytes);
        head = bw_upgrade_request_parse(data, bytes, &request);
        if (head) break;
        if (!fill(peer)) return false;
    }
    if (head < 0 || !request.upgrade) return false;
    bw_ws_skip(peer->ws, (size_t)head);
    return wire_send(peer, response, (size_t)bw_upgrade_response(response, sizeof response, request.key));
}

static bool handshake(wire_peer *peer) {
    int result;
    while (peer->tls && (result = bw_tls_handshake(peer->tls)) != 1) {
        if (result < 0) return false;
        wait_for(peer->descriptor, POLLIN);
    }
    return true;
}

static void *serve(void *argument) {
    wire_server *server = argument;
    for (;;) {
        wire_peer peer = {.descriptor = accept(server->listener, NULL, NULL), .ws = server->ws};
        if (peer.descriptor < 0) return NULL; /* shut down */
        peer.transport = bw_socket_adopt(peer.descriptor);
        if (server->tls) peer.tls = bw_tls_server(server->tls, peer.transport);
        bw_ws_reset(peer.ws);
        if (handshake(&peer) && upgrade(&peer)) server->talk(&peer, server->context);
        if (peer.tls) bw_tls_shutdown(peer.tls);
        bw_tls_free(peer.tls);
        peer.transport->ops->close(peer.transport);
    }
}

wire_server *wire_server_start(const char *certificate_file, const char *key_file,
                               void (*talk)(wire_peer *peer, void *context), void *context) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    char error[512] = "";
    wire_server *server = calloc(1, sizeof *server);
    CHECK(server);
    server->talk = talk;
    server->context = context;
    server->ws = bw_ws_new(BW_WS_SERVER, MESSAGE_MAX, false);
    if (certificate_file) {
        server->tls = bw_tls_server_context(certificate_file, key_file, error, sizeof error);
        if (!server->tls) fprintf(stderr, "%s\n", error);
        CHECK(server->tls);
    }
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(server->listener, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(server->listener, 64) == 0);
    CHECK(getsockname(server->listener, (struct sockaddr *)&address, &bytes) == 0);
    server->port = ntohs(address.sin_port);
    CHECK(pthread_create(&server->thread, NULL, serve, server) == 0);
    return server;
}

unsigned wire_server_port(const wire_server *server) {
    return server->port;
}

void wire_server_stop(wire_server *server) {
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listener);
    bw_tls_context_free(server->tls);
    bw_ws_free(server->ws);
    free(server);
}
