/* What one record does to a view of one book: the view moved in place and the changes told, without copying
 * the book, building the view anew and comparing. The same changes as bw_view_diff() finds that way. Pure.
 */
#ifndef BW_STEP_H
#define BW_STEP_H

#include "view.h"

#define BW_STEP_LEVELS 32u /* of one side; a record of more is better taken as a whole */

typedef struct bw_step { /* what a record changed: best first, each price once */
    bw_level level[BW_SIDES][BW_STEP_LEVELS];
    uint32_t count[BW_SIDES];
} bw_step;

/* Takes in a record's changes of one side, which may stand in any order and name a price again: the last one
 * counts. False: too many. */
bool bw_step_take(bw_step *step, uint32_t side, const bw_level *change, uint32_t count);

/* Moves one side of a view from before the record to after it, as far as what was shown before reaches, and
 * writes what changed to `out`, as bw_view_diff() orders it; returns how many. The view is of this one book,
 * in its exponents, has room for BW_STEP_LEVELS more than its depth, and `out` for twice that. `bound` as in
 * bw_view_known(). Where the side then has fewer levels than its depth, bw_step_behind() is to follow. */
uint32_t bw_step_view(bw_view *view, const bw_step *step, uint32_t side, int64_t bound, bw_view_level *out);

/* Adds the book's levels that stand behind those of the view: `level` holds them, no more than find room.
 * Writes them to `out`, too. */
void bw_step_behind(bw_view *view, uint32_t side, const bw_level *level, uint32_t count, bw_view_level *out);

#endif
