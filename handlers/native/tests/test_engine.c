/* Frames to books, events and records: what each venue's rule does when all goes well, and when not. */
#include "check.h"
#include "engine.h"
#include "shm_reader.h"
#include "venue_plans.h"

#include <stdarg.h>
#include <unistd.h>

static bw_plan *plan;
static bw_shm_writer *shm;
static bw_segment *segment;
static bw_event_ring *events;
static bw_engine *engine;
static const bw_book *book;
static bw_book_store *mirror;
static bw_ring_cursor cursor;
static int64_t now_ns = 1000;

static void set_up(bw_plan_spec spec, const char *symbol, uint8_t price, uint8_t quantity) {
    char path[64], error[256] = "";
    snprintf(path, sizeof path, "/dev/shm/test-engine-%d.shm", (int)getpid());
    plan = plan_of(&spec);
    bw_shm_spec segment_spec = {.path = path, .exchange = "test", .book_capacity = 4, .level_capacity = 1024,
                                .chunk_capacity = 256, .ring_bytes = 1u << 20};
    shm = bw_shm_writer_new(&segment_spec, error, sizeof error);
    CHECK(shm);
    segment = bw_segment_open(path, error, sizeof error);
    CHECK(segment);
    events = aligned_alloc(64, sizeof *events);
    memset(events, 0, sizeof *events);
    events->wake_fd = -1;
    bw_engine_spec engine_spec = {.plan = plan, .shm = shm, .events = events, .levels_max = 4096,
                                  .pending_bytes = 8192, .connections_max = 2, .crossed_max = 3};
    engine = bw_engine_new(&engine_spec, error, sizeof error);
    CHECK(engine);
    bw_symbol native = {0};
    snprintf(native.native, sizeof native.native, "%s", symbol);
    CHECK(bw_shm_writer_add_book(shm, &native, price, quantity, 1) == 0);
    CHECK(bw_engine_add_book(engine, 0, symbol) == 0);
    CHECK(bw_engine_add_book(engine, 1, symbol) == -1);
    mirror = bw_book_store_new(1, 4096, 0);
    bw_ring_seek_head(segment, &cursor);
    book = bw_shm_writer_book(shm, 0);
    bw_engine_bind(engine, 0, 0);
    bw_engine_connection_up(engine, 0, ++now_ns);
    CHECK(book->state == BW_BOOK_SYNCING);
}

static void tear_down(void) {
    bw_book_store_free(mirror);
    bw_engine_free(engine);
    bw_segment_close(segment);
    bw_shm_writer_close(shm);
    bw_plan_free(plan);
    free(events);
}

/* Applies the records since the last call to a book of the test's own and compares. */
static void check_mirror(void) {
    static bw_level level[2][4096];
    bw_book *copy = bw_book_store_at(mirror, 0);
    const bw_record *record;
    int64_t evicted;
    while (bw_ring_next(segment, &cursor, &record) == BW_READ_OK) {
        const bw_level *change = (const bw_level *)(const void *)(record + 1);
        CHECK(record->sequence == copy->sequence + 1);
        copy->sequence = record->sequence;
        if (record->type == BW_RECORD_RESET) {
            bw_book_clear(mirror, copy);
            for (uint32_t side = 0; side < 2; side++) {
                uint32_t count = bw_book_copy(bw_shm_writer_store(shm), book, side, 4096, level[0]);
                for (uint32_t i = 0; i < count; i++) {
                    bw_book_set(mirror, copy, side, level[0][i].price, level[0][i].quantity, 0, &evicted);
                }
            }
        }
        for (uint32_t i = 0; i < record->bid_count + record->ask_count; i++) {
            bw_book_set(mirror, copy, i >= record->bid_count, change[i].price, change[i].quantity, 0, &evicted);
        }
        CHECK(bw_ring_done(segment, &cursor, record) == BW_READ_OK);
    }
    CHECK(copy->sequence == book->sequence);
    for (uint32_t side = 0; side < 2; side++) {
        uint32_t count = bw_book_copy(bw_shm_writer_store(shm), book, side, 4096, level[0]);
        CHECK(count == bw_book_copy(mirror, copy, side, 4096, level[1]));
        for (uint32_t i = 0; i < count; i++) {
            CHECK(level[0][i].price == level[1][i].price && level[0][i].quantity == level[1][i].quantity);
        }
    }
}

__attribute__((format(printf, 1, 2))) static void frame(const char *format, ...) {
    static char text[8192 + BW_ENGINE_PADDING];
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(text, 8192, format, arguments);
    va_end(arguments);
    now_ns += 1000000;
    bw_engine_frame(engine, 0, text, (size_t)bytes, now_ns, now_ns);
    check_mirror();
}

static void rest(const char *body) {
    static char text[8192 + BW_ENGINE_PADDING];
    snprintf(text, 8192, "%s", body);
    bw_engine_load_snapshot(engine, 0, text, strlen(body), ++now_ns);
    check_mirror();
}

/* Events of one type since the last call; *last is the latest of them. */
static uint32_t count_events(uint32_t type, bw_event *last) {
    static bw_event drained[BW_EVENT_SLOTS];
    uint32_t all = bw_event_drain(events, drained, BW_EVENT_SLOTS), found = 0;
    for (uint32_t i = 0; i < all; i++) {
        if (drained[i].type != type) continue;
        found++;
        if (last) *last = drained[i];
    }
    return found;
}

static int64_t best(uint32_t side) {
    return book->top_count[side] ? book->top[side][0].price : 0;
}

#define BINANCE(first, last, bids, asks) \
    frame("{\"stream\":\"x\",\"data\":{\"e\":\"depthUpdate\",\"E\":1633998524073,\"s\":\"BTCUSDT\",\"U\":%d,\"u\":%d," \
          "\"b\":[%s],\"a\":[%s]}}", first, last, bids, asks)

static void test_binance(void) {
    bw_event event;
    set_up(binance_spec(), "BTCUSDT", 2, 4);
    BINANCE(101, 105, "[\"10.00\",\"1\"]", "");
    CHECK(book->state == BW_BOOK_SYNCING && count_events(BW_EVENT_NEED_SNAPSHOT, &event) == 1 && event.a == 1);
    BINANCE(106, 106, "[\"10.50\",\"2\"]", "");
    CHECK(count_events(BW_EVENT_NEED_SNAPSHOT, NULL) == 0);
    rest("{\"lastUpdateId\":99,\"bids\":[],\"asks\":[]}"); /* too old */
    CHECK(book->state == BW_BOOK_SYNCING && count_events(BW_EVENT_NEED_SNAPSHOT, &event) == 1 && event.a == 2);
    rest("{\"lastUpdateId\":103,\"bids\":[[\"9.00\",\"4\"]],\"asks\":[[\"11.00\",\"5\"]]}");
    CHECK(book->state == BW_BOOK_LIVE && best(0) == 1050 && best(1) == 1100 && book->side[0].level_count == 3);
    BINANCE(104, 106, "", "[\"11.00\",\"0\"]"); /* old */
    CHECK(book->duplicates == 1 && best(1) == 1100);
    BINANCE(107, 109, "[\"10.50\",\"0.00000000\"]", "[\"10.80\",\"1.5\"]");
    CHECK(best(0) == 1000 && best(1) == 1080 && book->top[1][0].quantity == 15000 && book->exchange_ns == 1633998524073000000);
    count_events(0, NULL);
    BINANCE(111, 112, "[\"10.60\",\"1\"]", ""); /* 110 is missing */
    CHECK(book->state == BW_BOOK_RESYNC && book->reason == BW_REASON_GAP && book->gaps == 1);
    CHECK(count_events(BW_EVENT_NEED_SNAPSHOT, &event) == 1 && event.code == BW_REASON_GAP);
    rest("{\"lastUpdateId\":112,\"bids\":[[\"10.70\",\"1\"]],\"asks\":[[\"10.90\",\"1\"]]}");
    CHECK(book->state == BW_BOOK_LIVE && best(0) == 1070 && book->epoch == 2);
    BINANCE(113, 113, "[\"10.701\",\"1\"]", ""); /* a third decimal */
    CHECK(book->price_exponent == 3 && best(0) == 10701 && best(1) == 10900 && book->state == BW_BOOK_LIVE);
    bw_engine_connection_down(engine, 0, BW_REASON_DISCONNECTED, ++now_ns);
    CHECK(book->state == BW_BOOK_DOWN);
    BINANCE(114, 114, "", "");
    CHECK(book->state == BW_BOOK_DOWN && book->dropped == 1);
    tear_down();
}

static void test_unopened_and_full_buffer(void) {
    set_up(binance_spec(), "BTCUSDT", 2, 4);
    rest("{\"lastUpdateId\":-1,\"bids\":[],\"asks\":[]}");
    CHECK(book->state == BW_BOOK_SYNCING);
    BINANCE(7, 8, "[\"1\",\"1\"]", "");
    CHECK(book->state == BW_BOOK_LIVE && best(0) == 100);
    bw_engine_resync(engine, 0, BW_REASON_OPERATOR, ++now_ns);
    for (int i = 0; i < 9; i++) BINANCE(20 + i, 20 + i, "[\"1\",\"1\"]", ""); /* the arena has 8 blocks */
    CHECK(book->reason == BW_REASON_BUFFER_FULL && book->dropped == 9);
    rest("{\"lastUpdateId\":28,\"bids\":[[\"2\",\"1\"]],\"asks\":[]}"); /* nothing held, nothing missed */
    CHECK(book->state == BW_BOOK_LIVE && best(0) == 200);
    tear_down();
}

static void test_bad_frames(void) {
    bw_event event;
    set_up(binance_spec(), "BTCUSDT", 2, 4);
    rest("{\"lastUpdateId\":100,\"bids\":[[\"9.00\",\"4\"]],\"asks\":[[\"11.00\",\"5\"]]}");
    CHECK(book->state == BW_BOOK_LIVE);
    frame("{\"data\":{\"e\":\"depthUpdate\",\"s\":\"OTHER\",\"U\":1,\"u\":1,\"b\":[],\"a\":[]}}");
    frame("garbage");
    frame("{\"nothing\":1}");
    frame("{\"data\":{\"e\":\"depthUpdate\",\"s\":\"BTCUSDT"); /* cut inside the symbol: nobody's */
    CHECK(book->state == BW_BOOK_LIVE && bw_shm_writer_stats(shm)->unknown_symbols == 1);
    CHECK(bw_shm_writer_stats(shm)->quarantined == 3 && count_events(BW_EVENT_QUARANTINE, &event) == 3);
    BINANCE(101, 101, "[\"10.00\",\"1\"]", "[\"10.5\",\"x\"]"); /* half of it is good */
    CHECK(book->state == BW_BOOK_RESYNC && book->reason == BW_REASON_DECODE && best(0) == 900);
    CHECK(count_events(BW_EVENT_QUARANTINE, &event) == 1 && event.book == 0 && strstr(event.text, "malformed"));
    rest("{\"lastUpdateId\":101,\"bids\":[[\"9.00\",\"4\"]],\"asks\":[[\"11.00\",\"5\"]]}");
    for (int i = 0; i < 3; i++) BINANCE(102 + i, 102 + i, "[\"12.00\",\"1\"]", "");
    CHECK(book->state == BW_BOOK_RESYNC && book->reason == BW_REASON_CROSSED && book->crossed == 3);
    rest("not json");
    CHECK(book->state == BW_BOOK_RESYNC && count_events(BW_EVENT_SNAPSHOT_RESULT, &event) == 1 + 1 && event.a == 2);
    tear_down();
}

static const char kraken_snapshot[] =
    "{\"channel\":\"book\",\"type\":\"snapshot\",\"data\":[{\"symbol\":\"BTC/USD\",\"bids\":[{\"price\":45283.5,\"qty\":"
    "0.10000000},{\"price\":45283.4,\"qty\":1.54582015},{\"price\":45282.1,\"qty\":0.10000000},{\"price\":45281.0,"
    "\"qty\":0.10000000},{\"price\":45280.3,\"qty\":1.54592586},{\"price\":45279.0,\"qty\":0.07990000},{\"price\":"
    "45277.6,\"qty\":0.03310103},{\"price\":45277.5,\"qty\":0.30000000},{\"price\":45277.3,\"qty\":1.54602737},{"
    "\"price\":45276.6,\"qty\":0.15445238}],\"asks\":[{\"price\":45285.2,\"qty\":0.00100000},{\"price\":45286.4,\"qty\":"
    "1.54571953},{\"price\":45286.6,\"qty\":1.54571109},{\"price\":45289.6,\"qty\":1.54560911},{\"price\":45290.2,"
    "\"qty\":0.15890660},{\"price\":45291.8,\"qty\":1.54553491},{\"price\":45294.7,\"qty\":0.04454749},{\"price\":"
    "45296.1,\"qty\":0.35380000},{\"price\":45297.5,\"qty\":0.09945542},{\"price\":45299.5,\"qty\":0.18772827}],"
    "\"checksum\":%u,\"timestamp\":\"2026-08-16T23:37:02.102345Z\"}]}";

#define KRAKEN(bids, asks, checksum) \
    frame("{\"channel\":\"book\",\"type\":\"update\",\"data\":[{\"symbol\":\"BTC/USD\",\"bids\":[%s],\"asks\":[%s]," \
          "\"checksum\":%u,\"timestamp\":\"2026-08-16T23:37:03.745044Z\"}]}", bids, asks, checksum)

static void test_kraken(void) {
    bw_event event;
    set_up(kraken_spec(), "BTC/USD", 1, 8);
    KRAKEN("{\"price\":1.0,\"qty\":1.00000000}", "", 1u); /* before any snapshot */
    CHECK(book->dropped == 1 && book->state == BW_BOOK_SYNCING);
    frame(kraken_snapshot, 3310070434u);
    CHECK(book->state == BW_BOOK_LIVE && book->verifier_state == BW_VERIFIER_OK && book->checksums_ok == 1);
    KRAKEN("{\"price\":45283.6,\"qty\":0.25000000}", "{\"price\":45285.2,\"qty\":0.00000000},{\"price\":45301.0,\"qty\":0.50000000}",
           2160897081u);
    CHECK(book->state == BW_BOOK_LIVE && book->side[0].level_count == 10 && book->checksums_ok == 2);
    CHECK(book->verified_by == BW_VERIFIED_CHECKSUM && book->exchange_ns == 1786923423745044000);
    KRAKEN("{\"price\":45283.6,\"qty\":0.25000000}", "", 0u); /* not sent: no resync */
    CHECK(book->state == BW_BOOK_LIVE && book->verifier_state == BW_VERIFIER_NOT_SENT);
    count_events(0, NULL);
    KRAKEN("{\"price\":45283.6,\"qty\":0.25000001}", "", 2160897081u); /* a flipped digit */
    CHECK(book->state == BW_BOOK_RESYNC && book->reason == BW_REASON_CHECKSUM && book->checksums_bad == 1);
    CHECK(count_events(BW_EVENT_CHECKSUM, &event) == 1 && event.a == 2160897081);
    for (int i = 0; i < 2; i++) {
        frame(kraken_snapshot, 1u);
        CHECK(book->state == BW_BOOK_RESYNC);
        CHECK(count_events(BW_EVENT_NEED_RESUBSCRIBE, NULL) == 1);
    }
    frame(kraken_snapshot, 1u); /* wrong again and again: it is the recipe */
    CHECK(book->state == BW_BOOK_LIVE && book->verifier_state == BW_VERIFIER_SUSPENDED);
    KRAKEN("{\"price\":45283.6,\"qty\":0.25000001}", "", 1u);
    CHECK(book->state == BW_BOOK_LIVE);
    frame(kraken_snapshot, 3310070434u);
    CHECK(book->verifier_state == BW_VERIFIER_OK);
    tear_down();
}

#define OKX(action, previous, last, bids) \
    frame("{\"arg\":{\"channel\":\"books\",\"instId\":\"BTC-USDT\"},\"action\":\"%s\",\"data\":[{\"asks\":[],\"bids\":[%s]," \
          "\"ts\":\"1597026383085\",\"checksum\":0,\"prevSeqId\":%d,\"seqId\":%d}]}", action, bids, previous, last)

static void test_okx(void) {
    bw_event event;
    set_up(okx_spec(), "BTC-USDT", 2, 0);
    OKX("snapshot", -1, 10, "[\"8476.97\",\"256\",\"0\",\"12\"],[\"8475.55\",\"101\",\"0\",\"1\"]");
    CHECK(book->state == BW_BOOK_LIVE && best(0) == 847697 && book->top[0][0].orders == 12);
    OKX("update", 10, 15, "[\"8476.97\",\"0\",\"0\",\"0\"]");
    uint64_t updates = book->updates;
    OKX("update", 15, 15, "");
    CHECK(book->updates == updates && book->last_data_ns == now_ns);
    OKX("update", 15, 3, "[\"8476.98\",\"1\",\"0\",\"1\"]");
    OKX("update", 3, 5, "[\"8476.99\",\"1\",\"0\",\"1\"]");
    CHECK(book->state == BW_BOOK_LIVE && best(0) == 847699);
    frame("pong");
    CHECK(bw_shm_writer_stats(shm)->heartbeats == 1);
    OKX("update", 7, 9, "");
    OKX("update", 9, 11, "");
    CHECK(book->state == BW_BOOK_RESYNC && book->gaps == 1 && book->dropped == 1);
    CHECK(count_events(BW_EVENT_NEED_RESUBSCRIBE, &event) == 1);
    frame("{\"event\":\"subscribe\",\"arg\":{\"channel\":\"books\",\"instId\":\"BTC-USDT\"},\"connId\":\"a4d3ae55\"}");
    CHECK(count_events(BW_EVENT_CONTROL, &event) == 1 && event.connection == 0);
    OKX("snapshot", -1, 20, "[\"8476.97\",\"256\",\"0\",\"12\"]");
    CHECK(book->state == BW_BOOK_LIVE && book->epoch == 2 && best(0) == 847697);
    tear_down();
}

#define COINBASE(number, kind, price) \
    frame("{\"channel\":\"l2_data\",\"timestamp\":\"2026-07-06T04:17:46.144223171Z\",\"sequence_num\":%d,\"events\":[{" \
          "\"type\":\"%s\",\"product_id\":\"BTC-USD\",\"updates\":[{\"side\":\"bid\",\"event_time\":\"2026-07-06T04:17:46." \
          "105221Z\",\"price_level\":\"%s\",\"new_quantity\":\"1\"}]}]}", number, kind, price)

static void test_coinbase(void) {
    bw_event event;
    set_up(coinbase_spec(), "BTC-USD", 2, 8);
    COINBASE(0, "snapshot", "63211.05");
    frame("{\"channel\":\"subscriptions\",\"sequence_num\":1,\"events\":[{\"subscriptions\":{\"level2\":[\"BTC-USD\"]}}]}");
    frame("{\"channel\":\"heartbeats\",\"sequence_num\":2,\"events\":[{\"heartbeat_counter\":42}]}");
    COINBASE(3, "update", "63212.05");
    COINBASE(3, "update", "63213.05"); /* the same number once more */
    CHECK(book->state == BW_BOOK_LIVE && best(0) == 6321205);
    count_events(0, NULL);
    frame("{\"channel\":\"heartbeats\",\"sequence_num\":5,\"events\":[{\"heartbeat_counter\":43}]}");
    CHECK(book->state == BW_BOOK_RESYNC && book->reason == BW_REASON_GAP);
    CHECK(count_events(BW_EVENT_GAP, &event) == 1 && event.a == 4 && event.b == 5 && event.connection == 0);
    COINBASE(6, "snapshot", "63214.05");
    CHECK(book->state == BW_BOOK_LIVE && best(0) == 6321405);
    tear_down();
}

static void test_roll_over_and_full_ring(void) {
    set_up(bybit_spec(), "BTCUSDT", 2, 6);
    const char *form = "{\"topic\":\"orderbook.200.BTCUSDT\",\"ts\":1,\"type\":\"%s\",\"data\":{\"s\":\"BTCUSDT\",\"b\":[[\"%d\","
                       "\"1\"]],\"a\":[],\"u\":%d,\"seq\":1},\"cts\":1731035685323}";
    frame(form, "snapshot", 100, 1);
    char text[512];
    int bytes = snprintf(text, sizeof text - BW_ENGINE_PADDING, form, "delta", 101, 2);
    bw_engine_connection_up(engine, 1, ++now_ns);
    bw_engine_frame(engine, 1, text, (size_t)bytes, now_ns, now_ns); /* the other connection overlaps */
    CHECK(best(0) == 10000 && book->dropped == 1);
    bw_engine_bind(engine, 0, 1);
    bw_engine_frame(engine, 1, text, (size_t)bytes, now_ns, now_ns);
    bw_engine_connection_down(engine, 0, BW_REASON_DISCONNECTED, ++now_ns);
    CHECK(best(0) == 10100 && book->state == BW_BOOK_LIVE);
    check_mirror();
    while (bw_event_claim(events)) bw_event_publish(events); /* nobody drains */
    bytes = snprintf(text, sizeof text - BW_ENGINE_PADDING, form, "delta", 102, 9);
    bw_engine_frame(engine, 1, text, (size_t)bytes, now_ns, now_ns);
    CHECK(book->state == BW_BOOK_RESYNC);
    count_events(0, NULL);
    bw_engine_frame(engine, 1, text, (size_t)bytes, now_ns, now_ns); /* so the request is made up for */
    CHECK(count_events(BW_EVENT_NEED_RESUBSCRIBE, NULL) == 1);
    tear_down();
}

/* A book that nobody carries ignores what comes, also when a connection comes up; carried again it begins. */
static void test_leave_and_come_back(void) {
    set_up(bybit_spec(), "BTCUSDT", 2, 6);
    const char *form = "{\"topic\":\"orderbook.200.BTCUSDT\",\"ts\":1,\"type\":\"%s\",\"data\":{\"s\":\"BTCUSDT\",\"b\":[[\"%d\","
                       "\"1\"]],\"a\":[],\"u\":%d,\"seq\":1},\"cts\":1731035685323}";
    frame(form, "snapshot", 100, 1);
    bw_engine_bind(engine, 0, BW_NO_CONNECTION);
    bw_engine_set_state(engine, 0, BW_BOOK_DOWN, BW_REASON_OPERATOR, ++now_ns);
    frame(form, "delta", 101, 2);
    frame(form, "snapshot", 102, 3);
    bw_engine_connection_up(engine, 0, ++now_ns);
    bw_engine_connection_down(engine, 0, BW_REASON_DISCONNECTED, ++now_ns);
    bw_engine_resync(engine, 0, BW_REASON_GAP, ++now_ns);
    CHECK(book->state == BW_BOOK_DOWN && book->reason == BW_REASON_OPERATOR);
    CHECK(best(0) == 10000 && book->dropped == 2 && book->connection == BW_NO_CONNECTION);
    bw_engine_connection_up(engine, 0, ++now_ns);
    bw_engine_bind(engine, 0, 0);
    CHECK(book->state == BW_BOOK_SYNCING);
    frame(form, "snapshot", 103, 1);
    CHECK(book->state == BW_BOOK_LIVE && best(0) == 10300);
    check_mirror();
    tear_down();
}

/* A connection takes over with its own snapshot, and the book moves until then and from then on. */
static void test_hand_over(bool audit) {
    bw_plan_spec spec = bybit_spec();
    spec.audit = audit;
    set_up(spec, "BTCUSDT", 2, 6);
    const char *form = "{\"topic\":\"orderbook.200.BTCUSDT\",\"ts\":1,\"type\":\"%s\",\"data\":{\"s\":\"BTCUSDT\",\"b\":[[\"%d\","
                       "\"1\"]],\"a\":[],\"u\":%d,\"seq\":1},\"cts\":1731035685323}";
    static const struct {
        uint32_t connection;
        const char *kind;
        int price, id, best;
    } step[] = {
        {0, "snapshot", 100, 1, 100}, {0, "delta", 101, 2, 101}, {1, "delta", 109, 3, 101}, {0, "delta", 102, 3, 102},
        {1, "snapshot", 90, 4, 90},   {0, "delta", 109, 5, 90},  {1, "delta", 91, 5, 91},   {0, "snapshot", 109, 6, 91},
    };
    char text[512];
    bw_engine_connection_up(engine, 1, ++now_ns);
    bw_engine_hand_over(engine, 0, 0); /* it carries the book already */
    bw_engine_hand_over(engine, 0, 1);
    for (size_t i = 0; i < sizeof step / sizeof *step; i++) {
        int bytes = snprintf(text, sizeof text - BW_ENGINE_PADDING, form, step[i].kind, step[i].price, step[i].id);
        bw_engine_frame(engine, step[i].connection, text, (size_t)bytes, ++now_ns, now_ns);
        CHECK(best(0) == step[i].best * 100 && book->state == BW_BOOK_LIVE);
        CHECK(book->connection == (i >= 4));
        check_mirror();
    }
    CHECK(book->gaps == 0 && book->resyncs == 0 && book->dropped == 3 && book->epoch == 2);
    CHECK(book->audits == 0 && book->audit_mismatches == 0);
    bw_engine_connection_down(engine, 1, BW_REASON_DISCONNECTED, ++now_ns);
    CHECK(book->state == BW_BOOK_DOWN);
    bw_engine_hand_over(engine, 0, 0); /* the one that carries a dead book is no better */
    int bytes = snprintf(text, sizeof text - BW_ENGINE_PADDING, form, "snapshot", 95, 9);
    bw_engine_frame(engine, 0, text, (size_t)bytes, ++now_ns, now_ns);
    CHECK(book->state == BW_BOOK_LIVE && best(0) == 9500 && book->connection == 0);
    check_mirror();
    tear_down();
}

/* What is rehearsed moves nothing: not a byte of the segment, no event, and the next update still follows. */
static void rehearse(const char *text) {
    static char padded[8192 + BW_ENGINE_PADDING];
    uint64_t bytes = bw_segment_header(segment)->segment_bytes;
    void *before = malloc(bytes);
    snprintf(padded, 8192, "%s", text);
    memcpy(before, bw_segment_header(segment), bytes);
    for (int i = 0; i < 3; i++) bw_engine_rehearse(engine, 0, padded, strlen(padded));
    CHECK(memcmp(before, bw_segment_header(segment), bytes) == 0);
    CHECK(atomic_load(&events->head) == atomic_load(&events->tail));
    free(before);
}

static void test_rehearsal(void) {
    set_up(okx_spec(), "BTC-USDT", 2, 0);
    CHECK(bw_engine_prepare_rehearsal(engine));
    OKX("snapshot", -1, 10, "[\"8476.97\",\"256\",\"0\",\"12\"],[\"8475.55\",\"101\",\"0\",\"1\"]");
    OKX("update", 10, 15, "[\"8476.97\",\"0\",\"0\",\"0\"]");
    count_events(0, NULL);
    const char *form = "{\"arg\":{\"channel\":\"books\",\"instId\":\"%s\"},\"action\":\"update\",\"data\":[{\"asks\":[%s],"
                       "\"bids\":[[\"8476.98\",\"1\",\"0\",\"1\"]],\"ts\":\"1597026383085\",\"checksum\":0,\"prevSeqId\":15,"
                       "\"seqId\":16}]}";
    char text[1024];
    snprintf(text, sizeof text, form, "BTC-USDT", "");
    rehearse(text);
    snprintf(text, sizeof text, form, "BTC-USDT", "[\"8476.9\",\"1\",\"0\",\"1\"]"); /* crosses, other digits */
    rehearse(text);
    snprintf(text, sizeof text, form, "ETH-USDT", ""); /* unknown here */
    rehearse(text);
    rehearse("pong");
    rehearse("{\"event\":\"subscribe\"}");
    rehearse("{\"arg\":");
    OKX("update", 15, 16, "[\"8476.98\",\"1\",\"0\",\"1\"]");
    CHECK(book->state == BW_BOOK_LIVE && best(0) == 847698 && book->gaps == 0);
    tear_down();
    set_up(kraken_spec(), "BTC/USD", 1, 8); /* the checksum is computed, of the book as it stands */
    CHECK(bw_engine_prepare_rehearsal(engine));
    frame(kraken_snapshot, 3310070434u);
    count_events(0, NULL);
    rehearse("{\"channel\":\"book\",\"type\":\"update\",\"data\":[{\"symbol\":\"BTC/USD\",\"bids\":[{\"price\":45283.6,"
             "\"qty\":0.25000001}],\"asks\":[],\"checksum\":1,\"timestamp\":\"2026-08-17T00:00:00.000000Z\"}]}");
    KRAKEN("{\"price\":45283.6,\"qty\":0.25000000}", "{\"price\":45285.2,\"qty\":0.00000000},{\"price\":45301.0,\"qty\":0.50000000}",
           2160897081u);
    CHECK(book->state == BW_BOOK_LIVE && book->checksums_ok == 2 && book->checksums_bad == 0);
    tear_down();
}

int main(void) {
    test_rehearsal();
    test_leave_and_come_back();
    test_hand_over(false);
    test_hand_over(true);
    test_binance();
    test_unopened_and_full_buffer();
    test_bad_frames();
    test_kraken();
    test_okx();
    test_coinbase();
    test_roll_over_and_full_ring();
    return 0;
}
