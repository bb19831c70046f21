/* The stack over a memory device against a TCP peer that shares nothing with it: bytes exact through every
 * impairment, connections that come and go, and what changes below them. */
#include "stack_bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000000)

static void until_connected(stack_bench *bench, bw_transport *transport) {
    int64_t give_up = bench->now_ns + 30 * SECOND;
    while (transport->ops->connected(transport) == 0 && bench->now_ns < give_up) bench_step(bench);
    CHECK_EQUAL(transport->ops->connected(transport), 1);
}

/* Reads what is there and compares it with the peer's stream. Returns the new offset, or the negative end. */
static ssize_t read_and_compare(stack_bench *bench, bw_transport *transport, uint64_t at) {
    static uint8_t got[40000], expected[40000];
    int64_t receive_ns;
    ssize_t bytes = transport->ops->read(transport, got, sizeof got, &receive_ns);
    if (bytes <= 0) return bytes;
    seeded_bytes(bench->peer.seed, at, expected, (size_t)bytes);
    CHECK(memcmp(got, expected, (size_t)bytes) == 0);
    CHECK(receive_ns > 0 && receive_ns <= bench->now_ns);
    return bytes;
}

static void receive_all(stack_bench *bench, bw_transport *transport, uint64_t total) {
    uint64_t at = 0;
    int64_t give_up = bench->now_ns + 600 * SECOND;
    ssize_t bytes = 0;
    while (bytes >= 0 && bench->now_ns < give_up) {
        bench_step(bench);
        while ((bytes = read_and_compare(bench, transport, at)) > 0) at += (uint64_t)bytes;
    }
    CHECK_EQUAL(bytes, BW_TRANSPORT_EOF);
    CHECK_EQUAL(at, total);
}

static void nothing_is_held(stack_bench *bench) {
    CHECK_EQUAL(memory_device_held(bench->device), 0);
    bw_stack_counters counters = bench_counters(bench);
    CHECK_EQUAL(counters.connections, 0);
    CHECK_EQUAL(counters.no_memory, 0);
    CHECK_EQUAL(memory_device_lost(bench->device), 0);
}

static void exact(bool six, const impair_spec *wire, uint64_t total) {
    stack_bench bench;
    bench_open(&bench, six, wire);
    bench.peer.sack = six;
    bench.peer.to_send = total;
    bench.peer.closes = true;
    bw_transport *transport = bench_connect(&bench);
    until_connected(&bench, transport);
    receive_all(&bench, transport, total);
    transport->ops->close(transport);
    bench_wait(&bench, 60 * SECOND);
    CHECK_EQUAL(bench.peer.resets, 0);
    CHECK(bench.peer.done);
    nothing_is_held(&bench);
    bench_close(&bench);
}

/* A connection to a peer that sends back what it has room to keep. */
static bw_transport *to_an_echo(stack_bench *bench, bool six, const impair_spec *wire, uint8_t *kept,
                                size_t room) {
    bench_open(bench, six, wire);
    bench->peer.echoes = true;
    bench->peer.kept = kept;
    bench->peer.kept_room = room;
    bw_transport *transport = bench_connect(bench);
    until_connected(bench, transport);
    return transport;
}

static void echo(bool six, const impair_spec *wire, unsigned messages) {
    enum { BYTES = 300 };
    static uint8_t kept[BYTES * 4000], sent[BYTES], got[BYTES];
    stack_bench bench;
    int64_t receive_ns;
    bw_transport *transport = to_an_echo(&bench, six, wire, kept, sizeof kept);
    for (unsigned i = 0; i < messages; i++) {
        seeded_bytes(4, (uint64_t)i * BYTES, sent, BYTES);
        CHECK_EQUAL(transport->ops->write(transport, sent, BYTES), BYTES);
        int64_t give_up = bench.now_ns + 60 * SECOND;
        for (size_t at = 0; at < BYTES && bench.now_ns < give_up;) {
            bench_step(&bench);
            ssize_t bytes = transport->ops->read(transport, got + at, BYTES - at, &receive_ns);
            CHECK(bytes >= 0);
            at += (size_t)bytes;
        }
        CHECK(memcmp(sent, got, BYTES) == 0);
    }
    CHECK_EQUAL(bench_counters(&bench).retransmits > 0, wire && wire->loss > 0);
    transport->ops->close(transport);
    bench_wait(&bench, 60 * SECOND);
    nothing_is_held(&bench);
    bench_close(&bench);
}

static void impairments(void) {
    static const impair_spec wires[] = {
        {.loss = 0.01, .seed = 1},
        {.reorder = 0.05, .seed = 2},
        {.duplicate = 0.01, .seed = 3},
        {.delay_ns = 1000000, .jitter_ns = 1000000, .seed = 4},
        {.loss = 0.01,
         .reorder = 0.05,
         .duplicate = 0.01,
         .delay_ns = 1000000,
         .jitter_ns = 1000000,
         .seed = 5},
        {.loss = 0.2, .reorder = 0.3, .duplicate = 0.2, .delay_ns = 200000, .seed = 6},
    };
    for (int six = 0; six < 2; six++) {
        exact(six, NULL, 20000000);
        echo(six, NULL, 500);
        for (size_t i = 0; i < sizeof wires / sizeof *wires; i++) {
            exact(six, &wires[i], i == 5 ? 300000 : 3000000);
            echo(six, &wires[i], i == 5 ? 100 : 500);
        }
    }
}

static void many_connections(void) {
    stack_bench bench;
    bench_open(&bench, false, NULL);
    bench.peer.to_send = 50000;
    bench.peer.closes = true;
    for (int i = 0; i < 600; i++) { /* more than there are TIME-WAIT places */
        bw_transport *transport = bench_connect(&bench);
        until_connected(&bench, transport);
        if (i % 3 == 0) {
            receive_all(&bench, transport, 50000);
        } else if (i % 3 == 1) {
            bench_wait(&bench, SECOND / 1000); /* leaves it half read: a reset */
        }
        transport->ops->close(transport);
        bench_wait(&bench, SECOND / 100);
        bench.peer.open = false;
    }
    CHECK_EQUAL(bench.peer.connections, 600);
    bench_wait(&bench, 30 * SECOND);
    CHECK_EQUAL(memory_device_held(bench.device), 0);
    CHECK_EQUAL(bench_counters(&bench).connections, 0);
    bw_transport *all[BW_STACK_CONNECTIONS_MAX];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(443)};
    int error = 0;
    for (unsigned i = 0; i < BW_STACK_CONNECTIONS_MAX; i++) all[i] = bench_connect(&bench);
    CHECK(!bw_stack_connect(bench.stack, (struct sockaddr *)&to, NULL, &error) && error == EMFILE);
    for (unsigned i = 0; i < BW_STACK_CONNECTIONS_MAX; i++) all[i]->ops->close(all[i]);
    bench_close(&bench);
}

static void refusals(void) {
    stack_bench bench;
    int error = 0;
    struct sockaddr_in far = {.sin_family = AF_INET, .sin_port = htons(443)}, wrong = far;
    uint8_t frame[BW_FRAME_BYTES_MAX];
    bench_open(&bench, false, NULL);
    inet_pton(AF_INET, "192.0.2.1", &far.sin_addr);
    CHECK(!bw_stack_connect(bench.stack, (struct sockaddr *)&far, NULL, &error) && error == ENETUNREACH);
    inet_pton(AF_INET, "10.9.0.1", &far.sin_addr);
    inet_pton(AF_INET, "10.9.0.3", &wrong.sin_addr);
    CHECK(!bw_stack_connect(bench.stack, (struct sockaddr *)&far, (struct sockaddr *)&wrong, &error));
    CHECK_EQUAL(error, EADDRNOTAVAIL);
    bw_transport *transport = bench_connect(&bench);
    bench.peer.mute = false;
    while (!bench.peer.open) bench_step(&bench);
    frame_tcp reset = {.flags = FRAME_RST | FRAME_ACK, .acknowledged = bench.peer.receive_next};
    memory_device_put(bench.device, frame, frame_make_tcp(&bench.peer.path, &reset, frame), bench.now_ns);
    bw_stack_turn(bench.stack, bench.now_ns);
    CHECK_EQUAL(transport->ops->connected(transport), -ECONNREFUSED);
    transport->ops->close(transport);
    bench.peer.mute = true; /* nobody answers: TCP gives up */
    transport = bench_connect(&bench);
    bench_wait(&bench, 140 * SECOND);
    CHECK_EQUAL(transport->ops->connected(transport), -ETIMEDOUT);
    transport->ops->close(transport);
    bench.peer.mute = bench.peer.open = false;
    transport = bench_connect(&bench);
    until_connected(&bench, transport);
    bench.peer.mute = true; /* gone: what we send is never acknowledged */
    transport->ops->write(transport, "x", 1);
    bench_wait(&bench, 25 * SECOND);
    int64_t receive_ns;
    CHECK_EQUAL(transport->ops->read(transport, frame, 1, &receive_ns), -ETIMEDOUT);
    CHECK_EQUAL(transport->ops->write(transport, "x", 1), -ETIMEDOUT);
    transport->ops->close(transport);
    nothing_is_held(&bench);
    bench_close(&bench);
}

/* Sends and expects the echo within the time. */
static bool echoes(stack_bench *bench, bw_transport *transport, int64_t within_ns) {
    char got;
    int64_t receive_ns, give_up = bench->now_ns + within_ns;
    CHECK_EQUAL(transport->ops->write(transport, "?", 1), 1);
    while (bench->now_ns < give_up) {
        bench_step(bench);
        if (transport->ops->read(transport, &got, 1, &receive_ns) == 1) return true;
    }
    return false;
}

/* A flap: the connection waits and goes on. Entries of neighbours expire and are asked for again. */
static void link_and_expiry(stack_bench *bench, bw_transport *transport) {
    char got[10];
    int64_t receive_ns;
    CHECK(echoes(bench, transport, SECOND / 10));
    bw_stack_set_link(bench->stack, false);
    CHECK(!echoes(bench, transport, 5 * SECOND));
    bw_stack_set_link(bench->stack, true);
    bench_wait(bench, 10 * SECOND);
    CHECK_EQUAL(transport->ops->read(transport, got, 10, &receive_ns), 1);
    CHECK_EQUAL(bench_counters(bench).link_downs, 1);
    uint64_t answers = bench_counters(bench).answers;
    bench_wait(bench, 1200 * SECOND); /* long expired (keepalives refresh them) */
    CHECK(echoes(bench, transport, SECOND / 10));
    CHECK(bench_counters(bench).answers > answers);
}

static void neighbours_four(void) {
    static uint8_t kept[1000];
    stack_bench bench;
    uint8_t frame[BW_FRAME_BYTES_MAX];
    bw_transport *transport = to_an_echo(&bench, false, NULL, kept, sizeof kept);
    link_and_expiry(&bench, transport);
    /* a stranger claims the peer's address: not believed, asked for */
    static const uint8_t stranger[6] = {2, 0, 0, 0, 0, 9};
    uint64_t questions = bench_counters(&bench).questions;
    size_t bytes =
        frame_make_arp(2, stranger, bench.peer.path.from, bench_our_mac, bench.peer.path.to, frame);
    memory_device_put(bench.device, frame, bytes, bench.now_ns);
    CHECK(echoes(&bench, transport, SECOND / 10));
    CHECK_EQUAL(bench_counters(&bench).drop[BW_DROP_arp_unasked], 1);
    CHECK_EQUAL(bench_counters(&bench).questions, questions + 1);
    /* the peer really moves and says so: found at once */
    bench_wait(&bench, 2 * SECOND);
    memcpy(bench.peer.path.from_mac, stranger, 6);
    bytes = frame_make_arp(1, stranger, bench.peer.path.from, stranger, bench.peer.path.from, frame);
    memory_device_put(bench.device, frame, bytes, bench.now_ns);
    CHECK(echoes(&bench, transport, SECOND));
    transport->ops->close(transport);
    bench_wait(&bench, SECOND);
    nothing_is_held(&bench);
    bench_close(&bench);
}

/* A neighbour that moved is found by its silence: RFC 4861 7.3.3, three probes a second apart, and asked for. */
static void neighbours_six(void) {
    static const uint8_t other[6] = {2, 0, 0, 0, 0, 9};
    static uint8_t kept[1000];
    char got;
    int64_t receive_ns;
    stack_bench bench;
    bw_transport *transport = to_an_echo(&bench, true, NULL, kept, sizeof kept);
    link_and_expiry(&bench, transport);
    memcpy(bench.peer.path.from_mac, other, 6);
    CHECK_EQUAL(transport->ops->write(transport, "?", 1), 1);
    bench_wait(&bench, 60 * SECOND);
    CHECK_EQUAL(transport->ops->read(transport, &got, 1, &receive_ns), 1);
    transport->ops->close(transport);
    bench_wait(&bench, SECOND);
    nothing_is_held(&bench);
    bench_close(&bench);
}

static void gateways(void) {
    static const uint8_t first[6] = {2, 0, 0, 0, 1, 1}, second[6] = {2, 0, 0, 0, 1, 2};
    stack_bench bench;
    uint8_t frame[BW_FRAME_BYTES_MAX];
    bw_stack_route routes[2] = {{.destination = {10, 9}, .prefix = 24}, {.gateway = {10, 9, 0, 8}}};
    bench_open(&bench, false, NULL);
    while (memory_device_take(bench.device, frame)) {} /* it has announced itself */
    for (int i = 0; i < 2; i++) {
        const uint8_t *mac = i ? second : first;
        uint8_t gateway[4] = {10, 9, 0, (uint8_t)(8 + i)};
        int error;
        struct sockaddr_in far = {.sin_family = AF_INET, .sin_port = htons(443)};
        inet_pton(AF_INET, "198.51.100.1", &far.sin_addr);
        memcpy(routes[1].gateway, gateway, 4);
        CHECK_EQUAL(bw_stack_set_routes(bench.stack, routes, 2), 0);
        bw_transport *transport = bw_stack_connect(bench.stack, (struct sockaddr *)&far, NULL, &error);
        CHECK(transport);
        CHECK_EQUAL(memory_device_take(bench.device, frame), 42); /* it asks for the gateway, */
        CHECK(memcmp(frame + 38, gateway, 4) == 0);
        size_t bytes = frame_make_arp(2, mac, gateway, bench_our_mac, bench.peer.path.to, frame);
        memory_device_put(bench.device, frame, bytes, bench.now_ns);
        bw_stack_turn(bench.stack, bench.now_ns);
        CHECK(memory_device_take(bench.device, frame) > 54); /* and the SYN goes there */
        CHECK(memcmp(frame, mac, 6) == 0);
        transport->ops->close(transport);
        while (memory_device_take(bench.device, frame)) {}
    }
    bench_close(&bench);
}

/* A router on the way that takes smaller packets only, and says so with what it could not forward. */
static size_t too_big(const stack_bench *bench, const uint8_t *frame, unsigned mtu, uint8_t *out) {
    bool six = bench->peer.path.six;
    uint8_t message[8 + 60] = {six ? 2 : 3, six ? 0 : 4};
    size_t quoted = six ? 48 : 28;
    if (six) {
        frame_put32(message + 4, mtu);
    } else {
        frame_put16(message + 6, mtu);
    }
    memcpy(message + 8, frame + 14, quoted);
    return frame_make_icmp(&bench->peer.path, message, 8 + quoted, 64, out);
}

static void path_mtu(bool six) {
    enum { BYTES = 100000, MTU = 1300 };
    static uint8_t kept[BYTES], sent[BYTES], frame[BW_FRAME_BYTES_MAX];
    stack_bench bench;
    size_t at = 0, bytes;
    bench_open(&bench, six, NULL);
    bench.peer.kept = kept;
    bench.peer.kept_room = BYTES;
    seeded_bytes(11, 0, sent, BYTES);
    bw_transport *transport = bench_connect(&bench);
    until_connected(&bench, transport);
    bench_wait(&bench, SECOND / 10);
    int64_t give_up = bench.now_ns + 60 * SECOND;
    unsigned refused = 0;
    while (bench.peer.received < BYTES && bench.now_ns < give_up) {
        ssize_t wrote = transport->ops->write(transport, sent + at, BYTES - at);
        CHECK(wrote >= 0);
        at += (size_t)wrote;
        while ((bytes = memory_device_take(bench.device, frame))) {
            if (bytes <= 14 + MTU) {
                tcp_peer_input(&bench.peer, frame, bytes, bench.now_ns);
                continue;
            }
            uint8_t answer[BW_FRAME_BYTES_MAX];
            if (refused++ < 3) { /* a forged one first: it quotes a byte that is not in flight */
                uint8_t forged[BW_FRAME_BYTES_MAX];
                memcpy(forged, frame, bytes);
                forged[14 + (six ? 40 : 20) + 4] ^= 0x40;
                memory_device_put(bench.device, answer, too_big(&bench, forged, MTU, answer), bench.now_ns);
            }
            memory_device_put(bench.device, answer, too_big(&bench, frame, MTU, answer), bench.now_ns);
        }
        while ((bytes = tcp_peer_output(&bench.peer, bench.now_ns, frame))) {
            memory_device_put(bench.device, frame, bytes, bench.now_ns);
        }
        while (bw_stack_turn(bench.stack, bench.now_ns)) {}
        bench.now_ns += 100000;
    }
    CHECK_EQUAL(bench.peer.received, BYTES);
    CHECK(memcmp(kept, sent, BYTES) == 0);
    bw_stack_counters counters = bench_counters(&bench);
    CHECK_EQUAL(counters.path_mtu_lowered, 1);
    CHECK(counters.drop[BW_DROP_icmp_mtu_unproven] >= 3);
    CHECK(bench.now_ns < give_up - 55 * SECOND); /* found at once, not by timeouts */
    transport->ops->close(transport);
    bench_wait(&bench, SECOND);
    bench_close(&bench);
}

int main(void) {
    impairments();
    many_connections();
    refusals();
    neighbours_four();
    neighbours_six();
    gateways();
    path_mtu(false);
    path_mtu(true);
    return 0;
}
