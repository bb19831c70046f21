/* The gateway's one native thread: rings, timers, flushes, commands, sockets, in that order. */
#include "internal.h"

#include "clock.h"
#include "waking.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#define EPOLL_EVENTS 256
#define SOCKETS_NS 20000 /* busy: between two looks at the sockets; what comes into a ring then waits */

static void flush_groups(bw_gateway *gateway) {
    for (uint32_t i = 0; i < gateway->flush_count; i++) bw_group_flush(gateway, gateway->flush[i]);
    gateway->flush_count = 0;
}

static void flush_clients(bw_gateway *gateway) {
    for (uint32_t i = 0; i < gateway->flush_client_count; i++) {
        bw_client *client = gateway->flush_client[i];
        client->flush_due = false;
        if (!client->blocked) bw_client_flush(gateway, client);
    }
    gateway->flush_client_count = 0;
}

/* Groups are flushed after each exchange's turn: what came first goes out first. */
static bool poll_rings(bw_gateway *gateway) {
    bool any = false;
    for (uint32_t i = 0; i < gateway->source_count; i++) {
        if (!bw_source_poll(gateway, &gateway->source[i])) continue;
        flush_groups(gateway);
        any = true;
    }
    return any;
}

static void tick(bw_gateway *gateway) {
    gateway->next_tick_ns = gateway->now_ns + BW_TICK_NS;
    gateway->wall_ns = bw_wall_ns();
    BW_GAUGE(gateway->stats, beat_ns, (uint64_t)gateway->wall_ns);
    for (uint32_t i = 0; i < gateway->source_count; i++) bw_source_check(gateway, &gateway->source[i]);
    bw_clients_tick(gateway);
    if (gateway->client_paused) {
        gateway->client_paused = false;
        for (uint32_t i = 0; i < gateway->client_slots; i++) {
            bw_client *client = gateway->client[i];
            if (client->paused && client->state == BW_CLIENT_OPEN) bw_client_readable(gateway, client);
        }
    }
}

static void handle(bw_gateway *gateway, const struct epoll_event *event) {
    void *pointer = (void *)(uintptr_t)(event->data.u64 & ~(uint64_t)7);
    uint64_t count;
    switch ((enum bw_epoll_kind)(event->data.u64 & 7)) {
    case BW_EPOLL_CLIENT: {
        bw_client *client = pointer;
        if (client->state == BW_CLIENT_DEAD || client->state == BW_CLIENT_FREE) return;
        if (event->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) bw_client_readable(gateway, client);
        bool writable = event->events & EPOLLOUT && client->state != BW_CLIENT_DEAD;
        if (writable && (client->blocked || client->tls)) bw_client_flush(gateway, client);
        return;
    }
    case BW_EPOLL_SOURCE: bw_source_end(gateway, pointer); return;
    case BW_EPOLL_LISTEN: bw_clients_accept(gateway); return;
    case BW_EPOLL_COMMAND:
        while (read(gateway->command.wake_fd, &count, sizeof count) > 0) continue;
        return;
    case BW_EPOLL_BELL: return; /* bw_bell_awake() empties it */
    }
}

static void poll_sockets(bw_gateway *gateway, int timeout_ms) {
    struct epoll_event event[EPOLL_EVENTS];
    int events = epoll_wait(gateway->epoll_fd, event, EPOLL_EVENTS, timeout_ms);
    if (events == 0) return;
    gateway->now_ns = bw_steady_ns();
    gateway->wall_ns = bw_wall_ns();
    for (int i = 0; i < events; i++) handle(gateway, &event[i]);
}

static bool rings_waiting(const bw_gateway *gateway) {
    for (uint32_t i = 0; i < gateway->source_count; i++) {
        if (bw_source_waiting(&gateway->source[i])) return true;
    }
    return false;
}

static int sleep_ms(const bw_gateway *gateway) {
    int64_t until = bw_groups_next_due(gateway);
    if (gateway->next_tick_ns < until) until = gateway->next_tick_ns;
    int64_t ns = until - bw_steady_ns();
    return ns <= 0 ? 0 : (int)((ns + 999999) / 1000000);
}

/* Sets the bell first and looks once more: a record published in between is seen either way. */
static void sleep_on_sockets(bw_gateway *gateway) {
    int timeout_ms = sleep_ms(gateway);
    bool asleep = timeout_ms > 0 && gateway->bell;
    if (asleep) {
        bw_bell_sleep(gateway->bell);
        if (rings_waiting(gateway)) timeout_ms = 0;
    }
    poll_sockets(gateway, timeout_ms);
    if (asleep) bw_bell_awake(gateway->bell);
}

/* Rings first. gateway->wall_ns is taken where something happened: a record, an event, a tick. */
static bool turn(bw_gateway *gateway) {
    gateway->now_ns = bw_steady_ns();
    bool busy = poll_rings(gateway);
    bw_groups_due(gateway);
    flush_groups(gateway);
    busy |= bw_commands_run(gateway);
    if (gateway->now_ns >= gateway->next_tick_ns) tick(gateway);
    flush_groups(gateway);
    flush_clients(gateway);
    bw_clients_bury(gateway);
    return busy;
}

static bool finished(const bw_gateway *gateway) {
    if (atomic_load_explicit(&gateway->stop, memory_order_relaxed)) return true;
    return gateway->draining && (gateway->client_count == 0 || gateway->now_ns > gateway->drain_until_ns);
}

static void settle_thread(const bw_gateway *gateway) {
    prctl(PR_SET_NAME, "bw-gateway");
    prctl(PR_SET_TIMERSLACK, 1000); /* ns; intervals are ms, but a wake should not wait for others */
    if (!gateway->busy) bw_wake_early();
    if (gateway->cpu < 0) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)gateway->cpu, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

static void stop_listening(bw_gateway *gateway) {
    if (gateway->listen_fd < 0) return;
    close(gateway->listen_fd);
    gateway->listen_fd = -1;
}

void *bw_gateway_loop(void *argument) {
    bw_gateway *gateway = argument;
    settle_thread(gateway);
    int64_t sockets_ns = 0; /* when they are looked at next */
    while (!finished(gateway)) {
        bool busy = turn(gateway);
        if (gateway->draining) stop_listening(gateway);
        BW_COUNT(gateway->stats, loop_turns, 1);
        if (gateway->busy) {
            if (gateway->now_ns >= sockets_ns) {
                poll_sockets(gateway, 0);
                sockets_ns = gateway->now_ns + SOCKETS_NS;
            }
        } else if (busy) {
            poll_sockets(gateway, 0);
        } else {
            sleep_on_sockets(gateway);
        }
        flush_groups(gateway);
        flush_clients(gateway);
        bw_clients_bury(gateway);
    }
    bw_pipe_put(&gateway->event, (bw_pipe_message){.type = BW_GATEWAY_STOPPED}, NULL, 0, NULL, 0, true);
    return NULL;
}
