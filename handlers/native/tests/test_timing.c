/* One message in some is measured by stage, whole or not at all; gaps of books are counted. */
#include "check.h"
#include "engine.h"
#include "shm_reader.h"
#include "venue_plans.h"

#include <unistd.h>

static bw_shm_writer *shm;
static bw_engine *engine;
static bw_event_ring *events;
static const bw_timing *timing;
static int64_t now_ns = 1000000000;
static int number;

static void take(const char *text, int64_t receive_ns, int64_t plaintext_ns) {
    static char padded[4096 + BW_ENGINE_PADDING];
    snprintf(padded, 4096, "%s", text);
    bw_engine_frame(engine, 0, padded, strlen(padded), receive_ns, plaintext_ns);
}

static void book_message(const char *kind, int64_t receive_ns, int64_t plaintext_ns) {
    char text[512];
    number++;
    snprintf(text, sizeof text,
             "{\"topic\":\"orderbook.200.BTCUSDT\",\"ts\":1731035685345,\"type\":\"%s\","
             "\"data\":{\"s\":\"BTCUSDT\","
             "\"b\":[[\"100\",\"%d\"]],\"a\":[[\"101\",\"2\"]],\"u\":%d,\"seq\":8},\"cts\":1731035685342}",
             kind, number, number);
    take(text, receive_ns, plaintext_ns);
}

/* A bid above the only ask, 101; a quantity of 0 takes it away. */
static void crossing(const char *quantity, int64_t at_ns) {
    char text[512];
    number++;
    snprintf(text, sizeof text,
             "{\"topic\":\"orderbook.200.BTCUSDT\",\"ts\":1731035685345,\"type\":\"delta\","
             "\"data\":{\"s\":\"BTCUSDT\",\"b\":[[\"102\",\"%s\"]],\"a\":[],\"u\":%d,\"seq\":8},"
             "\"cts\":1731035685342}",
             quantity, number);
    take(text, at_ns, at_ns);
}

static uint64_t counted(enum bw_budget part) {
    uint64_t sum = 0;
    for (uint32_t bucket = 0; bucket < BW_HISTOGRAM_BUCKETS; bucket++) sum += timing->budget_ns[part][bucket];
    return sum;
}

static void check_counts(uint64_t others, uint64_t tcp) {
    CHECK(counted(BW_BUDGET_TCP) == tcp);
    for (enum bw_budget part = BW_BUDGET_TLS; part < BW_BUDGET_COUNT; part++) CHECK(counted(part) == others);
}

/* Over sockets there is no TCP of ours; a message that changes no book leaves its turn to the next. */
static void test_one_in_some(void) {
    book_message("snapshot", 1000, 1500);
    for (uint32_t i = 2; i < BW_BUDGET_EVERY; i++) book_message("delta", 1000, 1500);
    check_counts(0, 0);
    take("{\"success\":true,\"ret_msg\":\"pong\",\"conn_id\":\"1\",\"op\":\"ping\"}", 1000, 1500);
    check_counts(0, 0);
    book_message("delta", 1000, 1500);
    check_counts(1, 0);
    CHECK(timing->budget_ns[BW_BUDGET_TLS][bw_histogram_bucket(500)] == 1);
    for (uint32_t i = 1; i < BW_BUDGET_EVERY; i++) book_message("delta", 1000, 1500);
    check_counts(1, 0);
    book_message("delta", 1000, 1500);
    check_counts(2, 0);
}

static void test_past_the_kernel(void) {
    bw_engine_reading(engine, 1300);
    for (uint32_t i = 0; i < BW_BUDGET_EVERY; i++) book_message("delta", 1000, 1500);
    check_counts(3, 1);
    CHECK(timing->budget_ns[BW_BUDGET_TCP][bw_histogram_bucket(300)] == 1);
    CHECK(timing->budget_ns[BW_BUDGET_TLS][bw_histogram_bucket(200)] == 1);
    bw_engine_reading(engine, 0);
}

static uint64_t gaps(int64_t us) {
    return timing->gap_us[bw_histogram_bucket((uint64_t)us)];
}

static void test_gaps(void) {
    CHECK(gaps(2000000) == 0);
    bw_engine_connection_down(engine, 0, BW_REASON_DISCONNECTED, now_ns);
    bw_engine_set_state(engine, 0, BW_BOOK_DOWN, BW_REASON_OPERATOR, now_ns + 1000000000); /* goes on */
    bw_engine_connection_up(engine, 0, now_ns + 1500000000);
    CHECK(gaps(2000000) == 0);
    book_message("snapshot", now_ns + 2000000000, now_ns + 2000000000);
    CHECK(gaps(2000000) == 1);
    uint64_t sum = 0;
    for (uint32_t bucket = 0; bucket < BW_HISTOGRAM_BUCKETS; bucket++) sum += timing->gap_us[bucket];
    CHECK(sum == 1); /* the way to the first LIVE was none */
}

/* A LIVE book that stays crossed for 2 s, then one that is crossed until it is LIVE no more, after 3 s. */
static void test_crossed(void) {
    int64_t at = now_ns + 10000000000;
    crossing("22", at);
    CHECK(timing->crossed_ns == 0);
    crossing("0", at + 2000000000);
    CHECK(timing->crossed_ns == 2000000000);
    crossing("22", at + 5000000000);
    bw_engine_connection_down(engine, 0, BW_REASON_DISCONNECTED, at + 8000000000);
    CHECK(timing->crossed_ns == 5000000000);
}

int main(void) {
    char path[64], error[256] = "";
    bw_plan_spec plan_spec = venue_spec(VENUE_BYBIT);
    bw_plan *plan = plan_of(&plan_spec);
    snprintf(path, sizeof path, "/dev/shm/test-timing-%d.shm", (int)getpid());
    bw_shm_spec spec = {.path = path, .exchange = "bybit", .book_capacity = 1, .level_capacity = 256,
                        .chunk_capacity = 64, .ring_bytes = 1u << 20};
    shm = bw_shm_writer_new(&spec, error, sizeof error);
    bw_segment *segment = shm ? bw_segment_open(path, error, sizeof error) : NULL;
    CHECK(segment);
    timing = bw_segment_timing(segment);
    CHECK(timing && timing->budget_every == BW_BUDGET_EVERY);
    events = aligned_alloc(64, sizeof *events);
    memset(events, 0, sizeof *events);
    events->wake_fd = -1;
    bw_engine_spec engine_spec = {.plan = plan, .shm = shm, .events = events, .levels_max = 1024,
                                  .pending_bytes = 8192, .connections_max = 1, .crossed_max = 3};
    engine = bw_engine_new(&engine_spec, error, sizeof error);
    bw_symbol symbol = {.native = "BTCUSDT"};
    CHECK(engine && bw_shm_writer_add_book(shm, &symbol, 2, 2, 1) == 0);
    CHECK(bw_engine_add_book(engine, 0, "BTCUSDT") == 0);
    bw_engine_bind(engine, 0, 0);
    bw_engine_connection_up(engine, 0, now_ns);
    test_one_in_some();
    test_past_the_kernel();
    test_gaps();
    test_crossed();
    bw_engine_free(engine);
    bw_segment_close(segment);
    bw_shm_writer_close(shm);
    bw_plan_free(plan);
    free(events);
    return 0;
}
