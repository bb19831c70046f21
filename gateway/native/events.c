/* Server-sent events: the stream for those whose way lets no WebSocket through.
 *
 * What was encoded once for all subscribers is copied out of its WebSocket frames here, into the queue of the
 * client; the rest of a client's life, falling behind and catching up included, is that of any other.
 */
#include "internal.h"

#include <stdio.h>
#include <string.h>

#define TAKE_BYTES (16u << 10) /* out of the logs at a time: what stays there can still be conflated */

static const char answer_head[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    "Connection: close\r\nAccess-Control-Allow-Origin: *\r\nX-Accel-Buffering: no\r\n\r\n";

static bool put_head(bw_client *client) {
    if (!client->head_due) return true;
    client->head_due = false;
    return bw_queue_put(&client->out, answer_head, sizeof answer_head - 1);
}

/* `text` is one line. */
bool bw_events_put(bw_client *client, const void *text, size_t bytes) {
    return put_head(client) && bw_queue_put(&client->out, "data: ", 6) &&
           bw_queue_put(&client->out, text, bytes) && bw_queue_put(&client->out, "\n\n", 2);
}

/* Whole WebSocket frames, all of text. */
bool bw_events_put_frames(bw_client *client, const uint8_t *frames, size_t bytes) {
    while (bytes > 0) {
        size_t frame = bw_frame_bytes(frames), header = bw_frame_header_bytes(frames);
        if (!bw_events_put(client, frames + header, frame - header)) return false;
        frames += frame;
        bytes -= frame;
    }
    return true;
}

/* A comment: keeps proxies from giving the connection up. */
bool bw_events_put_ping(bw_client *client) {
    return put_head(client) && bw_queue_put(&client->out, ":\n\n", 3);
}

/* What a close frame says. */
bool bw_events_put_end(bw_client *client, uint16_t code, const char *reason) {
    char text[256];
    int bytes =
        snprintf(text, sizeof text, "{\"type\":\"closed\",\"code\":%u,\"reason\":\"%s\"}", code, reason);
    return bytes > 0 && (size_t)bytes < sizeof text && bw_events_put(client, text, (size_t)bytes);
}

/* Moves what waits in its groups' logs into the client's queue, some of it. False: memory is short. */
bool bw_events_take(bw_gateway *gateway, bw_client *client) {
    for (bw_sub *sub = client->closing ? NULL : client->subs; sub; sub = sub->next) {
        const bw_log *log = &sub->group->log;
        uint64_t to = sub->position;
        while (!sub->behind && to < log->head && bw_queue_bytes(&client->out) < TAKE_BYTES) {
            size_t bytes = bw_frame_bytes(bw_log_at(log, to));
            if (!bw_events_put_frames(client, bw_log_at(log, to), bytes)) return false;
            to += bytes;
        }
        if (to > sub->position && !bw_sub_sent(gateway, sub, to - sub->position)) return false;
    }
    return true;
}
