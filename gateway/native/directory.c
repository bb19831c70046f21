#include "directory.h"

#include "encode.h"

#include <stddef.h>

uint32_t bw_segment_book_count(const bw_segment *segment) {
    const bw_shm_header *header = bw_segment_header(segment);
    uint32_t count = atomic_load_explicit(&header->book_count, memory_order_acquire);
    return count < header->book_capacity ? count : header->book_capacity;
}

bool bw_segment_book_left(const bw_segment *segment, uint32_t book) {
    const volatile bw_book *of = bw_segment_book(segment, book);
    return of->state == BW_BOOK_DOWN && of->reason == BW_REASON_OPERATOR;
}

uint32_t bw_segment_state_counts(const bw_segment *segment, uint32_t counts[BW_BOOK_DOWN + 1]) {
    uint32_t books = bw_segment_book_count(segment), left = 0;
    for (uint32_t state = 0; state <= BW_BOOK_DOWN; state++) counts[state] = 0;
    for (uint32_t book = 0; book < books; book++) {
        uint32_t state = *(const volatile uint32_t *)&bw_segment_book(segment, book)->state;
        if (bw_segment_book_left(segment, book)) left++;
        else counts[state <= BW_BOOK_DOWN ? state : BW_BOOK_DOWN]++;
    }
    return left;
}

uint64_t bw_segment_generation(const bw_segment *segment) {
    return bw_segment_header(segment)->generation;
}

uint64_t bw_segment_heartbeat(const bw_segment *segment) {
    return atomic_load_explicit(&bw_segment_header(segment)->heartbeat_ns, memory_order_relaxed);
}

static const struct {
    const char *name;
    size_t offset;
} counters[] = {
#define BW_COUNTER_ROW(name) {#name, offsetof(bw_stats, name)},
    BW_COUNTERS(BW_COUNTER_ROW)
#undef BW_COUNTER_ROW
};

uint32_t bw_counter_count(void) {
    return sizeof counters / sizeof *counters;
}

const char *bw_counter_name(uint32_t index) {
    return index < bw_counter_count() ? counters[index].name : "";
}

uint64_t bw_counter_value(const bw_segment *segment, uint32_t index) {
    if (index >= bw_counter_count()) return 0;
    const uint8_t *at = (const uint8_t *)bw_segment_stats(segment) + counters[index].offset;
    return atomic_load_explicit((const _Atomic uint64_t *)(const void *)at, memory_order_relaxed);
}

uint64_t bw_stage_bucket(const bw_segment *segment, uint32_t stage, uint32_t bucket) {
    if (stage >= BW_STAGE_COUNT || bucket >= BW_HISTOGRAM_BUCKETS) return 0;
    return atomic_load_explicit(&bw_segment_stats(segment)->stage_ns[stage][bucket], memory_order_relaxed);
}

bool bw_has_timing(const bw_segment *segment) {
    return bw_segment_timing(segment) != NULL;
}

uint64_t bw_busy_ns(const bw_segment *segment) {
    const bw_timing *timing = bw_segment_timing(segment);
    return timing ? atomic_load_explicit(&timing->busy_ns, memory_order_relaxed) : 0;
}

uint64_t bw_crossed_ns(const bw_segment *segment) {
    const bw_timing *timing = bw_segment_timing(segment);
    return timing ? atomic_load_explicit(&timing->crossed_ns, memory_order_relaxed) : 0;
}

uint64_t bw_budget_bucket(const bw_segment *segment, uint32_t part, uint32_t bucket) {
    const bw_timing *timing = bw_segment_timing(segment);
    if (!timing || part >= BW_BUDGET_COUNT || bucket >= BW_HISTOGRAM_BUCKETS) return 0;
    return atomic_load_explicit(&timing->budget_ns[part][bucket], memory_order_relaxed);
}

uint64_t bw_gap_bucket(const bw_segment *segment, uint32_t bucket) {
    const bw_timing *timing = bw_segment_timing(segment);
    if (!timing || bucket >= BW_HISTOGRAM_BUCKETS) return 0;
    return atomic_load_explicit(&timing->gap_us[bucket], memory_order_relaxed);
}

uint64_t bw_histogram_floor(uint32_t bucket) {
    if (bucket < 8) return bucket;
    uint32_t octave = bucket / 8 + 2, step = bucket % 8;
    return octave < 64 ? (uint64_t)(8 + step) << (octave - 3) : UINT64_MAX;
}

const char *bw_state_word(uint32_t state) {
    return bw_state_text(state);
}

const char *bw_reason_word(uint32_t reason) {
    return bw_reason_text(reason);
}
