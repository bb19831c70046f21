/* A recorded book brought back: records found in a span, torn spans, and what is not known is never LIVE. */
#include "check.h"
#include "played.h"

#include <string.h>

#define LEVELS 64u

typedef struct one_record {
    bw_record head;
    bw_level level[2];
} one_record;

static one_record record_of(uint32_t book, uint64_t sequence, int64_t bid, int64_t ask) {
    one_record made = {.head = {.bytes = sizeof made, .type = BW_RECORD_DELTA, .book = book, .epoch = 1,
                                .sequence = sequence, .bid_count = 1, .ask_count = 1,
                                .state = BW_BOOK_LIVE, .receive_ns = (int64_t)sequence * 10},
                       .level = {{.price = bid, .quantity = 5}, {.price = ask, .quantity = 6}}};
    return made;
}

static void test_find(void) {
    one_record span[4] = {record_of(2, 1, 10, 20), record_of(7, 1, 10, 20), record_of(2, 2, 10, 20),
                          record_of(3, 1, 10, 20)};
    const uint8_t *bytes = (const void *)span;
    uint32_t one = sizeof span[0], all = sizeof span;
    CHECK(bw_span_find(bytes, all, 0, 2) == 0);
    CHECK(bw_span_find(bytes, all, one, 2) == 2 * one);
    CHECK(bw_span_find(bytes, all, 3 * one, 2) == all);
    CHECK(bw_span_find(bytes, all, 0, 9) == all);
    CHECK(bw_span_find(bytes, 0, 0, 2) == 0);
    for (uint32_t torn = 3 * one + 1; torn < all; torn++)
        CHECK(bw_span_find(bytes, torn, 3 * one, 3) == torn);
    span[0].head.bytes = 0; /* would never end */
    CHECK(bw_span_find(bytes, all, 0, 7) == all);
}

static bool play(bw_book_store *store, uint64_t sequence, int64_t bid, int64_t ask, bool known) {
    one_record record = record_of(0, sequence, bid, ask);
    return bw_played_record(store, bw_book_store_at(store, 0), &record.head, known);
}

static void test_records(void) {
    bw_book_store *store = bw_book_store_new(1, LEVELS, 0);
    bw_book *book = bw_book_store_at(store, 0);
    bw_level best;
    book->sequence = 4;
    book->epoch = 1;
    CHECK(play(store, 5, 100, 101, true));
    CHECK(book->sequence == 5 && book->state == BW_BOOK_LIVE && book->receive_ns == 50);
    CHECK(bw_book_copy(store, book, 0, 1, &best) == 1 && best.price == 100 && best.quantity == 5);
    CHECK(!play(store, 7, 99, 102, true)); /* 6 is missing */
    CHECK(book->sequence == 7 && book->state == BW_BOOK_RESYNC);
    CHECK(bw_book_copy(store, book, 0, 1, &best) == 1 && best.price == 100); /* not moved on */
    CHECK(!play(store, 8, 99, 102, false));
    CHECK(book->state == BW_BOOK_RESYNC);
    one_record reset = record_of(0, 9, 0, 0);
    reset.head.type = BW_RECORD_RESET;
    reset.head.bid_count = reset.head.ask_count = 0;
    CHECK(!bw_played_record(store, book, &reset.head, true));
    one_record finer = record_of(0, 10, 1, 2);
    finer.head.price_exponent = 3;
    CHECK(!bw_played_record(store, book, &finer.head, true)); /* other units than the levels' */
    bw_book_store_free(store);
}

int main(void) {
    test_find();
    test_records();
    return 0;
}
