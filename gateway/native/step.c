#include "step.h"

#include <string.h>

/* Of two levels of one price that follow each other the first is dropped. */
static uint32_t keep_last(bw_level *level, uint32_t count) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (kept > 0 && level[kept - 1].price == level[i].price) kept--;
        level[kept++] = level[i];
    }
    return kept;
}

/* Sorted by counting for each what stands before it: no branch depends on an order nobody can foresee. */
bool bw_step_take(bw_step *step, uint32_t side, const bw_level *change, uint32_t count) {
    if (count > BW_STEP_LEVELS) return false;
    bw_level *level = step->level[side];
    const int64_t flip = side ? 0 : -1; /* ascending for either side */
    uint32_t ordered = 1, again = 0;
    for (uint32_t i = 1; i < count; i++)
        ordered &= (change[i - 1].price ^ flip) < (change[i].price ^ flip);
    step->count[side] = count;
    if (ordered) {
        memcpy(level, change, count * sizeof *level);
        return true;
    }
    int64_t key[BW_STEP_LEVELS];
    for (uint32_t i = 0; i < count; i++) key[i] = change[i].price ^ flip;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t before = 0;
        for (uint32_t k = 0; k < i; k++) before += key[k] <= key[i];
        for (uint32_t k = i + 1; k < count; k++) before += key[k] < key[i];
        level[before] = change[i];
    }
    for (uint32_t i = 1; i < count; i++) again |= level[i - 1].price == level[i].price;
    if (again) step->count[side] = keep_last(level, count);
    return true;
}

static bw_view_level shown(const bw_level *level) {
    return (bw_view_level){level->price, level->quantity, level->orders, 0};
}

static bw_view_level removed(const bw_view_level *level) {
    return (bw_view_level){level->price, 0, 0, 0};
}

typedef struct bw_move { /* a level that comes before the one at `at` of the old view, or that one leaves */
    uint32_t at;
    int32_t offset; /* of what follows: how many came by then, less those that left */
    const bw_level *in; /* NULL: it leaves */
} bw_move;

/* Every level moves at most once: those that move down first, from the best on, then those that move up,
 * from the worst on. Returns the new count. */
static uint32_t move_levels(bw_view_level *level, uint32_t count, bw_move *move, uint32_t moves) {
    int32_t offset = 0;
    for (uint32_t i = 0; i < moves; i++) {
        uint32_t from = move[i].at + (move[i].in ? 0 : 1), end = i + 1 < moves ? move[i + 1].at : count;
        offset += move[i].in ? 1 : -1;
        move[i].offset = offset;
        if (offset < 0 && end > from)
            memmove(level + from + offset, level + from, (end - from) * sizeof *level);
    }
    for (uint32_t i = moves, end = count; i-- > 0; end = move[i].at) {
        uint32_t from = move[i].at + (move[i].in ? 0 : 1);
        if (move[i].offset > 0 && end > from)
            memmove(level + from + move[i].offset, level + from, (end - from) * sizeof *level);
    }
    for (uint32_t i = 0; i < moves; i++) {
        if (move[i].in) level[(int32_t)move[i].at + move[i].offset - 1] = shown(move[i].in);
    }
    return count + (uint32_t)offset;
}

static bool came(const bw_move *move, uint32_t moves, bw_wide price) {
    for (uint32_t i = 0; i < moves; i++) {
        if (move[i].in && move[i].in->price == price) return true;
    }
    return false;
}

/* Levels from `keep` on are not shown any more: those that were before are told to leave, those that came
 * with this record are not told at all. Returns the new number of changes. */
static uint32_t cut(const bw_view_level *level, uint32_t keep, uint32_t count, uint32_t side,
                    const bw_move *move, uint32_t moves, bw_view_level *out, uint32_t changes) {
    bw_view_level told[BW_STEP_LEVELS];
    uint32_t at = changes, next = 0;
    while (at > 0 && !bw_price_before(side, out[at - 1].price, level[keep].price)) at--;
    uint32_t tell = changes - at;
    memcpy(told, out + at, tell * sizeof *told);
    for (uint32_t i = keep; i < count; i++) {
        while (next < tell && bw_price_before(side, told[next].price, level[i].price))
            out[at++] = told[next++];
        bool touched = next < tell && told[next].price == level[i].price;
        next += touched;
        if (!touched || !came(move, moves, level[i].price)) out[at++] = removed(&level[i]);
    }
    while (next < tell) out[at++] = told[next++];
    return at;
}

uint32_t bw_step_view(bw_view *view, const bw_step *step, uint32_t side, int64_t bound, bw_view_level *out) {
    bw_view_level *level = view->level[side];
    uint32_t count = view->count[side], at = 0, changes = 0, moves = 0;
    bw_move move[BW_STEP_LEVELS];
    for (uint32_t i = 0; i < step->count[side]; i++) {
        const bw_level *change = &step->level[side][i];
        const int64_t price = change->price;
        const int64_t flip = side ? 0 : -1;
        while (at < count && ((int64_t)level[at].price ^ flip) < (price ^ flip)) at++;
        if (at == count) break; /* behind what was shown */
        if ((int64_t)level[at].price != price) {
            if (change->quantity == 0) continue;
            move[moves++] = (bw_move){at, 0, change};
            out[changes++] = shown(change);
            continue;
        }
        if (change->quantity == 0) {
            move[moves++] = (bw_move){at, 0, NULL};
            out[changes++] = removed(&level[at]);
        } else if ((int64_t)level[at].quantity != change->quantity || level[at].orders != change->orders) {
            out[changes++] = level[at] = shown(change);
        }
        at++;
    }
    if (moves > 0) count = move_levels(level, count, move, moves);
    uint32_t keep = count < view->depth ? count : view->depth;
    while (bound != 0 && keep > 0 && bw_price_before(side, bound, level[keep - 1].price)) keep--;
    if (keep < count) changes = cut(level, keep, count, side, move, moves, out, changes);
    view->count[side] = keep;
    return changes;
}

void bw_step_behind(bw_view *view, uint32_t side, const bw_level *level, uint32_t count, bw_view_level *out) {
    for (uint32_t i = 0; i < count; i++)
        out[i] = view->level[side][view->count[side]++] = shown(&level[i]);
}
