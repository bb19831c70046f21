/* bw_book_set_many() against bw_book_set(): the same book, and a record that makes the same book. */
#include "book_parts.h"
#include "check.h"

#include <stdlib.h>

enum { LEVELS_MAX = 300, BOOK_MAX = 65536, ROUNDS = 6000 };

static uint64_t seed = 88172645463325252u;

static uint32_t random_below(uint32_t limit) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)((seed >> 20) % limit);
}

/* Levels of one message: mostly best first as venues send them, at times shuffled or doubled. */
static uint32_t make_levels(bw_level *level, uint32_t side, uint32_t spread, bool orders) {
    uint32_t count = 1 + random_below(random_below(10) == 0 ? 120 : 12);
    int64_t price = side ? 1000 : -1000;
    uint32_t style = random_below(8);
    for (uint32_t i = 0; i < count; i++) {
        int64_t step = (int64_t)random_below(spread) + (style != 1);
        price = style == 0 ? (int64_t)random_below(4000) - 2000 : side ? price + step : price - step;
        level[i] = (bw_level){.price = price, .quantity = random_below(3) ? 1 + random_below(1000) : 0,
                              .orders = orders ? random_below(9) : 0, .reserved = 77};
    }
    return count;
}

static void set_each(bw_book_store *store, bw_book *book, uint32_t side, const bw_level *level, uint32_t count) {
    int64_t evicted;
    bw_book_begin(book);
    for (uint32_t i = 0; i < count; i++) {
        bw_book_set(store, book, side, level[i].price, level[i].quantity, level[i].orders, &evicted);
    }
    bw_book_end(store, book);
}

static void check_equal(const bw_book_store *a, const bw_book *in_a, const bw_book_store *b, const bw_book *in_b,
                        uint32_t side) {
    static bw_level level[2][BOOK_MAX];
    uint32_t count = bw_book_copy(a, in_a, side, BOOK_MAX, level[0]);
    CHECK(count == bw_book_copy(b, in_b, side, BOOK_MAX, level[1]));
    CHECK(count == in_a->side[side].level_count);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(level[0][i].price == level[1][i].price);
        CHECK(level[0][i].quantity == level[1][i].quantity);
        CHECK(level[0][i].orders == level[1][i].orders);
    }
    CHECK(in_a->top_count[side] == in_b->top_count[side]);
    for (uint32_t i = 0; i < in_a->top_count[side]; i++) {
        CHECK(in_a->top[side][i].price == level[0][i].price);
        CHECK(in_a->top[side][i].quantity == level[0][i].quantity);
    }
}

/* `capacity` small: the book is full most of the time and levels are pushed out. */
static void test_same_as_one_by_one(uint32_t capacity, uint32_t spread, bool orders) {
    bw_book_store *store[3];
    bw_book *book[3]; /* many at once, one by one, and a mirror that applies what the first reports */
    static bw_level level[LEVELS_MAX], out[2 * LEVELS_MAX];
    for (uint32_t i = 0; i < 3; i++) {
        store[i] = bw_book_store_new(1, i == 2 ? 65536 : capacity, 0);
        book[i] = bw_book_store_at(store[i], 0);
    }
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t side = random_below(2), count = make_levels(level, side, spread, orders);
        bw_book_begin(book[0]);
        uint32_t changes = bw_book_set_many(store[0], book[0], side, level, count, out);
        bw_book_end(store[0], book[0]);
        CHECK(changes <= 2 * count);
        set_each(store[2], book[2], side, out, changes);
        check_equal(store[0], book[0], store[2], book[2], side);
        if (capacity < LEVELS_MAX) continue; /* which of two levels leaves a full book may differ */
        set_each(store[1], book[1], side, level, count);
        check_equal(store[0], book[0], store[1], book[1], side);
        CHECK(book[0]->absent_deletes == book[1]->absent_deletes);
    }
    for (uint32_t i = 0; i < 3; i++) bw_book_store_free(store[i]);
}

int main(void) {
    for (uint32_t variant = 0; variant <= (uint32_t)bw_book_variant_best(); variant++) {
        bw_book_variant = (enum bw_book_variant)variant;
        test_same_as_one_by_one(65536, 3, false);
        test_same_as_one_by_one(65536, 40, false);
        test_same_as_one_by_one(65536, 40, true);
        test_same_as_one_by_one(128, 3, false);
        test_same_as_one_by_one(64, 60, false);
        test_same_as_one_by_one(64, 60, true);
    }
    return 0;
}
