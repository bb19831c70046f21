/* The loop: commands, connections in turn, bells once a turn, heartbeat.
 *
 * epoll mode sleeps until a connection or a command is ready. Busy mode reads every connection in turn
 * and never asks the kernel which one is ready: with the few connections of a process a read that finds
 * nothing costs less than epoll_wait() and the read after it.
 */
#include "feed.h"

#include "clock.h"
#include "feed_parts.h"
#include "reserve.h"
#include "waking.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MS INT64_C(1000000)
#define HOUSEKEEPING_NS (10 * MS)
#define SLEEP_MS 50 /* readers take a heartbeat older than 100 ms as a sign of trouble */
#define REHEARSE_NS 20000 /* of silence between two rehearsals: they take some 2 us */
#define QUEUE_READ_NS (100 * MS)
#define IDLE_TURNS 256u /* before a loop with a network naps, where it may */
#define NAP_NS 50000
#define WAKE_ID UINT32_MAX

static int start_descriptors(bw_feed *feed) {
    struct epoll_event wake = {.events = EPOLLIN, .data.u32 = WAKE_ID};
    feed->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    feed->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    feed->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (feed->epoll_fd < 0 || feed->wake_fd < 0 || feed->event_fd < 0) return -1;
    return epoll_ctl(feed->epoll_fd, EPOLL_CTL_ADD, feed->wake_fd, &wake);
}

static bw_engine *start_engine(const bw_feed *feed, const bw_feed_spec *spec, char *error,
                               uint32_t error_bytes) {
    bw_engine_spec engine = {
        .plan = spec->plan,
        .shm = spec->shm,
        .events = feed->host.events,
        .levels_max = spec->levels_max,
        .pending_bytes = spec->pending_bytes,
        .connections_max = spec->connections_max,
        .crossed_max = spec->crossed_max,
    };
    return bw_engine_new(&engine, error, error_bytes);
}

bw_feed *bw_feed_new(const bw_feed_spec *spec, char *error, uint32_t error_bytes) {
    if (!spec->connections_max || spec->connections_max > BW_FEED_CONNECTIONS_MAX ||
        spec->poll > BW_POLL_BUSY || spec->frames > BW_FRAMES_PROTOBUF ||
        spec->message_bytes_max < 1024 || spec->message_bytes_max > (1u << 30)) {
        snprintf(error, error_bytes,
                 "feed: connections_max must be 1 to %u, message_bytes_max 1 KiB to 1 GiB",
                 BW_FEED_CONNECTIONS_MAX);
        return NULL;
    }
    bw_feed *feed = (bw_feed *)bw_reserve(sizeof *feed);
    if (!feed) {
        snprintf(error, error_bytes, "feed: out of memory");
        return NULL;
    }
    pthread_mutex_init(&feed->commands.lock, NULL);
    feed->epoll_fd = feed->wake_fd = feed->event_fd = -1;
    feed->shm = spec->shm;
    feed->header = bw_shm_writer_header(spec->shm);
    feed->books = atomic_load(&feed->header->book_count);
    feed->poll = spec->poll;
    feed->cpu = spec->cpu;
    feed->connections_max = spec->connections_max;
    feed->timing = bw_shm_writer_timing(spec->shm);
    feed->host.stats = bw_shm_writer_stats(spec->shm);
    feed->host.raw = spec->raw;
    feed->host.message_bytes_max = spec->message_bytes_max;
    feed->host.busy_poll_us = spec->busy_poll_us;
    feed->host.network = spec->network;
    feed->host.events = (bw_event_ring *)bw_reserve(sizeof *feed->host.events);
    bool ready = feed->host.events && start_descriptors(feed) == 0;
    feed->host.binary_is_text = spec->frames != BW_FRAMES_PROTOBUF;
    if (ready && (spec->frames == BW_FRAMES_GZIP || spec->frames == BW_FRAMES_DEFLATE)) {
        feed->host.inflate =
            bw_inflate_new(spec->frames == BW_FRAMES_GZIP ? BW_INFLATE_GZIP : BW_INFLATE_DEFLATE,
                           spec->message_bytes_max);
        ready = feed->host.inflate != NULL;
    }
    for (uint32_t i = 0; ready && i < spec->connections_max; i++) {
        ready = bw_connection_init(&feed->connection[i], &feed->host, i);
    }
    if (!ready) {
        snprintf(error, error_bytes, "feed: %s", strerror(errno));
        bw_feed_free(feed);
        return NULL;
    }
    feed->host.events->wake_fd = feed->event_fd;
    feed->host.tls = bw_tls_client_context(spec->ca_file, error, error_bytes);
    if (feed->host.tls) feed->host.engine = start_engine(feed, spec, error, error_bytes);
    bool staged = feed->host.engine && spec->poll == BW_POLL_BUSY;
    if (!feed->host.engine || (staged && !bw_engine_prepare_rehearsal(feed->host.engine))) {
        bw_feed_free(feed);
        return NULL;
    }
    return feed;
}

void bw_feed_free(bw_feed *feed) {
    if (!feed) return;
    bw_feed_commands_drop(feed);
    for (uint32_t i = 0; i < feed->connections_max; i++) bw_connection_free(&feed->connection[i]);
    bw_engine_free(feed->host.engine);
    bw_tls_context_free(feed->host.tls);
    bw_inflate_free(feed->host.inflate);
    if (feed->epoll_fd >= 0) close(feed->epoll_fd);
    if (feed->wake_fd >= 0) close(feed->wake_fd);
    if (feed->event_fd >= 0) close(feed->event_fd);
    pthread_mutex_destroy(&feed->commands.lock);
    bw_unreserve((uint8_t *)feed->host.events, sizeof *feed->host.events);
    bw_unreserve((uint8_t *)feed, sizeof *feed);
}

int bw_feed_event_fd(const bw_feed *feed) {
    return feed->event_fd;
}

uint32_t bw_feed_events(bw_feed *feed, bw_event *out, uint32_t capacity) {
    uint64_t count;
    ssize_t got = read(feed->event_fd, &count, sizeof count);
    (void)got; /* EAGAIN: nothing was published since the last time */
    uint32_t events = bw_event_drain(feed->host.events, out, capacity);
    if (events == capacity) { /* there may be more: stay readable */
        count = 1;
        got = write(feed->event_fd, &count, sizeof count);
    }
    return events;
}

uint64_t bw_feed_events_dropped(const bw_feed *feed) {
    return atomic_load_explicit(&feed->host.events->dropped, memory_order_relaxed);
}

bw_engine *bw_feed_engine(bw_feed *feed) {
    return feed->host.engine;
}

void bw_feed_connection(const bw_feed *feed, uint32_t connection, bw_connection_view *out) {
    memset(out, 0, sizeof *out);
    if (connection >= feed->connections_max) return;
    const bw_connection_view *view = &feed->connection[connection].view;
#define COPY(field) out->field = __atomic_load_n(&view->field, __ATOMIC_RELAXED)
    COPY(state);
    COPY(tls_resumed);
    COPY(opened_ns);
    COPY(last_receive_ns);
    COPY(last_message_ns);
    COPY(last_ping_ns);
    COPY(last_pong_ns);
    COPY(messages);
    COPY(bytes);
    COPY(pings);
    COPY(pongs);
    COPY(send_waiting);
#undef COPY
}

/* Keeps epoll's view of every connection current; a closed descriptor has left it by itself. */
static void watch(bw_feed *feed, uint32_t id) {
    bw_connection *connection = &feed->connection[id];
    int descriptor = bw_connection_poll_fd(connection);
    bool known = feed->watched[id].interest && feed->watched[id].uses == connection->uses;
    uint32_t interest = 0;
    if (descriptor >= 0) {
        interest = EPOLLIN | (bw_connection_wants_write(connection) ? EPOLLOUT : 0u);
        struct epoll_event event = {.events = interest, .data.u32 = id};
        if (known && interest == feed->watched[id].interest) return;
        epoll_ctl(feed->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, descriptor, &event);
    }
    feed->watched[id].interest = interest;
    feed->watched[id].uses = connection->uses;
}

/* Bytes the kernel or the network holds and we have not read: how far behind the loop is. */
static void read_queues(bw_feed *feed) {
    bw_network *network = feed->host.network;
    uint64_t total = network ? network->ops->waiting(network) : 0;
    for (uint32_t i = 0; i < feed->connections_max; i++) {
        int descriptor = bw_connection_poll_fd(&feed->connection[i]);
        int bytes = 0;
        if (descriptor >= 0 && ioctl(descriptor, FIONREAD, &bytes) == 0) total += (uint64_t)bytes;
    }
    atomic_store_explicit(&feed->host.stats->receive_queue_bytes, total, memory_order_relaxed);
}

static void housekeeping(bw_feed *feed, int64_t now_ns) {
    if (now_ns - feed->housekept_ns < HOUSEKEEPING_NS && now_ns >= feed->housekept_ns) return;
    feed->housekept_ns = now_ns;
    bw_clock_calibrate();
    atomic_store_explicit(&feed->timing->cycles_per_second, bw_clock_cycles_per_second(),
                          memory_order_relaxed);
    atomic_store_explicit(&feed->header->heartbeat_ns, (uint64_t)now_ns, memory_order_relaxed);
    atomic_store_explicit(&feed->host.stats->loop_turns, feed->turns, memory_order_relaxed);
    atomic_store_explicit(&feed->host.stats->events_dropped, bw_feed_events_dropped(feed),
                          memory_order_relaxed);
    for (uint32_t i = 0; i < feed->connections_max; i++) {
        if (bw_connection_check(&feed->connection[i], now_ns) == BW_TURN_OVER) watch(feed, i);
    }
    if (now_ns - feed->queue_read_ns >= QUEUE_READ_NS || now_ns < feed->queue_read_ns) {
        feed->queue_read_ns = now_ns;
        read_queues(feed);
    }
    bw_shm_writer_ring_bells(feed->shm);
}

static void take_commands(bw_feed *feed, int64_t now_ns) {
    bw_command_ring *ring = &feed->commands;
    if (atomic_load_explicit(&ring->head, memory_order_acquire) ==
        atomic_load_explicit(&ring->done, memory_order_relaxed)) {
        return;
    }
    bw_feed_commands(feed, now_ns);
    if (feed->poll == BW_POLL_EPOLL && !feed->host.network) {
        for (uint32_t i = 0; i < feed->connections_max; i++) watch(feed, i);
    }
    bw_shm_writer_ring_bells(feed->shm);
}

/* One connection's last message, each in its turn. */
static void rehearse(bw_feed *feed, int64_t now_ns) {
    feed->worked_ns = now_ns;
    for (uint32_t tries = 0; tries < feed->connections_max; tries++) {
        feed->rehearsing = (feed->rehearsing + 1) % feed->connections_max;
        if (bw_connection_rehearse(&feed->connection[feed->rehearsing])) return;
    }
}

static void count_busy(bw_feed *feed, int64_t began_ns) {
    _Atomic uint64_t *busy_ns = &feed->timing->busy_ns; /* this thread alone writes it */
    int64_t ns = bw_wall_ns() - began_ns;
    uint64_t so_far = atomic_load_explicit(busy_ns, memory_order_relaxed);
    if (ns > 0) atomic_store_explicit(busy_ns, so_far + (uint64_t)ns, memory_order_relaxed);
}

/* *worked: a connection had a message, or ended. */
static int64_t turn_connections(bw_feed *feed, bool *worked) {
    int64_t now_ns = bw_wall_ns();
    if (feed->host.network) bw_engine_reading(feed->host.engine, now_ns);
    for (uint32_t i = 0; i < feed->connections_max; i++) {
        bw_connection *connection = &feed->connection[i];
        if (connection->view.state == BW_CONNECTION_FREE) continue;
        uint64_t before = connection->view.messages;
        enum bw_turn turn = bw_connection_turn(connection, now_ns);
        if (turn != BW_TURN_OVER && connection->view.messages == before) continue;
        bw_shm_writer_ring_bells(feed->shm);
        feed->worked_ns = now_ns;
        *worked = true;
    }
    if (now_ns - feed->worked_ns > REHEARSE_NS) rehearse(feed, now_ns);
    take_commands(feed, now_ns);
    return now_ns;
}

static int64_t turn_busy(bw_feed *feed) {
    bool worked = false;
    int64_t now_ns = turn_connections(feed, &worked);
    if (worked) count_busy(feed, now_ns);
    return now_ns;
}

/* Sleeps for what is ready, or not at all while bytes wait inside a connection. Returns the time. */
static int64_t turn_epoll(bw_feed *feed, uint64_t *more) {
    struct epoll_event ready[BW_FEED_CONNECTIONS_MAX + 1];
    int count = epoll_wait(feed->epoll_fd, ready, BW_FEED_CONNECTIONS_MAX + 1, *more ? 0 : SLEEP_MS);
    int64_t now_ns = bw_wall_ns();
    uint64_t turn = *more;
    *more = 0;
    for (int i = 0; i < count; i++) {
        if (ready[i].data.u32 != WAKE_ID) {
            turn |= UINT64_C(1) << ready[i].data.u32;
            continue;
        }
        uint64_t wakes;
        ssize_t got = read(feed->wake_fd, &wakes, sizeof wakes);
        (void)got;
    }
    bool worked = turn != 0;
    while (turn) {
        uint32_t id = (uint32_t)__builtin_ctzll(turn);
        turn &= turn - 1;
        if (bw_connection_turn(&feed->connection[id], now_ns) == BW_TURN_MORE) *more |= UINT64_C(1) << id;
        watch(feed, id);
        bw_shm_writer_ring_bells(feed->shm);
    }
    if (worked) count_busy(feed, now_ns);
    take_commands(feed, now_ns);
    return now_ns;
}

/* Frames first, then the connections they are for, then what these answer. Where the core is shared (epoll
 * was asked for) a network that stays silent is asked some thousand times a second only. */
static int64_t turn_network(bw_feed *feed) {
    bw_network *network = feed->host.network;
    int64_t began_ns = bw_wall_ns();
    uint32_t frames = network->ops->poll(network);
    bool worked = frames > 0;
    int64_t now_ns = turn_connections(feed, &worked);
    network->ops->flush(network);
    if (worked) count_busy(feed, began_ns);
    feed->idle_turns = frames ? 0 : feed->idle_turns + 1;
    if (feed->poll == BW_POLL_EPOLL && feed->idle_turns > IDLE_TURNS) {
        struct pollfd wake = {.fd = feed->wake_fd, .events = POLLIN};
        struct timespec nap = {.tv_nsec = NAP_NS};
        uint64_t wakes;
        if (ppoll(&wake, 1, &nap, NULL) > 0) {
            ssize_t got = read(feed->wake_fd, &wakes, sizeof wakes);
            (void)got;
        }
    }
    return now_ns;
}

static bool start_network(bw_feed *feed, int *result) {
    char why[256] = "";
    bw_network *network = feed->host.network;
    if (!network) return true;
    *result = network->ops->start(network, why, sizeof why);
    if (*result < 0) {
        bw_feed_refuse(feed, BW_NO_CONNECTION, BW_NO_BOOK, "start the network", why, bw_wall_ns());
    }
    return *result == 0;
}

static void run_turns(bw_feed *feed) {
    uint64_t more = 0;
    while (!feed->stop) {
        int64_t now_ns = feed->host.network            ? turn_network(feed)
                         : feed->poll == BW_POLL_BUSY ? turn_busy(feed)
                                                      : turn_epoll(feed, &more);
        feed->turns++;
        housekeeping(feed, now_ns);
    }
}

static void pin(bw_feed *feed) {
    cpu_set_t set;
    if (feed->cpu < 0) return;
    CPU_ZERO(&set);
    if (feed->cpu < CPU_SETSIZE) CPU_SET((unsigned)feed->cpu, &set);
    int result = pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    if (result) {
        char what[32];
        snprintf(what, sizeof what, "pin to cpu %d", feed->cpu);
        bw_feed_refuse(feed, BW_NO_CONNECTION, BW_NO_BOOK, what, strerror(result), bw_wall_ns());
    }
}

static void finish(bw_feed *feed) {
    int64_t now_ns = bw_wall_ns();
    for (uint32_t i = 0; i < feed->connections_max; i++) {
        bw_connection *connection = &feed->connection[i];
        if (connection->view.state == BW_CONNECTION_OPEN) bw_connection_close(connection, 1001, now_ns);
        if (connection->view.state != BW_CONNECTION_FREE) {
            bw_connection_end(connection, BW_CLOSE_ASKED, connection->peer_code, "stopped", now_ns);
        }
    }
    bw_shm_writer_ring_bells(feed->shm);
    bw_event *event = bw_event_claim(feed->host.events);
    if (event) {
        event->type = BW_EVENT_STOPPED;
        event->time_ns = now_ns;
        bw_event_publish(feed->host.events);
    }
}

int bw_feed_run(bw_feed *feed) {
    sigset_t all, before;
    int result = 0;
    pthread_mutex_lock(&feed->commands.lock);
    bool again = feed->running || feed->stop;
    feed->running = true;
    pthread_mutex_unlock(&feed->commands.lock);
    if (again) return -EALREADY;
    sigfillset(&all); /* signals are Python's main thread's business */
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pthread_setname_np(pthread_self(), BW_FEED_THREAD_NAME);
    if (feed->poll == BW_POLL_EPOLL) bw_wake_early();
    pin(feed);
    if (start_network(feed, &result)) {
        atomic_store(&feed->header->state, BW_SEGMENT_RUNNING);
        run_turns(feed);
        finish(feed);
    }
    if (feed->host.network) feed->host.network->ops->stop(feed->host.network);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}
