/* Crossed books of one symbol, after both taker fees: who sells cheap, who pays more, how much of it and for
 * what profit, walked through the depth of both.
 *
 * Pure: arrays in, arrays out, integers throughout. Prices, sizes and the decision whether one more unit
 * still pays are exact; a money amount is cut (towards zero) to 10^-8 of the quote asset, a net yield to a
 * hundredth of a basis point.
 */
#ifndef BW_ARB_H
#define BW_ARB_H

#include "encode.h"

#define BW_ARB_ROWS_MAX 64u
#define BW_ARB_ROW_BYTES 1024u /* of JSON, at most */
#define BW_ARB_MONEY_EXPONENT 8u
#define BW_ARB_AGE_MS_MAX 5000 /* at this age of the older quote nothing is left of the confidence */

enum bw_arb_leg_kind { BW_ARB_BUY, BW_ARB_SELL, BW_ARB_LEGS };

typedef struct bw_arb_terms {
    int64_t min_net;       /* hundredths of a basis point */
    uint64_t min_notional; /* quote asset, 10^-8: of all that pays */
    uint64_t capital;      /* quote asset, 10^-8: spent at most, the buyer's fee included; > 0 */
    uint32_t taker_ppm[BW_EXCHANGES_MAX]; /* fee of each exchange, millionths */
} bw_arb_terms;

typedef struct bw_arb_leg {
    bw_wide vwap; /* of the trade, 10^-vwap_exponent */
    int64_t price; /* best level, 10^-price_exponent */
    int64_t receive_ns;
    uint32_t exchange;
    uint8_t price_exponent, vwap_exponent;
} bw_arb_leg;

typedef struct bw_arb_trade {
    bw_wide size;     /* base asset, 10^-quantity_exponent */
    bw_wide notional; /* paid to the seller without the fee; this and profit in quote asset, 10^-8 */
    bw_wide profit;
} bw_arb_trade;

typedef struct bw_arb_row {
    bw_arb_leg leg[BW_ARB_LEGS];
    bw_arb_trade trade; /* within the capital */
    bw_arb_trade whole; /* all that pays, whatever the capital */
    int64_t net;        /* of the trade on what it costs, hundredths of a basis point */
    uint8_t quantity_exponent;
} bw_arb_row;

typedef struct bw_arb {
    uint32_t count;
    uint32_t left_out; /* rows beyond BW_ARB_ROWS_MAX, the least profitable */
    bw_arb_row row[BW_ARB_ROWS_MAX];
} bw_arb;

/* Every ordered pair of the inputs, which are LIVE books of one symbol, walked through `depth` levels of
 * each; most profit first. */
void bw_arb_find(bw_arb *arb, const bw_arb_terms *terms, uint32_t depth, const bw_view_input *input,
                 uint32_t inputs);

/* Ages do not count: they change by themselves. */
bool bw_arb_equal(const bw_arb *a, const bw_arb *b);

/* Depth and ages in one number of hundredths: min(1, whole notional / capital) * (1 - age of the older quote
 * / 5 s), not below 0. */
uint32_t bw_arb_confidence(const bw_arb_row *row, uint64_t capital, int64_t now_ns);

/* One row as a JSON object, up to BW_ARB_ROW_BYTES; returns the end. */
char *bw_arb_put_row(char *out, const bw_arb_row *row, const bw_encoding *encoding, uint64_t capital,
                     int64_t now_ns);

/* The whole snapshot message; room for BW_ARB_ROWS_MAX rows and one more. */
size_t bw_arb_encode(char *out, const bw_arb *arb, const bw_encoding *encoding, uint64_t capital,
                     const bw_message *message, int64_t now_ns);

#endif
