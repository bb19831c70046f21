/* What is in the segments, for those who list and count rather than follow: names, states, counters. */
#ifndef BW_DIRECTORY_H
#define BW_DIRECTORY_H

#include "shm_reader.h"

#include <stdbool.h>

/* Whether the book was taken out by the operator: it is counted nowhere and listed nowhere. */
bool bw_segment_book_left(const bw_segment *segment, uint32_t book);
/* How many books of the segment are in each state (enum bw_book_state). Returns how many were taken out. */
uint32_t bw_segment_state_counts(const bw_segment *segment, uint32_t counts[BW_BOOK_DOWN + 1]);
uint32_t bw_segment_book_count(const bw_segment *segment);
uint64_t bw_segment_generation(const bw_segment *segment);
uint64_t bw_segment_heartbeat(const bw_segment *segment);

/* The exchange process's counters by index, and its stage histograms. */
uint32_t bw_counter_count(void);
const char *bw_counter_name(uint32_t index);
uint64_t bw_counter_value(const bw_segment *segment, uint32_t index);
uint64_t bw_stage_bucket(const bw_segment *segment, uint32_t stage, uint32_t bucket);
/* Of bw_timing; 0 where an older writer has none. */
bool bw_has_timing(const bw_segment *segment);
uint64_t bw_busy_ns(const bw_segment *segment);
uint64_t bw_crossed_ns(const bw_segment *segment);
uint64_t bw_budget_bucket(const bw_segment *segment, uint32_t part, uint32_t bucket);
uint64_t bw_gap_bucket(const bw_segment *segment, uint32_t bucket);

/* Smallest ns that falls into a histogram's bucket; inverse of bw_histogram_bucket(). */
uint64_t bw_histogram_floor(uint32_t bucket);

/* The reason and state words of the public interfaces. */
const char *bw_state_word(uint32_t state);
const char *bw_reason_word(uint32_t reason);

#endif
