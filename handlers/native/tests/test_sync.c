/* The sequence rules as sections 7 of the venues' sheets have them, with their own examples. */
#include "check.h"
#include "sync.h"

static enum bw_sync_verdict step(bw_sync *sync, uint32_t rule, uint32_t continuity, int64_t first, int64_t last,
                                 int64_t previous) {
    bw_sync_ids ids = {.first = first, .last = last, .previous = previous};
    return bw_sync_update(sync, rule, continuity, &ids);
}

/* OKX: -1/10, 10/15, 15/15, 15/3, 3/5 as prev/seq. */
static void test_okx_chain(void) {
    bw_sync sync = {.phase = BW_SYNC_WAITING};
    uint32_t rule = BW_SYNC_FEED_SNAPSHOT, link = BW_CONTINUITY_LINK;
    CHECK(step(&sync, rule, link, 0, 15, 10) == BW_SYNC_DROP);
    bw_sync_snapshot(&sync, 10, false);
    CHECK(step(&sync, rule, link, 0, 15, 10) == BW_SYNC_APPLY);
    CHECK(step(&sync, rule, link, 0, 15, 15) == BW_SYNC_KEEP_ALIVE);
    CHECK(step(&sync, rule, link, 0, 3, 15) == BW_SYNC_APPLY); /* maintenance reset */
    CHECK(step(&sync, rule, link, 0, 5, 3) == BW_SYNC_APPLY);
    CHECK(step(&sync, rule, link, 0, 9, 7) == BW_SYNC_GAP);
    CHECK(sync.last == 5);
}

static void test_bybit(void) {
    bw_sync sync = {.phase = BW_SYNC_WAITING};
    uint32_t rule = BW_SYNC_FEED_SNAPSHOT, next = BW_CONTINUITY_NEXT;
    bw_sync_snapshot(&sync, 2876700, false);
    CHECK(step(&sync, rule, next, 0, 2876701, 0) == BW_SYNC_APPLY);
    CHECK(step(&sync, rule, next, 0, 2876701, 0) == BW_SYNC_OLD);
    CHECK(step(&sync, rule, next, 0, 2876600, 0) == BW_SYNC_OLD);
    CHECK(step(&sync, rule, next, 0, 2876703, 0) == BW_SYNC_GAP);
    bw_sync_snapshot(&sync, 1, false); /* service restart */
    CHECK(step(&sync, rule, next, 0, 2, 0) == BW_SYNC_APPLY);
}

static void test_binance_join(void) {
    bw_sync sync = {.phase = BW_SYNC_WAITING};
    uint32_t rule = BW_SYNC_REST_SNAPSHOT, range = BW_CONTINUITY_RANGE;
    CHECK(step(&sync, rule, range, 15602510, 15602511, 0) == BW_SYNC_HOLD);
    bw_sync_ids first_held = {.first = 15602510, .last = 15602511};
    CHECK(!bw_sync_reaches(range, 15602508, &first_held));
    CHECK(bw_sync_reaches(range, 15602509, &first_held));
    bw_sync_joined_snapshot(&sync, 15602511);
    CHECK(step(&sync, rule, range, 15602510, 15602511, 0) == BW_SYNC_OLD);
    CHECK(step(&sync, rule, range, 15602513, 15602514, 0) == BW_SYNC_GAP);
    CHECK(step(&sync, rule, range, 15602511, 15602514, 0) == BW_SYNC_APPLY); /* U <= L + 1 <= u */
    CHECK(step(&sync, rule, range, 15602514, 15602516, 0) == BW_SYNC_GAP);
    CHECK(step(&sync, rule, range, 15602515, 15602516, 0) == BW_SYNC_APPLY);
    CHECK(step(&sync, rule, range, 15602512, 15602516, 0) == BW_SYNC_OLD);
    CHECK(bw_sync_expected(&sync, range) == 15602517);
}

static void test_unopened_symbol(void) {
    bw_sync sync = {.phase = BW_SYNC_WAITING};
    bw_sync_joined_snapshot(&sync, -1);
    CHECK(step(&sync, BW_SYNC_REST_SNAPSHOT, BW_CONTINUITY_RANGE, 900, 905, 0) == BW_SYNC_APPLY);
    CHECK(step(&sync, BW_SYNC_REST_SNAPSHOT, BW_CONTINUITY_RANGE, 906, 906, 0) == BW_SYNC_APPLY);
}

static void test_link_joined_by_rest(void) {
    bw_sync sync = {.phase = BW_SYNC_WAITING};
    bw_sync_joined_snapshot(&sync, 100);
    CHECK(step(&sync, BW_SYNC_REST_SNAPSHOT, BW_CONTINUITY_LINK, 0, 100, 95) == BW_SYNC_OLD);
    CHECK(step(&sync, BW_SYNC_REST_SNAPSHOT, BW_CONTINUITY_LINK, 0, 108, 104) == BW_SYNC_GAP);
    CHECK(step(&sync, BW_SYNC_REST_SNAPSHOT, BW_CONTINUITY_LINK, 0, 104, 98) == BW_SYNC_APPLY);
    CHECK(step(&sync, BW_SYNC_REST_SNAPSHOT, BW_CONTINUITY_LINK, 0, 108, 104) == BW_SYNC_APPLY);
}

static void test_connection_count(void) {
    bw_sync_counter counter = {0};
    CHECK(bw_sync_count(&counter, 0) == BW_SYNC_APPLY);
    CHECK(bw_sync_count(&counter, 1) == BW_SYNC_APPLY);
    CHECK(bw_sync_count(&counter, 1) == BW_SYNC_OLD);
    CHECK(bw_sync_count(&counter, 3) == BW_SYNC_GAP);
    CHECK(bw_sync_count(&counter, 4) == BW_SYNC_APPLY);
    CHECK(bw_sync_count(&counter, 0) == BW_SYNC_GAP); /* a counter that fell back is no duplicate */
    CHECK(bw_sync_count(&counter, 1) == BW_SYNC_APPLY);
}

/* Gemini: ids overlap by one; what begins below was seen right behind a snapshot. */
static void test_overlap(void) {
    bw_sync sync = {.phase = BW_SYNC_WAITING};
    uint32_t rule = BW_SYNC_FEED_SNAPSHOT, overlap = BW_CONTINUITY_OVERLAP;
    bw_sync_snapshot(&sync, 100, false);
    CHECK(step(&sync, rule, overlap, 90, 110, 0) == BW_SYNC_APPLY && sync.jumps == 1);
    CHECK(step(&sync, rule, overlap, 110, 120, 0) == BW_SYNC_APPLY && sync.jumps == 1);
    CHECK(step(&sync, rule, overlap, 100, 120, 0) == BW_SYNC_OLD);
    CHECK(step(&sync, rule, overlap, 121, 130, 0) == BW_SYNC_GAP && bw_sync_expected(&sync, overlap) == 120);
}

static void test_covers(void) {
    bw_sync sync = {.phase = BW_SYNC_WAITING};
    uint32_t rule = BW_SYNC_FEED_SNAPSHOT, covers = BW_CONTINUITY_COVERS;
    bw_sync_snapshot(&sync, 100, false);
    CHECK(step(&sync, rule, covers, 101, 105, 0) == BW_SYNC_APPLY && sync.jumps == 0);
    CHECK(step(&sync, rule, covers, 103, 107, 0) == BW_SYNC_APPLY && sync.jumps == 1);
    CHECK(step(&sync, rule, covers, 101, 107, 0) == BW_SYNC_OLD);
    CHECK(step(&sync, rule, covers, 109, 110, 0) == BW_SYNC_GAP && bw_sync_expected(&sync, covers) == 108);
}

static void test_rises(void) {
    bw_sync sync = {.phase = BW_SYNC_WAITING};
    uint32_t rule = BW_SYNC_FEED_SNAPSHOT, rises = BW_CONTINUITY_RISES;
    bw_sync_snapshot(&sync, 100, false);
    CHECK(step(&sync, rule, rises, 0, 100, 0) == BW_SYNC_OLD);
    CHECK(step(&sync, rule, rises, 0, 500, 0) == BW_SYNC_APPLY);
    CHECK(step(&sync, rule, rises, 0, 499, 0) == BW_SYNC_GAP);
    bw_sync_ids older = {.last = 499}, same = {.last = 500};
    CHECK(bw_sync_replaces(&sync, rises, &older) == BW_SYNC_OLD && bw_sync_replaces(&sync, rises, &same) == BW_SYNC_APPLY);
    CHECK(bw_sync_replaces(&sync, BW_CONTINUITY_NONE, &older) == BW_SYNC_APPLY);
}

/* BingX: larger steps are taken; one that was jumped over and then comes was out of order. */
static void test_jumps(void) {
    bw_sync sync = {.phase = BW_SYNC_WAITING};
    uint32_t rule = BW_SYNC_FEED_SNAPSHOT, jumps = BW_CONTINUITY_JUMPS;
    bw_sync_snapshot(&sync, 10, false);
    CHECK(step(&sync, rule, jumps, 0, 11, 0) == BW_SYNC_APPLY && sync.jumps == 0);
    CHECK(step(&sync, rule, jumps, 0, 15, 0) == BW_SYNC_APPLY && sync.jumps == 1);
    CHECK(step(&sync, rule, jumps, 0, 15, 0) == BW_SYNC_OLD);
    CHECK(step(&sync, rule, jumps, 0, 11, 0) == BW_SYNC_OLD);
    CHECK(step(&sync, rule, jumps, 0, 13, 0) == BW_SYNC_GAP);
}

/* Bitget: the first update may straddle the snapshot; a previous id of 0 starts the ids anew. */
static void test_straddle(void) {
    bw_sync sync = {.phase = BW_SYNC_WAITING};
    uint32_t rule = BW_SYNC_FEED_SNAPSHOT, link = BW_CONTINUITY_LINK;
    bw_sync_snapshot(&sync, 100, true);
    CHECK(step(&sync, rule, link, 0, 100, 90) == BW_SYNC_OLD);
    CHECK(step(&sync, rule, link, 0, 110, 95) == BW_SYNC_APPLY);
    CHECK(step(&sync, rule, link, 0, 120, 105) == BW_SYNC_GAP);
    bw_sync_snapshot(&sync, 100, true);
    CHECK(step(&sync, rule, link, 0, 110, 0) == BW_SYNC_GAP);
    CHECK(step(&sync, rule, link, 0, 110, 101) == BW_SYNC_GAP);
}

/* HTX: exactly the snapshot's id, or the next request. AscendEX and BitMart: one more. */
static void test_requested(void) {
    bw_sync sync = {.phase = BW_SYNC_WAITING};
    uint32_t rule = BW_SYNC_REQUESTED_SNAPSHOT, link = BW_CONTINUITY_LINK, next = BW_CONTINUITY_NEXT;
    CHECK(step(&sync, rule, link, 0, 110, 100) == BW_SYNC_HOLD);
    bw_sync_joined_snapshot(&sync, 110);
    CHECK(step(&sync, rule, link, 0, 110, 100) == BW_SYNC_OLD);
    CHECK(step(&sync, rule, link, 0, 120, 105) == BW_SYNC_GAP);
    CHECK(step(&sync, rule, link, 0, 120, 110) == BW_SYNC_APPLY);
    bw_sync_joined_snapshot(&sync, 110);
    CHECK(step(&sync, rule, next, 0, 110, 0) == BW_SYNC_OLD);
    CHECK(step(&sync, rule, next, 0, 112, 0) == BW_SYNC_GAP);
    CHECK(step(&sync, rule, next, 0, 111, 0) == BW_SYNC_APPLY);
    bw_sync_ids held = {.first = 0, .last = 113, .previous = 112};
    CHECK(!bw_sync_reaches(link, 111, &held) && bw_sync_reaches(link, 112, &held));
    CHECK(!bw_sync_reaches(next, 111, &held) && bw_sync_reaches(next, 112, &held));
}

int main(void) {
    test_overlap();
    test_covers();
    test_rises();
    test_jumps();
    test_straddle();
    test_requested();
    test_okx_chain();
    test_bybit();
    test_binance_join();
    test_unopened_symbol();
    test_link_joined_by_rest();
    test_connection_count();
    return 0;
}
