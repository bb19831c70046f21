/* Lists of levels: the element's shape is learned from one and tried on the next. Included by
 * decode_walk.c only.
 *
 * A fault here (take_levels() gives NULL) leaves the decoder's own failure alone unless the JSON is
 * broken: the caller decides by skipping the list as a whole.
 */
#ifndef BW_DECODE_LEVELS_H
#define BW_DECODE_LEVELS_H

#include "decode_text.h"

typedef struct level_run {
    bw_decoder *d;
    const bw_level_plan *plan;
    bw_level_template *shape;
    uint32_t list; /* 1 + its number in the plan */
    bw_item *item;
    const char *fault;
    const char *fault_at;
} level_run;

static inline level_run level_run_of(bw_decoder *d, uint32_t target, bw_item *item) {
    return (level_run){.d = d, .plan = &d->plan->levels[target], .shape = &d->shape[target],
                       .list = target + 1, .item = item};
}

typedef struct level_parts {
    bw_wire_level level;
    bw_wire_level *ask; /* of a pair, whose bid is `level`; NULL elsewhere */
    uint32_t side;
    uint32_t found; /* bits by enum bw_field */
} level_parts;

static const char *level_fault(level_run *run, const char *p, const char *why) {
    if (!run->fault) {
        run->fault = why;
        run->fault_at = p;
    }
    return NULL;
}

/* Up to 7 digits, without a branch on how many. */
static inline const char *take_orders(const char *p, uint32_t *orders) {
    uint64_t word = load_word(p) ^ 0x3030303030303030ull;
    uint64_t others = ((word + 0x7676767676767676ull) | word) & 0x8080808080808080ull;
    uint32_t places = others ? (uint32_t)__builtin_ctzll(others) / 8 : 8;
    if (places - 1u > 6u) return NULL;
    word <<= 64 - 8 * places; /* digits to the high end, zeros in front */
    word = (word * 10 + (word >> 8)) & 0x00ff00ff00ff00ffull;
    word = (word * 100 + (word >> 16)) & 0x0000ffff0000ffffull;
    *orders = (uint32_t)(word * 10000 + (word >> 32));
    return p + places;
}

static inline uint32_t most_of(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

/* Where levels go: the next free one a side, how many there is room for, the most decimals of any. */
typedef struct level_out {
    bw_wire_level *next[2];
    uint32_t room;
    uint32_t most[2];
} level_out;

static inline void most_decimals(level_out *out, uint32_t price, uint32_t quantity) {
    out->most[0] = most_of(price, out->most[0]);
    out->most[1] = most_of(quantity, out->most[1]);
}

#if BW_SIMD_AVX2
#include "decode_stencil.h"
#endif

/* Remembers the literal before a value at `from` (NULL: the tail) for the next elements. */
static void learn(bw_level_template *shape, uint32_t *count, const char *literal, const char *from,
                  uint32_t field) {
    size_t bytes = (size_t)(from - literal);
    if (*count > BW_TEMPLATE_SEGMENTS_MAX || bytes > BW_LITERAL_BYTES_MAX) {
        *count = UINT32_MAX;
        return;
    }
    bw_segment_shape *segment = &shape->segment[(*count)++];
    memset(segment, 0, sizeof *segment);
    memcpy(segment->word, literal, bytes);
    memset(segment->mask, 0xff, bytes);
    segment->bytes = (uint8_t)bytes;
    segment->field = (uint8_t)field;
}

static bool parse_orders(const char *text, size_t bytes, uint32_t *orders) {
    int64_t value;
    if (!bw_integer_parse(text, bytes, &value) || value < 0 || value > UINT32_MAX) return false;
    *orders = (uint32_t)value;
    return true;
}

/* More decimals than 64 bits hold are rounded, on purpose, and counted. */
static enum bw_number_fault take_quantity(level_run *run, const char *text, size_t bytes,
                                          bw_wire_level *level) {
    enum bw_number_fault bad = bw_decimal_parse(text, bytes, &level->quantity, &level->quantity_decimals);
    if (bad != BW_NUMBER_OVERFLOW) return bad;
    bad = bw_decimal_round(text, bytes, &level->quantity, &level->quantity_decimals);
    run->item->rounded += bad == BW_NUMBER_OK;
    return bad;
}

/* Puts a value, given as plain text, where its field says. */
static bool take_field(level_run *run, const char *at, uint32_t field, const char *text, size_t bytes,
                       level_parts *parts) {
    enum bw_number_fault bad = BW_NUMBER_OK;
    switch (field) {
    case BW_FIELD_PRICE:
        bad = bw_decimal_parse(text, bytes, &parts->level.price, &parts->level.price_decimals);
        break;
    case BW_FIELD_QUANTITY:
        bad = take_quantity(run, text, bytes, &parts->level);
        break;
    case BW_FIELD_ASK_PRICE:
        bad = bw_decimal_parse(text, bytes, &parts->ask->price, &parts->ask->price_decimals);
        break;
    case BW_FIELD_ASK_QUANTITY:
        bad = take_quantity(run, text, bytes, parts->ask);
        break;
    case BW_FIELD_ORDERS:
        if (!parse_orders(text, bytes, &parts->level.orders)) bad = BW_NUMBER_MALFORMED;
        break;
    case BW_FIELD_SIDE:
        if (bytes == run->plan->bid_bytes && memcmp(text, run->plan->bid_text, bytes) == 0) {
            parts->side = 0;
        } else if (bytes == run->plan->ask_bytes && memcmp(text, run->plan->ask_text, bytes) == 0) {
            parts->side = 1;
        } else {
            level_fault(run, at, "a level of neither side");
            return false;
        }
        break;
    default: return true;
    }
    if (bad != BW_NUMBER_OK) {
        level_fault(run, at, bad == BW_NUMBER_OVERFLOW ? "a number that does not fit 64 bits"
                                                       : "a number in a level is malformed");
        return false;
    }
    parts->found |= 1u << field;
    return true;
}

/* Behind what may be a number; whether it is one shows when it is read. Unlike JSON, leading zeros are let
 * pass in levels: the quick ways do not look for them, and all ways must agree. */
static const char *skip_numeral(const bw_decoder *d, const char *p) {
    const char *start = p;
    while (p < d->end && (is_digit(*p) || *p == '.' || *p == '-' || *p == '+' || (*p | 0x20) == 'e')) p++;
    return p > start ? p : NULL;
}

/* The value at p of the given field, any JSON; returns behind it. */
static const char *take_field_value(level_run *run, const char *p, uint32_t field, level_parts *parts,
                                    const char **literal, uint32_t *learned) {
    bw_value value;
    const char *after;
    char plain[64];
    if (*p == '"') {
        after = take_string(run->d, p, &value);
        if (!after) return level_fault(run, p, "a malformed string");
    } else {
        bool number = field != BW_FIELD_SKIP && field != BW_FIELD_SIDE && *p != '[' && *p != '{';
        after = number ? skip_numeral(run->d, p) : skip_value(run->d, p);
        if (!after) return level_fault(run, p, "a malformed value");
        value = (bw_value){.at = (uint32_t)(p - run->d->text), .bytes = (uint32_t)(after - p),
                           .kind = *p == '[' || *p == '{' ? BW_VALUE_NESTED : BW_VALUE_BARE};
    }
    const char *text = run->d->text + value.at;
    bool side_differs = field == BW_FIELD_SIDE &&
                        (value.kind == BW_VALUE_BARE || !run->plan->side_mask[0] || !run->plan->side_mask[1]);
    if (value.escaped || value.kind == BW_VALUE_NESTED || side_differs) {
        *learned = UINT32_MAX;
    } else {
        learn(run->shape, learned, *literal, text, field);
        *literal = text + value.bytes;
    }
    if (field == BW_FIELD_SKIP) return after;
    if (value.kind == BW_VALUE_NESTED) return level_fault(run, p, "a number was expected in a level");
    size_t bytes = value.bytes;
    if (value.escaped) {
        int unescaped = bw_value_unescape(run->d->text, &value, plain, sizeof plain);
        if (unescaped < 0) return level_fault(run, p, "a number in a level is malformed");
        text = plain;
        bytes = (size_t)unescaped;
    }
    return take_field(run, p, field, text, bytes, parts) ? after : NULL;
}

/* The field named by the key at p; returns the value's start. */
static const char *take_field_key(level_run *run, const char *p, uint32_t *field) {
    bw_value name;
    if (*p != '"') return level_fault(run, p, "a key was expected in a level");
    p = take_string(run->d, p, &name);
    if (!p) return level_fault(run, run->d->end, "a malformed key in a level");
    *field = BW_FIELD_SKIP;
    for (uint32_t i = BW_FIELD_PRICE; i < BW_FIELD_COUNT; i++) {
        if (run->plan->key_bytes[i] &&
            bw_key_equals(run->d->text, &name, run->plan->key[i], run->plan->key_bytes[i])) {
            *field = i;
        }
    }
    p = skip_space(run->d, p);
    if (*p != ':') return level_fault(run, p, "':' expected in a level");
    return skip_space(run->d, p + 1);
}

/* One element of any spelling; learns its shape. */
static const char *take_element(level_run *run, const char *p, level_parts *parts) {
    const bool named = run->plan->shape != BW_SHAPE_ARRAYS;
    const char close = named ? '}' : ']', *literal = p, *start = p;
    uint32_t learned = 0;
    run->shape->values = 0;
    if (*p != (named ? '{' : '[')) return level_fault(run, p, "a level of another shape");
    p = skip_space(run->d, p + 1);
    for (uint32_t position = 0; *p != close || position; position++) {
        bool known = position < BW_LEVEL_FIELDS_MAX;
        uint32_t field = known ? run->plan->field_at[position] : (uint32_t)BW_FIELD_SKIP;
        if (p >= run->d->end) return level_fault(run, p, "the frame ends inside a level");
        if (named) p = take_field_key(run, p, &field);
        if (!p) return NULL;
        p = take_field_value(run, p, field, parts, &literal, &learned);
        if (!p) return NULL;
        p = skip_space(run->d, p);
        if (*p == close) break;
        if (*p != ',') return level_fault(run, p, "',' or the end of a level expected");
        p = skip_space(run->d, p + 1);
    }
    uint32_t needed = 1u << BW_FIELD_PRICE | 1u << BW_FIELD_QUANTITY;
    if (run->plan->side == BW_LEVELS_BY_FIELD) needed |= 1u << BW_FIELD_SIDE;
    if (run->plan->orders_delete) needed |= 1u << BW_FIELD_ORDERS;
    if (run->plan->shape == BW_SHAPE_PAIRS) needed |= 1u << BW_FIELD_ASK_PRICE | 1u << BW_FIELD_ASK_QUANTITY;
    if ((parts->found & needed) != needed)
        return level_fault(run, start, "a level lacks price, quantity or side");
    bool negative = parts->level.quantity < 0 && run->plan->side != BW_LEVELS_BY_SIGN;
    if (negative) return level_fault(run, start, "a negative quantity");
    p++;
    if (learned < BW_TEMPLATE_SEGMENTS_MAX) {
        uint32_t values = learned;
        learn(run->shape, &learned, literal, p, BW_FIELD_SKIP);
        if (learned != UINT32_MAX) run->shape->values = values;
    }
    return p;
}

/* A value nobody asks for; strings without escapes and bare values only. */
static inline const char *skip_plain(bw_decoder *d, const char *p, bool quoted) {
    if (quoted) {
        if (p[1] == '"' && is_digit(*p)) return p + 1; /* a filler such as "0" */
        p = find_string_stop(p, d->end);
        return p < d->end && *p == '"' ? p : NULL;
    }
    return *p == '"' || *p == '[' || *p == '{' ? NULL : skip_bare(d, p);
}

/* A number that scan_decimal() reads, or (`exponents`) any. */
static inline const char *take_number(const level_run *run, const char *p, int64_t *mantissa,
                                      uint8_t *decimals, const bool exponents) {
    const char *behind = scan_decimal(p, mantissa, decimals);
    if (!exponents || (behind && (*behind | 0x20) != 'e')) return behind;
    behind = skip_numeral(run->d, p);
    bool read = behind && bw_decimal_parse(p, (size_t)(behind - p), mantissa, decimals) == BW_NUMBER_OK;
    return read ? behind : NULL;
}

/* The element at p by the learned shape; NULL when it differs, be it by one character. */
__attribute__((always_inline)) static inline const char *take_alike(const level_run *run, const char *p,
                                                                   level_parts *parts, const bool exponents) {
    const bw_segment_shape *segment = run->shape->segment;
    for (uint32_t values = run->shape->values; values; values--, segment++) {
        if (p >= run->d->end || !literal_matches(p, segment)) return NULL;
        p += segment->bytes;
        switch (segment->field) {
        case BW_FIELD_PRICE:
            p = take_number(run, p, &parts->level.price, &parts->level.price_decimals, exponents);
            break;
        case BW_FIELD_QUANTITY:
            p = take_number(run, p, &parts->level.quantity, &parts->level.quantity_decimals, exponents);
            break;
        case BW_FIELD_ORDERS: p = take_orders(p, &parts->level.orders); break;
        case BW_FIELD_SIDE:
            if (word_matches(p, run->plan->side_word[0], run->plan->side_mask[0])) {
                parts->side = 0;
                p += run->plan->bid_bytes;
            } else if (word_matches(p, run->plan->side_word[1], run->plan->side_mask[1])) {
                parts->side = 1;
                p += run->plan->ask_bytes;
            } else {
                return NULL;
            }
            break;
        default:
            if (exponents && segment->field == BW_FIELD_ASK_PRICE) {
                p = take_number(run, p, &parts->ask->price, &parts->ask->price_decimals, true);
            } else if (exponents && segment->field == BW_FIELD_ASK_QUANTITY) {
                p = take_number(run, p, &parts->ask->quantity, &parts->ask->quantity_decimals, true);
            } else {
                p = skip_plain(run->d, p, p[-1] == '"');
            }
            break;
        }
        if (!p) return NULL;
    }
    return p < run->d->end && literal_matches(p, segment) ? p + segment->bytes : NULL;
}

/* p at the list's bracket; returns behind the one that closes it. */
static const char *take_levels(level_run *run, const char *p) {
    bw_decoder *d = run->d;
    level_out out = {.next = {d->level[0] + d->level_used[0], d->level[1] + d->level_used[1]},
                     .room = d->levels_max - d->level_used[0] - d->level_used[1],
                     .most = {run->item->price_decimals, run->item->quantity_decimals}};
    const uint32_t side = run->plan->side == BW_LEVELS_ASKS;
    p = skip_space(d, p + 1);
    if (*p == ']') return p + 1;
    for (;;) {
#if BW_SIMD_AVX2
        const char *quick = take_quick(run, p, &out, side);
        if (quick != p) {
            p = *quick == ',' ? quick : skip_space(d, quick);
            if (*p == ']') break;
            if (*p != ',' || p >= d->end) return level_fault(run, p, "',' or ']' expected behind a level");
            p = skip_space(d, p + 1);
        }
#endif
        if (out.room == 0) return level_fault(run, p, "more levels than a frame may have");
        level_parts parts = {.side = side};
        const char *next = run->shape->values ? take_alike(run, p, &parts, false) : NULL;
        if (__builtin_expect(!next, 0)) {
            level_parts slow = {.side = side}; /* of its own: the other can then stay in registers */
            next = take_element(run, p, &slow);
            if (!next) return NULL;
            parts = slow;
        }
#if BW_SIMD_AVX2
        learn_stencil(run, p, next, parts.side);
#endif
        p = next;
        bw_wire_level *level = out.next[parts.side]++;
        level->price = parts.level.price;
        level->quantity = parts.level.quantity;
        level->orders = parts.level.orders;
        level->price_decimals = parts.level.price_decimals;
        level->quantity_decimals = parts.level.quantity_decimals;
        most_decimals(&out, level->price_decimals, level->quantity_decimals);
        out.room--;
        if (*p != ',') p = skip_space(d, p);
        if (*p == ']') break;
        if (*p != ',' || p >= d->end) return level_fault(run, p, "',' or ']' expected behind a level");
        p = skip_space(d, p + 1);
    }
    for (uint32_t i = 0; i < 2; i++) {
        d->level_used[i] = (uint32_t)(out.next[i] - d->level[i]);
        run->item->level_count[i] = d->level_used[i] - run->item->level_first[i];
    }
    run->item->price_decimals = (uint8_t)out.most[0];
    run->item->quantity_decimals = (uint8_t)out.most[1];
    return p + 1;
}

#endif
