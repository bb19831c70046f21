#include "arb.h"

#include <string.h>

#define PPM 1000000
#define PPM_EXPONENT 6u
#define VWAP_DIGITS 4u /* beyond those of the prices */
#define NET_PER_ONE 1000000 /* hundredths of a basis point in 1 */
#define WIDE_MAX ((bw_wide)(~(unsigned __int128)0 >> 1))

/* --- the walk: both books at common exponents, money in 10^-(price + quantity + 6) --------------------- */

typedef struct walk_side {
    const bw_level *next, *end;
    bw_wide price, left; /* of the level at `next` */
    bw_wide unit;        /* what one unit costs or brings, fee included */
    int64_t price_factor, quantity_factor, after_fee_ppm;
} walk_side;

typedef struct walk_sum {
    bw_wide size, paid, got; /* without fees, 10^-(price + quantity) */
    bw_wide cost, gain;      /* with fees */
} walk_sum;

/* False: no more levels, or numbers beyond 128 bits: what lies behind is not walked. */
static bool walk_load(walk_side *side) {
    if (side->next >= side->end) return false;
    side->price = (bw_wide)side->next->price * side->price_factor;
    side->left = (bw_wide)side->next->quantity * side->quantity_factor;
    return !__builtin_mul_overflow(side->price, (bw_wide)side->after_fee_ppm, &side->unit);
}

static bool add_product(bw_wide *sum, bw_wide a, bw_wide b) {
    bw_wide product;
    return !__builtin_mul_overflow(a, b, &product) && !__builtin_add_overflow(*sum, product, sum);
}

static bool sum_add(walk_sum *sum, bw_wide quantity, const walk_side *buy, const walk_side *sell) {
    walk_sum more = *sum;
    if (!add_product(&more.size, quantity, 1) || !add_product(&more.paid, quantity, buy->price) ||
        !add_product(&more.got, quantity, sell->price) || !add_product(&more.cost, quantity, buy->unit) ||
        !add_product(&more.gain, quantity, sell->unit)) {
        return false;
    }
    *sum = more;
    return true;
}

/* Level against level while one more unit still pays. */
static void walk(walk_side *buy, walk_side *sell, bw_wide capital, walk_sum *trade, walk_sum *whole) {
    bool within = true;
    bool more = walk_load(buy) && walk_load(sell);
    while (more && sell->unit > buy->unit) {
        bw_wide quantity = buy->left < sell->left ? buy->left : sell->left;
        if (!sum_add(whole, quantity, buy, sell)) return;
        if (within) {
            bw_wide affordable = (capital - trade->cost) / buy->unit;
            within = affordable >= quantity;
            if (!sum_add(trade, within ? quantity : affordable, buy, sell)) return;
        }
        buy->left -= quantity;
        sell->left -= quantity;
        if (buy->left == 0) {
            buy->next++;
            more = walk_load(buy);
        }
        if (more && sell->left == 0) {
            sell->next++;
            more = walk_load(sell);
        }
    }
}

static bw_wide wide_power10(unsigned exponent) {
    unsigned first = exponent < BW_EXPONENT_MAX ? exponent : BW_EXPONENT_MAX;
    return (bw_wide)bw_power10(first) * bw_power10(exponent - first);
}

/* From the walk's unit to 10^-8, towards zero. */
static bw_wide to_money(bw_wide amount, unsigned exponent) {
    if (exponent >= BW_ARB_MONEY_EXPONENT) return amount / wide_power10(exponent - BW_ARB_MONEY_EXPONENT);
    bw_wide result;
    bool beyond = __builtin_mul_overflow(amount, wide_power10(BW_ARB_MONEY_EXPONENT - exponent), &result);
    return beyond ? WIDE_MAX : result;
}

static bw_wide from_money(uint64_t amount, unsigned exponent) {
    if (exponent < BW_ARB_MONEY_EXPONENT) return amount / wide_power10(BW_ARB_MONEY_EXPONENT - exponent);
    bw_wide result;
    bool beyond =
        __builtin_mul_overflow((bw_wide)amount, wide_power10(exponent - BW_ARB_MONEY_EXPONENT), &result);
    return beyond ? WIDE_MAX : result;
}

static bw_arb_trade trade_of(const walk_sum *sum, unsigned exponent) {
    return (bw_arb_trade){sum->size, to_money(sum->paid * PPM, exponent),
                          to_money(sum->gain - sum->cost, exponent)};
}

static int64_t net_of(const walk_sum *sum) {
    bw_wide profit = sum->gain - sum->cost, cost = sum->cost;
    while (profit > WIDE_MAX / NET_PER_ONE) profit >>= 1, cost >>= 1;
    bw_wide net = cost > 0 ? profit * NET_PER_ONE / cost : INT64_MAX;
    return net < INT64_MAX ? (int64_t)net : INT64_MAX;
}

static uint8_t larger(uint8_t a, uint8_t b) {
    return a > b ? a : b;
}

static walk_side walk_from(const bw_view_input *input, uint32_t side, uint32_t depth, unsigned price_exponent,
                           unsigned quantity_exponent, int64_t after_fee_ppm) {
    uint32_t levels = input->count[side] < depth ? input->count[side] : depth;
    return (walk_side){.next = input->level[side],
                       .end = input->level[side] + levels,
                       .price_factor = bw_power10(price_exponent - input->price_exponent),
                       .quantity_factor = bw_power10(quantity_exponent - input->quantity_exponent),
                       .after_fee_ppm = after_fee_ppm};
}

static bw_arb_leg leg_of(const bw_view_input *input, uint32_t side, bw_wide money, bw_wide size,
                         unsigned price_exponent) {
    unsigned digits = price_exponent + VWAP_DIGITS <= BW_EXPONENT_MAX ? VWAP_DIGITS : 0;
    return (bw_arb_leg){.vwap = money * bw_power10(digits) / size,
                        .price = input->level[side][0].price,
                        .receive_ns = input->receive_ns,
                        .exchange = input->exchange,
                        .price_exponent = input->price_exponent,
                        .vwap_exponent = (uint8_t)(price_exponent + digits)};
}

/* Buys at one book's asks, sells at the other's bids. False when that brings less than asked for. */
static bool pair(bw_arb_row *row, const bw_arb_terms *terms, uint32_t depth, const bw_view_input *cheap,
                 const bw_view_input *dear) {
    uint8_t price_exponent = larger(cheap->price_exponent, dear->price_exponent);
    uint8_t quantity_exponent = larger(cheap->quantity_exponent, dear->quantity_exponent);
    unsigned exponent = price_exponent + quantity_exponent + PPM_EXPONENT;
    walk_side buy = walk_from(cheap, 1, depth, price_exponent, quantity_exponent,
                              PPM + (int64_t)terms->taker_ppm[cheap->exchange % BW_EXCHANGES_MAX]);
    walk_side sell = walk_from(dear, 0, depth, price_exponent, quantity_exponent,
                               PPM - (int64_t)terms->taker_ppm[dear->exchange % BW_EXCHANGES_MAX]);
    walk_sum trade = {0}, whole = {0};
    walk(&buy, &sell, from_money(terms->capital, exponent), &trade, &whole);
    if (trade.size == 0) return false;
    row->trade = trade_of(&trade, exponent);
    row->whole = trade_of(&whole, exponent);
    row->net = net_of(&trade);
    if (row->net < terms->min_net || row->whole.notional < (bw_wide)terms->min_notional) return false;
    row->quantity_exponent = quantity_exponent;
    row->leg[BW_ARB_BUY] = leg_of(cheap, 1, trade.paid, trade.size, price_exponent);
    row->leg[BW_ARB_SELL] = leg_of(dear, 0, trade.got, trade.size, price_exponent);
    return true;
}

static bool row_before(const bw_arb_row *a, const bw_arb_row *b) {
    if (a->trade.profit != b->trade.profit) return a->trade.profit > b->trade.profit;
    if (a->leg[BW_ARB_BUY].exchange != b->leg[BW_ARB_BUY].exchange) {
        return a->leg[BW_ARB_BUY].exchange < b->leg[BW_ARB_BUY].exchange;
    }
    return a->leg[BW_ARB_SELL].exchange < b->leg[BW_ARB_SELL].exchange;
}

static void put_in_order(bw_arb *arb, const bw_arb_row *row) {
    uint32_t at = arb->count;
    if (arb->count < BW_ARB_ROWS_MAX) {
        arb->count++;
    } else {
        arb->left_out++;
        if (!row_before(row, &arb->row[--at])) return;
    }
    for (; at > 0 && row_before(row, &arb->row[at - 1]); at--) arb->row[at] = arb->row[at - 1];
    arb->row[at] = *row;
}

void bw_arb_find(bw_arb *arb, const bw_arb_terms *terms, uint32_t depth, const bw_view_input *input,
                 uint32_t inputs) {
    arb->count = arb->left_out = 0;
    for (uint32_t cheap = 0; cheap < inputs; cheap++) {
        for (uint32_t dear = 0; dear < inputs; dear++) {
            bw_arb_row row;
            if (cheap == dear || !pair(&row, terms, depth, &input[cheap], &input[dear])) continue;
            put_in_order(arb, &row);
        }
    }
}

static bool trade_equal(const bw_arb_trade *a, const bw_arb_trade *b) {
    return a->size == b->size && a->notional == b->notional && a->profit == b->profit;
}

static bool leg_equal(const bw_arb_leg *a, const bw_arb_leg *b) {
    return a->exchange == b->exchange && a->price == b->price && a->price_exponent == b->price_exponent &&
           a->vwap == b->vwap && a->vwap_exponent == b->vwap_exponent;
}

bool bw_arb_equal(const bw_arb *a, const bw_arb *b) {
    if (a->count != b->count || a->left_out != b->left_out) return false;
    for (uint32_t i = 0; i < a->count; i++) {
        const bw_arb_row *x = &a->row[i], *y = &b->row[i];
        if (!leg_equal(&x->leg[BW_ARB_BUY], &y->leg[BW_ARB_BUY]) ||
            !leg_equal(&x->leg[BW_ARB_SELL], &y->leg[BW_ARB_SELL]) || !trade_equal(&x->trade, &y->trade) ||
            !trade_equal(&x->whole, &y->whole) || x->net != y->net ||
            x->quantity_exponent != y->quantity_exponent) {
            return false;
        }
    }
    return true;
}

/* --- as JSON ---------------------------------------------------------------------------------------- */

static int64_t leg_age_ms(const bw_arb_leg *leg, int64_t now_ns) {
    return now_ns > leg->receive_ns ? (now_ns - leg->receive_ns) / 1000000 : 0;
}

static int64_t row_age_ms(const bw_arb_row *row, int64_t now_ns) {
    int64_t buy = leg_age_ms(&row->leg[BW_ARB_BUY], now_ns);
    int64_t sell = leg_age_ms(&row->leg[BW_ARB_SELL], now_ns);
    return buy > sell ? buy : sell;
}

uint32_t bw_arb_confidence(const bw_arb_row *row, uint64_t capital, int64_t now_ns) {
    int64_t left_ms = BW_ARB_AGE_MS_MAX - row_age_ms(row, now_ns);
    if (left_ms <= 0) return 0;
    bw_wide depth = row->whole.notional < (bw_wide)capital ? row->whole.notional : (bw_wide)capital;
    return (uint32_t)(depth * left_ms * 100 / ((bw_wide)capital * BW_ARB_AGE_MS_MAX));
}

static char *put_text(char *out, const char *text) {
    size_t bytes = strlen(text);
    memcpy(out, text, bytes);
    return out + bytes;
}

static char *put_number(char *out, const char *name, bw_wide mantissa, unsigned exponent, bool quoted) {
    out = put_text(out, name);
    if (quoted) *out++ = '"';
    out = bw_put_decimal(out, mantissa, exponent);
    if (quoted) *out++ = '"';
    return out;
}

static char *put_leg(char *out, const bw_arb_leg *leg, const bw_encoding *encoding, int64_t now_ns) {
    out = put_text(out, "{\"exchange\":\"");
    out = put_text(out, encoding->exchange_id[leg->exchange % BW_EXCHANGES_MAX]);
    out = put_number(out, "\",\"price\":", leg->price, leg->price_exponent, encoding->strings);
    out = put_number(out, ",\"vwap\":", leg->vwap, leg->vwap_exponent, encoding->strings);
    out = put_number(out, ",\"age_ms\":", leg_age_ms(leg, now_ns), 0, false);
    return put_text(out, "}");
}

static char *put_trade(char *out, const bw_arb_trade *trade, unsigned quantity_exponent, bool quoted) {
    out = put_number(out, "\"size\":", trade->size, quantity_exponent, quoted);
    out = put_number(out, ",\"notional\":", trade->notional, BW_ARB_MONEY_EXPONENT, quoted);
    return put_number(out, ",\"profit\":", trade->profit, BW_ARB_MONEY_EXPONENT, quoted);
}

/* How far the best prices stand apart before fees, hundredths of a basis point of the buyer's, cut. */
static int64_t row_spread(const bw_arb_row *row) {
    const bw_arb_leg *buy = &row->leg[BW_ARB_BUY], *sell = &row->leg[BW_ARB_SELL];
    uint8_t exponent = larger(buy->price_exponent, sell->price_exponent);
    bw_wide paid = (bw_wide)buy->price * bw_power10(exponent - buy->price_exponent);
    bw_wide apart = (bw_wide)sell->price * bw_power10(exponent - sell->price_exponent) - paid;
    while (apart > WIDE_MAX / NET_PER_ONE) apart >>= 1, paid >>= 1;
    bw_wide spread = paid > 0 ? apart * NET_PER_ONE / paid : INT64_MAX;
    return spread < INT64_MAX ? (int64_t)spread : INT64_MAX;
}

char *bw_arb_put_row(char *out, const bw_arb_row *row, const bw_encoding *encoding, uint64_t capital,
                     int64_t now_ns) {
    const char *colon = strchr(encoding->channel, ':');
    out = put_text(out, "{\"symbol\":\"");
    out = put_text(out, colon ? colon + 1 : encoding->channel);
    out = put_text(out, "\",\"buy\":");
    out = put_leg(out, &row->leg[BW_ARB_BUY], encoding, now_ns);
    out = put_text(out, ",\"sell\":");
    out = put_leg(out, &row->leg[BW_ARB_SELL], encoding, now_ns);
    out = put_text(out, ",");
    out = put_trade(out, &row->trade, row->quantity_exponent, encoding->strings);
    out = put_number(out, ",\"spread_bp\":", row_spread(row), 2, false);
    out = put_number(out, ",\"net_bp\":", row->net, 2, false);
    out = put_text(out, ",\"whole\":{");
    out = put_trade(out, &row->whole, row->quantity_exponent, encoding->strings);
    out = put_number(out, "},\"age_ms\":", row_age_ms(row, now_ns), 0, false);
    out = put_number(out, ",\"confidence\":", bw_arb_confidence(row, capital, now_ns), 2, false);
    return put_text(out, "}");
}

size_t bw_arb_encode(char *out, const bw_arb *arb, const bw_encoding *encoding, uint64_t capital,
                     const bw_message *message, int64_t now_ns) {
    char *start = out;
    out = put_text(out, "{\"type\":\"snapshot\",\"channel\":\"");
    out = put_text(out, encoding->channel);
    out = put_text(out, "\"");
    if (message->conflated > 0) out = put_number(out, ",\"conflated\":", message->conflated, 0, false);
    out = put_text(out, ",\"data\":[");
    for (uint32_t i = 0; i < arb->count; i++) {
        if (i > 0) *out++ = ',';
        out = bw_arb_put_row(out, &arb->row[i], encoding, capital, now_ns);
    }
    out = put_text(out, "]");
    if (arb->left_out > 0) out = put_number(out, ",\"left_out\":", arb->left_out, 0, false);
    int64_t ts = message->stamps.receive_ns > 0 ? message->stamps.receive_ns / 1000000 : 0;
    out = put_number(out, ",\"ts\":", ts, 0, false);
    return (size_t)(put_text(out, "}") - start);
}
