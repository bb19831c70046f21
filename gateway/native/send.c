/* Bytes to sockets. The usual subscriber costs one send() of a straight piece of its group's log;
 * what differs (private messages, several groups, TLS, full sockets) takes the general way. */
#include "internal.h"

#include "clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define PIECES_MAX 64

static uint64_t frames_between(const bw_log *log, uint64_t from, uint64_t to) {
    uint64_t frames = 0;
    for (; from < to; frames++) from += bw_frame_bytes(bw_log_at(log, from));
    return frames;
}

void bw_client_schedule_flush(bw_gateway *gateway, bw_client *client) {
    if (client->flush_due || client->blocked || client->state == BW_CLIENT_DEAD) return;
    client->flush_due = true;
    gateway->flush_client[gateway->flush_client_count++] = client;
}

bool bw_client_put(bw_gateway *gateway, bw_client *client, bool urgent, enum bw_ws_opcode opcode,
                   const void *payload, size_t bytes) {
    if (client->closing && opcode != BW_WS_OP_CLOSE) return true;
    if (client->events) {
        if (!(opcode == BW_WS_OP_PING ? bw_events_put_ping(client) : bw_events_put(client, payload, bytes)))
            return false;
    } else {
        bw_queue *queue = urgent ? &client->urgent : &client->out;
        uint8_t header[BW_WS_HEADER_MAX];
        size_t header_bytes = bw_ws_header(header, opcode, bytes, NULL);
        if (!bw_queue_put(queue, header, header_bytes) || !bw_queue_put(queue, payload, bytes)) return false;
    }
    BW_COUNT(gateway->stats, messages_sent, opcode == BW_WS_OP_TEXT);
    bw_client_schedule_flush(gateway, client);
    return true;
}

/* Whole frames, as the client's kind takes them. False: memory is short. */
bool bw_client_put_frames(bw_client *client, const uint8_t *frames, size_t bytes) {
    return client->events ? bw_events_put_frames(client, frames, bytes)
                          : bw_queue_put(&client->out, frames, bytes);
}

/* --- falling behind ------------------------------------------------------------------------------ */

/* Lagging subscribers stand first in their group, so that fan-out need not look at them. */
static void group_swap_subs(bw_group *group, uint32_t a, uint32_t b) {
    bw_sub *sub = group->sub[a];
    group->sub[a] = group->sub[b];
    group->sub[b] = sub;
    group->sub[a]->at = a;
    group->sub[b]->at = b;
}

void bw_client_block(bw_gateway *gateway, bw_client *client) {
    if (!client->blocked) BW_COUNT(gateway->stats, writes_blocked, 1);
    client->blocked = true;
    for (bw_sub *sub = client->subs; sub; sub = sub->next) {
        bw_group *group = sub->group;
        if (sub->lagging) continue;
        if (!sub->behind)
            sub->emission = group->emission - frames_between(&group->log, sub->position, group->log.head);
        sub->lagging = true;
        group_swap_subs(group, sub->at, group->lagging++);
        bw_history_start(group); /* without memory for it there will be snapshots */
    }
}

static void client_unblock(bw_client *client) {
    client->blocked = false;
    for (bw_sub *sub = client->subs; sub; sub = sub->next) {
        if (!sub->lagging) continue;
        sub->lagging = false;
        group_swap_subs(sub->group, sub->at, --sub->group->lagging);
    }
}

/* Its frames will not be sent one by one any more; sub->emission says from where it catches up. */
void bw_sub_leave_behind(bw_gateway *gateway, bw_sub *sub, bool snapshot) {
    if (snapshot) sub->snapshot_wanted = true;
    if (sub->behind) return;
    sub->behind = true;
    bw_client *client = sub->client;
    if (sub->lagging) {
        switch (sub->slow) {
        case BW_SLOW_CONFLATE: BW_COUNT(gateway->stats, slow_conflate, 1); break;
        case BW_SLOW_RESNAPSHOT: BW_COUNT(gateway->stats, slow_resnapshot, 1); break;
        case BW_SLOW_DISCONNECT:
            BW_COUNT(gateway->stats, slow_disconnect, 1);
            bw_client_close(gateway, client, 1008, "slow: the subscription asked to be disconnected");
            return;
        }
    }
    bw_client_schedule_flush(gateway, client);
}

/* When a full socket drains: is what waits for it still worth sending as it is? */
static void client_judge_backlog(bw_gateway *gateway, bw_client *client) {
    uint64_t waiting = bw_queue_bytes(&client->out);
    for (bw_sub *sub = client->subs; sub; sub = sub->next) {
        if (!sub->behind) waiting += sub->group->log.head - sub->position;
    }
    for (bw_sub *sub = client->subs; sub; sub = sub->next) {
        if (sub->behind || !sub->lagging) continue;
        bool stale = !sub->group->deltas && sub->group->emission - sub->emission > 1 &&
                     sub->group->encoding.kind != BW_VIEW_STATUS;
        if (stale || (waiting > gateway->limits.queue_bytes_max && sub->position < sub->group->log.head)) {
            bw_sub_leave_behind(gateway, sub, false);
        }
    }
}

/* --- what is next, and what went out ---------------------------------------------------------------- */

static int client_pieces(bw_client *client, struct iovec *piece, size_t *bytes) {
    int pieces = 0;
    size_t total = 0, waiting = bw_queue_bytes(&client->out);
    uint8_t *out = client->out.data + client->out.start;
    if (client->frame_left > 0) piece[pieces++] = (struct iovec){out, client->frame_left};
    if (bw_queue_bytes(&client->urgent) > 0) {
        piece[pieces++] = (struct iovec){client->urgent.data + client->urgent.start,
                                         bw_queue_bytes(&client->urgent)};
    }
    if (waiting > client->frame_left) {
        piece[pieces++] = (struct iovec){out + client->frame_left, waiting - client->frame_left};
    }
    bool direct = !client->closing && !client->events;
    for (bw_sub *sub = direct ? client->subs : NULL; sub && pieces < PIECES_MAX; sub = sub->next) {
        const bw_log *log = &sub->group->log;
        if (sub->behind || sub->position == log->head) continue;
        piece[pieces++] = (struct iovec){bw_log_at(log, sub->position), log->head - sub->position};
    }
    for (int i = 0; i < pieces; i++) total += piece[i].iov_len;
    *bytes = total;
    return pieces;
}

/* Puts the rest of a cut frame in front of everything: it must go out before anything else does. */
static bool client_keep_rest(bw_client *client, const uint8_t *rest, size_t bytes) {
    size_t held = bw_queue_bytes(&client->out);
    if (!bw_queue_reserve(&client->out, bytes)) return false;
    uint8_t *start = client->out.data + client->out.start;
    memmove(start + bytes, start, held);
    memcpy(start, rest, bytes);
    client->out.end += bytes;
    client->frame_left = bytes;
    return true;
}

/* Advances over `bytes` of whole frames in `queue`; returns what is left of the last, cut one. */
static size_t frame_rest(const uint8_t *frames, size_t bytes) {
    while (bytes > 0) {
        size_t frame = bw_frame_bytes(frames);
        if (frame > bytes) return frame - bytes;
        frames += frame;
        bytes -= frame;
    }
    return 0;
}

bool bw_sub_sent(bw_gateway *gateway, bw_sub *sub, size_t bytes) {
    const bw_log *log = &sub->group->log;
    const uint8_t *sent = bw_log_at(log, sub->position);
    size_t rest = frame_rest(sent, bytes);
    BW_COUNT(gateway->stats, messages_sent, frames_between(log, sub->position, sub->position + bytes + rest));
    sub->position += bytes + rest;
    sub->sent_ns = gateway->now_ns;
    if (sub->lagging) sub->emission = sub->group->emission - frames_between(log, sub->position, log->head);
    return rest == 0 || client_keep_rest(sub->client, sent + bytes, rest);
}

/* Takes note of `bytes` gone out in the order of client_pieces(). */
static bool client_sent(bw_gateway *gateway, bw_client *client, size_t bytes) {
    size_t part = bytes < client->frame_left ? bytes : client->frame_left;
    bw_queue_drop(&client->out, part);
    client->frame_left -= part;
    bytes -= part;
    part = bw_queue_bytes(&client->urgent);
    if (bytes > 0 && part > 0) {
        const uint8_t *urgent = client->urgent.data + client->urgent.start;
        if (bytes < part) {
            size_t rest = frame_rest(urgent, bytes);
            bool kept = rest == 0 || client_keep_rest(client, urgent + bytes, rest);
            bw_queue_drop(&client->urgent, bytes + rest);
            return kept;
        }
        bw_queue_drop(&client->urgent, part);
        bytes -= part;
    }
    part = bw_queue_bytes(&client->out);
    if (bytes > 0 && part > 0) {
        if (part > bytes) part = bytes;
        client->frame_left = client->events ? 0 : frame_rest(client->out.data + client->out.start, part);
        bw_queue_drop(&client->out, part);
        bytes -= part;
    }
    for (bw_sub *sub = client->subs; sub && bytes > 0; sub = sub->next) {
        uint64_t waiting = sub->group->log.head - sub->position;
        if (sub->behind || waiting == 0) continue;
        part = bytes < waiting ? bytes : waiting;
        if (!bw_sub_sent(gateway, sub, part)) return false;
        bytes -= part;
    }
    return true;
}

/* > 0 bytes gone, 0 the socket is full, < 0 the connection is gone. */
static ssize_t client_write(bw_gateway *gateway, bw_client *client, struct iovec *piece, int pieces) {
    struct msghdr message = {.msg_iov = piece, .msg_iovlen = (size_t)pieces};
    ssize_t sent = sendmsg(client->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    BW_COUNT(gateway->stats, writes, 1);
    if (sent > 0) {
        BW_COUNT(gateway->stats, bytes_sent, sent);
        return sent;
    }
    return sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) ? 0 : -1;
}

/* TLS must be offered the same bytes again after "not now", so they are copied out once. */
static ssize_t client_write_tls(bw_gateway *gateway, bw_client *client, struct iovec *piece, int pieces) {
    if (client->tls_chunk_bytes == 0) {
        uint32_t bytes = 0;
        for (int i = 0; i < pieces && bytes < BW_TLS_CHUNK_BYTES; i++) {
            size_t part = BW_TLS_CHUNK_BYTES - bytes;
            if (part > piece[i].iov_len) part = piece[i].iov_len;
            memcpy(client->tls_chunk + bytes, piece[i].iov_base, part);
            bytes += (uint32_t)part;
        }
        if (!client_sent(gateway, client, bytes)) return -1;
        client->tls_chunk_bytes = bytes;
    }
    ssize_t sent = bw_tls_write(client->tls, client->tls_chunk, client->tls_chunk_bytes);
    BW_COUNT(gateway->stats, writes, 1);
    if (sent <= 0) return sent;
    BW_COUNT(gateway->stats, bytes_sent, sent);
    client->tls_chunk_bytes -= (uint32_t)sent;
    memmove(client->tls_chunk, client->tls_chunk + sent, client->tls_chunk_bytes);
    return sent;
}

static bw_sub *next_behind(const bw_client *client) {
    if (client->closing) return NULL;
    for (bw_sub *sub = client->subs; sub; sub = sub->next) {
        if (sub->behind) return sub;
    }
    return NULL;
}

/* Once nothing waits for the socket; again with the next tick where Python is too far behind to be told. */
void bw_client_tell_pushed(bw_gateway *gateway, bw_client *client) {
    if (client->pushes == 0 || client->blocked || bw_queue_bytes(&client->out) > 0) return;
    bw_pipe_message told = {
        .type = BW_GATEWAY_PUSHED, .client = bw_client_id(client), .code = client->pushes};
    if (bw_pipe_put(&gateway->event, told, NULL, 0, NULL, 0, true)) client->pushes = 0;
}

/* Everything pending for one client, until it is all gone or the socket is full. */
void bw_client_flush(bw_gateway *gateway, bw_client *client) {
    if (client->state < BW_CLIENT_HTTP || client->state == BW_CLIENT_DEAD) return;
    if (client->blocked) client_judge_backlog(gateway, client);
    for (;;) {
        struct iovec piece[PIECES_MAX];
        size_t total;
        if (client->events && !bw_events_take(gateway, client)) return bw_client_kill(gateway, client, 1011);
        int pieces = client_pieces(client, piece, &total);
        if (pieces == 0 && client->tls_chunk_bytes == 0) {
            bw_sub *sub = next_behind(client);
            if (!sub) break;
            if (!bw_sub_catch_up(gateway, sub)) {
                bw_client_kill(gateway, client, 1011);
                return;
            }
            continue;
        }
        ssize_t sent = client->tls ? client_write_tls(gateway, client, piece, pieces)
                                   : client_write(gateway, client, piece, pieces);
        if (sent > 0 && (client->blocked || client->events)) client->life_ns = gateway->now_ns; /* it reads */
        if (sent < 0 || (sent > 0 && !client->tls && !client_sent(gateway, client, (size_t)sent))) {
            bw_client_kill(gateway, client, 1006);
            return;
        }
        if (sent == 0 || (!client->tls && (size_t)sent < total)) {
            bw_client_block(gateway, client);
            return;
        }
    }
    if (client->blocked) client_unblock(client);
    bw_client_tell_pushed(gateway, client);
    if (!client->closing) return;
    if (client->tls) bw_tls_shutdown(client->tls);
    shutdown(client->fd, SHUT_WR); /* its end of stream ends it, or our patience does */
}

static bool client_is_plain(const bw_client *client) {
    return client->sub_count == 1 && !client->tls && !client->events && bw_queue_bytes(&client->out) == 0 &&
           bw_queue_bytes(&client->urgent) == 0;
}

/* One send(). False when it did not take all: the general way goes on from there. */
static bool sub_send(bw_gateway *gateway, bw_sub *sub, uint64_t head, uint64_t *bytes) {
    size_t pending = head - sub->position;
    ssize_t sent = send(sub->client->fd, bw_log_at(&sub->group->log, sub->position), pending,
                        MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent == (ssize_t)pending) {
        sub->position = head;
        *bytes += pending;
        return true;
    }
    if (sent > 0 && !bw_sub_sent(gateway, sub, (size_t)sent)) bw_client_kill(gateway, sub->client, 1011);
    return false;
}

/* Fan-out: every subscriber that keeps up gets what was appended since the last flush. */
void bw_group_flush(bw_gateway *gateway, bw_group *group) {
    uint64_t head = group->log.head, bytes = 0, writes = 0;
    uint64_t frames = group->emission - group->flushed_emission;
    bw_stamps unsent = group->unsent;
    bool first = unsent.published_ns > 0;
    group->flush_due = false;
    for (uint32_t i = group->lagging; i < group->sub_count; i++) {
        bw_sub *sub = group->sub[i];
        bw_client *client = sub->client;
        if (sub->behind || sub->position == head || client->closing || client->blocked) continue;
        if (!client_is_plain(client)) {
            bw_client_flush(gateway, client);
        } else if (sub_send(gateway, sub, head, &bytes)) {
            writes++;
            if (sub->heartbeat_ns > 0) sub->sent_ns = gateway->now_ns;
        } else {
            bw_client_flush(gateway, client); /* partly sent, full, or gone: it finds out */
        }
        if (first) {
            int64_t now = bw_wall_ns();
            bw_latency_add(gateway->stats, BW_LATENCY_PUBLISHED_TO_FIRST_SENT, now - unsent.published_ns);
            bw_latency_add(gateway->stats, BW_LATENCY_RECEIVED_TO_FIRST_SENT, now - unsent.receive_ns);
            first = false;
        }
    }
    if (unsent.published_ns > 0 && !first) {
        bw_latency_add(gateway->stats, BW_LATENCY_PUBLISHED_TO_LAST_SENT, bw_wall_ns() - unsent.published_ns);
    }
    BW_COUNT(gateway->stats, writes, writes);
    BW_COUNT(gateway->stats, bytes_sent, bytes);
    BW_COUNT(gateway->stats, messages_sent, writes * frames);
    group->unsent.published_ns = 0;
    group->flushed_head = head;
    group->flushed_emission = group->emission;
}
