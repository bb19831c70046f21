/* Level lists of a plan, checked and compiled; and how compiling says no. Start-up only. */
#include "plan_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool bw_plan_refuse(plan_maker *maker, const char *format, ...) {
    if (maker->error && maker->error_bytes) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(maker->error, maker->error_bytes, format, arguments);
        va_end(arguments);
    }
    return false;
}

int bw_plan_text(const char *text, size_t room) {
    size_t length = strnlen(text, room);
    return length < room ? (int)length : -1;
}

static bool compile_level_positions(plan_maker *maker, uint32_t number, const bw_levels_spec *spec,
                                    bw_level_plan *levels) {
    const int32_t at[] = {spec->price_at, spec->quantity_at, spec->orders_at, spec->side_at};
    for (uint32_t i = 0; i < 4; i++) {
        if (at[i] < 0) continue;
        if (at[i] >= (int32_t)BW_LEVEL_FIELDS_MAX) {
            return bw_plan_refuse(maker, "plan: level list %u names position %d, at most %u", number, at[i],
                                  BW_LEVEL_FIELDS_MAX - 1);
        }
        if (levels->field_at[at[i]] != BW_FIELD_SKIP) {
            return bw_plan_refuse(maker, "plan: level list %u uses position %d twice", number, at[i]);
        }
        levels->field_at[at[i]] = (uint8_t)(BW_FIELD_PRICE + i);
    }
    if (spec->price_at < 0 || spec->quantity_at < 0) {
        return bw_plan_refuse(maker, "plan: level list %u has no position for price or quantity", number);
    }
    return true;
}

static bool compile_level_keys(plan_maker *maker, uint32_t number, const bw_levels_spec *spec,
                               bw_level_plan *levels) {
    const char *key[] = {spec->price_key, spec->quantity_key, spec->orders_key, spec->side_key,
                         spec->ask_price_key, spec->ask_quantity_key};
    const uint32_t count = spec->shape == BW_SHAPE_PAIRS ? 6 : 4;
    for (uint32_t i = 0; i < count; i++) {
        int bytes = bw_plan_text(key[i], sizeof spec->price_key);
        if (bytes < 0) return bw_plan_refuse(maker, "plan: a key of level list %u is not terminated", number);
        levels->key_bytes[BW_FIELD_PRICE + i] = (uint8_t)bytes;
        memcpy(levels->key[BW_FIELD_PRICE + i], key[i], (size_t)bytes);
    }
    bool both = levels->key_bytes[BW_FIELD_PRICE] && levels->key_bytes[BW_FIELD_QUANTITY];
    if (count == 6) {
        both &= levels->key_bytes[BW_FIELD_ASK_PRICE] && levels->key_bytes[BW_FIELD_ASK_QUANTITY];
    }
    if (!both) return bw_plan_refuse(maker, "plan: level list %u has no key for price or quantity", number);
    return true;
}

/* Which of the ways to read a list can have this one. */
static bool compile_level_ways(plan_maker *maker, uint32_t number, const bw_levels_spec *spec,
                               bw_level_plan *levels) {
    bool orders = spec->shape == BW_SHAPE_ARRAYS ? spec->orders_at >= 0 : spec->orders_key[0] != 0;
    if (spec->orders_delete && !orders) {
        return bw_plan_refuse(maker, "plan: level list %u deletes by orders, but has none", number);
    }
    if (spec->forms & ~(1u << BW_FORM_ROWS | 1u << BW_FORM_ROW | 1u << BW_FORM_OBJECT) ||
        (spec->forms & 1u << BW_FORM_OBJECT && spec->side > BW_LEVELS_ASKS) ||
        (spec->forms & ~(1u << BW_FORM_ROWS) && spec->shape != BW_SHAPE_ARRAYS)) {
        return bw_plan_refuse(maker, "plan: level list %u cannot have the forms %#x", number, spec->forms);
    }
    if (spec->shape == BW_SHAPE_PAIRS && spec->side != BW_LEVELS_BIDS) {
        return bw_plan_refuse(maker, "plan: level list %u holds pairs: it has both sides (write 0)", number);
    }
    levels->forms = (uint8_t)spec->forms;
    levels->orders_delete = spec->orders_delete != 0;
    levels->is_plain = spec->shape != BW_SHAPE_PAIRS && spec->side != BW_LEVELS_BY_SIGN &&
        !spec->orders_delete && !(spec->forms & 1u << BW_FORM_ROW);
    for (uint32_t i = 0; i < 4; i++) levels->number[BW_FIELD_PRICE + i] = spec->number[i];
    return true;
}

bool bw_plan_levels(plan_maker *maker, uint32_t number) {
    const bw_levels_spec *spec = &maker->spec->levels[number];
    bw_level_plan *levels = &maker->plan->levels[number];
    if (spec->shape > BW_SHAPE_PAIRS || spec->side > BW_LEVELS_BY_SIGN) {
        return bw_plan_refuse(maker, "plan: level list %u has shape %u, side %u: unknown", number,
                              spec->shape,
                              spec->side);
    }
    levels->shape = (uint8_t)spec->shape;
    levels->side = (uint8_t)spec->side;
    bool placed = spec->shape == BW_SHAPE_SLOTS    ? true
                  : spec->shape == BW_SHAPE_ARRAYS ? compile_level_positions(maker, number, spec, levels)
                                                   : compile_level_keys(maker, number, spec, levels);
    if (!placed || !compile_level_ways(maker, number, spec, levels)) return false;
    if (!placed || spec->side != BW_LEVELS_BY_FIELD) return placed;
    int bid = bw_plan_text(spec->bid_text, sizeof spec->bid_text);
    int ask = bw_plan_text(spec->ask_text, sizeof spec->ask_text);
    bool field = spec->shape == BW_SHAPE_SLOTS ||
                 (spec->shape == BW_SHAPE_ARRAYS ? spec->side_at >= 0 : spec->side_key[0] != 0);
    if (bid <= 0 || ask <= 0 || !field || strcmp(spec->bid_text, spec->ask_text) == 0) {
        return bw_plan_refuse(maker,
                              "plan: level list %u takes the side from a field: name it and both values",
                              number);
    }
    levels->bid_bytes = (uint8_t)bid;
    levels->ask_bytes = (uint8_t)ask;
    memcpy(levels->bid_text, spec->bid_text, (size_t)bid);
    memcpy(levels->ask_text, spec->ask_text, (size_t)ask);
    const char *text[2] = {levels->bid_text, levels->ask_text};
    for (uint32_t side = 0; side < 2; side++) {
        char quoted[sizeof levels->bid_text + 1];
        size_t bytes = (size_t)snprintf(quoted, sizeof quoted, "%s\"", text[side]);
        if (bytes > sizeof levels->side_word[0]) bytes = 0; /* long: left to the general way */
        memcpy(&levels->side_word[side], quoted, bytes);
        memset(&levels->side_mask[side], 0xff, bytes);
    }
    return true;
}
