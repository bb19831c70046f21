/* From a NIC's clock of unknown unit and zero to wall time: how near, and when it says that it cannot tell. */
#include "nic_clock.h"
#include "check.h"

#define MS INT64_C(1000000)
#define LOOK_MS 100 /* as often as a network looks */
#define BEGIN_NS INT64_C(1700000000000000000)
#define NEAR_NS 100

/* A NIC that began to count some time ago. */
typedef struct nic {
    double ticks_per_ns;
    uint64_t zero;
} nic;

static uint64_t ticks_at(const nic *from, int64_t ns) {
    return from->zero + (uint64_t)((double)(ns - BEGIN_NS) * from->ticks_per_ns);
}

static void pairs(bw_nic_clock *clock, const nic *from, int64_t from_ms, int64_t to_ms) {
    for (int64_t ms = from_ms; ms <= to_ms; ms += LOOK_MS) {
        bw_nic_clock_pair(clock, ticks_at(from, BEGIN_NS + ms * MS), BEGIN_NS + ms * MS);
    }
}

static void near(const bw_nic_clock *clock, const nic *from, int64_t stamp_ns, int64_t now_ns) {
    int64_t found = bw_nic_clock_ns(clock, ticks_at(from, stamp_ns), now_ns);
    CHECK(found && found - stamp_ns < NEAR_NS && stamp_ns - found < NEAR_NS);
}

int main(void) {
    static const nic nics[] = {{1.0, 0}, {0.15625, 1u << 30}, {0.001953125, 7}, {2.6, UINT64_MAX / 2}};
    for (unsigned i = 0; i < sizeof nics / sizeof *nics; i++) {
        const nic *from = &nics[i];
        bw_nic_clock clock = {0};
        int64_t now_ns = BEGIN_NS + 1050 * MS;
        CHECK_EQUAL(bw_nic_clock_ns(&clock, ticks_at(from, now_ns), now_ns), 0); /* no pair */
        pairs(&clock, from, 1000, 1000);
        CHECK_EQUAL(bw_nic_clock_ns(&clock, ticks_at(from, now_ns), now_ns), 0); /* no rate */
        pairs(&clock, from, 1100, 1100);
        now_ns = BEGIN_NS + 1110 * MS;
        if (from->ticks_per_ns > 0.01) {
            near(&clock, from, now_ns - 5000, now_ns);
            near(&clock, from, BEGIN_NS + 1101 * MS, now_ns);
        }
        CHECK_EQUAL(bw_nic_clock_ns(&clock, ticks_at(from, now_ns + MS), now_ns), 0);      /* to come */
        CHECK_EQUAL(bw_nic_clock_ns(&clock, ticks_at(from, now_ns - 11 * MS), now_ns), 0); /* long ago */
        now_ns = BEGIN_NS + 2101 * MS;
        CHECK_EQUAL(bw_nic_clock_ns(&clock, ticks_at(from, now_ns - 5000), now_ns), 0); /* an old pair */
    }
    /* a clock that is steered: 50 ppm faster from 20 s on */
    bw_nic_clock clock = {0};
    nic steered = {1.0, 0};
    pairs(&clock, &steered, 100, 20000);
    steered.ticks_per_ns *= 1.00005;
    steered.zero = (uint64_t)(20000 * MS) - (uint64_t)((double)(20000 * MS) * 1.00005);
    pairs(&clock, &steered, 20100, 45000);
    near(&clock, &steered, BEGIN_NS + 45050 * MS, BEGIN_NS + 45055 * MS);
    /* set back, as by a reset of the port: from new pairs only */
    bw_nic_clock_pair(&clock, 5, BEGIN_NS + 45100 * MS);
    CHECK_EQUAL(bw_nic_clock_ns(&clock, 6, BEGIN_NS + 45101 * MS), 0);
    return 0;
}
