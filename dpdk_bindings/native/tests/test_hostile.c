/* A hostile peer: what it sends, what must come of it, and the section of the RFC that says so. Each case has a
 * connection of its own, right after the handshake; nothing is delivered twice, out of order or made up. */
#include "stack_bench.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { NONE, ACKED, RESET }; /* what we answer at least */
enum { ALIVE, GONE, ENDED };

typedef struct hostile_segment {
    int32_t sequence, acknowledged; /* from what is due */
    uint8_t flags;
    const char *data;
    int32_t stamp; /* from the latest */
} hostile_segment;

typedef struct hostile_case {
    const char *name, *rfc;
    hostile_segment segment[4];
    const char *delivered;
    int answer, state;
    enum bw_drop drop; /* counted once at least */
} hostile_case;

#define A FRAME_ACK
static const hostile_case cases[] = {
    {"in order", "9293 3.10.7.4", {{0, 0, A, "abc", 0}}, "abc", NONE, ALIVE, 0},
    {"out of order", "9293 3.10.7.4", {{3, 0, A, "def", 0}, {0, 0, A, "abc", 0}}, "abcdef", ACKED, ALIVE, 0},
    {"three in reverse",
     "2018 4",
     {{6, 0, A, "ghi", 0}, {3, 0, A, "def", 0}, {0, 0, A, "abc", 0}},
     "abcdefghi",
     ACKED,
     ALIVE,
     0},
    {"overlap", "9293 3.10.7.4", {{0, 0, A, "abcd", 0}, {2, 0, A, "cdef", 0}}, "abcdef", NONE, ALIVE, 0},
    {"conflict with what was delivered",
     "9293 3.10.7.4",
     {{0, 0, A, "abcd", 0}, {0, 0, A, "XXXXef", 0}},
     "abcdef",
     NONE,
     ALIVE,
     0},
    {"conflict while waiting: the same at both ends",
     "9293 3.10.7.4",
     {{2, 0, A, "cdef", 0}, {0, 0, A, "ab", 0}, {0, 0, A, "XX", 0}},
     "abcdef",
     ACKED,
     ALIVE,
     0},
    {"doubled", "9293 3.10.7.4", {{0, 0, A, "abc", 0}, {0, 0, A, "abc", 0}}, "abc", ACKED, ALIVE, 0},
    {"beyond the window", "9293 3.10.7.4", {{(4 << 20) + 10, 0, A, "zz", 0}}, "", ACKED, ALIVE, 0},
    {"long ago", "9293 3.10.7.4", {{-100, 0, A, "zz", 0}}, "", ACKED, ALIVE, 0},
    {"half around the sequence space", "9293 3.4", {{INT32_MIN, 0, A, "zz", 0}}, "", NONE, ALIVE, 0},
    {"FIN out of order",
     "9293 3.10.7.4",
     {{3, 0, A | FRAME_FIN, "", 0}, {0, 0, A, "abc", 0}},
     "abc",
     ACKED,
     ENDED,
     0},
    {"data after FIN",
     "9293 3.10.7.4",
     {{0, 0, A | FRAME_FIN, "abc", 0}, {4, 0, A, "zz", 0}},
     "abc",
     ACKED,
     ENDED,
     0},
    {"reset at the next byte", "5961 3.2", {{0, 0, FRAME_RST, "", 0}}, "", NONE, GONE, 0},
    {"reset inside the window",
     "5961 3.2",
     {{1, 0, FRAME_RST, "", 0}},
     "",
     ACKED,
     ALIVE,
     BW_DROP_tcp_bad_reset},
    {"reset far inside the window",
     "5961 3.2",
     {{60000, 0, FRAME_RST | A, "", 0}},
     "",
     ACKED,
     ALIVE,
     BW_DROP_tcp_bad_reset},
    {"reset outside of it", "5961 3.2", {{-1, 0, FRAME_RST, "", 0}}, "", NONE, ALIVE, BW_DROP_tcp_bad_reset},
    {"SYN with the connection's ports",
     "5961 4.2",
     {{0, 0, FRAME_SYN | A, "", 0}},
     "",
     ACKED,
     ALIVE,
     BW_DROP_tcp_bad_syn},
    {"SYN alone", "5961 4.2", {{0, 0, FRAME_SYN, "", 0}}, "", NONE, ALIVE, BW_DROP_tcp_syn_unasked},
    {"acknowledges the future", "5961 5.2", {{0, 1, A, "zz", 0}}, "", ACKED, ALIVE, BW_DROP_tcp_bad_ack},
    {"acknowledges ages ago",
     "5961 5.2",
     {{0, INT32_MIN + 5, A, "zz", 0}},
     "",
     ACKED,
     ALIVE,
     BW_DROP_tcp_bad_ack},
    {"no ACK at all", "9293 3.10.7.4", {{0, 0, FRAME_PSH, "zz", 0}}, "", NONE, ALIVE, BW_DROP_tcp_flags},
    {"FIN alone", "9293 3.10.7.4", {{0, 0, FRAME_FIN, "", 0}}, "", NONE, ALIVE, BW_DROP_tcp_flags},
    {"every flag", "9293 3.1", {{0, 0, 0x3f, "zz", 0}}, "", NONE, ALIVE, BW_DROP_tcp_flags},
    {"old by its timestamp",
     "7323 5.3",
     {{0, 0, A, "zz", -1000}},
     "",
     ACKED,
     ALIVE,
     BW_DROP_tcp_old_timestamp},
    {"urgent is ordinary data", "6093 6", {{0, 0, A | 0x20, "abc", 0}}, "abc", NONE, ALIVE, 0},
};

static stack_bench bench;
static bw_transport *transport;
static uint32_t due, ours, stamp;

static void put(const hostile_segment *segment) {
    uint8_t frame[BW_FRAME_BYTES_MAX], options[12] = {1, 1, 8, 10};
    frame_put32(options + 4, stamp + (uint32_t)segment->stamp);
    frame_put32(options + 8, bench.peer.stamp_recent);
    frame_tcp tcp = {.sequence = due + (uint32_t)segment->sequence,
                     .acknowledged = ours + (uint32_t)segment->acknowledged,
                     .flags = segment->flags,
                     .window = 1000,
                     .options = options,
                     .option_bytes = 12,
                     .data = segment->data,
                     .bytes = strlen(segment->data)};
    memory_device_put(bench.device, frame, frame_make_tcp(&bench.peer.path, &tcp, frame), bench.now_ns);
    bw_stack_turn(bench.stack, bench.now_ns);
}

static void begin(bool six) {
    bench_open(&bench, six, NULL);
    transport = bench_connect(&bench);
    for (int i = 0; i < 1000 && transport->ops->connected(transport) == 0; i++) bench_step(&bench);
    bench_wait(&bench, 50000000);
    due = bench.peer.highest;
    ours = bench.peer.receive_next;
    stamp = (uint32_t)(bench.now_ns / 1000000) + 1000; /* as the peer's */
}

static void end(void) {
    uint8_t frame[BW_FRAME_BYTES_MAX];
    transport->ops->close(transport);
    while (memory_device_take(bench.device, frame)) {}
    while (bw_stack_turn(bench.stack, bench.now_ns)) {}
    bw_stack_free(bench.stack);
    CHECK_EQUAL(memory_device_held(bench.device), 0);
    bench.stack = NULL;
    impair_free(bench.to_us);
    impair_free(bench.to_peer);
    memory_device_free(bench.device);
}

static unsigned answers(unsigned flag) {
    uint8_t frame[BW_FRAME_BYTES_MAX];
    unsigned count = 0;
    size_t tcp = bench.peer.path.six ? 54 : 34;
    while (memory_device_take(bench.device, frame)) {
        if (frame_get16(frame + 12) != 0x0806) count += (frame[tcp + 13] & flag) != 0;
    }
    return count;
}

static void play(const hostile_case *c, bool six) {
    char got[256];
    int64_t receive_ns;
    size_t bytes = 0;
    ssize_t result;
    begin(six);
    answers(0);
    for (size_t i = 0; i < 4 && c->segment[i].data; i++) put(&c->segment[i]);
    while ((result = transport->ops->read(transport, got + bytes, sizeof got - bytes, &receive_ns)) > 0) {
        bytes += (size_t)result;
    }
    unsigned acknowledged = answers(FRAME_ACK);
    bool right = bytes == strlen(c->delivered) && memcmp(got, c->delivered, bytes) == 0 &&
                 result == (c->state == ALIVE  ? 0
                            : c->state == GONE ? -ECONNRESET
                                               : BW_TRANSPORT_EOF) &&
                 (c->answer != ACKED || acknowledged >= 1) && acknowledged <= 5 &&
                 (!c->drop || bench_counters(&bench).drop[c->drop] >= 1);
    if (!right) {
        fprintf(stderr, "%s (RFC %s): got \"%.*s\", read %zd, %u acknowledgements, dropped %llu\n", c->name,
                c->rfc, (int)bytes, got, result, acknowledged,
                (unsigned long long)bench_counters(&bench).drop[c->drop]);
        exit(1);
    }
    end();
}

/* RFC 9293 3.8.6.1: a closed window is probed, and what waits goes when it opens. (lwIP believes a smaller window
 * only with something new in the segment.) */
static void zero_window(void) {
    uint8_t frame[BW_FRAME_BYTES_MAX];
    begin(false);
    bench.peer.mute = true;
    frame_tcp tcp = {.sequence = due, .acknowledged = ours, .flags = A, .window = 0, .data = "x", .bytes = 1};
    memory_device_put(bench.device, frame, frame_make_tcp(&bench.peer.path, &tcp, frame), bench.now_ns);
    bw_stack_turn(bench.stack, bench.now_ns);
    answers(0);
    CHECK_EQUAL(transport->ops->write(transport, "hello", 5), 5);
    unsigned sent = 0;
    size_t most = 0;
    for (int i = 0; i < 5000; i++) { /* five seconds */
        size_t bytes;
        bw_stack_turn(bench.stack, bench.now_ns += 1000000);
        while ((bytes = memory_device_take(bench.device, frame))) {
            if (frame_get16(frame + 12) != 0x0800) continue; /* neighbours and groups */
            sent++;
            if (bytes > most) most = bytes;
        }
    }
    CHECK(sent >= 3 && sent < 100);
    CHECK(most <= 14 + 20 + 32 + 1); /* one byte at most */
    tcp.window = 1000;
    tcp.sequence++;
    memory_device_put(bench.device, frame, frame_make_tcp(&bench.peer.path, &tcp, frame), bench.now_ns);
    bw_stack_turn(bench.stack, bench.now_ns);
    for (int i = 0; i < 1000; i++) bw_stack_turn(bench.stack, bench.now_ns += 1000000);
    CHECK(answers(A) >= 1);
    end();
}

/* RFC 5961 7 and common sense: what we answer strangers is limited, what they make us hold too. */
static void floods(void) {
    uint8_t frame[BW_FRAME_BYTES_MAX], echo[12] = {8, 0, 0, 0, 0, 1, 0, 1};
    begin(false);
    answers(0);
    frame_path stranger = bench.peer.path;
    for (unsigned i = 0; i < 10000; i++) {
        stranger.from_port = (uint16_t)(1000 + i);
        stranger.from[3] = (uint8_t)(10 + i % 200);
        frame_tcp syn = {.sequence = i, .flags = FRAME_SYN, .window = 1000};
        memory_device_put(bench.device, frame, frame_make_tcp(&stranger, &syn, frame), bench.now_ns);
        bw_stack_turn(bench.stack, bench.now_ns);
    }
    CHECK_EQUAL(answers(0xff), 0);
    for (unsigned i = 0; i < 10000; i++) {
        stranger.from_port = (uint16_t)(1000 + i);
        stranger.from[3] = 1; /* whose MAC address is known: else the reset waits for ARP */
        frame_tcp data = {
            .sequence = i, .acknowledged = i, .flags = A, .window = 1000, .data = "x", .bytes = 1};
        memory_device_put(bench.device, frame, frame_make_tcp(&stranger, &data, frame), bench.now_ns);
        bw_stack_turn(bench.stack, bench.now_ns);
    }
    unsigned resets = answers(FRAME_RST);
    CHECK(resets >= 1 && resets <= 100);
    for (unsigned i = 0; i < 10000; i++)
        put(&(hostile_segment){1 + (int32_t)(i % 1000), 0, FRAME_RST, "", 0});
    unsigned challenges = answers(A);
    CHECK(challenges >= 1 && challenges <= 100);
    for (unsigned i = 0; i < 1000; i++) {
        size_t bytes = frame_make_icmp(&bench.peer.path, echo, sizeof echo, 64, frame);
        memory_device_put(bench.device, frame, bytes, bench.now_ns);
        bw_stack_turn(bench.stack, bench.now_ns);
    }
    bw_stack_counters counters = bench_counters(&bench);
    CHECK_EQUAL(counters.drop[BW_DROP_icmp_limit], 900);
    CHECK_EQUAL(counters.drop[BW_DROP_tcp_syn_unasked], 10000);
    CHECK_EQUAL(counters.drop[BW_DROP_tcp_unknown], 10000);
    answers(0);
    CHECK_EQUAL(memory_device_held(bench.device), 0);
    end();
}

/* Single bytes with holes between them: the pool has an end, the connection goes on. */
static void holes(void) {
    begin(false);
    for (int32_t i = 1; i < 40000; i += 2) put(&(hostile_segment){i, 0, A, "y", 0});
    CHECK(memory_device_held(bench.device) <= 8192);
    answers(0);
    put(&(hostile_segment){0, 0, A, "ab", 0});
    char got[8];
    int64_t receive_ns;
    CHECK(transport->ops->read(transport, got, sizeof got, &receive_ns) >= 2 && got[0] == 'a');
    end();
}

int main(void) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        play(&cases[i], false);
        play(&cases[i], true);
    }
    zero_window();
    floods();
    holes();
    return 0;
}
