/* A client's life: accepted, upgraded, read, closed. What its requests mean is Python's business. */
#include "internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN 64
#define TICK_CLIENTS 256u
#define CLOSE_PATIENCE_NS 1000000000
#define EVENT_SLACK_BYTES (1u << 20) /* kept free of requests, so that other events always fit */

uint64_t bw_client_id(const bw_client *client) {
    return (uint64_t)client->generation << 32 | client->index;
}

bw_client *bw_client_find(bw_gateway *gateway, uint64_t id) {
    uint32_t index = (uint32_t)id;
    if (index >= gateway->client_slots) return NULL;
    bw_client *client = gateway->client[index];
    if (!client || client->generation != id >> 32) return NULL;
    return client->state == BW_CLIENT_DEAD || client->state == BW_CLIENT_FREE ? NULL : client;
}

static void take_address(bw_client *client, const struct sockaddr_storage *from) {
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    memset(client->address, 0, sizeof client->address);
    if (from->ss_family == AF_INET) {
        memcpy(client->address, mapped, sizeof mapped);
        memcpy(client->address + 12, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
    } else if (from->ss_family == AF_INET6) {
        memcpy(client->address, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, 16);
    }
    bool is_mapped = memcmp(client->address, mapped, sizeof mapped) == 0;
    client->loopback = is_mapped ? client->address[12] == 127
                                 : memcmp(client->address, &in6addr_loopback, 16) == 0;
}

static uint32_t clients_of_address(const bw_gateway *gateway, const bw_client *like) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < gateway->client_slots; i++) {
        const bw_client *other = gateway->client[i];
        count += other && other->state != BW_CLIENT_FREE && memcmp(other->address, like->address, 16) == 0;
    }
    return count;
}

static void refuse(int descriptor, const char *status) {
    char text[160];
    int bytes =
        snprintf(text, sizeof text,
                 "HTTP/1.1 %s\r\nConnection: close\r\nRetry-After: 10\r\nContent-Length: 0\r\n\r\n", status);
    ssize_t sent = send(descriptor, text, (size_t)bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent; /* who is refused may miss the reason */
    close(descriptor);
}

static bw_client *client_slot(bw_gateway *gateway) {
    if (gateway->free_slots > 0) return gateway->client[gateway->free_slot[gateway->free_slots - 1]];
    if (gateway->client_slots == gateway->limits.clients_max) return NULL;
    bw_client *client = calloc(1, sizeof *client);
    if (!client) return NULL;
    client->index = gateway->client_slots;
    client->fd = -1;
    gateway->client[gateway->client_slots++] = client;
    gateway->free_slot[gateway->free_slots++] = client->index; /* until it is really taken */
    return client;
}

static bool client_equip(bw_gateway *gateway, bw_client *client) {
    size_t message_max = gateway->limits.message_bytes_max;
    if (message_max < BW_UPGRADE_BYTES_MAX) message_max = BW_UPGRADE_BYTES_MAX;
    client->ws = bw_ws_new(BW_WS_SERVER, message_max, false);
    if (!client->ws || !bw_queue_reserve(&client->urgent, 1)) return false; /* the first ping finds room */
    if (!gateway->tls) return true;
    client->transport = bw_socket_adopt(client->fd);
    if (!client->transport) return false;
    client->tls = bw_tls_server(gateway->tls, client->transport);
    client->tls_chunk = malloc(BW_TLS_CHUNK_BYTES);
    return client->tls && client->tls_chunk;
}

static void client_release(bw_client *client) {
    if (client->tls) bw_tls_free(client->tls);
    if (client->transport) {
        client->transport->ops->close(client->transport);
    } else {
        close(client->fd);
    }
    if (client->ws) bw_ws_free(client->ws);
    free(client->tls_chunk);
    bw_queue_free(&client->out);
    bw_queue_free(&client->urgent);
    uint32_t index = client->index, generation = client->generation;
    *client = (bw_client){.index = index, .generation = generation + 1, .fd = -1};
}

static void client_start(bw_gateway *gateway, int descriptor, const struct sockaddr_storage *from) {
    bw_client *client = client_slot(gateway);
    if (!client) {
        BW_COUNT(gateway->stats, refused_clients, 1);
        refuse(descriptor, "503 Too Many Clients");
        return;
    }
    client->fd = descriptor;
    take_address(client, from);
    if (!client->loopback && clients_of_address(gateway, client) >= gateway->limits.clients_per_address) {
        BW_COUNT(gateway->stats, refused_address, 1);
        refuse(descriptor, "429 Too Many Connections From This Address");
        return;
    }
    gateway->free_slots--;
    int one = 1, buffer = (int)gateway->limits.send_buffer_bytes;
    unsigned int user_timeout = gateway->limits.timeout_ms;
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    setsockopt(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof user_timeout);
    client->state = gateway->tls ? BW_CLIENT_TLS : BW_CLIENT_HTTP;
    client->accepted_ns = client->life_ns = client->request_ns = gateway->now_ns;
    client->allowance_ns = INT64_MAX / 2; /* cut to the burst at the first request */
    BW_COUNT(gateway->stats, clients_accepted, 1);
    BW_COUNT(gateway->stats, clients, 1);
    gateway->client_count++;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.u64 = (uintptr_t)client | BW_EPOLL_CLIENT};
    if (!client_equip(gateway, client) ||
        epoll_ctl(gateway->epoll_fd, EPOLL_CTL_ADD, descriptor, &event) < 0) {
        bw_client_kill(gateway, client, 1011);
    }
}

void bw_clients_accept(bw_gateway *gateway) {
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage from = {0};
        socklen_t from_bytes = sizeof from;
        int descriptor = accept4(gateway->listen_fd, (struct sockaddr *)&from, &from_bytes,
                                 SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (descriptor >= 0) {
            client_start(gateway, descriptor, &from);
        } else if (errno == EMFILE || errno == ENFILE) {
            BW_COUNT(gateway->stats, refused_clients, 1); /* out of descriptors: they wait in the backlog */
            usleep(1000);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

/* Takes the connection down now; memory is given back at the end of the turn. */
void bw_client_kill(bw_gateway *gateway, bw_client *client, uint16_t code) {
    if (client->state == BW_CLIENT_DEAD) return;
    if (client->close_code == 0) client->close_code = code;
    client->state = BW_CLIENT_DEAD;
    gateway->dead[gateway->dead_count++] = client;
}

void bw_clients_bury(bw_gateway *gateway) {
    for (uint32_t i = 0; i < gateway->dead_count; i++) {
        bw_client *client = gateway->dead[i];
        while (client->subs) bw_sub_free(gateway, client->subs);
        bw_pipe_message closed = {
            .type = BW_GATEWAY_CLOSED, .client = bw_client_id(client), .code = client->close_code};
        bw_pipe_put(&gateway->event, closed, NULL, 0, NULL, 0, true);
        client_release(client);
        gateway->free_slot[gateway->free_slots++] = client->index;
        gateway->client_count--;
        BW_COUNT(gateway->stats, clients, -1);
        BW_COUNT(gateway->stats, clients_closed, 1);
    }
    gateway->dead_count = 0;
}

/* Says why and stops the stream; the connection ends when the peer has answered or patience is over. */
void bw_client_close(bw_gateway *gateway, bw_client *client, uint16_t code, const char *reason) {
    if (client->closing || client->state == BW_CLIENT_DEAD) return;
    if (client->state != BW_CLIENT_OPEN) {
        bw_client_kill(gateway, client, code);
        return;
    }
    if (!client->blocked) bw_client_flush(gateway, client); /* what was said before still goes out */
    if (client->state == BW_CLIENT_DEAD) return;
    client->closing = true;
    client->close_code = code;
    client->closing_ns = gateway->now_ns;
    if (client->events) { /* a message that is cut cannot be told from a whole one */
        if (client->blocked || !bw_events_put_end(client, code, reason)) {
            bw_client_kill(gateway, client, code);
        }
        return bw_client_schedule_flush(gateway, client);
    }
    client->out.end = client->out.start + client->frame_left; /* nothing after the close frame */
    uint8_t payload[125] = {(uint8_t)(code >> 8), (uint8_t)code};
    size_t bytes = strlen(reason);
    if (bytes > sizeof payload - 2) bytes = sizeof payload - 2;
    memcpy(payload + 2, reason, bytes);
    if (!bw_client_put(gateway, client, true, BW_WS_OP_CLOSE, payload, bytes + 2)) {
        bw_client_kill(gateway, client, code);
    }
}

/* --- reading ------------------------------------------------------------------------------------------ */

/* > 0 bytes, 0 none now, < 0 ended. */
static ssize_t client_receive(bw_client *client, uint8_t *out, size_t room) {
    if (client->tls) {
        int64_t receive_ns;
        return bw_tls_read(client->tls, out, room, &receive_ns);
    }
    ssize_t received = recv(client->fd, out, room, MSG_DONTWAIT);
    if (received > 0) return received;
    return received < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) ? 0 : -1;
}

/* Token bucket; false when the client asks more than it may. */
static bool client_may_ask(bw_gateway *gateway, bw_client *client) {
    int64_t cost = 1000000000 / gateway->limits.requests_per_second;
    int64_t burst = cost * gateway->limits.requests_burst;
    client->allowance_ns += gateway->now_ns - client->request_ns;
    client->request_ns = gateway->now_ns;
    if (client->allowance_ns > burst) client->allowance_ns = burst;
    client->allowance_ns -= cost;
    return client->allowance_ns >= 0;
}

static void client_request(bw_gateway *gateway, bw_client *client, const bw_ws_event *event) {
    BW_COUNT(gateway->stats, requests, 1);
    bw_pipe_message message = {
        .type = BW_GATEWAY_TEXT, .client = bw_client_id(client), .code = client->authorised};
    if (event->payload_bytes > gateway->limits.request_bytes_max) {
        BW_COUNT(gateway->stats, refused_message_bytes, 1);
        message.type = BW_GATEWAY_TOO_LARGE;
        message.tag = event->payload_bytes;
        bw_pipe_put(&gateway->event, message, NULL, 0, NULL, 0, true);
        return;
    }
    bw_pipe_put(&gateway->event, message, event->payload, (uint32_t)event->payload_bytes, NULL, 0, true);
}

static void client_event(bw_gateway *gateway, bw_client *client, const bw_ws_event *event) {
    if (client->closing && event->type != BW_WS_CLOSED) return; /* only its close frame still matters */
    switch (event->type) {
    case BW_WS_CLOSED:
        if (client->closing) {
            bw_client_kill(gateway, client, client->close_code);
        } else {
            uint16_t code = event->close_code == 1005 ? 1000 : event->close_code;
            bw_client_close(gateway, client, code, "");
        }
        return;
    case BW_WS_FAILED:
        BW_COUNT(gateway->stats, refused_protocol, 1);
        bw_client_close(gateway, client, event->close_code,
                        event->payload_bytes ? event->payload : "protocol violation");
        return;
    case BW_WS_PONG: return; /* that it came is all it says */
    default: break;
    }
    if (!client_may_ask(gateway, client)) {
        BW_COUNT(gateway->stats, refused_requests, 1);
        bw_client_close(gateway, client, 1008, "too many requests");
    } else if (event->type == BW_WS_PING) {
        bw_client_put(gateway, client, true, BW_WS_OP_PONG, event->payload, event->payload_bytes);
    } else {
        client_request(gateway, client, event);
    }
}

/* Whether more requests may be taken: Python must have room, the client must take its answers. */
static bool client_pauses(bw_gateway *gateway, bw_client *client) {
    client->paused = bw_pipe_room(&gateway->event) < EVENT_SLACK_BYTES + gateway->limits.message_bytes_max ||
                     bw_queue_bytes(&client->out) > gateway->limits.queue_bytes_max;
    gateway->client_paused |= client->paused;
    return client->paused;
}

static void client_events(bw_gateway *gateway, bw_client *client) {
    bw_ws_event event;
    if (client->state == BW_CLIENT_HTTP && !client->closing) bw_client_upgrade(gateway, client);
    if (client->events) { /* nothing it says after its request means anything */
        size_t bytes;
        bw_ws_unparsed(client->ws, &bytes);
        return bw_ws_skip(client->ws, bytes);
    }
    while (client->state == BW_CLIENT_OPEN && !client_pauses(gateway, client)) {
        if (bw_ws_next(client->ws, &event) == BW_WS_NONE) return;
        client_event(gateway, client, &event);
    }
}

void bw_client_readable(bw_gateway *gateway, bw_client *client) {
    if (client->state == BW_CLIENT_TLS) {
        int done = bw_tls_handshake(client->tls);
        if (done < 0) {
            BW_COUNT(gateway->stats, refused_handshake, 1);
            bw_client_kill(gateway, client, 1015);
        }
        if (done <= 0) return;
        client->state = BW_CLIENT_HTTP;
    }
    client_events(gateway, client); /* what an earlier pause left behind */
    while (client->state != BW_CLIENT_DEAD && !client->paused) {
        size_t room;
        uint8_t *at = bw_ws_room(client->ws, &room);
        if (room == 0) return bw_client_kill(gateway, client, 1009);
        ssize_t received = client_receive(client, at, room);
        if (received == 0) return;
        if (received < 0) return bw_client_kill(gateway, client, client->closing ? client->close_code : 1006);
        client->life_ns = gateway->now_ns;
        bw_ws_filled(client->ws, (size_t)received);
        client_events(gateway, client);
    }
}

/* --- time ----------------------------------------------------------------------------------------------- */

static void client_heartbeats(bw_gateway *gateway, bw_client *client) {
    for (bw_sub *sub = client->subs; sub; sub = sub->next) {
        if (sub->heartbeat_ns == 0 || gateway->now_ns - sub->sent_ns < sub->heartbeat_ns) continue;
        char text[BW_CHANNEL_BYTES + 80];
        int bytes = snprintf(text, sizeof text, "{\"type\":\"heartbeat\",\"channel\":\"%s\",\"ts\":%lld}",
                             sub->group->encoding.channel, (long long)(gateway->wall_ns / 1000000));
        sub->sent_ns = gateway->now_ns;
        if (!bw_client_put(gateway, client, false, BW_WS_OP_TEXT, text, (size_t)bytes)) {
            return bw_client_kill(gateway, client, 1011);
        }
    }
}

static void client_tick(bw_gateway *gateway, bw_client *client) {
    int64_t now = gateway->now_ns, ms = 1000000;
    bool waits = client->state != BW_CLIENT_OPEN || !client->authorised;
    if (client->closing && now - client->closing_ns > CLOSE_PATIENCE_NS) {
        bw_client_kill(gateway, client, client->close_code);
    } else if (waits && now - client->accepted_ns > gateway->limits.handshake_ms * ms) {
        BW_COUNT(gateway->stats, refused_handshake, 1);
        bw_client_close(gateway, client, 1008, "no token in time");
    } else if (client->state == BW_CLIENT_OPEN && now - client->life_ns > gateway->limits.timeout_ms * ms) {
        BW_COUNT(gateway->stats, timeouts, 1);
        bw_client_close(gateway, client, 1001, "no sign of life");
    } else if (client->state == BW_CLIENT_OPEN && !client->closing &&
               now - client->life_ns > gateway->limits.ping_ms * ms &&
               now - client->pinged_ns > gateway->limits.ping_ms * ms) {
        client->pinged_ns = now;
        BW_COUNT(gateway->stats, pings_sent, 1);
        if (!client->head_due) bw_client_put(gateway, client, true, BW_WS_OP_PING, "bookwire", 8);
    }
    bw_client_tell_pushed(gateway, client);
    if (gateway->heartbeats > 0 && client->state == BW_CLIENT_OPEN && !client->blocked && !client->closing) {
        client_heartbeats(gateway, client);
    }
}

/* A slice at a time: housekeeping of thousands must not hold up a record. */
void bw_clients_tick(bw_gateway *gateway) {
    uint32_t slots = gateway->client_slots, slice = slots / 8 > TICK_CLIENTS ? slots / 8 : TICK_CLIENTS;
    for (uint32_t i = 0; i < slots && i < slice; i++) {
        if (gateway->tick_slot >= slots) gateway->tick_slot = 0;
        bw_client *client = gateway->client[gateway->tick_slot++];
        if (client->state != BW_CLIENT_FREE && client->state != BW_CLIENT_DEAD) client_tick(gateway, client);
    }
}
