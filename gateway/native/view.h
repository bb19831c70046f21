/* What one channel shows: levels of one or many books, merged, best first, cut to a depth.
 *
 * Building and comparing views is pure: arrays in, arrays out. A view's exponents only ever grow, so
 * that two views of the same channel compare by plain integers.
 */
#ifndef BW_VIEW_H
#define BW_VIEW_H

#include "decimal.h"
#include "shm_layout.h"

#include <stdbool.h>

#define BW_EXCHANGES_MAX 32u

enum bw_view_kind {
    BW_VIEW_SINGLE, /* one exchange */
    BW_VIEW_TOP,    /* best price anywhere, summed over the exchanges that stand at it */
    BW_VIEW_SUM,    /* consbook: summed by price */
    BW_VIEW_FULL,   /* fullbook: side by side, key (price, exchange) */
    BW_VIEW_STATUS, /* not a book: exchanges and books going live, stale, down */
    BW_VIEW_ARB,    /* not a book: pairs of books that cross after fees */
};

typedef struct bw_view_level {
    bw_wide price;
    bw_wide quantity; /* 0 in a change: the level left */
    uint32_t orders;
    uint32_t exchange; /* its number; 0 in summed views */
} bw_view_level;

typedef struct bw_view_input { /* the best levels of one LIVE book, best first */
    const bw_level *level[BW_SIDES];
    uint32_t count[BW_SIDES];
    uint8_t price_exponent;
    uint8_t quantity_exponent;
    uint32_t exchange;
    int64_t receive_ns; /* of the book's newest update */
} bw_view_input;

typedef struct bw_view {
    bw_view_level *level[BW_SIDES]; /* room for `depth` each */
    uint32_t count[BW_SIDES];
    uint32_t depth;
    uint8_t price_exponent;
    uint8_t quantity_exponent;
} bw_view;

/* Merges the inputs into `view`, cut to view->depth. The exponents become the largest of the
 * view's own and the inputs'. An input deeper than the view's depth need not be given whole. */
void bw_view_build(bw_view *view, enum bw_view_kind kind, const bw_view_input *input, uint32_t inputs);

/* Brings a view to larger exponents, exactly. */
void bw_view_rescale(bw_view *view, uint8_t price_exponent, uint8_t quantity_exponent);

/* How many of a side's levels, best first, are known to be right: none beyond `bound`
 * (bw_side.verified_price; 0: all are). */
uint32_t bw_view_known(const bw_level *level, uint32_t count, uint32_t side, int64_t bound);

bool bw_view_equal(const bw_view *a, const bw_view *b);

/* Changes that lead from `from` to `to` (same exponents, same depth) on one side, in the side's
 * order; `out` has room for from->count + to->count. Returns how many. */
uint32_t bw_view_diff(const bw_view *from, const bw_view *to, enum bw_view_kind kind, uint32_t side,
                      bw_view_level *out);

/* The level with this key, or NULL. */
const bw_view_level *bw_view_find(const bw_view *view, enum bw_view_kind kind, uint32_t side,
                                  bw_wide price, uint32_t exchange);

/* True when price `a` stands before `b` on the side. */
static inline bool bw_price_before(uint32_t side, bw_wide a, bw_wide b) {
    return side == 0 ? a > b : a < b;
}

#endif
