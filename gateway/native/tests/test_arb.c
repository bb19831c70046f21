/* Crossed books, held against counting unit by unit with small numbers; odd inputs under the sanitizers. */
#include "arb.h"

#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEVELS 6
#define BOOKS 4
#define NOW_NS 1000000000000

static uint64_t any(void) {
    static uint64_t state = 88172645463325252ull;
    return next_random(&state);
}

typedef struct small_book {
    bw_level level[BW_SIDES][LEVELS];
    bw_view_input input;
} small_book;

static void make_book(small_book *book, uint32_t exchange) {
    int64_t middle = 1000 + (int64_t)(any() % 40);
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        int64_t price = middle + (side ? 1 : -1);
        for (uint32_t i = 0; i < LEVELS; i++) {
            book->level[side][i] = (bw_level){.price = price, .quantity = 1 + (int64_t)(any() % 5)};
            price += (side ? 1 : -1) * (1 + (int64_t)(any() % 4));
        }
    }
    book->input = (bw_view_input){{book->level[0], book->level[1]}, {LEVELS, LEVELS}, 0, 0, exchange,
                                  NOW_NS - (int64_t)(any() % 6000) * 1000000};
}

/* Unit by unit: the next unit of the cheapest ask against the next of the dearest bid. Money in 10^-6. */
static void count_units(const small_book *cheap, const small_book *dear, uint32_t depth,
                        const bw_arb_terms *terms, int64_t *size, int64_t *profit, int64_t *whole_size,
                        int64_t *notional) {
    int64_t ask[LEVELS * 5], bid[LEVELS * 5];
    uint32_t asks = 0, bids = 0;
    for (uint32_t i = 0; i < depth; i++) {
        for (int64_t unit = 0; unit < cheap->level[1][i].quantity; unit++) ask[asks++] = cheap->level[1][i].price;
        for (int64_t unit = 0; unit < dear->level[0][i].quantity; unit++) bid[bids++] = dear->level[0][i].price;
    }
    int64_t spent = 0;
    bool within = true;
    *size = *profit = *whole_size = *notional = 0;
    for (uint32_t i = 0; i < asks && i < bids; i++) {
        int64_t cost = ask[i] * (1000000 + terms->taker_ppm[cheap->input.exchange]);
        int64_t gain = bid[i] * (1000000 - terms->taker_ppm[dear->input.exchange]);
        if (gain <= cost) break;
        ++*whole_size;
        *notional += ask[i];
        within = within && spent + cost <= (int64_t)(terms->capital / 100);
        if (!within) continue;
        spent += cost;
        ++*size;
        *profit += gain - cost;
    }
}

static const bw_arb_row *row_of(const bw_arb *arb, uint32_t buy, uint32_t sell) {
    for (uint32_t i = 0; i < arb->count; i++) {
        if (arb->row[i].leg[BW_ARB_BUY].exchange == buy && arb->row[i].leg[BW_ARB_SELL].exchange == sell) {
            return &arb->row[i];
        }
    }
    return NULL;
}

static void test_against_counting(void) {
    uint32_t rows = 0;
    for (int round = 0; round < 4000; round++) {
        small_book book[BOOKS];
        bw_view_input input[BOOKS];
        uint32_t depth = 1 + (uint32_t)(any() % LEVELS);
        bw_arb_terms terms = {.capital = (1 + any() % 20000) * 100000000};
        for (uint32_t i = 0; i < BOOKS; i++) {
            make_book(&book[i], i);
            terms.taker_ppm[i] = (uint32_t)(any() % 4000);
            input[i] = book[i].input;
        }
        bw_arb arb;
        bw_arb_find(&arb, &terms, depth, input, BOOKS);
        for (uint32_t i = 1; i < arb.count; i++)
            CHECK(arb.row[i - 1].trade.profit >= arb.row[i].trade.profit);
        for (uint32_t buy = 0; buy < BOOKS; buy++) {
            for (uint32_t sell = 0; sell < BOOKS; sell++) {
                const bw_arb_row *row = row_of(&arb, buy, sell);
                int64_t size, profit, whole_size, notional;
                if (buy == sell) {
                    CHECK(!row);
                    continue;
                }
                count_units(&book[buy], &book[sell], depth, &terms, &size, &profit, &whole_size, &notional);
                CHECK((row != NULL) == (size > 0));
                if (!row) continue;
                rows++;
                CHECK(row->trade.size == size && row->whole.size == whole_size);
                CHECK(row->trade.profit == (bw_wide)profit * 100);
                CHECK(row->whole.notional == (bw_wide)notional * 100000000);
                CHECK(row->leg[BW_ARB_BUY].price == book[buy].level[1][0].price);
                CHECK(row->leg[BW_ARB_SELL].price == book[sell].level[0][0].price);
            }
        }
    }
    CHECK(rows > 1000);
}

/* The largest numbers there are end a walk, they never wrap. */
static void test_extremes(void) {
    bw_level ask[2] = {{.price = 1, .quantity = 1}, {.price = 2, .quantity = INT64_MAX}};
    bw_level bid[2] = {{.price = INT64_MAX, .quantity = INT64_MAX}, {.price = 3, .quantity = 1}};
    bw_view_input input[2] = {{{NULL, ask}, {0, 2}, 18, 18, 0, 0}, {{bid, NULL}, {2, 0}, 0, 0, 1, 0}};
    bw_arb_terms terms = {.capital = 1};
    for (unsigned exponent = 0; exponent <= BW_EXPONENT_MAX; exponent++) {
        input[0].price_exponent = input[0].quantity_exponent = (uint8_t)exponent;
        terms.capital = exponent % 2 ? 1 : UINT64_MAX;
        bw_arb arb;
        bw_arb_find(&arb, &terms, 2, input, 2);
        CHECK(arb.count <= 1);
        for (uint32_t i = 0; i < arb.count; i++) CHECK(arb.row[i].trade.size > 0 && arb.row[i].net >= 0);
    }
    bw_arb none;
    bw_arb_find(&none, &terms, 20, input, 0);
    CHECK(none.count == 0);
}

static void test_more_rows_than_are_kept(void) {
    static bw_level level[BW_EXCHANGES_MAX][BW_SIDES];
    bw_view_input input[BW_EXCHANGES_MAX];
    for (uint32_t i = 0; i < BW_EXCHANGES_MAX; i++) {
        level[i][0] = (bw_level){.price = 999 + 10 * (int64_t)i, .quantity = 1};
        level[i][1] = (bw_level){.price = 1000 + 10 * (int64_t)i, .quantity = 1};
        input[i] = (bw_view_input){{&level[i][0], &level[i][1]}, {1, 1}, 0, 0, i, NOW_NS};
    }
    bw_arb_terms terms = {.capital = (uint64_t)1000000 * 100000000};
    bw_arb arb;
    bw_arb_find(&arb, &terms, 1, input, BW_EXCHANGES_MAX);
    CHECK(arb.count == BW_ARB_ROWS_MAX);
    CHECK(arb.count + arb.left_out == BW_EXCHANGES_MAX * (BW_EXCHANGES_MAX - 1) / 2);
    CHECK(arb.row[0].trade.profit == (bw_wide)(999 + 310 - 1000) * 100000000);
    for (uint32_t i = 1; i < arb.count; i++) CHECK(arb.row[i - 1].trade.profit >= arb.row[i].trade.profit);
    bw_arb same = arb;
    same.row[3].leg[BW_ARB_BUY].receive_ns++;
    CHECK(bw_arb_equal(&arb, &same));
    same.row[3].trade.size++;
    CHECK(!bw_arb_equal(&arb, &same));
    char ids[BW_EXCHANGES_MAX][16];
    for (uint32_t i = 0; i < BW_EXCHANGES_MAX; i++) snprintf(ids[i], sizeof ids[i], "exchange-%u", i);
    bw_encoding encoding = {.kind = BW_VIEW_ARB, .strings = true, .exchange_id = ids};
    memset(encoding.channel, 'X', sizeof encoding.channel - 1);
    size_t room = (size_t)(BW_ARB_ROWS_MAX + 1) * BW_ARB_ROW_BYTES;
    for (uint32_t i = 0; i < arb.count; i++) { /* the longest numbers */
        bw_arb_row *row = &arb.row[i];
        bw_wide most = (bw_wide)(~(unsigned __int128)0 >> 1);
        row->trade = row->whole = (bw_arb_trade){most, most, most};
        row->leg[0].vwap = row->leg[1].vwap = most;
        row->leg[0].price = row->leg[1].price = INT64_MAX;
        row->leg[0].receive_ns = row->leg[1].receive_ns = INT64_MIN / 2;
        row->net = INT64_MAX;
    }
    char *out = malloc(room);
    bw_message message = {.conflated = UINT64_MAX, .stamps = {.receive_ns = INT64_MAX}};
    CHECK(out && bw_arb_encode(out, &arb, &encoding, 1, &message, NOW_NS) < room);
    free(out);
}

static void test_confidence(void) {
    bw_arb_row row = {.whole = {.notional = (bw_wide)5000 * 100000000}};
    row.leg[BW_ARB_BUY].receive_ns = row.leg[BW_ARB_SELL].receive_ns = NOW_NS;
    uint64_t capital = (uint64_t)10000 * 100000000;
    CHECK(bw_arb_confidence(&row, capital, NOW_NS) == 50);
    CHECK(bw_arb_confidence(&row, capital / 4, NOW_NS) == 100);
    row.leg[BW_ARB_SELL].receive_ns = NOW_NS - (int64_t)2500 * 1000000;
    CHECK(bw_arb_confidence(&row, capital, NOW_NS) == 25);
    CHECK(bw_arb_confidence(&row, capital, NOW_NS + (int64_t)2500 * 1000000) == 0);
}

int main(void) {
    test_against_counting();
    test_extremes();
    test_more_rows_than_are_kept();
    test_confidence();
    return 0;
}
