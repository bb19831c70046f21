/* Fan-out of one stream to many subscribers, against a bare loop of send() over the same sockets.
 *
 *   bench_fanout SUBSCRIBERS [UPDATES_PER_SECOND=100] [SECONDS=4] [ROUNDS=3]
 *
 * Rounds alternate: the gateway busy polling (time from ring to the last socket), the gateway asleep
 * between updates (CPU), the bare loop (both), then saturation. One JSON object on stdout.
 */
#include "clock.h"
#include "directory.h"
#include "internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CHANGES 13 /* a side: about 1 KB a message */
#define DEPTH 100u

typedef struct bench {
    char directory[64];
    bw_shm_writer *writer;
    bw_gateway *gateway;
    int *client; /* our ends */
    uint32_t subscribers;
    uint64_t sequence, random;
    int receiver_epoll;
    _Atomic bool over;
    _Atomic uint64_t received_bytes;
} bench;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t next_random(bench *b) {
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return b->random;
}

static int64_t cpu_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* One update as a feed publishes it. */
static void publish(bench *b) {
    bw_book *book = bw_shm_writer_book(b->writer, 0);
    bw_book_store *store = bw_shm_writer_store(b->writer);
    bw_record *record = bw_record_reserve(b->writer, 2 * CHANGES);
    bw_level *change = (bw_level *)(void *)(record + 1);
    bw_book_begin(book);
    for (uint32_t i = 0; i < 2 * CHANGES; i++) {
        uint32_t side = i >= CHANGES;
        int64_t away = 1 + (int64_t)(i % CHANGES) * 2, evicted;
        change[i] =
            (bw_level){side ? 4500050 + away : 4500050 - away,
                       (int64_t)(next_random(b) % 90000000) + 10000000, (uint32_t)(b->sequence % 9), 0};
        bw_book_set(store, book, side, change[i].price, change[i].quantity, change[i].orders, &evicted);
    }
    int64_t now = bw_wall_ns();
    book->sequence = ++b->sequence;
    book->state = BW_BOOK_LIVE;
    book->receive_ns = book->published_ns = now;
    bw_book_end(store, book);
    record->type = BW_RECORD_DELTA;
    record->book = 0;
    record->epoch = book->epoch;
    record->sequence = b->sequence;
    record->price_exponent = 2;
    record->quantity_exponent = 8;
    record->receive_ns = now;
    record->state = BW_BOOK_LIVE;
    bw_record_commit(b->writer, record, CHANGES, CHANGES, bw_wall_ns());
    atomic_store_explicit(&bw_shm_writer_header(b->writer)->heartbeat_ns, (uint64_t)now,
                          memory_order_relaxed);
    bw_shm_writer_ring_bells(b->writer);
}

static void *receive(void *argument) {
    bench *b = argument;
    struct epoll_event event[256];
    static char sink[1 << 16];
    while (!atomic_load(&b->over)) {
        int events = epoll_wait(b->receiver_epoll, event, 256, 20);
        for (int i = 0; i < events; i++) {
            ssize_t bytes = recv(event[i].data.fd, sink, sizeof sink, MSG_DONTWAIT | MSG_TRUNC);
            if (bytes > 0)
                atomic_fetch_add_explicit(&b->received_bytes, (uint64_t)bytes, memory_order_relaxed);
        }
    }
    return NULL;
}

static int listen_somewhere(uint16_t *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, 1024) < 0 || getsockname(listener, (struct sockaddr *)&address, &bytes) < 0) {
        fail("listen");
    }
    *port = address.sin_port;
    return listener;
}

static int connect_client(uint16_t port) {
    static const char request[] =
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    static const uint8_t ask[] = {0x81, 0x82, 0, 0, 0, 0, '{', '}'}; /* any request: its event tells our id */
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = port,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char answer[256];
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client < 0 || connect(client, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
    if (send(client, request, sizeof request - 1, 0) < 0 || recv(client, answer, sizeof answer, 0) <= 0 ||
        send(client, ask, sizeof ask, 0) < 0) {
        fail("upgrade");
    }
    return client;
}

static void subscribe_next(bench *b) {
    static uint8_t events[4096];
    uint32_t taken;
    while ((taken = bw_gateway_events(b->gateway, events, sizeof events)) == 0) usleep(100);
    for (uint32_t at = 0; at < taken;) {
        bw_pipe_message message;
        memcpy(&message, events + at, sizeof message);
        at += message.bytes;
        if (message.type != BW_GATEWAY_TEXT) continue;
        bw_subscription wanted = {.tag = 1, .kind = BW_VIEW_SINGLE, .depth = DEPTH, .deltas = 1,
                                  .channel = "binance:BTC-USDT", .symbol = "BTC-USDT", .native = "BTCUSDT"};
        bw_gateway_subscribe(b->gateway, message.client, &wanted, "", 0);
        return;
    }
    subscribe_next(b);
}

static void start_everything(bench *b) {
    char path[128], bell[128], fifo[128], stats[128], error[256];
    snprintf(b->directory, sizeof b->directory, "/dev/shm/bookwire-bench-%d", (int)getpid());
    if (mkdir(b->directory, 0700) < 0) fail(b->directory);
    snprintf(path, sizeof path, "%s/binance.shm", b->directory);
    snprintf(bell, sizeof bell, "%s/gateway.bell", b->directory);
    snprintf(fifo, sizeof fifo, "%s/gateway.fifo", b->directory);
    snprintf(stats, sizeof stats, "%s/gateway.stats", b->directory);
    bw_shm_spec shm = {path, "binance", 0, 1, 1000, 200, 1 << 22};
    b->writer = bw_shm_writer_new(&shm, error, sizeof error);
    if (!b->writer) fail(error);
    bw_symbol symbol = {.canonical = "BTC-USDT", .native = "BTCUSDT", .base = "BTC", .quote = "USDT"};
    bw_shm_writer_add_book(b->writer, &symbol, 2, 8, bw_wall_ns());
    atomic_store(&bw_shm_writer_header(b->writer)->state, BW_SEGMENT_RUNNING);
    uint16_t port;
    bw_gateway_exchange exchange = {0, "binance"};
    bw_gateway_spec spec = {.listen_fd = listen_somewhere(&port),
                            .shm_dir = b->directory,
                            .bell_path = bell,
                            .fifo_path = fifo,
                            .stats_path = stats,
                            .exchange = &exchange,
                            .exchange_count = 1,
                            .cpu = -1,
                            .limits = {.clients_max = b->subscribers,
                                       .clients_per_address = b->subscribers,
                                       .request_bytes_max = 4096,
                                       .message_bytes_max = 16384,
                                       .requests_per_second = 100,
                                       .requests_burst = 100,
                                       .handshake_ms = 60000,
                                       .ping_ms = 600000,
                                       .timeout_ms = 900000,
                                       .queue_bytes_max = 1 << 20,
                                       .frame_bytes_max = 1 << 20,
                                       .send_buffer_bytes = 256 << 10,
                                       .writer_patience_ms = 60000}};
    b->gateway = bw_gateway_new(&spec, error, sizeof error);
    if (!b->gateway) fail(error);
    bw_shm_writer_add_bell(b->writer, bell, fifo);
    publish(b);
    if (bw_gateway_start(b->gateway) != 0) fail("start");
    for (uint32_t i = 0; i < b->subscribers; i++) {
        b->client[i] = connect_client(port);
        subscribe_next(b);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = b->client[i]};
        epoll_ctl(b->receiver_epoll, EPOLL_CTL_ADD, b->client[i], &event);
    }
}

static void sleep_until(int64_t at_ns) {
    struct timespec at = {at_ns / 1000000000, at_ns % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR) continue;
}

/* The gateway's thread is ended and begun again between rounds; its clients stay. */
static void loop_stop(bench *b) {
    atomic_store(&b->gateway->stop, true);
    uint64_t one = 1;
    if (write(b->gateway->command.wake_fd, &one, sizeof one) < 0) fail("wake");
    pthread_join(*(pthread_t *)b->gateway->thread, NULL);
    free(b->gateway->thread);
    b->gateway->thread = NULL;
    atomic_store(&b->gateway->stop, false);
}

static void loop_start(bench *b, bool busy) {
    b->gateway->busy = busy;
    if (bw_gateway_start(b->gateway) != 0) fail("start");
    usleep(20000);
}

typedef struct measured {
    double last_us, cpu_us; /* mean from published to the last socket; CPU a delivery */
    double seen_ns, first_us, first_us_p99; /* medians from published, and a tail */
} measured;

/* The value below which `share` of what came since `before` lies. */
static double quantile(const bw_gateway_stats *stats, uint32_t which, const uint64_t *before, double share) {
    uint64_t total = 0, below = 0;
    for (uint32_t i = 0; i < BW_HISTOGRAM_BUCKETS; i++) {
        total += bw_gateway_latency_bucket(stats, which, i) - before[i];
    }
    for (uint32_t i = 0; i < BW_HISTOGRAM_BUCKETS; i++) {
        below += bw_gateway_latency_bucket(stats, which, i) - before[i];
        if ((double)below >= share * (double)total) return (double)bw_histogram_floor(i + 1);
    }
    return 0;
}

static void histogram_copy(const bw_gateway_stats *stats, uint32_t which, uint64_t *out) {
    for (uint32_t i = 0; i < BW_HISTOGRAM_BUCKETS; i++) out[i] = bw_gateway_latency_bucket(stats, which, i);
}

static uint64_t latency_count(const bw_gateway_stats *stats, uint32_t which) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < BW_HISTOGRAM_BUCKETS; i++) count += bw_gateway_latency_bucket(stats, which, i);
    return count;
}

static measured gateway_round(bench *b, bool busy, uint32_t updates, int64_t period_ns) {
    const bw_gateway_stats *stats = b->gateway->stats;
    loop_start(b, busy);
    clockid_t clock;
    pthread_getcpuclockid(*(pthread_t *)b->gateway->thread, &clock);
    uint64_t count = latency_count(stats, BW_LATENCY_PUBLISHED_TO_LAST_SENT);
    uint64_t sum = bw_gateway_latency_sum(stats, BW_LATENCY_PUBLISHED_TO_LAST_SENT);
    uint64_t messages = atomic_load(&stats->messages_sent);
    static uint64_t seen[BW_HISTOGRAM_BUCKETS], first[BW_HISTOGRAM_BUCKETS];
    histogram_copy(stats, BW_LATENCY_PUBLISHED_TO_SEEN, seen);
    histogram_copy(stats, BW_LATENCY_PUBLISHED_TO_FIRST_SENT, first);
    int64_t cpu = cpu_ns(clock), next = bw_steady_ns();
    for (uint32_t i = 0; i < updates; i++) {
        sleep_until(next += period_ns);
        publish(b);
    }
    sleep_until(next + period_ns + 20000000);
    cpu = cpu_ns(clock) - cpu;
    count = latency_count(stats, BW_LATENCY_PUBLISHED_TO_LAST_SENT) - count;
    sum = bw_gateway_latency_sum(stats, BW_LATENCY_PUBLISHED_TO_LAST_SENT) - sum;
    messages = atomic_load(&stats->messages_sent) - messages;
    loop_stop(b);
    if (messages != (uint64_t)updates * b->subscribers) {
        fprintf(stderr, "sent %lu of %lu\n", (unsigned long)messages,
                (unsigned long)updates * b->subscribers);
    }
    return (measured){(double)sum / (double)count / 1e3, (double)cpu / (double)messages / 1e3,
                      quantile(stats, BW_LATENCY_PUBLISHED_TO_SEEN, seen, 0.5),
                      quantile(stats, BW_LATENCY_PUBLISHED_TO_FIRST_SENT, first, 0.5) / 1e3,
                      quantile(stats, BW_LATENCY_PUBLISHED_TO_FIRST_SENT, first, 0.99) / 1e3};
}

/* The floor: the frame is there, the sockets are known, nothing but send(). */
static measured bare_round(bench *b, uint32_t updates, int64_t period_ns) {
    static uint8_t frame[4096];
    const bw_log *log = &b->gateway->client[0]->subs->group->log;
    size_t bytes = bw_frame_bytes(bw_log_at(log, log->head - log->head)); /* the first frame of the log */
    bytes = bytes < sizeof frame ? bytes : sizeof frame;
    memcpy(frame, bw_log_at(log, 0), bytes);
    int64_t sum = 0, cpu = cpu_ns(CLOCK_THREAD_CPUTIME_ID), next = bw_steady_ns();
    for (uint32_t i = 0; i < updates; i++) {
        sleep_until(next += period_ns);
        int64_t start = bw_wall_ns();
        for (uint32_t c = 0; c < b->subscribers; c++) {
            if (send(b->gateway->client[c]->fd, frame, bytes, MSG_DONTWAIT | MSG_NOSIGNAL) !=
                (ssize_t)bytes) {
                fail("bare send");
            }
        }
        sum += bw_wall_ns() - start;
    }
    cpu = cpu_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
    return (measured){.last_us = (double)sum / updates / 1e3,
                      .cpu_us = (double)cpu / updates / b->subscribers / 1e3};
}

/* Updates as fast as the gateway takes them: what it does when it is behind is merge writes. */
static double saturation(bench *b, int64_t ns) {
    loop_start(b, true);
    const bw_gateway_stats *stats = b->gateway->stats;
    uint64_t messages = atomic_load(&stats->messages_sent);
    int64_t start = bw_steady_ns();
    bw_source *source = &b->gateway->source[0];
    while (bw_steady_ns() - start < ns) {
        uint64_t head = atomic_load(&bw_shm_writer_header(b->writer)->ring_head);
        uint64_t seen = *(volatile uint64_t *)&source->cursor.position;
        if (head - seen < 512 * 720) { /* keep it fed, not lapped, and leave the cores to the others */
            for (int i = 0; i < 256; i++) publish(b);
        } else {
            usleep(50);
        }
    }
    messages = atomic_load(&stats->messages_sent) - messages;
    double seconds = (double)(bw_steady_ns() - start) / 1e9;
    loop_stop(b);
    return (double)messages / seconds;
}

static double best(const double *value, uint32_t count) {
    double least = value[0];
    for (uint32_t i = 1; i < count; i++) least = value[i] < least ? value[i] : least;
    return least;
}

int main(int count, char **argument) {
    bench b = {.random = 88172645463325252ull};
    b.subscribers = count > 1 ? (uint32_t)atoi(argument[1]) : 100;
    uint32_t rate = count > 2 ? (uint32_t)atoi(argument[2]) : 100,
             seconds = count > 3 ? (uint32_t)atoi(argument[3]) : 4;
    uint32_t rounds = count > 4 ? (uint32_t)atoi(argument[4]) : 3;
    if (b.subscribers == 0 || rate == 0 || seconds == 0 || rounds == 0 || rounds > 16) return 2;
    struct rlimit files = {4 * b.subscribers + 256, 4 * b.subscribers + 256};
    if (setrlimit(RLIMIT_NOFILE, &files) < 0) perror("open files");
    b.client = calloc(b.subscribers, sizeof *b.client);
    b.receiver_epoll = epoll_create1(EPOLL_CLOEXEC);
    start_everything(&b);
    pthread_t receiver;
    pthread_create(&receiver, NULL, receive, &b);
    publish(&b);
    usleep(200000);
    loop_stop(&b);
    double busy_last[16], asleep_last[16], bare_last[16], gateway_cpu[16], bare_cpu[16];
    double seen[16], first[16], first_p99[16];
    uint32_t updates = rate * seconds;
    int64_t period_ns = 1000000000 / rate;
    for (uint32_t r = 0; r < rounds; r++) {
        measured busy = gateway_round(&b, true, updates, period_ns);
        measured asleep = gateway_round(&b, false, updates, period_ns);
        measured bare = bare_round(&b, updates, period_ns);
        busy_last[r] = busy.last_us, asleep_last[r] = asleep.last_us, bare_last[r] = bare.last_us;
        gateway_cpu[r] = asleep.cpu_us, bare_cpu[r] = bare.cpu_us;
        seen[r] = busy.seen_ns, first[r] = busy.first_us, first_p99[r] = busy.first_us_p99;
    }
    double deliveries = saturation(&b, 2000000000);
    printf(
        "{\"subscribers\":%u,\"rate\":%u,\"seen_ns_p50\":%.0f,\"first_us_p50\":%.2f,\"first_us_p99\":%.2f,"
        "\"gateway_last_us\":%.1f,\"gateway_asleep_last_us\":%.1f,\"bare_last_us\":%.1f,\"ratio_last\":%.3f,"
        "\"gateway_cpu_us\":%.3f,\"bare_cpu_us\":%.3f,\"ratio_cpu\":%.3f,\"saturation_per_s\":%.0f}\n",
        b.subscribers, rate, best(seen, rounds), best(first, rounds), best(first_p99, rounds),
        best(busy_last, rounds), best(asleep_last, rounds), best(bare_last, rounds),
        best(busy_last, rounds) / best(bare_last, rounds), best(gateway_cpu, rounds), best(bare_cpu, rounds),
        best(gateway_cpu, rounds) / best(bare_cpu, rounds), deliveries);
    bw_gateway_free(b.gateway);
    atomic_store(&b.over, true);
    pthread_join(receiver, NULL);
    bw_shm_writer_close(b.writer);
    rmdir(b.directory);
    for (uint32_t i = 0; i < b.subscribers; i++) close(b.client[i]);
    free(b.client);
    return 0;
}
