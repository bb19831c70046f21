/* What Python told the loop to do. */
#include "internal.h"

#include <errno.h>
#include <string.h>

/* A client may ask much in one breath and read nothing: answers waiting for it end at so many queues. */
#define UNREAD_QUEUES_MAX 8u

enum command { COMMAND_SEND = 1, COMMAND_SUBSCRIBE, COMMAND_UNSUBSCRIBE, COMMAND_AUTHORISE, COMMAND_CLOSE,
               COMMAND_SEND_ALL, COMMAND_STOP, COMMAND_PUSH, COMMAND_ANSWER };

static int post(bw_gateway *gateway, bw_pipe_message message, const void *first, size_t first_bytes,
                const void *second, size_t second_bytes) {
    return bw_pipe_put(&gateway->command, message, first, (uint32_t)first_bytes, second,
                       (uint32_t)second_bytes, true)
               ? 0
               : -EAGAIN;
}

int bw_gateway_send(bw_gateway *gateway, uint64_t client, const char *text, uint32_t bytes) {
    return post(gateway, (bw_pipe_message){.type = COMMAND_SEND, .client = client}, text, bytes, NULL, 0);
}

int bw_gateway_answer(bw_gateway *gateway, uint64_t client, const char *text, uint32_t bytes) {
    return post(gateway, (bw_pipe_message){.type = COMMAND_ANSWER, .client = client}, text, bytes, NULL, 0);
}

int bw_gateway_push(bw_gateway *gateway, uint64_t client, const uint8_t *frames, uint32_t bytes) {
    return post(gateway, (bw_pipe_message){.type = COMMAND_PUSH, .client = client}, frames, bytes, NULL, 0);
}

int bw_gateway_subscribe(bw_gateway *gateway, uint64_t client, const bw_subscription *subscription,
                         const char *text, uint32_t bytes) {
    bw_pipe_message message = {.type = COMMAND_SUBSCRIBE, .client = client, .tag = subscription->tag};
    return post(gateway, message, subscription, sizeof *subscription, text, bytes);
}

int bw_gateway_unsubscribe(bw_gateway *gateway, uint64_t client, uint64_t tag, const char *text,
                           uint32_t bytes) {
    bw_pipe_message message = {.type = COMMAND_UNSUBSCRIBE, .client = client, .tag = tag};
    return post(gateway, message, text, bytes, NULL, 0);
}

int bw_gateway_authorise(bw_gateway *gateway, uint64_t client, const char *text, uint32_t bytes) {
    return post(gateway, (bw_pipe_message){.type = COMMAND_AUTHORISE, .client = client}, text, bytes, NULL,
                0);
}

int bw_gateway_close_client(bw_gateway *gateway, uint64_t client, uint32_t code, const char *reason) {
    bw_pipe_message message = {.type = COMMAND_CLOSE, .client = client, .code = code};
    return post(gateway, message, reason, strlen(reason) + 1, NULL, 0);
}

int bw_gateway_send_all(bw_gateway *gateway, const char *text, uint32_t bytes) {
    return post(gateway, (bw_pipe_message){.type = COMMAND_SEND_ALL}, text, bytes, NULL, 0);
}

int bw_gateway_stop(bw_gateway *gateway) {
    return post(gateway, (bw_pipe_message){.type = COMMAND_STOP}, NULL, 0, NULL, 0);
}

static void put_text(bw_gateway *gateway, bw_client *client, const void *text, size_t bytes) {
    if (bytes == 0 || client->state != BW_CLIENT_OPEN) return;
    if (bw_queue_bytes(&client->out) > (size_t)UNREAD_QUEUES_MAX * gateway->limits.queue_bytes_max) {
        BW_COUNT(gateway->stats, refused_unread, 1);
        bw_client_close(gateway, client, 1008, "answers are not read");
        return;
    }
    if (!bw_client_put(gateway, client, false, BW_WS_OP_TEXT, text, bytes))
        bw_client_kill(gateway, client, 1011);
}

static void push(bw_gateway *gateway, bw_client *client, const uint8_t *frames, uint32_t bytes) {
    if (client->state != BW_CLIENT_OPEN || client->closing) return; /* its CLOSED event is on the way */
    if (!bw_client_put_frames(client, frames, bytes)) return bw_client_kill(gateway, client, 1011);
    uint64_t messages = 0;
    for (size_t at = 0; at < bytes; at += bw_frame_bytes(frames + at)) messages++;
    BW_COUNT(gateway->stats, messages_sent, messages);
    client->pushes++;
    bw_client_schedule_flush(gateway, client);
}

/* Instead of events: the HTTP answer that says why there are none. */
static void answer(bw_gateway *gateway, bw_client *client, const uint8_t *text, uint32_t bytes) {
    if (!client->head_due || client->closing) return;
    client->head_due = false;
    BW_COUNT(gateway->stats, refused_handshake, 1);
    if (!bw_queue_put(&client->out, text, bytes)) return bw_client_kill(gateway, client, 1011);
    client->closing = true;
    client->closing_ns = gateway->now_ns;
    client->close_code = 1002;
    bw_client_schedule_flush(gateway, client);
}

static void run_subscribe(bw_gateway *gateway, bw_client *client, const bw_pipe_message *message,
                          const uint8_t *body) {
    bw_subscription subscription;
    memcpy(&subscription, body, sizeof subscription);
    if (client->closing) return;
    if (!bw_sub_add(gateway, client, &subscription)) {
        bw_pipe_message refused = {
            .type = BW_GATEWAY_REFUSED, .client = message->client, .tag = message->tag};
        bw_pipe_put(&gateway->event, refused, "out of memory", 13, NULL, 0, true);
        return;
    }
    put_text(gateway, client, body + sizeof subscription, message->body_bytes - sizeof subscription);
}

static void start_draining(bw_gateway *gateway) {
    gateway->draining = true;
    gateway->drain_until_ns = gateway->now_ns + 1000000000;
    for (uint32_t i = 0; i < gateway->client_slots; i++) {
        bw_client *client = gateway->client[i];
        if (client->state == BW_CLIENT_FREE || client->state == BW_CLIENT_DEAD) continue;
        bw_client_close(gateway, client, 1001, "the gateway stops");
    }
}

static void send_all(bw_gateway *gateway, const uint8_t *text, uint32_t bytes) {
    for (uint32_t i = 0; i < gateway->client_slots; i++) put_text(gateway, gateway->client[i], text, bytes);
}

static void run(bw_gateway *gateway, const bw_pipe_message *message, const uint8_t *body) {
    if (message->type == COMMAND_SEND_ALL) return send_all(gateway, body, message->body_bytes);
    if (message->type == COMMAND_STOP) return start_draining(gateway);
    bw_client *client = bw_client_find(gateway, message->client);
    if (!client) return; /* gone meanwhile: its CLOSED event is on the way */
    switch (message->type) {
    case COMMAND_SEND: put_text(gateway, client, body, message->body_bytes); break;
    case COMMAND_SUBSCRIBE: run_subscribe(gateway, client, message, body); break;
    case COMMAND_UNSUBSCRIBE:
        bw_sub_remove(gateway, client, message->tag);
        put_text(gateway, client, body, message->body_bytes);
        break;
    case COMMAND_AUTHORISE:
        client->authorised = true;
        put_text(gateway, client, body, message->body_bytes);
        break;
    case COMMAND_ANSWER: answer(gateway, client, body, message->body_bytes); break;
    case COMMAND_PUSH: push(gateway, client, body, message->body_bytes); break;
    case COMMAND_CLOSE: bw_client_close(gateway, client, (uint16_t)message->code, (const char *)body); break;
    default: break;
    }
}

/* Some of what waits, in its order; whether there is more. A push of the past is copied and sent in some ten
 * microseconds: the rings are looked at again before the next. */
bool bw_commands_run(bw_gateway *gateway) {
    uint32_t bytes = bw_pipe_take(&gateway->command, gateway->command_bytes, BW_COMMAND_BYTES,
                                  BW_COMMAND_BYTES_PER_TURN);
    for (uint32_t at = 0; at < bytes;) {
        bw_pipe_message message;
        memcpy(&message, gateway->command_bytes + at, sizeof message);
        run(gateway, &message, gateway->command_bytes + at + sizeof message);
        at += message.bytes;
    }
    return bw_pipe_waiting(&gateway->command);
}
