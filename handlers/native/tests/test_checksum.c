/* CRC-32 and the two recipes, on the worked examples of the venues' sheets. */
#include "check.h"
#include "checksum.h"
#include "checksum_joined.h"
#include "crc32.h"
#include "number.h"

#include <string.h>
#include <zlib.h>

static const char kraken_bids[] =
    "45283.5/0.10000000 45283.4/1.54582015 45282.1/0.10000000 45281.0/0.10000000 45280.3/1.54592586 "
    "45279.0/0.07990000 45277.6/0.03310103 45277.5/0.30000000 45277.3/1.54602737 45276.6/0.15445238";
static const char kraken_asks[] =
    "45285.2/0.00100000 45286.4/1.54571953 45286.6/1.54571109 45289.6/1.54560911 45290.2/0.15890660 "
    "45291.8/1.54553491 45294.7/0.04454749 45296.1/0.35380000 45297.5/0.09945542 45299.5/0.18772827";
static const char okx_bids[] =
    "30243.4/0.0012029 30236.6/0.007903 30236.1/0.05452 30235.9/0.1016 30235/0.0002 30234.1/0.16 30234/0.07239171 "
    "30233.9/0.79685801 30232/0.01 30230.8/0.28156443 30230.2/0.85 30230.1/0.12784965 30229.3/0.00798335 "
    "30229.2/5.04689973 30228.9/0.07189416 30228.7/0.85286652 30228.6/0.01223199 30227.7/0.16 30226.8/0.12158052 "
    "30225.2/0.02098 30225.1/0.05 30224.8/0.01137 30223.4/0.33086945 30222.8/0.12 30222.5/0.00662176";
static const char okx_asks[] =
    "30243.5/1.44679 30244/0.08 30246.1/0.05426064 30247.5/0.635 30248.1/0.0132 30249.1/0.09999997 "
    "30249.4/0.16562579 30249.7/0.06523858 30251.8/0.00047612 30251.9/0.1808 30252.3/0.27412546 30252.6/0.01648681 "
    "30252.9/0.19984 30254/0.05 30255/0.16 30255.2/0.04844827 30257/0.02484658 30257.1/0.93333757 30258.1/0.16 "
    "30259.5/0.00052769 30259.6/0.1 30260.3/0.04632884 30260.4/0.28027349 30260.5/0.74399463 30261/0.03";

static const bw_checksum_spec kraken = {.levels = 10, .order = BW_CHECKSUM_ASKS_THEN_BIDS,
                                        .text = BW_CHECKSUM_DIGITS};
static const bw_checksum_spec okx = {.levels = 25, .order = BW_CHECKSUM_INTERLEAVED_BID_FIRST,
                                     .text = BW_CHECKSUM_PLAIN, .separator = ":", .is_signed = 1};

static int64_t scaled(const char *text, size_t bytes, uint32_t exponent) {
    int64_t mantissa;
    uint8_t decimals;
    CHECK(bw_decimal_parse(text, bytes, &mantissa, &decimals) == BW_NUMBER_OK && decimals <= exponent);
    return mantissa * bw_power_of_ten[exponent - decimals];
}

static void set(bw_book_store *store, const char *price, const char *quantity, uint32_t side) {
    bw_book *book = bw_book_store_at(store, 0);
    int64_t evicted;
    bw_book_begin(book);
    bw_book_set(store, book, side, scaled(price, strlen(price), 1), scaled(quantity, strlen(quantity), 8), 0, &evicted);
    bw_book_end(store, book);
}

static void fill(bw_book_store *store, const char *levels, uint32_t side) {
    for (const char *p = levels; *p;) {
        char price[24] = "", quantity[24] = "";
        CHECK(sscanf(p, "%23[^/]/%23[^ ]", price, quantity) == 2);
        set(store, price, quantity, side);
        p += strcspn(p, " ");
        p += *p == ' ';
    }
}

static bw_book_store *book_of(const char *bids, const char *asks) {
    bw_book_store *store = bw_book_store_new(1, 512, 0);
    bw_book *book = bw_book_store_at(store, 0);
    book->price_exponent = 1;
    book->quantity_exponent = 8;
    fill(store, bids, 0);
    fill(store, asks, 1);
    return store;
}

static bw_checksum_cache *cache_of(const bw_checksum_spec *spec) {
    size_t bytes = (bw_checksum_cache_bytes(spec) + 63) & ~(size_t)63;
    void *cache = aligned_alloc(64, bytes);
    memset(cache, 0, bytes);
    return cache;
}

static void test_crc(void) {
    static uint8_t data[1200];
    uint64_t seed = 7;
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)next_random(&seed);
    CHECK(bw_crc32(0, "123456789", 9) == 0xcbf43926u);
    for (size_t bytes = 0; bytes < 600; bytes++) {
        size_t at = bytes % 7;
        uint32_t wanted = (uint32_t)crc32(0, data + at, (uInt)bytes);
        CHECK(bw_crc32(0, data + at, bytes) == wanted);
        CHECK(bw_crc32_by_table(0, data + at, bytes) == wanted);
        CHECK(bw_crc32(bw_crc32(0, data + at, bytes / 3), data + at + bytes / 3, bytes - bytes / 3) == wanted);
    }
}

/* Whatever the lengths, and in front of whatever. */
static void test_joined_crc(void) {
    if (!bw_crc32_joins()) return;
    uint64_t seed = 11;
    for (uint32_t round = 0; round < 3000; round++) {
        static uint8_t whole[128 * 32];
        uint64_t remainder[128];
        uint32_t bytes[128], count = (uint32_t)(next_random(&seed) % 128), all = 0;
        for (uint32_t i = 0; i < count; i++) {
            bytes[i] = (uint32_t)(next_random(&seed) % 33);
            for (uint32_t at = 0; at < bytes[i]; at++) whole[all + at] = (uint8_t)next_random(&seed);
            remainder[i] = bw_crc32_remainder_by_table(whole + all, bytes[i]);
            all += bytes[i];
        }
        CHECK(bw_crc32_joined(remainder, bytes, count) == (uint32_t)crc32(0, whole, all));
    }
}

static void test_kraken(void) {
    bw_book_store *store = book_of(kraken_bids, kraken_asks);
    const bw_book *book = bw_book_store_at(store, 0);
    bw_checksum_cache *cache = cache_of(&kraken);
    CHECK(bw_checksum_compute(cache, &kraken, store, book) == 3310070434u);
    CHECK(bw_checksum_compute(cache, &kraken, store, book) == 3310070434u);
    set(store, "45283.6", "0.25000000", 0);
    set(store, "45276.6", "0", 0); /* falls out at depth 10 */
    CHECK(bw_checksum_compute(cache, &kraken, store, book) == 1315439348u);
    set(store, "45285.2", "0", 1);
    set(store, "45301.0", "0.50000000", 1);
    CHECK(bw_checksum_compute(cache, &kraken, store, book) == 2160897081u);
    set(store, "45301.0", "0.50000001", 1); /* one digit */
    CHECK(bw_checksum_compute(cache, &kraken, store, book) != 2160897081u);
    bw_checksum_cache *fresh = cache_of(&kraken);
    CHECK(bw_checksum_compute(cache, &kraken, store, book) == bw_checksum_compute(fresh, &kraken, store, book));
    free(cache);
    free(fresh);
    bw_book_store_free(store);
}

static void test_okx(void) {
    bw_book_store *store = book_of(okx_bids, okx_asks);
    bw_checksum_cache *cache = cache_of(&okx);
    uint32_t wanted;
    CHECK(bw_checksum_from_wire(47640993, &wanted));
    CHECK(bw_checksum_compute(cache, &okx, store, bw_book_store_at(store, 0)) == wanted);
    free(cache);
    bw_book_store_free(store);
}

static void test_wire_values(void) {
    uint32_t checksum;
    CHECK(bw_checksum_from_wire(-1462286744, &checksum) && checksum == 2832680552u);
    CHECK(bw_checksum_from_wire(2832680552, &checksum) && checksum == 2832680552u);
    CHECK(bw_checksum_from_wire(4249465476, &checksum) && checksum == 4249465476u);
    CHECK(!bw_checksum_from_wire(INT64_C(1) << 32, &checksum));
    CHECK(!bw_checksum_from_wire(-(INT64_C(1) << 31) - 1, &checksum));
}

static const bw_checksum_spec bitfinex = {.levels = 25, .order = BW_CHECKSUM_INTERLEAVED_BID_FIRST,
                                          .text = BW_CHECKSUM_JAVASCRIPT, .separator = ":", .is_signed = 1,
                                          .negative_asks = 1};

static bool sums_to(const bw_checksum_spec *spec, bw_checksum_cache *cache, const bw_book_store *store, int64_t sent) {
    uint32_t wanted;
    CHECK(bw_checksum_from_wire(sent, &wanted));
    return bw_checksum_compute(cache, spec, store, &store->book[0]) == wanted;
}

/* Bitfinex's worked examples. Its own model library writes small prices without an exponent, its servers are
 * said to write them with one: the other way is tried. */
static void test_javascript_text(void) {
    bw_book_store *store = book_of("6000/1 5900/2", "6100/3 6200/4");
    bw_checksum_cache *cache = cache_of(&bitfinex);
    CHECK(sums_to(&bitfinex, cache, store, 1756193398));
    bw_book *book = bw_book_store_at(store, 0);
    CHECK(bw_book_rescale(store, book, 9, 0));
    int64_t evicted;
    bw_book_begin(book);
    bw_book_set(store, book, 0, 59000000000000, 0, 0, &evicted); /* 5900 at 10 decimals */
    bw_book_set(store, book, 0, 170, 200000000, 0, &evicted);    /* 1.7e-8, 2 */
    bw_book_end(store, book);
    CHECK(sums_to(&bitfinex, cache, store, 952615146));
    CHECK(bw_checksum_other_way(cache, &bitfinex) && sums_to(&bitfinex, cache, store, -931816132));
    CHECK(bw_checksum_other_way(cache, &bitfinex) && sums_to(&bitfinex, cache, store, 952615146));
    CHECK(!bw_checksum_other_way(cache, &okx));
    free(cache);
    bw_book_store_free(store);
}

/* The text of R0's third example, as a book: 0.000005 stays plain, below 1e-6 it has an exponent. */
static void test_javascript_bounds(void) {
    const char *cases[][2] = {{"0.00001", "0.00001"}, {"0.00000100", "0.000001"}, {"0.00000099", "9.9e-7"},
                              {"0.00000010", "1e-7"}, {"0.00000002", "2e-8"}, {"12.50000000", "12.5"}};
    for (uint32_t i = 0; i < 6; i++) {
        char line[32], text[32];
        snprintf(line, sizeof line, "5/%s", cases[i][0]);
        snprintf(text, sizeof text, "5:%s", cases[i][1]);
        bw_book_store *store = book_of(line, "");
        bw_checksum_cache *cache = cache_of(&bitfinex);
        CHECK(bw_checksum_compute(cache, &bitfinex, store, bw_book_store_at(store, 0)) ==
              bw_crc32(0, text, strlen(text)));
        free(cache);
        bw_book_store_free(store);
    }
}

/* CoinEx's order and padding: 8 decimals for quantities, prices without any; an empty book is 0. */
static void test_text_as_received(void) {
    const bw_checksum_spec coinex = {.levels = 50, .order = BW_CHECKSUM_BIDS_THEN_ASKS, .text = BW_CHECKSUM_RECEIVED,
                                     .separator = ":"};
    bw_book_store *store = book_of("86690/0.61130406 86682/1.49973466 86669/1.15381508",
                                   "86760/0.58242844 86768/1.49824820 86788/1.15223302");
    bw_checksum_cache *cache = cache_of(&coinex);
    uint8_t padded[2] = {0, 8}, none[2] = {UINT8_MAX, UINT8_MAX}, fewer[2] = {0, 7};
    bw_checksum_note(cache, padded, true);
    bw_checksum_note(cache, none, false);
    CHECK(sums_to(&coinex, cache, store, 3701548920) && sums_to(&coinex, cache, store, -593418376));
    bw_checksum_note(cache, fewer, false); /* 1.4982482 is what the venue would have written */
    CHECK(!sums_to(&coinex, cache, store, 3701548920));
    bw_checksum_note(cache, padded, true);
    CHECK(sums_to(&coinex, cache, store, 3701548920));
    bw_book_clear(store, bw_book_store_at(store, 0));
    CHECK(sums_to(&coinex, cache, store, 0));
    free(cache);
    bw_book_store_free(store);
}

/* The digits as the recipe says, without any cache. */
static uint32_t plainly(const bw_checksum_spec *spec, const bw_book_store *store, const bw_book *book) {
    static bw_level level[2][BW_CHECKSUM_LEVELS_MAX];
    char text[2 * BW_CHECKSUM_LEVELS_MAX * 40 + 1] = "", *end = text;
    uint32_t count[2];
    for (uint32_t side = 0; side < 2; side++) count[side] = bw_book_copy(store, book, side, spec->levels, level[side]);
    for (uint32_t i = 0; i < 2 * spec->levels; i++) {
        bool one_side_first = spec->order == BW_CHECKSUM_ASKS_THEN_BIDS;
        uint32_t side = one_side_first ? i < spec->levels : i % 2, at = one_side_first ? i % spec->levels : i / 2;
        if (at < count[side])
            end += sprintf(end, "%lld%lld", (long long)level[side][at].price, (long long)level[side][at].quantity);
    }
    return (uint32_t)crc32(0, (const Bytef *)text, (uInt)(end - text));
}

/* A cache that has seen every step says the same as one that sees the book for the first time. */
static void test_cache_follows(const bw_checksum_spec *spec, uint32_t quantity_bits) {
    bw_book_store *store = book_of("", "");
    bw_book *book = bw_book_store_at(store, 0);
    bw_checksum_cache *cache = cache_of(spec), *fresh = cache_of(spec);
    uint64_t seed = 42;
    for (uint32_t round = 0; round < 5000; round++) {
        uint64_t r = next_random(&seed), more = next_random(&seed);
        int64_t evicted, quantity = (int64_t)(more & ((UINT64_C(1) << (1 + (r >> 10) % quantity_bits)) - 1));
        bw_book_begin(book);
        bw_book_set(store, book, r & 1, 1000 + (int64_t)(r >> 1 & 63), r >> 8 & 3 ? quantity : 0, 0, &evicted);
        if (round % 1000 == 999) bw_book_rescale(store, book, 1, 0);
        bw_book_end(store, book);
        memset(fresh, 0, bw_checksum_cache_bytes(spec));
        uint32_t computed = bw_checksum_compute(cache, spec, store, book);
        CHECK(computed == bw_checksum_compute(fresh, spec, store, book));
        if (spec->text == BW_CHECKSUM_DIGITS && !spec->separator[0]) CHECK(computed == plainly(spec, store, book));
    }
    free(cache);
    free(fresh);
    bw_book_store_free(store);
}

int main(void) {
    static const bw_checksum_spec interleaved = {.levels = 25, .order = BW_CHECKSUM_INTERLEAVED_BID_FIRST,
                                                 .text = BW_CHECKSUM_DIGITS};
    test_javascript_text();
    test_javascript_bounds();
    test_text_as_received();
    test_crc();
    test_joined_crc();
    test_okx();
    test_wire_values();
    for (int way = 0; way < 2; way++) {
        bw_checksum_never_joins = way;
        test_kraken();
        test_cache_follows(&kraken, 16);
        test_cache_follows(&kraken, 62);
        test_cache_follows(&interleaved, 62);
        test_cache_follows(&okx, 16);
    }
    return 0;
}
