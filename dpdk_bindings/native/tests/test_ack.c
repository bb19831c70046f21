/* Acknowledgements of a burst: what one may stand for, and what has to go out each time. */
#include "stack_bench.h"

#include <string.h>

#define PIECE 100u
#define DUPLICATES_FIRST 3

typedef struct ack {
    uint32_t acknowledged; /* pieces, from the first */
    unsigned count;
    uint32_t left[4], right[4]; /* SACK blocks, in pieces */
} ack;

static stack_bench bench;
static bw_transport *transport;
static uint32_t first;

static void open_connection(bool six, bool sack) {
    bench_open(&bench, six, NULL);
    bench.peer.sack = sack;
    transport = bench_connect(&bench);
    while (transport->ops->connected(transport) == 0) bench_step(&bench);
    bench_wait(&bench, 1000000);
    first = bench.peer.highest;
}

static void close_connection(void) {
    transport->ops->close(transport);
    bench_close(&bench);
}

/* Into the device, to be received with the others put before the next turn. */
static void put(uint32_t piece) {
    static uint8_t data[PIECE];
    uint8_t frame[BW_FRAME_BYTES_MAX], options[12] = {1, 1, 8, 10};
    frame_put32(options + 4, (uint32_t)(bench.now_ns / 1000000) + 1000);
    frame_put32(options + 8, bench.peer.stamp_recent);
    frame_tcp tcp = {.sequence = first + piece * PIECE,
                     .acknowledged = bench.peer.receive_next,
                     .flags = FRAME_ACK,
                     .window = 1000,
                     .options = options,
                     .option_bytes = sizeof options,
                     .data = data,
                     .bytes = PIECE};
    CHECK(memory_device_put(bench.device, frame, frame_make_tcp(&bench.peer.path, &tcp, frame), bench.now_ns));
}

static void put_range(uint32_t begin, uint32_t end) {
    while (begin < end) put(begin++);
}

static ack parse(const uint8_t *frame) {
    const uint8_t *tcp = frame + 14 + (bench.peer.path.six ? 40 : 20), *end = tcp + (tcp[12] >> 4) * 4;
    ack found = {.acknowledged = (frame_get32(tcp + 8) - first) / PIECE};
    for (const uint8_t *at = tcp + 20; at < end && *at; at += *at == 1 ? 1 : at[1]) {
        for (const uint8_t *block = at + 2; *at == 5 && block < at + at[1]; block += 8) {
            found.left[found.count] = (frame_get32(block) - first) / PIECE;
            found.right[found.count++] = (frame_get32(block + 4) - first) / PIECE;
        }
    }
    return found;
}

/* Receives what was put as one burst; what the stack answers. */
static unsigned turn(ack *out) {
    uint8_t frame[BW_FRAME_BYTES_MAX];
    unsigned count = 0;
    CHECK(bw_stack_turn(bench.stack, bench.now_ns) <= BW_BURST_MAX);
    while (memory_device_take(bench.device, frame)) out[count++] = parse(frame);
    return count;
}

static void check_block(const ack *found, unsigned at, uint32_t left, uint32_t right) {
    CHECK(found->count > at);
    CHECK_EQUAL(found->left[at], left);
    CHECK_EQUAL(found->right[at], right);
}

static void one_for_what_came_in_order(bool six) {
    ack got[64];
    open_connection(six, true);
    put_range(0, 32);
    CHECK_EQUAL(turn(got), 1);
    CHECK_EQUAL(got[0].acknowledged, 32);
    CHECK_EQUAL(bench_counters(&bench).acks_merged, 15); /* lwIP made one for each second segment */
    close_connection();
}

static void the_first_duplicates_and_the_last(void) {
    ack got[64];
    open_connection(false, true);
    put_range(0, 2);
    put_range(3, 23); /* 20 after a hole */
    unsigned count = turn(got);
    CHECK_EQUAL(count, 1 + DUPLICATES_FIRST);
    for (unsigned i = 0; i < count; i++) CHECK_EQUAL(got[i].acknowledged, 2);
    check_block(&got[count - 1], 0, 3, 23);
    put_range(23, 43); /* the next burst: the third has been */
    CHECK_EQUAL(turn(got), 1);
    check_block(&got[0], 0, 3, 43);
    put(2);
    CHECK_EQUAL(turn(got), 1);
    CHECK_EQUAL(got[0].acknowledged, 43);
    close_connection();
}

static void without_sack_every_duplicate_counts(void) {
    ack got[64];
    open_connection(false, false);
    put_range(1, 21);
    CHECK_EQUAL(turn(got), 20);
    for (unsigned i = 0; i < 20; i++) CHECK_EQUAL(got[i].acknowledged, 0);
    close_connection();
}

static void what_came_twice_is_reported_in_any_case(void) {
    ack got[64];
    unsigned reports = 0;
    open_connection(false, true);
    put_range(0, 10);
    put(4);
    put_range(10, 12);
    put_range(13, 20);
    put(15);
    put_range(20, 23);
    unsigned count = turn(got);
    for (unsigned i = 0; i < count; i++) {
        if (got[i].count && got[i].left[0] == 4) reports |= 1;
        if (got[i].count > 1 && got[i].left[0] == 15 && got[i].left[1] == 13) reports |= 2;
    }
    CHECK_EQUAL(reports, 3);
    CHECK_EQUAL(got[count - 1].acknowledged, 12);
    check_block(&got[count - 1], 0, 13, 23);
    close_connection();
}

/* More holes than an acknowledgement has room for: each piece that waits has been told of. */
static void every_block_is_told(void) {
    enum { HOLES = 12 };
    ack got[64];
    bool told[HOLES] = {false};
    open_connection(true, true);
    for (uint32_t i = 0; i < HOLES; i++) put_range(3 * i + 1, 3 * i + 3);
    unsigned count = turn(got);
    for (unsigned i = 0; i < count; i++) {
        for (unsigned block = 0; block < got[i].count; block++) {
            if (got[i].right[block] == got[i].left[block] + 2) told[got[i].left[block] / 3] = true;
        }
    }
    for (unsigned i = 0; i < HOLES; i++) CHECK(told[i]);
    CHECK(count < 2 * HOLES);
    close_connection();
}

static void two_connections_keep_theirs(void) {
    uint8_t frame[BW_FRAME_BYTES_MAX];
    unsigned count = 0;
    open_connection(false, true);
    uint16_t port = bench.peer.path.to_port;
    uint32_t next = bench.peer.receive_next, begin = first;
    bench.peer.open = false;
    bw_transport *other = bench_connect(&bench);
    while (other->ops->connected(other) == 0) bench_step(&bench);
    bench_wait(&bench, 1000000);
    uint16_t other_port = bench.peer.path.to_port;
    first = bench.peer.highest;
    put_range(0, 4);
    bench.peer.path.to_port = port;
    bench.peer.receive_next = next;
    first = begin;
    put_range(0, 6);
    unsigned seen[2] = {0};
    bw_stack_turn(bench.stack, bench.now_ns);
    for (; memory_device_take(bench.device, frame); count++) {
        uint16_t from = frame_get16(frame + 34);
        CHECK(from == port || from == other_port);
        seen[from == port]++;
    }
    CHECK_EQUAL(count, 2);
    CHECK(seen[0] == 1 && seen[1] == 1);
    other->ops->close(other);
    close_connection();
}

int main(void) {
    one_for_what_came_in_order(false);
    one_for_what_came_in_order(true);
    the_first_duplicates_and_the_last();
    without_sack_every_duplicate_counts();
    what_came_twice_is_reported_in_any_case();
    every_block_is_told();
    two_connections_keep_theirs();
    return 0;
}
