/* The scaled cycle counter agrees with the kernel's clock, before and after it takes over. */
#include "clock.h"
#include "check.h"

#include <stdlib.h>

static void expect_agreement(int64_t tolerance_ns) {
    int64_t best = INT64_MAX;
    for (int tries = 0; tries < 1000; tries++) { /* an interrupted reading says nothing */
        int64_t before = bw_kernel_wall_ns();
        int64_t ours = bw_wall_ns();
        int64_t after = bw_kernel_wall_ns();
        int64_t distance = llabs(ours - (before + (after - before) / 2));
        if (distance < best) best = distance;
    }
    if (best > tolerance_ns) fprintf(stderr, "off by %lld ns\n", (long long)best);
    CHECK(best <= tolerance_ns);
}

int main(void) {
    expect_agreement(2000);
    int64_t end = bw_kernel_wall_ns() + 300000000;
    while (bw_kernel_wall_ns() < end) {
        bw_clock_calibrate();
        expect_agreement(5000);
        int64_t last = bw_wall_ns();
        for (int i = 0; i < 10000; i++) { /* never backwards between calibrations */
            int64_t now = bw_wall_ns();
            CHECK(now >= last);
            last = now;
        }
    }
    return 0;
}
