/* A DPDK port under the stack, without kernel, hugepages or root: bytes exact, buffers come back, names right. */
#include "frame.h"
#include "port.h"
#include "ring_wire.h"
#include "stack.h"
#include "tcp_peer.h"
#include "check.h"

#include <arpa/inet.h>
#include <sched.h>
#include <string.h>

#define TOTAL 8000000u

static int64_t now_ns = 1000000000;

static void carry(bw_stack *stack, tcp_peer *peer) {
    uint8_t frame[BW_FRAME_BYTES_MAX];
    size_t bytes;
    for (int i = 0; i < 32 && (bytes = tcp_peer_output(peer, now_ns, frame)); i++)
        ring_wire_put(frame, bytes);
    bw_stack_turn(stack, now_ns);
    bw_stack_flush(stack);
    while ((bytes = ring_wire_take(frame))) tcp_peer_input(peer, frame, bytes, now_ns);
    now_ns += 20000;
}

static void exact(bw_stack *stack, bool six) {
    static uint8_t got[65536], expected[65536];
    tcp_peer peer = {
        .path = {.from_port = 443, .to_mac = {2, 0, 0, 0, 0, 2}, .from_mac = {2, 0, 0, 0, 0, 1}, .six = six},
        .seed = 5,
        .to_send = TOTAL,
        .closes = true,
        .window = 65535,
        .mss = 1440,
        .flight = 400000,
        .rto_ns = 200000000};
    inet_pton(six ? AF_INET6 : AF_INET, six ? "fd00::1" : "10.9.0.1", peer.path.from);
    inet_pton(six ? AF_INET6 : AF_INET, six ? "fd00::2" : "10.9.0.2", peer.path.to);
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(443)};
    struct sockaddr_in6 sixth = {.sin6_family = AF_INET6, .sin6_port = htons(443)};
    memcpy(&four.sin_addr, peer.path.from, 4);
    memcpy(&sixth.sin6_addr, peer.path.from, 16);
    int error;
    bw_transport *transport = bw_stack_connect(stack, six ? (void *)&sixth : (void *)&four, NULL, &error);
    CHECK(transport);
    uint64_t at = 0;
    ssize_t bytes = 0;
    int64_t receive_ns, give_up = now_ns + INT64_C(60000000000);
    while (bytes >= 0 && now_ns < give_up) {
        carry(stack, &peer);
        while ((bytes = transport->ops->read(transport, got, sizeof got, &receive_ns)) > 0) {
            seeded_bytes(peer.seed, at, expected, (size_t)bytes);
            CHECK(memcmp(got, expected, (size_t)bytes) == 0);
            CHECK(receive_ns > INT64_C(1500000000000000000)); /* wall time */
            at += (uint64_t)bytes;
        }
    }
    CHECK_EQUAL(bytes, BW_TRANSPORT_EOF);
    CHECK_EQUAL(at, TOTAL);
    transport->ops->close(transport);
    for (int i = 0; i < 100; i++) carry(stack, &peer);
    CHECK(peer.done);
}

int main(void) {
    cpu_set_t before, after;
    char error[256] = "";
    bw_stack_counters counters;
    bw_port_counters port_counters;
    sched_getaffinity(0, sizeof before, &before);
    ring_wire_start_eal();
    sched_getaffinity(0, sizeof after, &after);
    CHECK(CPU_EQUAL(&before, &after)); /* EAL pins its caller; undone */
    bw_port_spec missing = {.device = "net_nothing0", .mtu = 1500, .buffers = 511, .descriptors = 128};
    CHECK(!bw_port_open(&missing, error, sizeof error) && strstr(error, "net_nothing0"));
    bw_port_spec spec = {.mtu = 1500, .mac = {2, 0, 0, 0, 0, 2}, .buffers = 8191, .descriptors = 512};
    snprintf(spec.device, sizeof spec.device, "%s", ring_wire_open(8191));
    bw_port *port = bw_port_open(&spec, error, sizeof error);
    if (!port) fprintf(stderr, "%s\n", error);
    CHECK(port);
    CHECK(strcmp(bw_port_facts_of(port)->driver, "net_ring") == 0);
    CHECK(memcmp(bw_port_facts_of(port)->mac, spec.mac, 6) == 0);
    bw_stack_spec stack_spec = {.mtu = 1500, .address_count = 2, .route_count = 2, .secret = {7, 9}};
    memcpy(stack_spec.mac, spec.mac, 6);
    inet_pton(AF_INET, "10.9.0.2", stack_spec.address[0].address);
    inet_pton(AF_INET6, "fd00::2", stack_spec.address[1].address);
    stack_spec.address[1].six = stack_spec.route[1].six = 1;
    bw_stack *stack = bw_stack_new(&stack_spec, bw_port_device(port), now_ns, error, sizeof error);
    CHECK(stack);
    CHECK(!bw_stack_new(&stack_spec, bw_port_device(port), now_ns, error, sizeof error));
    exact(stack, false);
    exact(stack, true);
    bw_stack_read_counters(stack, &counters);
    bw_port_read(port, &port_counters);
    CHECK_EQUAL(counters.no_memory, 0);
    CHECK_EQUAL(counters.connections, 0);
    CHECK_EQUAL(port_counters.send_full, 0);
    CHECK(port_counters.frames > 2 * TOTAL / 1460);
    CHECK_EQUAL(counters.frames, port_counters.frames);
    CHECK_EQUAL(ring_wire_buffers_out(), 0);
    bw_stack_free(stack);
    bw_port_close(port);
    bw_eal_stop();
    return 0;
}
