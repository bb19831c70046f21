/* The book against a plain sorted array, change by change: results, levels, tops, invariants, through
 * splits, merges, full books and a pool too small for them; for every way this CPU can search and move. */
#include "book_parts.h"
#include "check.h"

#include <string.h>

#define MODEL_MAX 70000u

/* Best first, as bw_book_copy() gives them. */
typedef struct model {
    bw_level level[MODEL_MAX];
    uint32_t count;
} model;

static model sides[2];
static bw_level copied[MODEL_MAX];
static uint64_t random_state = 88172645463325252u;

static uint64_t roll(void) {
    return next_random(&random_state);
}

static uint32_t model_find(const model *m, uint32_t side, int64_t price) {
    uint32_t low = 0, high = m->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (side ? m->level[middle].price < price : m->level[middle].price > price) low = middle + 1;
        else high = middle;
    }
    return low;
}

static bool model_drop(model *m, uint32_t side, int64_t price) {
    uint32_t at = model_find(m, side, price);
    if (at == m->count || m->level[at].price != price) return false;
    memmove(m->level + at, m->level + at + 1, (--m->count - at) * sizeof *m->level);
    return true;
}

static void model_put(model *m, uint32_t side, bw_level level) {
    uint32_t at = model_find(m, side, level.price);
    if (at == m->count || m->level[at].price != level.price)
        memmove(m->level + at + 1, m->level + at, (m->count++ - at) * sizeof *m->level);
    m->level[at] = level;
}

static void check_chunks(const bw_book_store *store, const bw_book *book) {
    uint32_t used = 0, empty = 0;
    for (uint32_t s = 0; s < 2; s++) {
        const bw_side *side = &book->side[s];
        const bw_directory_entry *entry = (const void *)(store->base + side->directory_offset);
        uint32_t levels = 0;
        int64_t last = INT64_MIN;
        CHECK(side->directory_count <= side->directory_capacity);
        for (uint32_t i = 0; i < side->directory_count; i++) {
            const bw_chunk *chunk = &store->chunk[entry[i].chunk];
            CHECK(entry[i].count >= 1 && entry[i].count <= BW_CHUNK_LEVELS);
            CHECK(entry[i].low_key == chunk->key[0]);
            for (uint32_t at = 0; at < entry[i].count; at++) {
                CHECK(chunk->key[at] > last);
                last = chunk->key[at];
            }
            levels += entry[i].count;
        }
        CHECK(levels == side->level_count && levels <= side->level_capacity);
        used += side->directory_count;
        empty += side->directory_count == 0;
    }
    CHECK(used + store->free_count == store->chunk_capacity);
    CHECK(store->reserved_chunks == empty);
}

static void check_equal(const bw_book_store *store, const bw_book *book) {
    for (uint32_t s = 0; s < 2; s++) {
        uint32_t count = bw_book_copy(store, book, s, MODEL_MAX, copied);
        CHECK(count == sides[s].count);
        CHECK(memcmp(copied, sides[s].level, count * sizeof *copied) == 0);
        uint32_t skip = (uint32_t)(roll() % (count + 2)), behind = count > skip ? count - skip : 0;
        if (roll() & 1 && behind > 40) behind = 40;
        CHECK(bw_book_copy_behind(store, book, s, skip, behind + (behind < 40), copied) == behind);
        CHECK(memcmp(copied, sides[s].level + skip, behind * sizeof *copied) == 0);
        uint32_t top = count < BW_TOP_LEVELS ? count : BW_TOP_LEVELS;
        CHECK(book->top_count[s] == top);
        CHECK(memcmp(book->top[s], sides[s].level, top * sizeof *copied) == 0);
    }
}

/* One random change; what the book says happened must be what happens to the model. */
static void change(bw_book_store *store, bw_book *book, int64_t spread, bool orders) {
    uint32_t s = roll() & 1;
    model *m = &sides[s];
    int64_t span = roll() & 3 ? spread / 16 + 1 : spread;
    int64_t away = (int64_t)(roll() % (uint64_t)span);
    bw_level level = {.price = s ? 1000001 + away : 1000000 - away};
    level.quantity = roll() % 3 ? (int64_t)(roll() % 1000) + 1 : 0;
    if (orders && level.quantity) level.orders = (uint32_t)(roll() % 9);
    int64_t evicted = -1;
    bool held = model_find(m, s, level.price) < m->count &&
                m->level[model_find(m, s, level.price)].price == level.price;
    enum bw_set result = bw_book_set(store, book, s, level.price, level.quantity, level.orders, &evicted);
    if (level.quantity == 0) {
        CHECK(result == (held ? BW_SET_REMOVED : BW_SET_ABSENT));
        CHECK(model_drop(m, s, level.price) == held);
        return;
    }
    int64_t worst = m->count ? m->level[m->count - 1].price : 0;
    if (result == BW_SET_BEYOND) {
        CHECK(!held && (s ? level.price > worst : level.price < worst));
        CHECK(book->side[s].verified_price == worst || (s ? book->side[s].verified_price < worst
                                                          : book->side[s].verified_price > worst));
        return;
    }
    if (result == BW_SET_EVICTED) {
        CHECK(!held && evicted == worst);
        CHECK(model_drop(m, s, evicted));
    } else {
        CHECK(result == (held ? BW_SET_CHANGED : BW_SET_INSERTED));
    }
    model_put(m, s, level);
}

static void test_random(uint32_t level_capacity, uint32_t chunks, int64_t spread, uint32_t rounds,
                        bool orders) {
    bw_book_store *store = bw_book_store_new(1, level_capacity, chunks);
    CHECK(store);
    bw_book *book = bw_book_store_at(store, 0);
    sides[0].count = sides[1].count = 0;
    uint64_t version = 0;
    for (uint32_t round = 0; round < rounds; round++) {
        bw_book_begin(book);
        CHECK(atomic_load(&book->version) == version + 1);
        if (roll() % 500 == 0) {
            bw_book_clear(store, book);
            sides[0].count = sides[1].count = 0;
        }
        for (uint32_t i = (uint32_t)(roll() % 40) + 1; i--;) change(store, book, spread, orders);
        bw_book_end(store, book);
        CHECK(atomic_load(&book->version) == (version += 2));
        if (round % 16 == 0) check_chunks(store, book), check_equal(store, book);
    }
    check_chunks(store, book);
    check_equal(store, book);
    bw_book_store_free(store);
}

static void test_load(uint32_t level_capacity, uint32_t chunks, uint32_t count) {
    bw_book_store *store = bw_book_store_new(1, level_capacity, chunks);
    bw_book *book = bw_book_store_at(store, 0);
    for (uint32_t s = 0; s < 2; s++) {
        for (uint32_t i = 0; i < count; i++)
            sides[s].level[i] = (bw_level){.price = s ? 1000001 + 2 * i : 1000000 - 2 * i, .quantity = i + 1};
        bw_book_begin(book);
        sides[s].count = bw_book_load(store, book, s, sides[s].level, count);
        bw_book_end(store, book);
        CHECK(sides[s].count == (count < level_capacity ? count : level_capacity) || chunks);
    }
    check_chunks(store, book);
    check_equal(store, book);
    bw_book_begin(book);
    for (uint32_t i = 0; i < 2000; i++) change(store, book, 2 * count, true);
    bw_book_end(store, book);
    check_chunks(store, book);
    check_equal(store, book);
    bw_book_store_free(store);
}

static void test_cut(void) {
    bw_book_store *store = bw_book_store_new(1, 1000, 0);
    bw_book *book = bw_book_store_at(store, 0);
    int64_t evicted, left[4];
    bw_book_begin(book);
    for (int64_t i = 0; i < 500; i++) bw_book_set(store, book, 1, 100 + i, 1, 0, &evicted);
    CHECK(bw_book_cut(store, book, 1, 497, left, 4) == 3);
    CHECK(left[0] == 599 && left[1] == 598 && left[2] == 597);
    CHECK(bw_book_cut(store, book, 1, 2, left, 4) == 495);
    CHECK(bw_book_cut(store, book, 1, 2, left, 4) == 0);
    bw_book_end(store, book);
    CHECK(book->top_count[1] == 2 && book->top[1][1].price == 101 && book->side[1].verified_price == 0);
    bw_book_store_free(store);
}

static void test_rescale(void) {
    bw_book_store *store = bw_book_store_new(1, 1000, 0);
    bw_book *book = bw_book_store_at(store, 0);
    int64_t evicted;
    book->price_exponent = 2;
    bw_book_begin(book);
    for (int64_t i = 0; i < 200; i++) {
        bw_book_set(store, book, 0, 1000 - i, i + 1, 0, &evicted);
        bw_book_set(store, book, 1, 1001 + i, i + 1, 0, &evicted);
    }
    CHECK(bw_book_rescale(store, book, 3, 1));
    CHECK(book->price_exponent == 5 && book->quantity_exponent == 1);
    CHECK(!bw_book_rescale(store, book, 13, 0) && !bw_book_rescale(store, book, 0, 40));
    CHECK(book->price_exponent == 5);
    bw_book_end(store, book);
    CHECK(bw_book_copy(store, book, 1, 1000, copied) == 200);
    for (int64_t i = 0; i < 200; i++)
        CHECK(copied[i].price == (1001 + i) * 1000 && copied[i].quantity == (i + 1) * 10);
    CHECK(bw_book_set(store, book, 0, 990000, 0, 0, &evicted) == BW_SET_REMOVED);
    CHECK(book->top[0][0].price == 1000000 && book->top[1][0].price == 1001000);
    bw_book_store_free(store);
}

/* A pool that one book has drunk up still has a place for the first level of every other side. */
static void test_shared_pool(void) {
    bw_book_store *store = bw_book_store_new(4, 6400, 12);
    bw_book *greedy = bw_book_store_at(store, 0);
    int64_t evicted;
    uint32_t kept = 0;
    for (int64_t i = 0; i < 6400; i++)
        kept += bw_book_set(store, greedy, 0, 9999 - i, 1, 0, &evicted) == BW_SET_INSERTED;
    CHECK(kept == greedy->side[0].level_count && kept == 5 * BW_CHUNK_LEVELS);
    CHECK(greedy->side[0].verified_price == 9999 - (int64_t)kept + 1);
    CHECK(bw_book_set(store, greedy, 0, 10000, 1, 0, &evicted) == BW_SET_EVICTED && greedy->evicted == 1);
    for (uint32_t book = 0; book < 4; book++)
        for (uint32_t side = book == 0; side < 2; side++)
            CHECK(bw_book_set(store, &store->book[book], side, 5, 1, 0, &evicted) == BW_SET_INSERTED);
    CHECK(store->free_count == 0);
    bw_book_clear(store, greedy);
    CHECK(store->free_count == 6 && store->reserved_chunks == 2);
    bw_book_store_free(store);
}

static void test_variant(void) {
    test_random(4096, 0, 300, 8000, true);
    test_random(4096, 0, 20000, 8000, false);
    test_random(64, 0, 300, 8000, true);   /* book full all the time */
    test_random(70, 0, 300, 8000, true);
    test_random(1, 0, 30, 2000, true);
    test_random(2, 2, 30, 2000, true);
    test_random(4096, 9, 3000, 8000, true); /* pool empty all the time */
    test_random(300, 11, 3000, 8000, false);
    test_random(65536, 0, 65000, 10000, true);
    test_load(4096, 0, 3000);
    test_load(1000, 0, 3000);
    test_load(4096, 20, 3000);
    test_cut();
    test_rescale();
    test_shared_pool();
}

int main(void) {
    for (uint32_t variant = 0; variant <= bw_book_variant_best(); variant++) {
        bw_book_variant = variant;
        test_variant();
    }
    return 0;
}
