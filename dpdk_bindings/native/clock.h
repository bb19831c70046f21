/* The two clocks, without a system call: wall time in ns since the Unix epoch, and steady time.
 *
 * bw_wall_ns() is clock_gettime() through the vDSO (27 ns on the machine this was measured on) until
 * the calling thread has called bw_clock_calibrate() for some time; then it is the CPU's cycle counter,
 * scaled (14 ns). A loop that stamps every message calibrates some ten times a second, between messages:
 * the time may be set back by some ns at that moment, never between two stamps of one message. Where the
 * counter is not invariant, or the thread stops calibrating, the vDSO's clock is used as before.
 */
#ifndef BW_CLOCK_H
#define BW_CLOCK_H

#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

typedef struct bw_clock {
    uint64_t base_cycles;
    int64_t base_ns;
    uint64_t ns_per_cycle; /* fixed point, 32 bits of fraction */
    uint64_t valid_cycles; /* after the base; 0: not calibrated */
    uint64_t rate_cycles;  /* where the rate's measurement began */
    int64_t rate_ns;
} bw_clock;

extern _Thread_local bw_clock bw_clock_of_thread __attribute__((tls_model("initial-exec")));

/* Sets the calling thread's clock by the kernel's. */
void bw_clock_calibrate(void);
/* Of the counter that stamps the calling thread's events, as measured; 0: the kernel's clock stamps. */
uint64_t bw_clock_cycles_per_second(void);

static inline int64_t bw_kernel_wall_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int64_t bw_wall_ns(void) {
#if defined(__x86_64__)
    const bw_clock *clock = &bw_clock_of_thread;
    uint64_t cycles = __rdtsc() - clock->base_cycles;
    if (__builtin_expect(cycles < clock->valid_cycles, 1)) {
        return clock->base_ns + (int64_t)((cycles * clock->ns_per_cycle) >> 32);
    }
#endif
    return bw_kernel_wall_ns();
}

static inline int64_t bw_steady_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#endif
