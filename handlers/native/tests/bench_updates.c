/* The way ends in the ring: Bybit updates of 201 bytes, two levels each, to a book in shared memory. */
#include "bench_message.h"
#include "check.h"
#include "clock.h"
#include "engine.h"
#include "venue_plans.h"

#include <unistd.h>

#define LEVELS 190 /* a side, as this exchange's book has */

static bw_shm_writer *shm;
static bw_engine *engine;
static bw_event_ring *events;
static unsigned made, accepted;

static void take_snapshot(void) {
    static char text[16384 + BW_ENGINE_PADDING];
    size_t at = (size_t)sprintf(text, "{\"topic\":\"orderbook.200.BTCUSDT\",\"ts\":1795000000000,"
                                      "\"type\":\"snapshot\",\"data\":{\"s\":\"BTCUSDT\"");
    for (int side = 0; side < 2; side++) {
        at += (size_t)sprintf(text + at, ",\"%c\":[", side ? 'a' : 'b');
        for (int i = 0; i < LEVELS; i++) {
            int price = side ? 618001 + i : 618000 - i;
            at += (size_t)sprintf(text + at, "%s[\"%d.%d\",\"0.%06d\"]", i ? "," : "", price / 10, price % 10,
                                  i + 1);
        }
        at += (size_t)sprintf(text + at, "]");
    }
    at += (size_t)sprintf(text + at, ",\"u\":100000000,\"seq\":8},\"cts\":1795000000000}");
    bw_engine_frame(engine, 0, text, at, 1, 1);
}

void bench_message_start(void) {
    char path[64], error[256] = "";
    bw_plan_spec plan_spec = venue_spec(VENUE_BYBIT);
    snprintf(path, sizeof path, "/dev/shm/bench-burst-%d.shm", (int)getpid());
    bw_shm_spec spec = {.path = path, .exchange = "bybit", .book_capacity = 1, .level_capacity = 1024,
                        .chunk_capacity = 256, .ring_bytes = 16u << 20};
    shm = bw_shm_writer_new(&spec, error, sizeof error);
    events = aligned_alloc(64, sizeof *events);
    CHECK(shm && events);
    memset(events, 0, sizeof *events);
    events->wake_fd = -1;
    bw_engine_spec engine_spec = {.plan = plan_of(&plan_spec), .shm = shm, .events = events,
                                  .levels_max = 4096, .pending_bytes = 1 << 20,
                                  .connections_max = 1, .crossed_max = 20};
    engine = bw_engine_new(&engine_spec, error, sizeof error);
    bw_symbol symbol = {.native = "BTCUSDT"};
    CHECK(engine && bw_shm_writer_add_book(shm, &symbol, 1, 6, 1) == 0);
    CHECK(bw_engine_add_book(engine, 0, "BTCUSDT") == 0);
    bw_engine_bind(engine, 0, 0);
    bw_engine_connection_up(engine, 0, 1);
    take_snapshot();
    CHECK(bw_shm_writer_book(shm, 0)->state == BW_BOOK_LIVE);
}

/* A bid and an ask of the best 16 get another quantity; each third pair leaves or comes back. The one that is
 * made before all others, for its length, is the first that is sent, too. */
size_t bench_message_make(char *out) {
    unsigned number = made ? made : 1, at = number * 7 % 16, gone = number % 3 == 0 && number / 48 % 2;
    int bid = 618000 - (int)at, ask = 618001 + (int)at, quantity = gone ? 0 : 1 + (int)(number % 999999);
    made++;
    return (size_t)sprintf(out,
                           "{\"topic\":\"orderbook.200.BTCUSDT\",\"ts\":1795000000100,\"type\":\"delta\","
                           "\"data\":{\"s\":\"BTCUSDT\",\"b\":[[\"%d.%d\",\"0.%06d\"]],"
                           "\"a\":[[\"%d.%d\",\"0.%06d\"]],"
                           "\"u\":%u,\"seq\":112488545885},\"cts\":1795000000097}",
                           bid / 10, bid % 10, quantity, ask / 10, ask % 10, quantity, 100000000 + number);
}

void bench_message_take(const char *text, size_t bytes, int64_t receive_ns) {
    bw_engine_frame(engine, 0, text, bytes, receive_ns, bw_wall_ns());
}

void bench_message_end(unsigned taken) {
    const bw_book *book = bw_shm_writer_book(shm, 0);
    accepted = (unsigned)book->updates - 1;
    CHECK_EQUAL(accepted, taken);
    CHECK(book->state == BW_BOOK_LIVE && book->gaps == 0 && book->side[0].level_count > LEVELS / 2);
    bw_engine_free(engine);
    bw_shm_writer_close(shm);
    free(events);
}
