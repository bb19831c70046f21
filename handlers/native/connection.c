/* Life of a connection: connecting, handshake, upgrade, open, closing, over. */
#include "connection_parts.h"

#include "clock.h"
#include "reserve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CONNECT_TIMEOUT_MS 10000u
#define CLOSE_TIMEOUT_NS INT64_C(1000000000)
#define MS INT64_C(1000000)

bool bw_connection_init(bw_connection *connection, bw_connection_host *host, uint32_t id) {
    connection->host = host;
    connection->id = id;
    connection->send = bw_reserve(BW_FEED_SEND_BYTES);
    return connection->send != NULL;
}

void bw_connection_free(bw_connection *connection) {
    bw_ws_free(connection->ws);
    bw_unreserve(connection->send, BW_FEED_SEND_BYTES);
}

static socklen_t socket_address(const char *text, uint16_t port, struct sockaddr_storage *out) {
    struct sockaddr_in *four = (struct sockaddr_in *)out;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        return sizeof *four;
    }
    if (inet_pton(AF_INET6, text, &six->sin6_addr) != 1) return 0;
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    return sizeof *six;
}

static bool prepare_ws(bw_connection *connection) {
    bool inflates = connection->spec.deflate;
    if (connection->ws && connection->ws_inflates == inflates) {
        bw_ws_reset(connection->ws);
        return true;
    }
    bw_ws_free(connection->ws);
    connection->ws = bw_ws_new(BW_WS_CLIENT, connection->host->message_bytes_max, inflates);
    connection->ws_inflates = inflates;
    return connection->ws != NULL;
}

enum bw_turn bw_connection_open(bw_connection *connection, const bw_connect_spec *spec, int64_t now_ns) {
    struct sockaddr_storage address, source;
    uint32_t timeout_ms = spec->connect_timeout_ms ? spec->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    int error = ENOMEM;
    connection->spec = *spec;
    connection->uses++;
    connection->told_down = connection->opened = false;
    connection->last_text = NULL;
    connection->peer_code = 0;
    connection->retry_after_s = 0;
    connection->send_begin = connection->send_end = 0;
    connection->deadline_ns = now_ns + timeout_ms * MS;
    memset(&connection->view, 0, sizeof connection->view);
    VIEW_SET(connection, state, BW_CONNECTION_CONNECTING);
    if (prepare_ws(connection)) {
        socklen_t bytes = socket_address(spec->address, spec->port, &address);
        socklen_t source_bytes = *spec->source_address ? socket_address(spec->source_address, 0, &source) : 0;
        const struct sockaddr *to = (const struct sockaddr *)&address;
        const struct sockaddr *from = source_bytes ? (const struct sockaddr *)&source : NULL;
        bw_network *network = connection->host->network;
        connection->transport = network ? network->ops->connect(network, to, from, &error)
                                        : bw_socket_connect(to, bytes, from, source_bytes,
                                                            connection->host->busy_poll_us, &error);
    }
    if (!connection->transport) {
        return bw_connection_end(connection, BW_CLOSE_CONNECT, error, strerror(error), now_ns);
    }
    return BW_TURN_IDLE;
}

static enum bw_turn start_upgrade(bw_connection *connection, int64_t now_ns) {
    const bw_connect_spec *spec = &connection->spec;
    char request[sizeof spec->path + sizeof spec->headers + sizeof spec->host + 512];
    char host[sizeof spec->host + 8];
    uint8_t nonce[16];
    bool usual = spec->port == (spec->secure ? 443 : 80);
    bool six = strchr(spec->host, ':') != NULL;
    snprintf(host, sizeof host, six ? "[%s]" : "%s", spec->host);
    if (!usual) snprintf(host + strlen(host), 8, ":%u", spec->port);
    bw_connection_random(connection->host, nonce, sizeof nonce);
    bw_upgrade_key(nonce, connection->key);
    int bytes = bw_upgrade_request(request, sizeof request, host, spec->path, spec->headers, spec->deflate,
                                   connection->key);
    if (bytes < 0 || !bw_connection_queue_raw(connection, request, (size_t)bytes)) {
        return bw_connection_end(connection, BW_CLOSE_UPGRADE, 0, "host, path or headers hold a line break",
                                 now_ns);
    }
    VIEW_SET(connection, state, BW_CONNECTION_UPGRADE);
    return BW_TURN_MORE;
}

static enum bw_turn turn_connecting(bw_connection *connection, int64_t now_ns) {
    int result = connection->transport->ops->connected(connection->transport);
    if (result == 0) return BW_TURN_IDLE;
    if (result < 0)
        return bw_connection_end(connection, BW_CLOSE_CONNECT, -result, strerror(-result), now_ns);
    if (!connection->spec.secure) return start_upgrade(connection, now_ns);
    connection->tls = bw_tls_client(connection->host->tls, connection->transport, connection->spec.host);
    if (!connection->tls) {
        return bw_connection_end(connection, BW_CLOSE_TLS, ENOMEM, "no host name to verify, or no memory",
                                 now_ns);
    }
    VIEW_SET(connection, state, BW_CONNECTION_HANDSHAKE);
    return BW_TURN_MORE;
}

static enum bw_turn turn_handshake(bw_connection *connection, int64_t now_ns) {
    int result = bw_tls_handshake(connection->tls);
    if (result == 0) return BW_TURN_IDLE;
    if (result < 0)
        return bw_connection_end(connection, BW_CLOSE_TLS, 0, bw_tls_error(connection->tls), now_ns);
    VIEW_SET(connection, tls_resumed, bw_tls_resumed(connection->tls));
    return start_upgrade(connection, now_ns);
}

static enum bw_turn refused(bw_connection *connection, const bw_upgrade_answer *answer, int64_t now_ns) {
    char text[BW_EVENT_TEXT_BYTES];
    size_t bytes;
    const char *data = bw_ws_unparsed(connection->ws, &bytes);
    const char *body = memmem(data, bytes, "\r\n\r\n", 4);
    size_t body_bytes = body ? bytes - (size_t)(body + 4 - data) : 0;
    if (body_bytes > 200) body_bytes = 200;
    snprintf(text, sizeof text, "%s%s%.*s", answer->why, body_bytes ? ": " : "", (int)body_bytes,
             body ? body + 4 : "");
    connection->retry_after_s = answer->retry_after;
    return bw_connection_end(connection, BW_CLOSE_UPGRADE, answer->status, text, now_ns);
}

static enum bw_turn turn_upgrade(bw_connection *connection, int64_t now_ns) {
    bw_upgrade_answer answer;
    size_t bytes;
    int64_t receive_ns = now_ns;
    ssize_t result = bw_connection_flush(connection);
    if (result == 0) result = bw_connection_read(connection, &receive_ns);
    const char *data = bw_ws_unparsed(connection->ws, &bytes);
    if (result < 0 && !bytes) return bw_connection_lost(connection, result, now_ns);
    if (result == 0) return BW_TURN_IDLE;
    int head = bw_upgrade_response_parse(data, bytes, connection->spec.deflate, connection->key, &answer);
    if (head < 0) return refused(connection, &answer, now_ns);
    if (head == 0) return result < 0 ? bw_connection_lost(connection, result, now_ns) : BW_TURN_MORE;
    bw_ws_skip(connection->ws, (size_t)head);
    bw_ws_set_inflate(connection->ws, answer.deflate);
    VIEW_SET(connection, state, BW_CONNECTION_OPEN);
    VIEW_SET(connection, opened_ns, now_ns);
    connection->opened = true;
    COUNT(connection, connects, 1);
    COUNT(connection, connections_open, 1);
    bw_engine_connection_up(connection->host->engine, connection->id, now_ns);
    if (connection->host->raw) {
        bw_raw_put(connection->host->raw,
                   (bw_raw_record){.type = BW_RAW_UP, .connection = (uint16_t)connection->id,
                                   .time_ns = now_ns},
                   NULL, 0);
    }
    bw_event *event = bw_event_claim(connection->host->events);
    if (event) {
        event->type = BW_EVENT_CONNECTED;
        event->connection = connection->id;
        event->time_ns = now_ns;
        bw_event_publish(connection->host->events);
    }
    enum bw_turn turn = bw_connection_messages(connection, receive_ns, bw_wall_ns());
    return turn == BW_TURN_OVER ? turn : BW_TURN_MORE;
}

static enum bw_turn turn_open(bw_connection *connection, int64_t now_ns) {
    if (connection->send_begin < connection->send_end) {
        ssize_t result = bw_connection_flush(connection);
        if (result < 0) return bw_connection_lost(connection, result, now_ns);
    }
    return bw_connection_receive(connection, now_ns);
}

enum bw_turn bw_connection_turn(bw_connection *connection, int64_t now_ns) {
    switch (connection->view.state) {
    case BW_CONNECTION_CONNECTING: return turn_connecting(connection, now_ns);
    case BW_CONNECTION_HANDSHAKE: return turn_handshake(connection, now_ns);
    case BW_CONNECTION_UPGRADE: return turn_upgrade(connection, now_ns);
    case BW_CONNECTION_OPEN:
    case BW_CONNECTION_CLOSING: return turn_open(connection, now_ns);
    default: return BW_TURN_IDLE;
    }
}

enum bw_turn bw_connection_check(bw_connection *connection, int64_t now_ns) {
    uint32_t state = connection->view.state;
    if (state == BW_CONNECTION_FREE || state == BW_CONNECTION_OPEN || now_ns < connection->deadline_ns) {
        return BW_TURN_IDLE;
    }
    if (state == BW_CONNECTION_CLOSING) {
        return bw_connection_end(connection, BW_CLOSE_ASKED, 0, "the peer did not answer the close frame",
                                 now_ns);
    }
    return bw_connection_end(connection, BW_CLOSE_TIMEOUT, ETIMEDOUT,
                             state == BW_CONNECTION_CONNECTING ? "no TCP connection in time"
                             : state == BW_CONNECTION_HANDSHAKE ? "no TLS handshake in time"
                                                                : "no answer to the upgrade in time",
                             now_ns);
}

enum bw_turn bw_connection_send(bw_connection *connection, enum bw_ws_opcode opcode, const void *payload,
                                size_t bytes, int64_t now_ns) {
    if (!bw_connection_queue(connection, opcode, payload, bytes)) {
        return bw_connection_end(connection, BW_CLOSE_SEND_FULL, ENOBUFS, "the peer reads nothing", now_ns);
    }
    ssize_t result = bw_connection_flush(connection);
    return result < 0 ? bw_connection_lost(connection, result, now_ns) : BW_TURN_IDLE;
}

/* From here on the connection carries no book any more. */
static void tell_down(bw_connection *connection, int64_t now_ns) {
    if (!connection->opened || connection->told_down) return;
    connection->told_down = true;
    COUNT(connection, disconnects, 1);
    atomic_fetch_sub_explicit(&connection->host->stats->connections_open, 1, memory_order_relaxed);
    bw_engine_connection_down(connection->host->engine, connection->id, BW_REASON_DISCONNECTED, now_ns);
    if (connection->host->raw) {
        bw_raw_put(connection->host->raw,
                   (bw_raw_record){.type = BW_RAW_DOWN, .connection = (uint16_t)connection->id,
                                   .time_ns = now_ns, .a = BW_REASON_DISCONNECTED},
                   NULL, 0);
    }
}

enum bw_turn bw_connection_close(bw_connection *connection, uint16_t code, int64_t now_ns) {
    uint8_t payload[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    if (connection->view.state != BW_CONNECTION_OPEN || code == 0) {
        return bw_connection_end(connection, BW_CLOSE_ASKED, 0, "", now_ns);
    }
    tell_down(connection, now_ns);
    VIEW_SET(connection, state, BW_CONNECTION_CLOSING);
    connection->deadline_ns = now_ns + CLOSE_TIMEOUT_NS;
    return bw_connection_send(connection, BW_WS_OP_CLOSE, payload, sizeof payload, now_ns);
}

static void count_end(bw_connection *connection, enum bw_close_cause cause) {
    if (!connection->opened && cause != BW_CLOSE_ASKED) COUNT(connection, connect_failures, 1);
    if (cause == BW_CLOSE_TLS) COUNT(connection, tls_failures, 1);
    if (cause == BW_CLOSE_PROTOCOL || cause == BW_CLOSE_TOO_LARGE || cause == BW_CLOSE_UTF8) {
        COUNT(connection, websocket_errors, 1);
    }
}

static void tell_closed(bw_connection *connection, enum bw_close_cause cause, int64_t a, const char *text,
                        int64_t now_ns) {
    bw_event *event = bw_event_claim(connection->host->events);
    if (!event) return;
    event->type = BW_EVENT_CLOSED;
    event->connection = connection->id;
    event->code = cause;
    event->a = a;
    event->b = connection->retry_after_s;
    event->time_ns = now_ns;
    bw_event_set_text(event, text, strlen(text));
    bw_event_publish(connection->host->events);
}

enum bw_turn bw_connection_end(bw_connection *connection, enum bw_close_cause cause, int64_t a,
                               const char *text, int64_t now_ns) {
    char words[BW_EVENT_TEXT_BYTES];
    snprintf(words, sizeof words, "%s", text); /* it may lie in what is freed now */
    count_end(connection, cause);
    tell_down(connection, now_ns);
    if (connection->tls) {
        if (cause == BW_CLOSE_ASKED || cause == BW_CLOSE_PEER) bw_tls_shutdown(connection->tls);
        bw_tls_free(connection->tls);
    }
    if (connection->transport) connection->transport->ops->close(connection->transport);
    connection->tls = NULL;
    connection->transport = NULL;
    connection->send_begin = connection->send_end = 0;
    VIEW_SET(connection, send_waiting, 0);
    VIEW_SET(connection, state, BW_CONNECTION_FREE);
    tell_closed(connection, cause, a, words, now_ns);
    return BW_TURN_OVER;
}

int bw_connection_poll_fd(const bw_connection *connection) {
    return connection->transport ? connection->transport->ops->poll_fd(connection->transport) : -1;
}

bool bw_connection_wants_write(const bw_connection *connection) {
    switch (connection->view.state) {
    case BW_CONNECTION_CONNECTING: return true;
    case BW_CONNECTION_HANDSHAKE: return bw_tls_wants_write(connection->tls);
    default: return connection->send_begin < connection->send_end;
    }
}
