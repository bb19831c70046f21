/* The floor of a tick's way: what the kernel and one hop between cores cost with nothing in between.
 *
 *   relay_floor SOURCE_PORT N BYTES SOURCE_CPU SERVER_CPU
 *
 * Prints its port and accepts N WebSocket clients as send_floor does. Then one thread spins on recv() from
 * the source and stamps each read, another spins on that stamp and sends one frame of BYTES to every
 * client: the two loops of a feed and a gateway without TLS, JSON, books or merging. After "go" on stdin it
 * measures, after "stop" it prints one JSON line of percentiles and ends.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#include "floor_accept.h"

#define SAMPLES_MAX (1u << 16)

typedef struct sample {
    int64_t first_ns, last_ns; /* from the read's return until that send() returned */
} sample;

static alignas(64) _Atomic int64_t received_ns;
static alignas(64) _Atomic bool measuring;
static sample samples[SAMPLES_MAX];
static _Atomic uint32_t taken;
static int source;

static int64_t wall_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000000 + now.tv_nsec;
}

static void settle(const char *name, int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set)) fail("sched_setaffinity");
    prctl(PR_SET_NAME, name);
}

static void *receive(void *cpu) {
    static uint8_t data[1 << 16];
    settle("floor-feed", *(int *)cpu);
    for (;;) {
        ssize_t got = recv(source, data, sizeof data, MSG_DONTWAIT);
        if (got > 0) atomic_store_explicit(&received_ns, wall_ns(), memory_order_release);
        if (got == 0) return NULL;
    }
}

typedef struct relay_order {
    int cpu, *fd;
    size_t clients, bytes;
} relay_order;

static void *relay(void *argument) {
    const relay_order *order = argument;
    settle("floor-gateway", order->cpu);
    uint8_t *frame = malloc(FLOOR_HEADER_BYTES + order->bytes);
    if (!frame) fail("malloc");
    floor_frame(frame, order->bytes);
    for (int64_t seen = 0, came;;) {
        while ((came = atomic_load_explicit(&received_ns, memory_order_acquire)) == seen) continue;
        sample one = {0, 0};
        for (size_t i = 0; i < order->clients; i++) {
            if (send(order->fd[i], frame, FLOOR_HEADER_BYTES + order->bytes, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                return NULL; /* the clients left */
            if (i == 0) one.first_ns = wall_ns() - came;
        }
        one.last_ns = wall_ns() - came;
        uint32_t at = atomic_load_explicit(&taken, memory_order_relaxed);
        if (atomic_load_explicit(&measuring, memory_order_relaxed) && at < SAMPLES_MAX) {
            samples[at] = one;
            atomic_store_explicit(&taken, at + 1, memory_order_release);
        }
        seen = came;
    }
}

static void connect_source(uint16_t port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    source = socket(AF_INET, SOCK_STREAM, 0);
    if (source < 0 || connect(source, (struct sockaddr *)&to, sizeof to)) fail("connect");
    setsockopt(source, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int by_first(const void *a, const void *b) {
    int64_t x = ((const sample *)a)->first_ns, y = ((const sample *)b)->first_ns;
    return (x > y) - (x < y);
}

static int by_last(const void *a, const void *b) {
    int64_t x = ((const sample *)a)->last_ns, y = ((const sample *)b)->last_ns;
    return (x > y) - (x < y);
}

static void report(void) {
    uint32_t count = atomic_load_explicit(&taken, memory_order_acquire);
    if (!count) fail("nothing was relayed");
    qsort(samples, count, sizeof *samples, by_first);
    printf("{\"samples\":%u,\"first_p50_ns\":%lld,\"first_p99_ns\":%lld", count,
           (long long)samples[count / 2].first_ns, (long long)samples[(uint64_t)count * 99 / 100].first_ns);
    qsort(samples, count, sizeof *samples, by_last);
    printf(",\"last_p50_ns\":%lld,\"last_p99_ns\":%lld}\n", (long long)samples[count / 2].last_ns,
           (long long)samples[(uint64_t)count * 99 / 100].last_ns);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc < 6) return fprintf(stderr, "relay_floor SOURCE_PORT N BYTES SOURCE_CPU SERVER_CPU\n"), 2;
    size_t clients = strtoul(argv[2], NULL, 10);
    int feed_cpu = atoi(argv[4]), *fd = calloc(clients, sizeof *fd);
    relay_order order = {atoi(argv[5]), fd, clients, strtoul(argv[3], NULL, 10)};
    if (!fd) fail("calloc");
    connect_source((uint16_t)atoi(argv[1]));
    int listener = floor_listen();
    for (size_t i = 0; i < clients; i++) fd[i] = floor_accept(listener);
    pthread_t feed, gateway;
    if (pthread_create(&gateway, NULL, relay, &order) || pthread_create(&feed, NULL, receive, &feed_cpu))
        fail("pthread_create");
    char line[16];
    if (!fgets(line, sizeof line, stdin)) return 0;
    atomic_store(&measuring, true);
    if (fgets(line, sizeof line, stdin)) report();
    return 0;
}
