#include "view.h"

#include <string.h>

typedef struct merge_head { /* the next level of one input, in the view's exponents */
    const bw_level *next, *end;
    bw_wide price;
    int64_t price_factor, quantity_factor;
    uint32_t exchange;
} merge_head;

static void head_load(merge_head *head) {
    if (head->next < head->end) head->price = (bw_wide)head->next->price * head->price_factor;
}

static bw_view_level head_take(merge_head *head) {
    const bw_level *from = head->next++;
    bw_view_level level = {head->price, (bw_wide)from->quantity * head->quantity_factor, from->orders,
                           head->exchange};
    head_load(head);
    return level;
}

static uint32_t heads_start(merge_head *head, const bw_view *view, const bw_view_input *input,
                            uint32_t inputs, uint32_t side) {
    uint32_t heads = 0;
    for (uint32_t i = 0; i < inputs; i++) {
        if (input[i].count[side] == 0) continue;
        merge_head *h = &head[heads++];
        h->next = input[i].level[side];
        h->end = h->next + input[i].count[side];
        h->price_factor = bw_power10((unsigned)(view->price_exponent - input[i].price_exponent));
        h->quantity_factor = bw_power10((unsigned)(view->quantity_exponent - input[i].quantity_exponent));
        h->exchange = input[i].exchange;
        head_load(h);
    }
    return heads;
}

static bw_wide heads_best(const merge_head *head, uint32_t heads, uint32_t side) {
    bw_wide best = head[0].price;
    for (uint32_t i = 1; i < heads; i++) {
        if (bw_price_before(side, head[i].price, best)) best = head[i].price;
    }
    return best;
}

/* Takes every head that stands at `price` into `out`; drops heads that ran out. */
static uint32_t heads_take_price(merge_head *head, uint32_t *heads, bw_wide price, bw_view_level *out) {
    uint32_t taken = 0;
    for (uint32_t i = 0; i < *heads;) {
        if (head[i].price != price) {
            i++;
            continue;
        }
        out[taken++] = head_take(&head[i]);
        if (head[i].next == head[i].end) {
            head[i] = head[--*heads];
        } else {
            i++;
        }
    }
    return taken;
}

/* Larger quantity first, then exchange number: at most one level an exchange, so a handful. */
static void order_equal_prices(bw_view_level *level, uint32_t count) {
    for (uint32_t i = 1; i < count; i++) {
        bw_view_level moving = level[i];
        uint32_t at = i;
        while (at > 0 && (level[at - 1].quantity < moving.quantity ||
                          (level[at - 1].quantity == moving.quantity &&
                           level[at - 1].exchange > moving.exchange))) {
            level[at] = level[at - 1];
            at--;
        }
        level[at] = moving;
    }
}

static void build_side(bw_view *view, enum bw_view_kind kind, merge_head *head, uint32_t heads,
                       uint32_t side) {
    bw_view_level *out = view->level[side];
    uint32_t count = 0;
    bw_view_level same[BW_EXCHANGES_MAX];
    while (heads > 0 && count < view->depth) {
        if (heads == 1 && kind != BW_VIEW_FULL) { /* the usual case: one book, or one left */
            out[count] = head_take(head);
            out[count++].exchange = 0;
            if (head->next == head->end) heads = 0;
            continue;
        }
        uint32_t taken = heads_take_price(head, &heads, heads_best(head, heads, side), same);
        if (kind == BW_VIEW_FULL) {
            order_equal_prices(same, taken);
            uint32_t room = view->depth - count;
            if (taken > room) taken = room;
            memcpy(&out[count], same, taken * sizeof *same);
            count += taken;
            continue;
        }
        bw_view_level sum = same[0];
        sum.exchange = 0;
        for (uint32_t i = 1; i < taken; i++) {
            sum.quantity += same[i].quantity;
            sum.orders += same[i].orders;
        }
        out[count++] = sum;
    }
    view->count[side] = count;
}

void bw_view_build(bw_view *view, enum bw_view_kind kind, const bw_view_input *input, uint32_t inputs) {
    merge_head head[BW_EXCHANGES_MAX];
    if (inputs > BW_EXCHANGES_MAX) inputs = BW_EXCHANGES_MAX;
    for (uint32_t i = 0; i < inputs; i++) {
        if (input[i].price_exponent > view->price_exponent) view->price_exponent = input[i].price_exponent;
        if (input[i].quantity_exponent > view->quantity_exponent) {
            view->quantity_exponent = input[i].quantity_exponent;
        }
    }
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        uint32_t heads = heads_start(head, view, input, inputs, side);
        build_side(view, kind, head, heads, side);
    }
}

void bw_view_rescale(bw_view *view, uint8_t price_exponent, uint8_t quantity_exponent) {
    if (view->price_exponent == price_exponent && view->quantity_exponent == quantity_exponent) return;
    int64_t price_factor = bw_power10((unsigned)(price_exponent - view->price_exponent));
    int64_t quantity_factor = bw_power10((unsigned)(quantity_exponent - view->quantity_exponent));
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        for (uint32_t i = 0; i < view->count[side]; i++) {
            view->level[side][i].price *= price_factor;
            view->level[side][i].quantity *= quantity_factor;
        }
    }
    view->price_exponent = price_exponent;
    view->quantity_exponent = quantity_exponent;
}

static bool level_equal(const bw_view_level *a, const bw_view_level *b) {
    return a->price == b->price && a->quantity == b->quantity && a->orders == b->orders &&
           a->exchange == b->exchange;
}

uint32_t bw_view_known(const bw_level *level, uint32_t count, uint32_t side, int64_t bound) {
    if (bound == 0) return count;
    while (count > 0 && (side == 0 ? level[count - 1].price < bound : level[count - 1].price > bound))
        count--;
    return count;
}

bool bw_view_equal(const bw_view *a, const bw_view *b) {
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        if (a->count[side] != b->count[side]) return false;
        for (uint32_t i = 0; i < a->count[side]; i++) {
            if (!level_equal(&a->level[side][i], &b->level[side][i])) return false;
        }
    }
    return true;
}

static uint32_t put_removed(bw_view_level *out, const bw_view_level *level) {
    *out = (bw_view_level){level->price, 0, 0, level->exchange};
    return 1;
}

static uint32_t run_at_price(const bw_view_level *level, uint32_t from, uint32_t count) {
    uint32_t end = from + 1;
    while (end < count && level[end].price == level[from].price) end++;
    return end;
}

static const bw_view_level *find_exchange(const bw_view_level *level, uint32_t from, uint32_t end,
                                          uint32_t exchange) {
    for (uint32_t i = from; i < end; i++) {
        if (level[i].exchange == exchange) return &level[i];
    }
    return NULL;
}

/* Two runs of one price: those gone first, then those new or changed. */
static uint32_t diff_runs(const bw_view_level *old, uint32_t old_from, uint32_t old_end,
                          const bw_view_level *now, uint32_t now_from, uint32_t now_end,
                          bw_view_level *out) {
    uint32_t changes = 0;
    for (uint32_t i = old_from; i < old_end; i++) {
        if (!find_exchange(now, now_from, now_end, old[i].exchange)) {
            changes += put_removed(&out[changes], &old[i]);
        }
    }
    for (uint32_t i = now_from; i < now_end; i++) {
        const bw_view_level *before = find_exchange(old, old_from, old_end, now[i].exchange);
        if (!before || !level_equal(before, &now[i])) out[changes++] = now[i];
    }
    return changes;
}

uint32_t bw_view_diff(const bw_view *from, const bw_view *to, enum bw_view_kind kind, uint32_t side,
                      bw_view_level *out) {
    const bw_view_level *old = from->level[side], *now = to->level[side];
    uint32_t old_count = from->count[side], now_count = to->count[side];
    uint32_t i = 0, j = 0, changes = 0;
    while (i < old_count || j < now_count) {
        if (j == now_count || (i < old_count && bw_price_before(side, old[i].price, now[j].price))) {
            changes += put_removed(&out[changes], &old[i++]);
        } else if (i == old_count || bw_price_before(side, now[j].price, old[i].price)) {
            out[changes++] = now[j++];
        } else if (kind != BW_VIEW_FULL) {
            if (!level_equal(&old[i], &now[j])) out[changes++] = now[j];
            i++, j++;
        } else {
            uint32_t old_end = run_at_price(old, i, old_count), now_end = run_at_price(now, j, now_count);
            changes += diff_runs(old, i, old_end, now, j, now_end, &out[changes]);
            i = old_end, j = now_end;
        }
    }
    return changes;
}

const bw_view_level *bw_view_find(const bw_view *view, enum bw_view_kind kind, uint32_t side,
                                  bw_wide price, uint32_t exchange) {
    const bw_view_level *level = view->level[side];
    uint32_t low = 0, high = view->count[side];
    while (low < high) { /* first level not before `price` */
        uint32_t middle = (low + high) / 2;
        if (bw_price_before(side, level[middle].price, price)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == view->count[side] || level[low].price != price) return NULL;
    if (kind != BW_VIEW_FULL) return &level[low];
    return find_exchange(level, low, run_at_price(level, low, view->count[side]), exchange);
}
