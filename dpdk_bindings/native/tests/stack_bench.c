#include "stack_bench.h"

#include <arpa/inet.h>
#include <string.h>

const uint8_t bench_our_mac[6] = {2, 0, 0, 0, 0, 2}, bench_peer_mac[6] = {2, 0, 0, 0, 0, 1};
#define STEP_NS 50000

static int64_t clock_ns = 1000000000; /* of the process: the stack's clock never goes back */

void bench_open(stack_bench *bench, bool six, const impair_spec *wire) {
    static const impair_spec perfect;
    impair_spec spec = wire ? *wire : perfect;
    char error[128] = "";
    bw_stack_spec stack = {.mtu = 1500, .address_count = 2, .route_count = 2, .secret = {spec.seed + 1, 42}};
    memset(bench, 0, sizeof *bench);
    memcpy(stack.mac, bench_our_mac, 6);
    inet_pton(AF_INET, "10.9.0.2", stack.address[0].address);
    stack.address[0].prefix = stack.route[0].prefix = 24;
    inet_pton(AF_INET6, "fd00::2", stack.address[1].address);
    stack.address[1].six = stack.route[1].six = 1;
    stack.address[1].prefix = stack.route[1].prefix = 64;
    memcpy(stack.route[0].destination, "\12\11\0", 3);
    stack.route[1].destination[0] = 0xfd;
    bench->device = memory_device_new(16383);
    bench->to_us = impair_new(&spec);
    spec.seed += 1000;
    bench->to_peer = impair_new(&spec);
    bench->now_ns = clock_ns;
    bench->stack = bw_stack_new(&stack, memory_device_face(bench->device), clock_ns, error, sizeof error);
    if (!bench->stack) fprintf(stderr, "%s\n", error);
    CHECK(bench->stack && bench->to_us && bench->to_peer);
    frame_path path = {.from_port = 443, .six = six};
    memcpy(path.from_mac, bench_peer_mac, 6);
    memcpy(path.to_mac, bench_our_mac, 6);
    inet_pton(six ? AF_INET6 : AF_INET, six ? "fd00::1" : "10.9.0.1", path.from);
    inet_pton(six ? AF_INET6 : AF_INET, six ? "fd00::2" : "10.9.0.2", path.to);
    bench->peer = (tcp_peer){.path = path,
                             .seed = spec.seed,
                             .window = 1 << 20,
                             .mss = six ? 1440 : 1460,
                             .flight = 256 << 10,
                             .rto_ns = 200000000};
}

void bench_close(stack_bench *bench) {
    bw_stack_free(bench->stack);
    impair_free(bench->to_us);
    impair_free(bench->to_peer);
    memory_device_free(bench->device);
}

bw_transport *bench_connect(stack_bench *bench) {
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(443)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(443)};
    int error = -1;
    memcpy(&four.sin_addr, bench->peer.path.from, 4);
    memcpy(&six.sin6_addr, bench->peer.path.from, 16);
    const void *address = bench->peer.path.six ? (const void *)&six : (const void *)&four;
    bw_transport *transport = bw_stack_connect(bench->stack, address, NULL, &error);
    CHECK_EQUAL(error, 0);
    return transport;
}

void bench_step(stack_bench *bench) {
    uint8_t frame[BW_FRAME_BYTES_MAX];
    size_t bytes;
    unsigned busy = 0;
    while ((bytes = impair_pop(bench->to_us, bench->now_ns, frame))) {
        memory_device_put(bench->device, frame, bytes, bench->now_ns);
        busy++;
    }
    while (bw_stack_turn(bench->stack, bench->now_ns)) busy++;
    bw_stack_flush(bench->stack);
    while ((bytes = memory_device_take(bench->device, frame))) {
        impair_push(bench->to_peer, frame, bytes, bench->now_ns);
        bench->frames_to_peer++;
        busy++;
    }
    while ((bytes = impair_pop(bench->to_peer, bench->now_ns, frame))) {
        tcp_peer_input(&bench->peer, frame, bytes, bench->now_ns);
        busy++;
    }
    for (int i = 0; i < 64 && (bytes = tcp_peer_output(&bench->peer, bench->now_ns, frame)); i++) {
        impair_push(bench->to_us, frame, bytes, bench->now_ns);
        bench->frames_to_us++;
        busy++;
    }
    int64_t due = impair_due(bench->to_us) < impair_due(bench->to_peer) ? impair_due(bench->to_us)
                                                                        : impair_due(bench->to_peer);
    if (due <= bench->now_ns) return;
    int64_t idle = bench->now_ns + (busy ? STEP_NS : 20 * STEP_NS);
    bench->now_ns = clock_ns = due < idle ? due : idle;
}

void bench_wait(stack_bench *bench, int64_t ns) {
    int64_t until = bench->now_ns + ns;
    while (bench->now_ns < until) bench_step(bench);
}

bw_stack_counters bench_counters(const stack_bench *bench) {
    bw_stack_counters counters;
    bw_stack_read_counters(bench->stack, &counters);
    return counters;
}
