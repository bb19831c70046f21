/* What decode_levels.h does quickly: elements of a list that are alike. Included by it only, AVX2 only.
 *
 * Elements mostly have one of a few shapes: price and quantity with the same digits each time
 * (decode_stencil.h), strings whatever their lengths (decode_quoted.h), pairs of bare numbers.
 */
#ifndef BW_DECODE_QUICK_H
#define BW_DECODE_QUICK_H

#include "decode_quoted.h"

#if BW_SIMD_AVX2

static inline bool literal_is(const char *p, const bw_segment_shape *segment) {
    return _mm_testz_si128(_mm_xor_si128(load_16(p), load_16(segment->word)), load_16(segment->mask));
}

/* As take_row(), where it goes. */
static inline const char *take_row_pair(const char *p, const char *end, bw_wire_level *to) {
    quoted_level level;
    const char *next = take_row(2, 0, p, end, &level);
    if (next)
        write_level(to, level.mantissa[0], level.mantissa[1], 0, level.decimals[0], level.decimals[1]);
    return next;
}

/* An element of a pair shape whatever the lengths of its numbers; returns behind it, or NULL. */
static inline const char *take_pair(const char *p, const char *end, const bw_segment_shape *segment,
                                    bw_wire_level *level, const char *span[4]) {
    int64_t price, quantity;
    uint8_t decimals[2];
    if (!literal_is(p, segment)) return NULL;
    span[0] = p + segment[0].bytes;
    const char *behind = scan_decimal(span[0], &price, &decimals[0]);
    if (!behind) return NULL;
    span[1] = behind;
    if (behind >= end || !literal_is(behind, segment + 1)) return NULL;
    span[2] = behind + segment[1].bytes;
    behind = scan_decimal(span[2], &quantity, &decimals[1]);
    if (!behind) return NULL;
    span[3] = behind;
    if (behind >= end || !literal_is(behind, segment + 2)) return NULL;
    write_level(level, price, quantity, 0, decimals[0], decimals[1]);
    return behind + segment[2].bytes;
}

/* The commonest shape by itself: price, quantity, short literals, no other field. Takes elements as long as
 * they are alike; returns behind the last of them, or p if there was none. */
static const char *take_pairs(const level_run *run, const char *p, level_out *out, uint32_t side) {
    /* the list's own bracket, at the least, stands behind an element */
    const char *const end = run->d->end - 1;
    const bw_level_template *const shape = run->shape;
    bw_stencil *stencil = run->stencil;
    bw_wire_level *level = out->next[side], *const last = level + out->room;
    bool trusted = stencil_trusted(stencil);
    const char *behind = p;
    while (p < end && level < last) {
        const uint32_t bytes = stencil->bytes;
        if (trusted && bytes && end - p >= (ptrdiff_t)bytes && stencil_fits(stencil, p)) {
            const bw_wire_level *const first = level;
            const uint32_t price_decimals = stencil->decimals[0], quantity_decimals = stencil->decimals[1];
            do {
                int64_t mantissa[2];
                stencil_read(stencil, p, mantissa);
                write_level(level++, mantissa[0], mantissa[1], 0, price_decimals, quantity_decimals);
                behind = p + bytes;
                p = behind + 1;
            } while (*behind == ',' && level < last && end - p >= (ptrdiff_t)bytes &&
                     stencil_fits(stencil, p));
            stencil_hits(stencil, (size_t)(level - first));
            most_decimals(out, price_decimals, quantity_decimals);
            if (*behind != ',') break;
            continue;
        }
        const char *span[4];
        const char *next = shape->rows && !trusted
                               ? take_row_pair(p, end, level)
                               : take_pair(p, end, shape->segment, level, span);
        if (!next) break;
        if (trusted) {
            if (stencil_miss(stencil, (size_t)(next - p)))
                stencil_learn(stencil, p, next, span[0], span[1], span[2], span[3]);
            trusted = stencil->trust >= 0;
        }
        most_decimals(out, level->price_decimals, level->quantity_decimals);
        level++;
        behind = next;
        if (*behind != ',') break;
        p = behind + 1;
    }
    out->room -= (uint32_t)(level - out->next[side]);
    out->next[side] = level;
    return behind;
}

/* Other elements of strings whatever their lengths, as take_pairs(). */
static const char *take_strings(const level_run *run, const char *p, level_out *out, uint32_t side) {
    bw_level_template *shape = run->shape;
    const char *const end = run->d->end - 1, *behind = p;
    while (p < end && out->room) {
        quoted_level level = {.orders = 0, .side = side};
        const char *next = shape->sided ? take_sided(run->plan, shape, p, end, &level) : NULL;
        if (!next) {
            next = take_quoted(run->plan, shape, shape->values, true, p, end, &level);
            if (!next) break;
            shape->skipped = level.skipped <= 32 ? (uint8_t)level.skipped : 0;
        }
        most_decimals(out, level.decimals[0], level.decimals[1]);
        write_level(out->next[level.side]++, level.mantissa[0], level.mantissa[1], level.orders,
                  level.decimals[0], level.decimals[1]);
        out->room--;
        behind = next;
        if (*behind != ',') break;
        p = behind + 1;
    }
    return behind;
}

/* Rows of more than two strings, as take_pairs(). */
QUOTED_INLINE const char *take_rows(const level_run *run, const char *p, level_out *out, uint32_t side,
                                    const uint32_t values, const uint32_t orders) {
    const char *const end = run->d->end - 1, *behind = p;
    bw_wire_level *to = out->next[side], *const last = to + out->room;
    uint32_t price_most = out->most[0], quantity_most = out->most[1];
    while (p < end && to < last) {
        quoted_level level = {.orders = 0};
        const char *next = take_row(values, orders, p, end, &level);
        if (!next) break;
        price_most = most_of(level.decimals[0], price_most);
        quantity_most = most_of(level.decimals[1], quantity_most);
        write_level(to++, level.mantissa[0], level.mantissa[1], level.orders, level.decimals[0],
                  level.decimals[1]);
        behind = next;
        if (*behind != ',') break;
        p = behind + 1;
    }
    out->room -= (uint32_t)(to - out->next[side]);
    out->next[side] = to;
    out->most[0] = price_most;
    out->most[1] = quantity_most;
    return behind;
}

static const char *take_rows_of_4(const level_run *run, const char *p, level_out *out, uint32_t side) {
    bool orders = run->shape->fields & 1u << BW_FIELD_ORDERS;
    if (orders && run->shape->value_of[BW_FIELD_ORDERS] == 3) return take_rows(run, p, out, side, 4, 3);
    return orders ? take_rows(run, p, out, side, 4, 2) : take_rows(run, p, out, side, 4, 0);
}

static const char *take_rows_of_3(const level_run *run, const char *p, level_out *out, uint32_t side) {
    bool orders = run->shape->fields & 1u << BW_FIELD_ORDERS;
    return orders ? take_rows(run, p, out, side, 3, 2) : take_rows(run, p, out, side, 3, 0);
}

/* Elements that are alike, from p on; returns behind the last of them, or p. */
static inline const char *take_quick(const level_run *run, const char *p, level_out *out, uint32_t side) {
    const bw_level_template *shape = run->shape;
    if (shape->pair) return take_pairs(run, p, out, side);
    if (shape->rows && !shape->wide)
        return shape->values == 4 ? take_rows_of_4(run, p, out, side) : take_rows_of_3(run, p, out, side);
    return shape->quoted ? take_strings(run, p, out, side) : p;
}

/* What the shape just learned is good for. `element`: an example, behind - element long. */
static void note_shape(bw_level_template *shape, const char *element, const char *behind) {
    const bw_segment_shape *segment = shape->segment;
    learn_quotes(shape);
    shape->wide = behind - element > 56; /* the next may be somewhat longer */
    shape->pair = shape->values == 2 && segment[0].field == BW_FIELD_PRICE &&
                  segment[1].field == BW_FIELD_QUANTITY && segment[0].bytes <= 16 &&
                  segment[1].bytes <= 16 && segment[2].bytes <= 16 && !shape->wide;
}
#endif
#endif
