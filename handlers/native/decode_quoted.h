/* Elements of a list found by their quotes. Included by decode_levels.h only, AVX2 only.
 *
 * Where a venue does not pad its numbers, no length can be foretold. One comparison shows all quotes of an
 * element; the ends of all values follow from their count, so that where the next element starts does not
 * wait for any number to be read. Literals are checked in their places afterwards. What differs in anything
 * is left to the general way.
 */
#ifndef BW_DECODE_QUOTED_H
#define BW_DECODE_QUOTED_H

#include "decode_stencil.h"

#if BW_SIMD_AVX2

#define QUOTED_NUMBER_MAX 16u /* characters of a number, the point too */

static inline __m128i load_16(const void *at) {
    return _mm_loadu_si128((const __m128i *)at);
}

static inline uint32_t quotes_in(const bw_segment_shape *segment) {
    const char *text = (const char *)segment->word;
    uint32_t quotes = 0;
    for (uint32_t i = 0; i < segment->bytes; i++) quotes += text[i] == '"';
    return quotes;
}

static bool literal_says(const bw_segment_shape *segment, const char *text) {
    return segment->bytes == strlen(text) && memcmp(segment->word, text, segment->bytes) == 0;
}

/* Whether elements are rows as take_row() takes them. */
static void learn_rows(bw_level_template *shape) {
    const bw_segment_shape *segment = shape->segment;
    const uint32_t values = shape->values;
    shape->rows = shape->quoted && literal_says(segment, "[\"") && literal_says(segment + values, "\"]") &&
                  segment[0].field == BW_FIELD_PRICE && segment[1].field == BW_FIELD_QUANTITY &&
                  !(shape->fields & 1u << BW_FIELD_SIDE);
    for (uint32_t i = 1; i < values; i++) shape->rows &= literal_says(segment + i, "\",\"");
}

/* Notes which quote ends each value, if all values are strings; of shapes it knows: price and quantity, and
 * what else there is is skipped, counts orders or tells the side. */
static void learn_quotes(bw_level_template *shape) {
    uint32_t quotes = 0, fields = 0;
    shape->quoted = 0;
    shape->rows = shape->sided = false;
    if (shape->values < 2 || shape->values > BW_QUOTED_VALUES_MAX) return;
    for (uint32_t i = 0; i <= shape->values; i++) {
        const bw_segment_shape *segment = &shape->segment[i];
        const char *text = (const char *)segment->word;
        const bool opens = segment->bytes && text[segment->bytes - 1] == '"';
        if (i && (!segment->bytes || text[0] != '"')) return;
        if (i < shape->values && !opens) return;
        if (i) shape->closing[i - 1] = (uint8_t)quotes;
        quotes += quotes_in(segment);
        if (i == shape->values) break;
        if (segment->field != BW_FIELD_SKIP && fields & 1u << segment->field) return;
        fields |= 1u << segment->field;
        shape->value_of[segment->field] = (uint8_t)i;
    }
    const uint32_t both = 1u << BW_FIELD_PRICE | 1u << BW_FIELD_QUANTITY;
    if ((fields & both) == both && quotes <= BW_QUOTED_QUOTES_MAX) shape->quoted = (uint8_t)quotes;
    shape->fields = fields;
    shape->sided = shape->quoted && shape->values == 4 && shape->segment[0].field == BW_FIELD_SIDE &&
                   shape->segment[1].field == BW_FIELD_SKIP && shape->segment[2].field == BW_FIELD_PRICE &&
                   shape->segment[3].field == BW_FIELD_QUANTITY;
    learn_rows(shape);
}

/* Bits of the 64 bytes at p that are quotes. */
static inline uint64_t quotes_of(const char *p) {
#if BW_SIMD_AVX512
    return _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(p), _mm512_set1_epi8('"'));
#else
    const __m256i quote = _mm256_set1_epi8('"');
    uint32_t low = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(load_32(p), quote));
    uint32_t high = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(load_32(p + 32), quote));
    return (uint64_t)high << 32 | low;
#endif
}

/* Bits of the 64 bytes at p that a string cannot hold as they are. */
static inline uint64_t specials_of(const char *p) {
#if BW_SIMD_AVX512
    __m512i text = _mm512_loadu_si512(p);
    return _mm512_cmpeq_epi8_mask(text, _mm512_set1_epi8('\\')) |
           _mm512_cmplt_epu8_mask(text, _mm512_set1_epi8(0x20));
#else
    const __m256i slash = _mm256_set1_epi8('\\'), control = _mm256_set1_epi8(0x1f);
    __m256i low = load_32(p), high = load_32(p + 32);
    low = _mm256_or_si256(_mm256_cmpeq_epi8(low, slash),
                          _mm256_cmpeq_epi8(_mm256_min_epu8(low, control), low));
    high = _mm256_or_si256(_mm256_cmpeq_epi8(high, slash),
                           _mm256_cmpeq_epi8(_mm256_min_epu8(high, control), high));
    return (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32 | (uint32_t)_mm256_movemask_epi8(low);
#endif
}

/* Closing quotes of the values of an element, as distances from p; false when there are too few quotes in
 * the 64 (`wide`: 128) bytes. */
static inline __attribute__((always_inline)) bool
closing_quotes(const bw_level_template *shape, const uint32_t values, const bool wide, const char *p,
               uint32_t stop[BW_QUOTED_VALUES_MAX]) {
    uint64_t low = quotes_of(p), high = wide ? quotes_of(p + 64) : 0;
#if BW_SIMD_AVX512
    const uint32_t in_low = (uint32_t)_mm_popcnt_u64(low);
    if (in_low + (wide ? (uint32_t)_mm_popcnt_u64(high) : 0) < shape->quoted) return false;
    for (uint32_t i = 0; i < values; i++) {
        const uint32_t which = shape->closing[i];
        stop[i] = (uint32_t)_tzcnt_u64(_pdep_u64(UINT64_C(1) << which, low));
        if (wide && which >= in_low)
            stop[i] = 64 + (uint32_t)_tzcnt_u64(_pdep_u64(UINT64_C(1) << (which - in_low), high));
    }
#else
    uint8_t all[BW_QUOTED_QUOTES_MAX];
    for (uint32_t i = 0; i < shape->quoted; i++) {
        if (!low && !high) return false;
        all[i] = (uint8_t)(low ? _tzcnt_u64(low) : 64 + _tzcnt_u64(high));
        high = low ? high : _blsr_u64(high);
        low = _blsr_u64(low);
    }
    /* cppcheck-suppress uninitvar ; closing[] is below the quotes that were just found */
    for (uint32_t i = 0; i < values; i++) stop[i] = all[shape->closing[i]];
#endif
    return true;
}

/* How one number's digits go to the right end of 16 lanes, from the places of its point and of digits other
 * than 0. */
static inline __attribute__((always_inline)) __m128i place_number(uint32_t points, uint32_t others,
                                                                  uint32_t bytes, uint8_t *decimals) {
    uint32_t point = _tzcnt_u32(points | 1u << bytes);
    uint32_t significant = 31u - _lzcnt_u32(others | 1u << point), places = significant - point;
    *decimals = (uint8_t)places;
    return _mm_add_epi8(load_window(digit_window + significant), load_window(point_window + places));
}

/* What an element says. In one piece of memory it would be stored in parts and loaded as a whole, which CPUs
 * make wait. */
typedef struct quoted_level {
    int64_t mantissa[2];
    uint32_t orders, side;
    uint32_t skipped; /* length of the second value */
    uint8_t decimals[2];
} quoted_level;

#define QUOTED_INLINE static inline __attribute__((always_inline))

QUOTED_INLINE void write_level(bw_wire_level *to, int64_t price, int64_t quantity, uint32_t orders,
                             uint32_t price_decimals, uint32_t quantity_decimals) {
    to->price = price;
    to->quantity = quantity;
    uint64_t rest = orders | (uint64_t)(price_decimals | quantity_decimals << 8) << 32;
    _Static_assert(offsetof(bw_wire_level, price_decimals) == offsetof(bw_wire_level, orders) + 4 &&
                       offsetof(bw_wire_level, quantity_decimals) == offsetof(bw_wire_level, orders) + 5,
                   "in one word");
    memcpy(&to->orders, &rest, sizeof rest);
}

/* Price and quantity, plain decimals of up to 16 characters; false when one is anything else. */
QUOTED_INLINE bool read_numbers(const char *price, uint32_t price_bytes, const char *quantity,
                                uint32_t quantity_bytes, quoted_level *level) {
    if (((price_bytes - 1) | (quantity_bytes - 1)) >= QUOTED_NUMBER_MAX) return false;
    /* price in the lower half of all masks, quantity in the upper one */
    __m256i text = _mm256_inserti128_si256(_mm256_castsi128_si256(load_16(price)), load_16(quantity), 1);
    __m256i digit = _mm256_sub_epi8(text, _mm256_set1_epi8('0'));
    uint32_t digits = (uint32_t)_mm256_movemask_epi8(
        _mm256_cmpeq_epi8(_mm256_min_epu8(digit, _mm256_set1_epi8(9)), digit));
    uint32_t points = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(text, _mm256_set1_epi8('.')));
    uint32_t zeros = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(digit, _mm256_setzero_si256()));
    uint32_t valid = _bzhi_u32(0xffff, price_bytes) | _bzhi_u32(0xffff, quantity_bytes) << 16;
    uint32_t last = valid & ~(valid >> 1 & 0x7fff7fff);
    points &= valid;
    uint32_t of_price = points & 0xffff, of_quantity = points >> 16, others = digits & ~zeros & valid;
    uint32_t odd = ((digits | points) & valid) ^ valid; /* neither digit nor point */
    odd |= (of_price & (of_price - 1)) | (of_quantity & (of_quantity - 1)) | (points & (last | 0x00010001));
    if (__builtin_expect(odd != 0, 0)) return false;
    __m128i low = place_number(of_price, others & 0xffff, price_bytes, &level->decimals[0]);
    __m128i high = place_number(of_quantity, others >> 16, quantity_bytes, &level->decimals[1]);
    join_digits(digit, _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1), level->mantissa);
    return true;
}

/* Bits of the 64 bytes at p that are commas. */
static inline uint64_t commas_of(const char *p) {
#if BW_SIMD_AVX512
    return _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(p), _mm512_set1_epi8(','));
#else
    const __m256i comma = _mm256_set1_epi8(',');
    uint32_t low = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(load_32(p), comma));
    uint32_t high = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(load_32(p + 32), comma));
    return (uint64_t)high << 32 | low;
#endif
}

/* A row ["price","quantity"], with further strings behind them as `values` says: skipped, or a count of
 * orders where `orders` is its place. Returns behind it, or NULL when it differs in anything. */
QUOTED_INLINE const char *take_row(const uint32_t values, const uint32_t orders, const char *p,
                                   const char *end, quoted_level *level) {
    const uint64_t quotes = quotes_of(p), commas = commas_of(p);
    uint64_t rest = _blsr_u64(quotes), closing = 0;
    uint32_t stop[BW_QUOTED_VALUES_MAX];
    for (uint32_t i = 0; i < values; i++) {
        stop[i] = (uint32_t)_tzcnt_u64(rest);
        if (i + 1 < values) closing |= rest & (0 - rest);
        rest = _blsr_u64(_blsr_u64(rest));
    }
    /* cppcheck-suppress uninitvar ; values is 2 at least */
    const char *last = p + stop[values - 1];
    if (stop[values - 1] >= 62 || last + 2 > end) return NULL;
    uint64_t differs = ((closing << 1) & ~commas) | ((closing << 2) & ~quotes);
    if (__builtin_expect((differs != 0) | (p[0] != '[') | (p[1] != '"') | (last[1] != ']'), 0)) return NULL;
    if (!read_numbers(p + 2, stop[0] - 2, p + stop[0] + 3, stop[1] - stop[0] - 3, level)) return NULL;
    if (values == 2) return last + 2;
    if (_bzhi_u64(specials_of(p), stop[values - 1])) return NULL;
    if (orders) {
        const char *text = p + stop[orders - 1] + 3;
        if (take_orders(text, &level->orders) != p + stop[orders]) return NULL;
    }
    return last + 2;
}

/* The element at p; returns behind its literals, or NULL when it differs in anything. `values` is
 * shape->values, a constant where that is quicker. */
QUOTED_INLINE const char *take_quoted(const bw_level_plan *plan, const bw_level_template *shape,
                                      const uint32_t values, const bool wide, const char *p, const char *end,
                                      quoted_level *level) {
    const bw_segment_shape *segment = shape->segment;
    uint32_t stop[BW_QUOTED_VALUES_MAX], start[BW_QUOTED_VALUES_MAX];
    if (wide && end - p < 64) return NULL; /* nor may so much be read */
    if (!closing_quotes(shape, values, wide, p, stop)) return NULL;
    const char *next = p + stop[values - 1] + segment[values].bytes;
    if (next > end) return NULL;
    __m256i differs = _mm256_and_si256(_mm256_xor_si256(load_32(p), load_32(segment[0].word)),
                                       load_32(segment[0].mask));
    start[0] = segment[0].bytes;
    for (uint32_t i = 1; i <= values; i++) {
        __m256i literal = _mm256_xor_si256(load_32(p + stop[i - 1]), load_32(segment[i].word));
        differs = _mm256_or_si256(differs, _mm256_and_si256(literal, load_32(segment[i].mask)));
        if (i < values) start[i] = stop[i - 1] + segment[i].bytes;
    }
    if (__builtin_expect(!_mm256_testz_si256(differs, differs), 0)) return NULL;
    level->skipped = stop[1] - start[1];
    const uint32_t price = shape->value_of[BW_FIELD_PRICE], quantity = shape->value_of[BW_FIELD_QUANTITY];
    if (!read_numbers(p + start[price], stop[price] - start[price], p + start[quantity],
                      stop[quantity] - start[quantity], level)) {
        return NULL;
    }
    if (values == 2) return next;
    if (shape->fields & 1u << BW_FIELD_SKIP) {
        const uint32_t all = stop[values - 1];
        if (_bzhi_u64(specials_of(p), all)) return NULL;
        if (wide && all > 64 && _bzhi_u64(specials_of(p + 64), all - 64)) return NULL;
    }
    if (shape->fields & 1u << BW_FIELD_ORDERS) {
        const uint32_t i = shape->value_of[BW_FIELD_ORDERS];
        if (take_orders(p + start[i], &level->orders) != p + stop[i]) return NULL;
    }
    if (shape->fields & 1u << BW_FIELD_SIDE) {
        const char *text = p + start[shape->value_of[BW_FIELD_SIDE]];
        bool bid = word_matches(text, plan->side_word[0], plan->side_mask[0]);
        bool ask = word_matches(text, plan->side_word[1], plan->side_mask[1]);
        if (!bid && !ask) return NULL;
        level->side = !bid;
    }
    return next;
}

QUOTED_INLINE __m256i literal_differs(const char *p, const bw_segment_shape *segment) {
    return _mm256_and_si256(_mm256_xor_si256(load_32(p), load_32(segment->word)), load_32(segment->mask));
}

/* An element of a `sided` shape. What stands before the price is as long as the last time, but for the side;
 * so only the numbers' ends must be looked for. Returns behind it, or NULL. */
QUOTED_INLINE const char *take_sided(const bw_level_plan *plan, const bw_level_template *shape, const char *p,
                                     const char *end, quoted_level *level) {
    const bw_segment_shape *segment = shape->segment;
    const uint32_t skipped = shape->skipped;
    if (end - p < 64) return NULL; /* nor may so much be read */
    const char *side = p + segment[0].bytes;
    uint64_t word = load_word(side);
    const bool ask = ((word ^ plan->side_word[1]) & plan->side_mask[1]) == 0;
    const bool bid = ((word ^ plan->side_word[0]) & plan->side_mask[0]) == 0;
    /* nobody can foresee which: no branch */
    const char *behind_side = side + plan->bid_bytes + (ask ? plan->ask_bytes - plan->bid_bytes : 0);
    const char *time = behind_side + segment[1].bytes, *behind_time = time + skipped;
    const char *price = behind_time + segment[2].bytes;
    if (price >= end) return NULL;
    __m256i text = load_32(time);
    __m256i odd = _mm256_or_si256(
        _mm256_or_si256(_mm256_cmpeq_epi8(text, _mm256_set1_epi8('"')),
                        _mm256_cmpeq_epi8(text, _mm256_set1_epi8('\\'))),
        _mm256_cmpeq_epi8(_mm256_min_epu8(text, _mm256_set1_epi8(0x1f)), text));
    const uint64_t quotes = quotes_of(price);
    const uint32_t price_bytes = (uint32_t)_tzcnt_u64(quotes);
    uint64_t rest = quotes;
    for (uint32_t i = shape->closing[2]; i < shape->closing[3]; i++) rest = _blsr_u64(rest);
    const uint32_t stop = (uint32_t)_tzcnt_u64(rest);
    const char *next = price + stop + segment[4].bytes;
    if (!rest || next > end) return NULL;
    __m256i differs = _mm256_or_si256(literal_differs(p, segment), literal_differs(behind_side, segment + 1));
    differs = _mm256_or_si256(differs, literal_differs(behind_time, segment + 2));
    differs = _mm256_or_si256(differs, literal_differs(price + price_bytes, segment + 3));
    differs = _mm256_or_si256(differs, literal_differs(price + stop, segment + 4));
    bool unlike = !_mm256_testz_si256(differs, differs) | !(ask | bid) |
                  (_bzhi_u32((uint32_t)_mm256_movemask_epi8(odd), skipped) != 0);
    if (__builtin_expect(unlike, 0)) return NULL;
    const uint32_t start = price_bytes + segment[3].bytes;
    if (!read_numbers(price, price_bytes, price + start, stop - start, level)) return NULL;
    level->side = !bid;
    return next;
}

#endif
#endif
