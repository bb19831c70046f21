/* How soon a loop's thread gets a core when what it waits for is there. */
#ifndef BW_WAKING_H
#define BW_WAKING_H

#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BW_FIRST_NICE (-10)
#define BW_SLICE_NS 100000u /* the shortest that the kernel takes; a turn of a loop is shorter still */

/* struct sched_attr of <linux/sched/types.h>, as Linux 3.14 had it. */
typedef struct bw_sched_attr {
    uint32_t bytes, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
} bw_sched_attr;

/* Asks for a short slice for the calling thread: who wants the core for less has it earlier, and the one
 * on it is protected for less (EEVDF, Linux 6.12; an older kernel takes no notice). And for a high priority,
 * where it may: who is owed more is seldom not owed the core. A sandbox may forbid either; a thread of
 * another policy keeps that as it is. */
static inline void bw_wake_early(void) {
    bw_sched_attr attr;
    memset(&attr, 0, sizeof attr);
    if (syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0) || attr.policy != 0 /* SCHED_OTHER */) return;
    int32_t nice = attr.nice;
    attr.runtime_ns = BW_SLICE_NS;
    attr.nice = nice < BW_FIRST_NICE ? nice : BW_FIRST_NICE;
    if (!syscall(SYS_sched_setattr, 0, &attr, 0)) return;
    attr.nice = nice;
    (void)syscall(SYS_sched_setattr, 0, &attr, 0);
}

#endif
