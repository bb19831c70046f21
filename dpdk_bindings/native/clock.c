#include "clock.h"

#include <stdbool.h>
#include <string.h>

_Thread_local bw_clock bw_clock_of_thread __attribute__((tls_model("initial-exec")));

#if defined(__x86_64__)
#include <cpuid.h>

#define RATE_NS_MIN INT64_C(50000000)    /* shorter measurements of the rate are too coarse */
#define RATE_NS_MAX INT64_C(10000000000) /* longer ones miss how the kernel's clock is steered */
#define PAIR_CYCLES_MAX 2000u            /* between two readings: more means we were interrupted */
#define VALID_NS INT64_C(500000000)      /* use without a new base */
#define ERROR_NS_MAX INT64_C(50000)      /* beyond it somebody set the wall clock: measure anew */

/* "Invariant TSC": runs at one rate in all power states (Intel SDM 3B, 18.17.1). */
static bool invariant_counter(void) {
    unsigned a, b, c, d = 0;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & (1u << 8));
}

/* Both clocks at one moment; false when the thread was interrupted between the readings. */
static bool read_pair(uint64_t *cycles, int64_t *ns) {
    for (int tries = 0; tries < 4; tries++) {
        uint64_t before = __rdtsc();
        *ns = bw_kernel_wall_ns();
        uint64_t after = __rdtsc();
        *cycles = before + (after - before) / 2;
        if (after - before < PAIR_CYCLES_MAX) return true;
    }
    return false;
}

static void measure_from(bw_clock *clock, uint64_t cycles, int64_t ns) {
    clock->rate_cycles = cycles;
    clock->rate_ns = ns;
}

void bw_clock_calibrate(void) {
    bw_clock *clock = &bw_clock_of_thread;
    uint64_t cycles;
    int64_t ns;
    if (!read_pair(&cycles, &ns)) return; /* the old base stays good for a while */
    if (clock->rate_ns == 0) {
        if (invariant_counter()) measure_from(clock, cycles, ns);
        return;
    }
    if (clock->valid_cycles) {
        int64_t predicted =
            clock->base_ns + (int64_t)(((cycles - clock->base_cycles) * clock->ns_per_cycle) >> 32);
        int64_t error = ns - predicted;
        if (error > ERROR_NS_MAX || error < -ERROR_NS_MAX) {
            clock->valid_cycles = 0;
            measure_from(clock, cycles, ns);
            return;
        }
    }
    int64_t passed = ns - clock->rate_ns;
    if (passed >= RATE_NS_MIN && cycles > clock->rate_cycles) {
        unsigned __int128 scaled = (unsigned __int128)(uint64_t)passed << 32;
        clock->ns_per_cycle = (uint64_t)(scaled / (cycles - clock->rate_cycles));
        clock->valid_cycles = (uint64_t)(((unsigned __int128)VALID_NS << 32) / clock->ns_per_cycle);
    }
    clock->base_cycles = cycles;
    clock->base_ns = ns;
    if (passed < 0 || passed > RATE_NS_MAX) measure_from(clock, cycles, ns);
}

uint64_t bw_clock_cycles_per_second(void) {
    const bw_clock *clock = &bw_clock_of_thread;
    if (!clock->valid_cycles) return 0;
    return (uint64_t)(((unsigned __int128)1000000000 << 32) / clock->ns_per_cycle);
}
#else
void bw_clock_calibrate(void) {}

uint64_t bw_clock_cycles_per_second(void) {
    return 0;
}
#endif
