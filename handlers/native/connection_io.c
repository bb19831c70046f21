/* Bytes of a connection: reading bursts, handing messages on, answering, sending. */
#include "clock.h"
#include "connection_parts.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define REHEARSED_BYTES_MAX (8u << 10)
#define BURST_READS 64u /* records of one connection before the others (and the bells) have their turn */

void bw_connection_random(bw_connection_host *host, uint8_t *out, size_t bytes) {
    if (host->random_left < bytes) {
        /* up to 256 bytes are never cut or interrupted; the pool is filled in such pieces */
        for (size_t at = 0; at < sizeof host->random; at += 256) {
            ssize_t got = getrandom(host->random + at, 256, 0);
            (void)got;
        }
        host->random_left = sizeof host->random;
    }
    host->random_left -= (uint32_t)bytes;
    memcpy(out, host->random + host->random_left, bytes);
}

static uint8_t *send_room(bw_connection *connection, size_t bytes) {
    size_t waiting = connection->send_end - connection->send_begin;
    if (BW_FEED_SEND_BYTES - waiting < bytes) return NULL;
    if (BW_FEED_SEND_BYTES - connection->send_end < bytes || !waiting) {
        memmove(connection->send, connection->send + connection->send_begin, waiting);
        connection->send_begin = 0;
        connection->send_end = waiting;
    }
    return connection->send + connection->send_end;
}

bool bw_connection_queue_raw(bw_connection *connection, const void *data, size_t bytes) {
    uint8_t *at = send_room(connection, bytes);
    if (!at) return false;
    memcpy(at, data, bytes);
    connection->send_end += bytes;
    return true;
}

bool bw_connection_queue(bw_connection *connection, enum bw_ws_opcode opcode, const void *payload,
                         size_t bytes) {
    uint8_t mask[4];
    uint8_t *at = bytes < BW_FEED_SEND_BYTES ? send_room(connection, BW_WS_HEADER_MAX + bytes) : NULL;
    if (!at) return false;
    bw_connection_random(connection->host, mask, sizeof mask);
    size_t header = bw_ws_header(at, opcode, bytes, mask);
    if (bytes) memcpy(at + header, payload, bytes);
    bw_ws_mask(at + header, bytes, mask);
    connection->send_end += header + bytes;
    return true;
}

ssize_t bw_connection_flush(bw_connection *connection) {
    ssize_t result = 0;
    while (connection->send_begin < connection->send_end) {
        const uint8_t *at = connection->send + connection->send_begin;
        size_t bytes = connection->send_end - connection->send_begin;
        result = connection->tls ? bw_tls_write(connection->tls, at, bytes)
                                 : connection->transport->ops->write(connection->transport, at, bytes);
        if (result <= 0) break;
        connection->send_begin += (size_t)result;
    }
    VIEW_SET(connection, send_waiting, connection->send_end - connection->send_begin);
    return result < 0 ? result : 0;
}

ssize_t bw_connection_read(bw_connection *connection, int64_t *receive_ns) {
    size_t room;
    uint8_t *into = bw_ws_room(connection->ws, &room);
    ssize_t bytes = connection->tls
                        ? bw_tls_read(connection->tls, into, room, receive_ns)
                        : connection->transport->ops->read(connection->transport, into, room, receive_ns);
    if (bytes > 0) {
        connection->last_text = NULL;
        bw_ws_filled(connection->ws, (size_t)bytes);
        VIEW_SET(connection, last_receive_ns, *receive_ns);
        VIEW_ADD(connection, bytes, (uint64_t)bytes);
    }
    return bytes;
}

bool bw_connection_pending(const bw_connection *connection) {
    return connection->tls && bw_tls_pending(connection->tls);
}

enum bw_turn bw_connection_lost(bw_connection *connection, ssize_t result, int64_t now_ns) {
    if (connection->view.state == BW_CONNECTION_CLOSING) {
        return bw_connection_end(connection, BW_CLOSE_ASKED, connection->peer_code, "", now_ns);
    }
    if (result == BW_TRANSPORT_EOF) {
        return bw_connection_end(connection, BW_CLOSE_EOF, 0,
                                 "the peer ended the stream without a close frame", now_ns);
    }
    if (connection->tls && *bw_tls_error(connection->tls)) {
        return bw_connection_end(connection, BW_CLOSE_TLS, -result, bw_tls_error(connection->tls), now_ns);
    }
    return bw_connection_end(connection, BW_CLOSE_IO, -result, strerror((int)-result), now_ns);
}

/* Queues and sends an answer of ours; a peer that sends and never reads is not kept. */
static enum bw_turn answer(bw_connection *connection, enum bw_ws_opcode opcode, const void *payload,
                           size_t bytes, int64_t now_ns) {
    if (!bw_connection_queue(connection, opcode, payload, bytes)) {
        return bw_connection_end(connection, BW_CLOSE_SEND_FULL, ENOBUFS, "the peer reads nothing", now_ns);
    }
    ssize_t result = bw_connection_flush(connection);
    return result < 0 ? bw_connection_lost(connection, result, now_ns) : BW_TURN_IDLE;
}

static enum bw_turn peer_closed(bw_connection *connection, const bw_ws_event *event, int64_t now_ns) {
    uint16_t code = event->close_code;
    uint8_t echo[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    char reason[126] = "";
    memcpy(reason, event->payload, event->payload_bytes);
    connection->peer_code = code;
    if (connection->view.state == BW_CONNECTION_CLOSING) {
        return bw_connection_end(connection, BW_CLOSE_ASKED, code, reason, now_ns);
    }
    if (answer(connection, BW_WS_OP_CLOSE, echo, code == 1005 ? 0 : 2, now_ns) == BW_TURN_OVER)
        return BW_TURN_OVER;
    return bw_connection_end(connection, BW_CLOSE_PEER, code, reason, now_ns);
}

/* The peer broke the protocol: shown to the engine's quarantine, answered with the code, closed. */
static enum bw_turn broken(bw_connection *connection, const bw_ws_event *event, const char *shown,
                           size_t bytes, int64_t now_ns) {
    uint16_t code = event->close_code;
    uint8_t payload[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    enum bw_close_cause cause = code == 1009   ? BW_CLOSE_TOO_LARGE
                                : code == 1007 ? BW_CLOSE_UTF8
                                               : BW_CLOSE_PROTOCOL;
    bw_engine_quarantine(connection->host->engine, connection->id, shown, bytes, event->payload, now_ns);
    if (connection->view.state != BW_CONNECTION_CLOSING) {
        bw_connection_queue(connection, BW_WS_OP_CLOSE, payload, sizeof payload);
        bw_connection_flush(connection);
    }
    return bw_connection_end(connection, cause, code, event->payload, now_ns);
}

static enum bw_turn control(bw_connection *connection, const bw_ws_event *event, int64_t now_ns) {
    if (event->type == BW_WS_PING) {
        VIEW_SET(connection, last_ping_ns, now_ns);
        VIEW_ADD(connection, pings, 1);
        if (connection->view.state == BW_CONNECTION_CLOSING) return BW_TURN_IDLE;
        return answer(connection, BW_WS_OP_PONG, event->payload, event->payload_bytes, now_ns);
    }
    if (event->type == BW_WS_PONG) {
        VIEW_SET(connection, last_pong_ns, now_ns);
        VIEW_ADD(connection, pongs, 1);
        return BW_TURN_IDLE;
    }
    return peer_closed(connection, event, now_ns);
}

/* A binary frame's text, in place of what it holds. False: the event says FAILED and why. */
static bool unpack(bw_connection *connection, bw_ws_event *event) {
    const bw_connection_host *host = connection->host;
    const char *why = NULL;
    event->close_code = 1007;
    if (host->inflate) {
        int result = bw_inflate_message(host->inflate, (const uint8_t *)event->payload, event->payload_bytes,
                                        &event->payload, &event->payload_bytes);
        if (result == BW_INFLATE_TOO_LARGE) event->close_code = 1009;
        if (result != BW_INFLATE_OK) {
            why = result == BW_INFLATE_TOO_LARGE ? "message inflates beyond the limit"
                                                 : "compressed data is malformed";
        }
    }
    if (!why && host->binary_is_text && !bw_utf8_valid(event->payload, event->payload_bytes)) {
        why = "binary message is not UTF-8";
    }
    if (!why) return true;
    event->type = BW_WS_FAILED;
    event->payload = (char *)(uintptr_t)why;
    return false;
}

static enum bw_turn message(bw_connection *connection, bw_ws_event *event, int64_t receive_ns,
                            int64_t plaintext_ns) {
    bw_stats *stats = connection->host->stats;
    VIEW_SET(connection, last_message_ns, receive_ns);
    VIEW_ADD(connection, messages, 1);
    if (event->payload_bytes > atomic_load_explicit(&stats->largest_frame_bytes, memory_order_relaxed)) {
        atomic_store_explicit(&stats->largest_frame_bytes, event->payload_bytes, memory_order_relaxed);
    }
    if (connection->view.state == BW_CONNECTION_CLOSING) return BW_TURN_IDLE; /* its books are down already */
    const char *sent = event->payload;
    size_t sent_bytes = event->payload_bytes;
    if (event->type == BW_WS_BINARY && !unpack(connection, event)) {
        return broken(connection, event, sent, sent_bytes, plaintext_ns);
    }
    bw_engine_frame(connection->host->engine, connection->id, event->payload, event->payload_bytes,
                    receive_ns, plaintext_ns);
    connection->last_text = event->type == BW_WS_TEXT ? event->payload : NULL;
    connection->last_bytes = event->payload_bytes;
    bw_raw_writer *raw = connection->host->raw;
    if (raw) {
        bw_raw_put(raw, (bw_raw_record){.type = BW_RAW_FRAME, .connection = (uint16_t)connection->id,
                                        .time_ns = receive_ns, .plaintext_ns = plaintext_ns},
                   event->payload, event->payload_bytes);
    }
    return BW_TURN_IDLE;
}

bool bw_connection_rehearse(bw_connection *connection) {
    if (connection->view.state != BW_CONNECTION_OPEN || !connection->last_text ||
        connection->last_bytes > REHEARSED_BYTES_MAX || bw_ws_buffered(connection->ws))
        return false;
    if (connection->tls) bw_tls_rehearse(connection->tls);
    if (!bw_utf8_valid(connection->last_text, connection->last_bytes)) return false;
    bw_engine_rehearse(connection->host->engine, connection->id, connection->last_text,
                       connection->last_bytes);
    return true;
}

enum bw_turn bw_connection_messages(bw_connection *connection, int64_t receive_ns, int64_t plaintext_ns) {
    bw_ws_event event;
    int type;
    while ((type = bw_ws_next(connection->ws, &event)) != BW_WS_NONE) {
        enum bw_turn turn = BW_TURN_IDLE;
        if (type == BW_WS_TEXT || type == BW_WS_BINARY) {
            turn = message(connection, &event, receive_ns, plaintext_ns);
        } else if (type == BW_WS_FAILED) {
            size_t bytes;
            const char *shown = bw_ws_unparsed(connection->ws, &bytes);
            turn = broken(connection, &event, shown, bytes, plaintext_ns);
        } else {
            turn = control(connection, &event, plaintext_ns);
        }
        if (turn == BW_TURN_OVER) return turn;
    }
    return BW_TURN_IDLE;
}

enum bw_turn bw_connection_receive(bw_connection *connection, int64_t now_ns) {
    for (unsigned reads = 0; reads < BURST_READS; reads++) {
        int64_t receive_ns;
        ssize_t bytes = bw_connection_read(connection, &receive_ns);
        if (bytes < 0) return bw_connection_lost(connection, bytes, now_ns);
        if (bytes == 0) return BW_TURN_IDLE;
        int64_t plaintext_ns = connection->tls ? bw_wall_ns() : receive_ns;
        if (bw_connection_messages(connection, receive_ns, plaintext_ns) == BW_TURN_OVER) return BW_TURN_OVER;
        /* nothing undecrypted inside: the socket was read dry just now, or epoll will say so again */
        if (!bw_connection_pending(connection)) return BW_TURN_IDLE;
    }
    return BW_TURN_MORE;
}
