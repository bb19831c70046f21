/* Level lists that the quick loop of decode_levels.h leaves alone: a bid and an ask in one element, the side
 * by the quantity's sign, orders of 0 for no level, one level without a list, an object of prices. Included
 * by decode_walk.c only.
 */
#ifndef BW_DECODE_FORMS_H
#define BW_DECODE_FORMS_H

#include "decode_levels.h"

static bool put_level(level_run *run, const char *p, uint32_t side, const bw_wire_level *level) {
    bw_decoder *d = run->d;
    bw_item *item = run->item;
    uint32_t used = item->level_first[0] + item->level_count[0] + item->level_first[1] + item->level_count[1];
    if (used >= d->levels_max) {
        level_fault(run, p, "more levels than a frame may have");
        return false;
    }
    d->level[side][item->level_first[side] + item->level_count[side]++] = *level;
    item->price_decimals = (uint8_t)most_of(item->price_decimals, level->price_decimals);
    item->quantity_decimals = (uint8_t)most_of(item->quantity_decimals, level->quantity_decimals);
    return true;
}

static bool put_parts(level_run *run, const char *p, level_parts *parts) {
    const bw_level_plan *plan = run->plan;
    bool negative = parts->level.quantity < 0 && plan->side != BW_LEVELS_BY_SIGN;
    if (negative || parts->ask.quantity < 0) {
        level_fault(run, p, "a negative quantity");
        return false;
    }
    if (plan->shape == BW_SHAPE_PAIRS) {
        return (parts->level.price == 0 || put_level(run, p, 0, &parts->level)) &&
               (parts->ask.price == 0 || put_level(run, p, 1, &parts->ask));
    }
    if (plan->side == BW_LEVELS_BY_SIGN && parts->level.quantity < 0) {
        parts->side = 1;
        parts->level.quantity = -parts->level.quantity;
    }
    if (plan->orders_delete && parts->level.orders == 0) {
        parts->level.quantity = 0;
        parts->level.quantity_decimals = 0;
    }
    return put_level(run, p, parts->side, &parts->level);
}

/* A list of elements, one after the other; p at the bracket. */
static const char *take_elements(level_run *run, const char *p) {
    bw_decoder *d = run->d;
    const uint32_t side = run->plan->side == BW_LEVELS_ASKS;
    p = skip_space(d, p + 1);
    if (*p == ']') return p + 1;
    for (;;) {
        level_parts parts = {.side = side};
        const char *next = run->shape->values ? take_alike(run, p, &parts, true) : NULL;
        if (!next) {
            parts = (level_parts){.side = side};
            next = take_element(run, p, &parts);
        }
        if (!next || !put_parts(run, p, &parts)) return NULL;
        p = skip_space(d, next);
        if (*p == ']') return p + 1;
        if (*p != ',' || p >= d->end) return level_fault(run, p, "',' or ']' expected behind a level");
        p = skip_space(d, p + 1);
    }
}

/* {"price":"quantity",...}; p at the brace. */
static const char *take_prices(level_run *run, const char *p) {
    bw_decoder *d = run->d;
    const uint32_t side = run->plan->side == BW_LEVELS_ASKS;
    p = skip_space(d, p + 1);
    if (*p == '}') return p + 1;
    for (;;) {
        level_parts parts = {.side = side};
        uint32_t unlearned = UINT32_MAX;
        const char *literal = p;
        if (p >= d->end || *p != '"') return level_fault(run, p, "a price was expected");
        const char *next = take_field_value(run, p, BW_FIELD_PRICE, &parts, &literal, &unlearned);
        if (!next) return NULL;
        next = skip_space(d, next);
        if (*next != ':') return level_fault(run, next, "':' expected behind a price");
        next = skip_space(d, next + 1);
        next = take_field_value(run, next, BW_FIELD_QUANTITY, &parts, &literal, &unlearned);
        if (!next) return NULL;
        if (parts.level.quantity < 0) return level_fault(run, p, "a negative quantity");
        if (!put_level(run, p, side, &parts.level)) return NULL;
        p = skip_space(d, next);
        if (*p == '}') return p + 1;
        if (*p != ',' || p >= d->end) return level_fault(run, p, "',' or '}' expected behind a level");
        p = skip_space(d, p + 1);
    }
}

static bool is_row(const bw_decoder *d, const char *p) {
    p = skip_space(d, p + 1);
    return *p != '[' && *p != '{' && *p != ']';
}

/* Levels in any form that the plan allows; p at the value. */
static const char *take_forms(level_run *run, const char *p) {
    bw_decoder *d = run->d;
    const char *after;
    if (*p == '{') {
        bool allowed = (run->plan->forms & 1u << BW_FORM_OBJECT) != 0;
        after = allowed ? take_prices(run, p) : level_fault(run, p, "a list of levels was expected");
    } else if (*p != '[') {
        after = level_fault(run, p, "a list of levels was expected");
    } else if (run->plan->forms & 1u << BW_FORM_ROW && is_row(d, p)) {
        level_parts parts = {.side = run->plan->side == BW_LEVELS_ASKS};
        after = run->shape->values ? take_alike(run, p, &parts, true) : NULL;
        if (!after) {
            parts = (level_parts){.side = run->plan->side == BW_LEVELS_ASKS};
            after = take_element(run, p, &parts);
        }
        if (after && !put_parts(run, p, &parts)) return NULL;
    } else if (run->plan->is_plain) {
        return take_levels(run, p);
    } else {
        after = take_elements(run, p);
    }
    if (!after) return NULL;
    for (uint32_t side = 0; side < 2; side++) {
        d->level_used[side] = run->item->level_first[side] + run->item->level_count[side];
    }
    return after;
}

/* With how many decimals the numbers of a list came, for a checksum that is made of their text. */
static void note_decimals(bw_item *item, const bw_level_plan *plan, const char *p, const char *end) {
    uint32_t position = 0, depth = 0;
    for (; p < end; p++) {
        if (*p == '[') {
            depth++;
            position = 0;
        } else if (*p == ']') {
            depth--;
        } else if (*p == ',' && depth == 2) {
            position++;
        } else if (is_digit(*p) && depth == 2) {
            const char *point = NULL, *start = p;
            bool zero = true;
            for (; p < end && (is_digit(*p) || *p == '.'); p++) {
                if (*p == '.') point = p;
                else zero &= *p == '0';
            }
            uint32_t decimals = point ? (uint32_t)(p - point - 1) : 0;
            uint32_t field = BW_FIELD_SKIP;
            if (position < BW_LEVEL_FIELDS_MAX) field = plan->field_at[position];
            uint8_t *fewest = &item->fewest_decimals[field == BW_FIELD_QUANTITY];
            bool counts = field == BW_FIELD_PRICE || (field == BW_FIELD_QUANTITY && !zero);
            if (counts && p > start && decimals < *fewest) *fewest = (uint8_t)decimals;
            p--;
        }
    }
}

#endif
