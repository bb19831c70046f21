/* From a NIC's own clock to wall time: its unit and zero are unknown, so both are measured.
 *
 * Sans-I/O: pairs of readings in, a line through them out. A stamp is trusted only while a pair is not older
 * than a second and the result is not later than now, nor more than 10 ms earlier.
 */
#ifndef BW_NIC_CLOCK_H
#define BW_NIC_CLOCK_H

#include <stdint.h>

#define BW_NIC_CLOCK_AGE_NS INT64_C(1000000000)
#define BW_NIC_CLOCK_SPAN_NS INT64_C(50000000) /* shorter ones are too coarse for a rate */
#define BW_NIC_CLOCK_DELAY_NS INT64_C(10000000)

typedef struct bw_nic_clock {
    uint64_t ticks; /* the last pair */
    int64_t ns;
    uint64_t first_ticks; /* where the rate's measurement began */
    int64_t first_ns;     /* 0: no pair yet */
    double ns_per_tick;   /* 0: no rate yet */
} bw_nic_clock;

static inline void bw_nic_clock_pair(bw_nic_clock *clock, uint64_t ticks, int64_t ns) {
    if (!clock->first_ns || ticks < clock->ticks || ns < clock->ns) {
        *clock = (bw_nic_clock){.ticks = ticks, .ns = ns, .first_ticks = ticks, .first_ns = ns};
        return;
    }
    int64_t span = ns - clock->first_ns;
    if (span >= BW_NIC_CLOCK_SPAN_NS && ticks > clock->first_ticks) {
        clock->ns_per_tick = (double)span / (double)(ticks - clock->first_ticks);
    }
    if (span > 10 * BW_NIC_CLOCK_AGE_NS) { /* follow how both are steered */
        clock->first_ticks = clock->ticks;
        clock->first_ns = clock->ns;
    }
    clock->ticks = ticks;
    clock->ns = ns;
}

/* Wall time of a stamp, 0 if it cannot be told. */
static inline int64_t bw_nic_clock_ns(const bw_nic_clock *clock, uint64_t ticks, int64_t now_ns) {
    if (clock->ns_per_tick == 0 || now_ns - clock->ns > BW_NIC_CLOCK_AGE_NS) return 0;
    int64_t ns = clock->ns + (int64_t)((double)(int64_t)(ticks - clock->ticks) * clock->ns_per_tick);
    return ns <= now_ns && now_ns - ns < BW_NIC_CLOCK_DELAY_NS ? ns : 0;
}

#endif
