/* Setting the gateway up and taking it down. */
#include "internal.h"

#include "clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define COMMAND_PIPE_BYTES (4u << 20)
#define EVENT_PIPE_BYTES (8u << 20)

static bool watch(bw_gateway *gateway, int descriptor, enum bw_epoll_kind kind) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = kind};
    return epoll_ctl(gateway->epoll_fd, EPOLL_CTL_ADD, descriptor, &event) == 0;
}

static bool take_sources(bw_gateway *gateway, const bw_gateway_spec *spec) {
    if (spec->exchange_count > BW_EXCHANGES_MAX) return false;
    for (uint32_t i = 0; i < spec->exchange_count; i++) {
        const bw_gateway_exchange *exchange = &spec->exchange[i];
        bw_source *source = &gateway->source[i];
        if (exchange->number >= BW_EXCHANGES_MAX) return false;
        source->number = exchange->number;
        source->pidfd = -1;
        memcpy(source->id, exchange->id, sizeof source->id);
        memcpy(gateway->exchange_id[exchange->number], exchange->id, sizeof exchange->id);
        int bytes = snprintf(source->path, sizeof source->path, "%s/%s.shm", spec->shm_dir, exchange->id);
        if (bytes < 0 || (size_t)bytes >= sizeof source->path) return false;
    }
    gateway->source_count = spec->exchange_count;
    return true;
}

static bool take_memory(bw_gateway *gateway) {
    uint32_t clients = gateway->limits.clients_max;
    gateway->client = calloc(clients, sizeof(bw_client *));
    gateway->free_slot = calloc(clients, sizeof(uint32_t));
    gateway->flush_client = calloc(clients, sizeof(bw_client *));
    gateway->dead = calloc(clients, sizeof(bw_client *));
    gateway->pending_change = malloc(BW_HISTORY_ENTRIES * sizeof(bw_change));
    gateway->command_bytes = malloc(BW_COMMAND_BYTES);
    return gateway->client && gateway->free_slot && gateway->flush_client && gateway->dead &&
           gateway->pending_change && gateway->command_bytes &&
           bw_pipe_init(&gateway->command, COMMAND_PIPE_BYTES) &&
           bw_pipe_init(&gateway->event, EVENT_PIPE_BYTES);
}

static bool take_outside(bw_gateway *gateway, const bw_gateway_spec *spec, char *error,
                         uint32_t error_bytes) {
    gateway->stats = bw_gateway_stats_create(spec->stats_path, error, error_bytes);
    if (!gateway->stats) return false;
    snprintf(gateway->stats_path, sizeof gateway->stats_path, "%s", spec->stats_path);
    BW_GAUGE(gateway->stats, started_ns, (uint64_t)bw_wall_ns());
    gateway->bell = bw_bell_new(spec->bell_path, spec->fifo_path, error, error_bytes);
    if (!gateway->bell) return false;
    if (spec->tls_certificate) {
        gateway->tls = bw_tls_server_context(spec->tls_certificate, spec->tls_key, error, error_bytes);
        if (!gateway->tls) return false;
    }
    gateway->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (gateway->epoll_fd < 0 || !watch(gateway, gateway->listen_fd, BW_EPOLL_LISTEN) ||
        !watch(gateway, gateway->command.wake_fd, BW_EPOLL_COMMAND) ||
        !watch(gateway, bw_bell_fd(gateway->bell), BW_EPOLL_BELL)) {
        snprintf(error, error_bytes, "epoll: %s", strerror(errno));
        return false;
    }
    return true;
}

bw_gateway *bw_gateway_new(const bw_gateway_spec *spec, char *error, uint32_t error_bytes) {
    bw_gateway *gateway = calloc(1, sizeof *gateway);
    if (!gateway) return NULL;
    gateway->limits = spec->limits;
    gateway->busy = spec->busy != 0;
    gateway->cpu = spec->cpu;
    gateway->listen_fd = spec->listen_fd;
    gateway->epoll_fd = gateway->command.wake_fd = gateway->event.wake_fd = -1;
    gateway->tokens = spec->tokens ? strdup(spec->tokens) : NULL;
    snprintf(error, error_bytes, "out of memory, or names too long");
    if (take_sources(gateway, spec) && take_memory(gateway) &&
        take_outside(gateway, spec, error, error_bytes)) {
        return gateway;
    }
    bw_gateway_free(gateway);
    return NULL;
}

int bw_gateway_start(bw_gateway *gateway) {
    pthread_t *thread = malloc(sizeof *thread);
    if (!thread) return -ENOMEM;
    int failed = pthread_create(thread, NULL, bw_gateway_loop, gateway);
    if (failed) {
        free(thread);
        return -failed;
    }
    gateway->thread = thread;
    return 0;
}

static void free_clients(bw_gateway *gateway) {
    for (uint32_t i = 0; i < gateway->client_slots; i++) {
        bw_client *client = gateway->client[i];
        if (client->state != BW_CLIENT_FREE) bw_client_kill(gateway, client, 1001);
    }
    bw_clients_bury(gateway);
    for (uint32_t i = 0; i < gateway->client_slots; i++) free(gateway->client[i]);
    for (uint32_t i = 0; i < gateway->source_count; i++) bw_source_free(&gateway->source[i]);
}

void bw_gateway_free(bw_gateway *gateway) {
    if (!gateway) return;
    atomic_store(&gateway->stop, true);
    if (gateway->thread) {
        uint64_t one = 1;
        ssize_t written = write(gateway->command.wake_fd, &one, sizeof one);
        (void)written; /* full: it is awake */
        pthread_join(*(pthread_t *)gateway->thread, NULL);
        free(gateway->thread);
    }
    free_clients(gateway);
    if (gateway->listen_fd >= 0) close(gateway->listen_fd);
    if (gateway->epoll_fd >= 0) close(gateway->epoll_fd);
    if (gateway->bell) bw_bell_free(gateway->bell);
    if (gateway->tls) bw_tls_context_free(gateway->tls);
    if (gateway->stats) {
        unlink(gateway->stats_path);
        bw_gateway_stats_close(gateway->stats);
    }
    bw_pipe_close(&gateway->command);
    bw_pipe_close(&gateway->event);
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        free(gateway->change[side]);
        free(gateway->copy[side]);
    }
    free(gateway->client);
    free(gateway->free_slot);
    free(gateway->flush_client);
    free(gateway->dead);
    free(gateway->flush);
    free(gateway->heap);
    free(gateway->scratch);
    free(gateway->pending_change);
    free(gateway->command_bytes);
    free(gateway->tokens);
    free(gateway);
}

int bw_gateway_event_fd(const bw_gateway *gateway) {
    return gateway->event.wake_fd;
}

uint32_t bw_gateway_events(bw_gateway *gateway, uint8_t *out, uint32_t room) {
    return bw_pipe_take(&gateway->event, out, room, room);
}
