/* What tests of the stack share: a stack over a memory device, a peer, a wire each way, and a clock. */
#ifndef BW_TEST_STACK_BENCH_H
#define BW_TEST_STACK_BENCH_H

#include "impair.h"
#include "memory_device.h"
#include "stack.h"
#include "tcp_peer.h"
#include "check.h"

typedef struct stack_bench {
    memory_device *device;
    bw_stack *stack;
    tcp_peer peer;
    impair_wire *to_us, *to_peer;
    int64_t now_ns;
    uint64_t frames_to_us, frames_to_peer;
} stack_bench;

extern const uint8_t bench_our_mac[6], bench_peer_mac[6];

/* 10.9.0.2 and fd00::2 are ours, 10.9.0.1 and fd00::1 the peer's, by IPv6 if `six`. `wire` NULL: perfect. */
void bench_open(stack_bench *bench, bool six, const impair_spec *wire);
void bench_close(stack_bench *bench);
bw_transport *bench_connect(stack_bench *bench);
/* Moves what is due and lets the stack and the peer have a turn; the clock goes on to when something is due. */
void bench_step(stack_bench *bench);
/* Steps until the time. */
void bench_wait(stack_bench *bench, int64_t ns);
bw_stack_counters bench_counters(const stack_bench *bench);

#endif
