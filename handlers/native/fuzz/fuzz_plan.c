/* libFuzzer target: frames of nine plans, through every decoder variant and the whole engine.
 *
 * First byte: venue, and which variant of the book. The rest is cut at newlines into frames ('R' in front:
 * a REST body). Besides what the sanitizers see: all decoder variants must agree, and a mirror that applies
 * the ring's records must equal the book at its sequence.
 *
 *     handlers/native/fuzz/make_fuzz.sh build/fuzz
 *     build/fuzz/fuzz_plan -max_len=65000 -max_total_time=600 build/fuzz/corpus build/fuzz/seeds
 */
#include "../tests/venue_plans.h"
#include "book_parts.h"
#include "decode.h"
#include "engine.h"
#include "shm_reader.h"

#include <sys/mman.h>
#include <unistd.h>

enum { LEVELS_MAX = 512, FRAME_MAX = 1 << 16, VARIANTS = 3 };

typedef struct rig {
    bw_plan *plan;
    bw_shm_writer *shm;
    bw_segment *segment;
    bw_engine *engine;
    bw_event_ring *events;
    bw_decoder *decoder[VARIANTS];
    bw_book_store *mirror;
    bw_ring_cursor cursor;
    char path[64];
} rig;

static rig rigs[VENUE_COUNT];
static const char *const symbol_of[VENUE_COUNT] = {"BTCUSDT", "BTC-USD", "BTC-USDT", "BTCUSDT", "BTC/USD",
                                                    "KRW-BTC", "BTCUSDT", "tBTCUSD", "BTC-USDT@incrDepth"};

static void must(bool holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "violated: %s\n", what);
    abort();
}

static void set_up(rig *rig, enum venue venue) {
    char error[256] = "";
    bw_plan_spec spec = venue_spec(venue);
    rig->plan = plan_of(&spec);
    snprintf(rig->path, sizeof rig->path, "/dev/shm/fuzz-%d-%d.shm", (int)getpid(), (int)venue);
    bw_shm_spec shm = {.path = rig->path, .exchange = venue_name[venue], .book_capacity = 2,
                       .level_capacity = 512,
                       .chunk_capacity = 64, .ring_bytes = 1u << 20};
    rig->shm = bw_shm_writer_new(&shm, error, sizeof error);
    must(rig->shm, error);
    rig->segment = bw_segment_open(rig->path, error, sizeof error);
    must(rig->segment, error);
    rig->events = aligned_alloc(64, sizeof *rig->events);
    memset(rig->events, 0, sizeof *rig->events);
    rig->events->wake_fd = -1;
    bw_engine_spec engine = {.plan = rig->plan, .shm = rig->shm, .events = rig->events,
                             .levels_max = LEVELS_MAX,
                             .pending_bytes = 1u << 16, .connections_max = 2, .crossed_max = 3};
    rig->engine = bw_engine_new(&engine, error, sizeof error);
    must(rig->engine, error);
    bw_symbol symbol = {0};
    snprintf(symbol.native, sizeof symbol.native, "%s", symbol_of[venue]);
    must(bw_shm_writer_add_book(rig->shm, &symbol, 1, 8, 0) == 0, "add_book");
    must(bw_engine_add_book(rig->engine, 0, symbol.native) == 0, "engine add_book");
    bw_engine_bind(rig->engine, 0, 0);
    static const char *const most[VARIANTS] = {"portable", "avx2", "avx512"};
    for (uint32_t i = 0; i < VARIANTS; i++) {
        setenv("BOOKWIRE_DECODER", most[i], 1);
        rig->decoder[i] = bw_decoder_new(rig->plan, LEVELS_MAX);
    }
    unsetenv("BOOKWIRE_DECODER");
    rig->mirror = bw_book_store_new(1, 4096, 0);
    bw_ring_seek_head(rig->segment, &rig->cursor);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    for (enum venue venue = 0; venue < VENUE_COUNT; venue++) set_up(&rigs[venue], venue);
    for (enum venue venue = 0; venue < VENUE_COUNT; venue++) unlink(rigs[venue].path);
    return 0;
}

/* Both spell a value with decimals of their own, so values are compared. */
static bool same_number(int64_t a, uint8_t a_decimals, int64_t b, uint8_t b_decimals) {
    for (; a_decimals > b_decimals && a % 10 == 0; a_decimals--) a /= 10;
    for (; b_decimals > a_decimals && b % 10 == 0; b_decimals--) b /= 10;
    return a == b && (a_decimals == b_decimals || a == 0);
}

static void compare_slots(const bw_item *a, const bw_item *b) {
    for (uint32_t i = 0; i < BW_SLOT_COUNT; i++) {
        if (!(a->slots >> i & 1)) continue;
        const bw_value *x = &a->slot[i], *y = &b->slot[i];
        must(x->at == y->at && x->bytes == y->bytes && x->kind == y->kind && x->escaped == y->escaped,
             "variants agree on values");
    }
}

static void compare_items(const bw_decoder *one, const bw_decoder *other, const bw_item *a,
                          const bw_item *b) {
    must(a->slots == b->slots && a->levels_seen == b->levels_seen && !a->fault == !b->fault,
         "variants agree on slots and faults");
    compare_slots(a, b);
    must(bw_decoder_classify(one, a, false) == bw_decoder_classify(other, b, false),
         "variants agree on kinds");
    for (uint32_t side = 0; side < 2 && !a->fault; side++) {
        must(a->level_count[side] == b->level_count[side], "variants agree on levels");
        const bw_wire_level *x = bw_decoder_levels(one, side) + a->level_first[side];
        const bw_wire_level *y = bw_decoder_levels(other, side) + b->level_first[side];
        for (uint32_t k = 0; k < a->level_count[side]; k++)
            must(same_number(x[k].price, x[k].price_decimals, y[k].price, y[k].price_decimals) &&
                     same_number(x[k].quantity, x[k].quantity_decimals, y[k].quantity,
                                 y[k].quantity_decimals) &&
                     x[k].orders == y[k].orders, "variants agree on numbers");
    }
}

static void compare_variants(rig *rig, const char *text, size_t bytes) {
    const bw_decoder *plain = rig->decoder[0];
    bool read = bw_decode(rig->decoder[0], text, bytes);
    for (uint32_t v = 1; v < VARIANTS; v++) {
        bw_decoder *other = rig->decoder[v];
        must(bw_decode(other, text, bytes) == read, "variants agree whether a frame is broken");
        if (!read) continue;
        must(bw_decoder_items(plain) == bw_decoder_items(other), "variants agree on items");
        compare_slots(bw_decoder_frame(plain), bw_decoder_frame(other));
        for (uint32_t i = 0; i < bw_decoder_items(plain); i++)
            compare_items(plain, other, bw_decoder_item(plain, i), bw_decoder_item(other, i));
    }
}

static void check_mirror(rig *rig) {
    static bw_level levels[2][4096];
    const bw_record *record;
    const bw_book *book = bw_shm_writer_book(rig->shm, 0);
    bw_book *mirror = bw_book_store_at(rig->mirror, 0);
    const bw_book_store *store = bw_shm_writer_store(rig->shm);
    while (bw_ring_next(rig->segment, &rig->cursor, &record) == BW_READ_OK) {
        const bw_level *change = (const bw_level *)(const void *)(record + 1);
        int64_t evicted;
        if (record->type == BW_RECORD_RESET) { /* the fuzzer reads late: only the last one can be copied */
            bw_book_clear(rig->mirror, mirror);
            mirror->sequence = UINT64_MAX;
        }
        if (record->type == BW_RECORD_RESET && record->sequence == book->sequence) {
            for (uint32_t side = 0; side < 2; side++) {
                uint32_t count = bw_book_copy(store, book, side, 4096, levels[0]);
                for (uint32_t i = 0; i < count; i++) {
                    bw_book_set(rig->mirror, mirror, side, levels[0][i].price, levels[0][i].quantity, 0,
                                &evicted);
                }
            }
            mirror->sequence = record->sequence;
        }
        uint32_t changes = record->type == BW_RECORD_DELTA ? record->bid_count + record->ask_count : 0;
        for (uint32_t i = 0; i < changes; i++) {
            bw_book_set(rig->mirror, mirror, i >= record->bid_count, change[i].price, change[i].quantity, 0,
                        &evicted);
        }
        if (record->type != BW_RECORD_RESET && mirror->sequence != UINT64_MAX)
            mirror->sequence = record->sequence;
        bw_ring_done(rig->segment, &rig->cursor, record);
    }
    if (mirror->sequence != book->sequence) return; /* a RESET that was passed: nothing to compare */
    for (uint32_t side = 0; side < 2; side++) {
        uint32_t count = bw_book_copy(store, book, side, 4096, levels[0]);
        must(count == bw_book_copy(rig->mirror, mirror, side, 4096, levels[1]), "mirror has as many levels");
        for (uint32_t i = 0; i < count; i++) {
            must(levels[0][i].price == levels[1][i].price && levels[0][i].quantity == levels[1][i].quantity,
                 "mirror equals the book");
        }
    }
}

static void drain(rig *rig) {
    static bw_event events[256];
    while (bw_event_drain(rig->events, events, 256) == 256) continue;
}

static void play(rig *rig, const char *line, size_t bytes) {
    char *frame = malloc(bytes + BW_DECODE_PADDING); /* a heap block of its own, so that ASan sees its end */
    memcpy(frame, line, bytes);
    memset(frame + bytes, (int)(bytes & 1 ? '}' : '"'), BW_DECODE_PADDING);
    if (bytes && frame[0] == 'R') {
        bw_engine_load_snapshot(rig->engine, 0, frame + 1, bytes - 1, 1);
    } else {
        compare_variants(rig, frame, bytes);
        bw_engine_frame(rig->engine, 0, frame, bytes, 1, 1);
    }
    free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (bytes < 2 || bytes > FRAME_MAX) return 0;
    rig *rig = &rigs[data[0] % VENUE_COUNT];
    bw_book_variant = (enum bw_book_variant)(data[0] / VENUE_COUNT % ((uint32_t)bw_book_variant_best() + 1));
    bw_engine_connection_up(rig->engine, 0, 1);
    check_mirror(rig);
    const char *line = (const char *)data + 1, *end = (const char *)data + bytes;
    while (line < end) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        play(rig, line, (size_t)((newline ? newline : end) - line));
        check_mirror(rig);
        line = newline ? newline + 1 : end;
    }
    bw_engine_connection_down(rig->engine, 0, BW_REASON_DISCONNECTED, 1);
    check_mirror(rig);
    drain(rig);
    return 0;
}
