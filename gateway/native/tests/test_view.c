/* Decimals, merging, comparing and encoding, held against plain recomputation with random books. */
#include "encode.h"

#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BOOKS 5
#define LEVELS 40
#define DEPTH 25

static uint64_t any(void) {
    static uint64_t state = 88172645463325252ull;
    return next_random(&state);
}

static void check_text(bw_wide mantissa, unsigned exponent, const char *expected) {
    char text[BW_DECIMAL_CHARS_MAX + BW_DECIMAL_SLACK];
    *bw_put_decimal(text, mantissa, exponent) = '\0';
    if (strcmp(text, expected) != 0) fprintf(stderr, "%s, not %s\n", text, expected);
    CHECK(strcmp(text, expected) == 0);
}

static void test_decimals(void) {
    check_text(0, 0, "0");
    check_text(0, 8, "0");
    check_text(4500050, 2, "45000.5");
    check_text(4500000, 2, "45000");
    check_text(1, 8, "0.00000001");
    check_text(10, 8, "0.0000001");
    check_text(-1250, 3, "-1.25");
    check_text(100, 0, "100");
    check_text(INT64_MAX, 18, "9.223372036854775807");
    check_text((bw_wide)INT64_MAX * 1000000000000000000, 18, "9223372036854775807");
    check_text((bw_wide)INT64_MAX * 1000000000000000000, 0, "9223372036854775807000000000000000000");
    check_text((bw_wide)10000000000000000000u * 10 + 7, 1, "10000000000000000000.7");
    check_text(INT64_MAX, 0, "9223372036854775807");
    check_text(INT64_MAX, 16, "922.3372036854775807");
    check_text((bw_wide)INT64_MAX + 1, 16, "922.3372036854775808");
    check_text(10000000000000000, 16, "1");
    check_text(100000000, 16, "0.00000001");
    for (int i = 0; i < 200000;
         i++) { /* any 64-bit number at any exponent survives the way to text and back */
        uint64_t value = any() >> (any() % 64);
        if (i % 4 == 0) value = value / 10000000 * 10000000; /* zeros at the end */
        unsigned exponent = (unsigned)(any() % (BW_EXPONENT_MAX + 1));
        char text[BW_DECIMAL_CHARS_MAX + BW_DECIMAL_SLACK];
        *bw_put_decimal(text, (bw_wide)value, exponent) = '\0';
        unsigned __int128 read = 0;
        unsigned after = 0;
        const char *point = strchr(text, '.');
        for (const char *c = text; *c; c++) {
            if (*c != '.') read = read * 10 + (unsigned)(*c - '0');
        }
        if (point) after = (unsigned)strlen(point + 1);
        CHECK(!point || text[strlen(text) - 1] != '0');
        for (; after < exponent; after++) read *= 10;
        CHECK(read == value);
    }
}

typedef struct random_book {
    bw_level level[BW_SIDES][LEVELS];
    bw_view_input input;
} random_book;

static int by_price(const void *a, const void *b) {
    const bw_level *x = a, *y = b;
    return x->price < y->price ? -1 : x->price > y->price;
}

static void make_book(random_book *book, uint32_t exchange) {
    uint8_t price_exponent = (uint8_t)(any() % 3), quantity_exponent = (uint8_t)(any() % 5);
    int64_t scale = bw_power10(price_exponent);
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        uint32_t count = 0;
        int64_t price = 1000;
        uint32_t wanted = (uint32_t)(any() % LEVELS);
        while (count < wanted) {
            price += 1 + (int64_t)(any() % 3);
            int64_t fine = any() % 2 ? price * scale
                                             : price * scale + (int64_t)(any() % (uint64_t)scale);
            book->level[side][count++] =
                (bw_level){fine, 1 + (int64_t)(any() % 9), (uint32_t)(any() % 3), 0};
        }
        qsort(book->level[side], count, sizeof(bw_level), by_price);
        if (side == 0) {
            for (uint32_t i = 0; i < count / 2; i++) {
                bw_level other = book->level[0][i];
                book->level[0][i] = book->level[0][count - 1 - i];
                book->level[0][count - 1 - i] = other;
            }
        }
        book->input.level[side] = book->level[side];
        book->input.count[side] = count;
    }
    book->input.price_exponent = price_exponent;
    book->input.quantity_exponent = quantity_exponent;
    book->input.exchange = exchange;
}

static uint32_t sort_side;
static int by_rule(const void *a, const void *b) {
    const bw_view_level *x = a, *y = b;
    if (x->price != y->price) return bw_price_before(sort_side, x->price, y->price) ? -1 : 1;
    if (x->quantity != y->quantity) return x->quantity > y->quantity ? -1 : 1;
    return x->exchange < y->exchange ? -1 : x->exchange > y->exchange;
}

/* The slow way: everything into one array, sorted, summed, cut. */
static uint32_t naive(const bw_view *view, enum bw_view_kind kind, const bw_view_input *input,
                      uint32_t inputs, uint32_t side, bw_view_level *out) {
    static bw_view_level all[BOOKS * LEVELS];
    uint32_t count = 0, kept = 0;
    for (uint32_t i = 0; i < inputs; i++) {
        for (uint32_t at = 0; at < input[i].count[side]; at++) {
            const bw_level *level = &input[i].level[side][at];
            bw_wide price = level->price, quantity = level->quantity;
            for (uint8_t e = input[i].price_exponent; e < view->price_exponent; e++) price *= 10;
            for (uint8_t e = input[i].quantity_exponent; e < view->quantity_exponent; e++) quantity *= 10;
            all[count++] = (bw_view_level){price, quantity, level->orders, input[i].exchange};
        }
    }
    sort_side = side;
    qsort(all, count, sizeof *all, by_rule);
    for (uint32_t i = 0; i < count; i++) {
        if (kind != BW_VIEW_FULL && kept > 0 && out[kept - 1].price == all[i].price) {
            out[kept - 1].quantity += all[i].quantity;
            out[kept - 1].orders += all[i].orders;
        } else if (kept < view->depth) {
            out[kept] = all[i];
            if (kind != BW_VIEW_FULL) out[kept].exchange = 0;
            kept++;
        } else {
            break;
        }
    }
    return kept;
}

static bool same_level(const bw_view_level *a, const bw_view_level *b) {
    return a->price == b->price && a->quantity == b->quantity && a->orders == b->orders &&
           a->exchange == b->exchange;
}

/* A subscriber: keys replaced or removed, in no order; then compared as a set with the view. */
static void check_applied(const bw_view *from, const bw_view *to, enum bw_view_kind kind, uint32_t side) {
    static bw_view_level held[2 * BOOKS * LEVELS], change[2 * BOOKS * LEVELS];
    uint32_t count = from->count[side];
    memcpy(held, from->level[side], count * sizeof *held);
    uint32_t changes = bw_view_diff(from, to, kind, side, change);
    CHECK(changes <= from->count[side] + to->count[side]);
    for (uint32_t c = 0; c < changes; c++) {
        uint32_t at = 0;
        while (at < count && !(held[at].price == change[c].price &&
                               (kind != BW_VIEW_FULL || held[at].exchange == change[c].exchange))) {
            at++;
        }
        if (change[c].quantity == 0) {
            CHECK(at < count); /* never removes what is not there */
            held[at] = held[--count];
        } else {
            held[at] = change[c];
            count += at == count;
        }
    }
    CHECK(count == to->count[side]);
    for (uint32_t i = 0; i < count; i++) {
        const bw_view_level *now = bw_view_find(to, kind, side, held[i].price, held[i].exchange);
        CHECK(now && same_level(now, &held[i]));
    }
}

static void test_merge_and_diff(void) {
    static random_book book[BOOKS];
    static bw_view_level level[2][BW_SIDES][DEPTH], expected[DEPTH];
    for (int round = 0; round < 20000; round++) {
        enum bw_view_kind kind = (enum bw_view_kind)(any() % 4);
        uint32_t depth = kind == BW_VIEW_TOP ? 1 : 1 + (uint32_t)(any() % DEPTH);
        bw_view view[2];
        for (int v = 0; v < 2; v++) {
            uint32_t inputs =
                kind == BW_VIEW_SINGLE ? (uint32_t)(any() % 2) : (uint32_t)(any() % BOOKS);
            bw_view_input input[BOOKS];
            for (uint32_t i = 0; i < inputs; i++) {
                bool keep = v == 1 && any() % 2; /* some books did not change */
                if (!keep || book[i].input.exchange != i + 3) make_book(&book[i], i + 3);
                input[i] = book[i].input;
            }
            view[v] = (bw_view){{level[v][0], level[v][1]}, {0, 0}, depth, 0, 0};
            if (v == 1) {
                view[1].price_exponent = view[0].price_exponent;
                view[1].quantity_exponent = view[0].quantity_exponent;
            }
            bw_view_build(&view[v], kind, input, inputs);
            for (uint32_t side = 0; side < BW_SIDES; side++) {
                uint32_t count = naive(&view[v], kind, input, inputs, side, expected);
                CHECK(count == view[v].count[side]);
                for (uint32_t i = 0; i < count; i++) CHECK(same_level(&expected[i], &view[v].level[side][i]));
            }
        }
        bw_view_rescale(&view[0], view[1].price_exponent, view[1].quantity_exponent);
        bool changed = false;
        for (uint32_t side = 0; side < BW_SIDES; side++) {
            static bw_view_level change[2 * DEPTH];
            changed |= bw_view_diff(&view[0], &view[1], kind, side, change) > 0;
            check_applied(&view[0], &view[1], kind, side);
        }
        if (!changed && kind != BW_VIEW_FULL) CHECK(bw_view_equal(&view[0], &view[1]));
    }
}

static void test_encode(void) {
    static const char ids[BW_EXCHANGES_MAX][16] = {"binance", "coinbase", "okx"};
    bw_view_level bids[] = {{4500050, 123400000, 5, 0}, {4500000, 0, 0, 2}}, asks[] = {{4500100, 1, 0, 1}};
    bw_message message = {.kind = BW_PUSH_DELTA,
                          .level = {bids, asks},
                          .count = {2, 1},
                          .price_exponent = 2,
                          .quantity_exponent = 8,
                          .stamps = {42, 3000000, 1711100000000000000, 5, BW_BOOK_LIVE}};
    bw_encoding encoding = {.kind = BW_VIEW_FULL, .channel = "fullbook:BTC-USDT", .exchange_id = ids};
    uint8_t out[4096];
    CHECK(sizeof out >= bw_encode_bound(3));
    size_t bytes = bw_encode(&encoding, &message, out);
    const char json[] =
        "{\"type\":\"delta\",\"channel\":\"fullbook:BTC-USDT\",\"data\":{\"bids\":[[45000.5,1.234,5,"
        "\"binance\"],[45000,0,0,\"okx\"]],\"asks\":[[45001,0.00000001,0,\"coinbase\"]],\"ts\":1711100000000}"
        "}";
    CHECK(bytes == sizeof json - 1 && memcmp(out, json, bytes) == 0);
    encoding.format = BW_FORMAT_BINARY;
    bytes = bw_encode(&encoding, &message, out);
    CHECK(bytes == BW_BINARY_HEADER_BYTES + 24 + 3 * 24);
    bids[0].quantity = (bw_wide)INT64_MAX * 10; /* more than 64 bits: the wide form */
    bytes = bw_encode(&encoding, &message, out);
    CHECK(bytes == BW_BINARY_HEADER_BYTES + 24 + 3 * 40);
    CHECK(out[6] == BW_BINARY_WIDE);
    bw_message empty = {.kind = BW_PUSH_SNAPSHOT, .conflated = 7, .more = true};
    bw_encoding single = {.kind = BW_VIEW_SINGLE, .channel = "okx:A-B", .stamps = true};
    out[bw_encode(&single, &empty, out)] = '\0';
    CHECK(strcmp((char *)out, "{\"type\":\"snapshot\",\"channel\":\"okx:A-B\",\"conflated\":7,\"more\":true,"
                              "\"data\":{\"bids\":[],"
                              "\"asks\":[],\"ts\":0,\"seq\":0,\"exch_ts\":0,\"recv_ns\":0,\"pub_ns\":0,"
                              "\"state\":\"syncing\"}}") == 0);
}

int main(void) {
    test_decimals();
    test_merge_and_diff();
    test_encode();
    puts("view: ok");
    return 0;
}
