/* Stand-ins for engine and segment, so that the loop can be tested by itself: they write down what
 * they were told. */
#ifndef BW_FEED_DOUBLES_H
#define BW_FEED_DOUBLES_H

#include "engine.h"

typedef struct seen_by_engine { /* written by the loop, read by the test after an event or with atomics */
    _Atomic uint64_t frames;
    _Atomic uint64_t frame_bytes;
    _Atomic uint64_t quarantined;
    _Atomic uint64_t ups, downs;
    _Atomic uint64_t snapshots, resyncs, states, binds, hand_overs, books, bells;
    _Atomic int64_t bad_stamps; /* receive after plaintext, or either 0 */
    char last_frame[256];
    char last_why[128];
} seen_by_engine;

extern seen_by_engine seen;
bw_shm_writer *double_segment(void);

#endif
