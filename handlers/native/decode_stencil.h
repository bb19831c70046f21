/* A level's exact layout, learned from one element and laid over the next ones. Included by decode_levels.h
 * only, AVX2 only.
 *
 * Elements of a list differ in their digits and in how many there are. The places of what is no digit tell
 * an element's layout apart from the others that were learned: they name its stencil, which says what else
 * must be as it was, and how one shuffle puts both numbers' digits in their places. No element is read
 * character by character, and only where the next one begins is waited for. Zeros that only pad belong to
 * what must be as it was, so a number with more digits misses and is learned.
 */
#ifndef BW_DECODE_STENCIL_H
#define BW_DECODE_STENCIL_H

#include "decode_text.h"

#if BW_SIMD_AVX2

#define STENCIL_INLINE static inline __attribute__((always_inline))
#define STENCIL_BLOCK 64u
#define STENCIL_PLACES 16u    /* characters of a number that count, the point too */
#define STENCIL_CREDIT_MAX 4096
#define STENCIL_STEADY_MAX 64
#define STENCIL_CHANGE 4      /* a changed layout costs as much as so many that stay are worth */
#define STENCIL_COST 16       /* of learning, in elements that were read by a stencil */

#if BW_SIMD_AVX512
typedef __m512i stencil_block;
#else
typedef struct stencil_block {
    __m256i low, high;
} stencil_block;
#endif

STENCIL_INLINE stencil_block load_block(const void *at) {
#if BW_SIMD_AVX512
    return _mm512_loadu_si512(at);
#else
    return (stencil_block){load_32(at), load_32((const char *)at + 32)};
#endif
}

#if !BW_SIMD_AVX512
STENCIL_INLINE uint64_t bits_of(__m256i low, __m256i high) {
    return (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32 | (uint32_t)_mm256_movemask_epi8(low);
}
#endif

STENCIL_INLINE uint64_t block_same(stencil_block text, const uint8_t *expected) {
#if BW_SIMD_AVX512
    return _mm512_cmpeq_epi8_mask(text, _mm512_loadu_si512(expected));
#else
    return bits_of(_mm256_cmpeq_epi8(text.low, load_32(expected)),
                   _mm256_cmpeq_epi8(text.high, load_32(expected + 32)));
#endif
}

STENCIL_INLINE uint64_t block_digits(stencil_block text) {
#if BW_SIMD_AVX512
    return _mm512_cmplt_epu8_mask(_mm512_sub_epi8(text, _mm512_set1_epi8('0')), _mm512_set1_epi8(10));
#else
    const __m256i zero = _mm256_set1_epi8('0'), nine = _mm256_set1_epi8(9);
    const __m256i low = _mm256_sub_epi8(text.low, zero), high = _mm256_sub_epi8(text.high, zero);
    return bits_of(_mm256_cmpeq_epi8(_mm256_min_epu8(low, nine), low),
                   _mm256_cmpeq_epi8(_mm256_min_epu8(high, nine), high));
#endif
}

/* Price and quantity of an element that fits; `text` its block that holds them, `p` where that begins. */
STENCIL_INLINE __m128i stencil_read(const bw_stencil *stencil, stencil_block text, const char *p) {
    const __m256i order = load_32(stencil->order);
#if BW_SIMD_AVX512
    const __m512i digit = _mm512_sub_epi8(text, _mm512_set1_epi8('0'));
    const __m256i place = _mm512_castsi512_si256(
        _mm512_maskz_permutexvar_epi8(stencil->taken, _mm512_castsi256_si512(order), digit));
    (void)p;
#else
    const __m128i *price = (const __m128i *)(const void *)(p + stencil->at[0]);
    const __m128i *quantity = (const __m128i *)(const void *)(p + stencil->at[1]);
    const __m256i both = _mm256_set_m128i(_mm_loadu_si128(quantity), _mm_loadu_si128(price));
    const __m256i place = _mm256_shuffle_epi8(_mm256_sub_epi8(both, _mm256_set1_epi8('0')), order);
    (void)text;
#endif
    const __m256i pairs = _mm256_maddubs_epi16(place, _mm256_set1_epi16(0x010a));
    const __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi32(0x00010064));
    const __m256i eights =
        _mm256_madd_epi16(_mm256_packus_epi32(fours, fours), _mm256_set1_epi32(0x00012710));
    const __m128i halves =
        _mm_unpacklo_epi64(_mm256_castsi256_si128(eights), _mm256_extracti128_si256(eights, 1));
    return _mm_add_epi64(_mm_mul_epu32(halves, _mm_set1_epi64x(100000000)), _mm_srli_epi64(halves, 32));
}

/* A count of orders, whose digits the stencil says. */
STENCIL_INLINE uint32_t stencil_orders(const bw_stencil *stencil, const char *p) {
    uint64_t word = (load_word(p + stencil->orders_at) ^ 0x3030303030303030ull) << stencil->orders_shift;
    word = (word * 10 + (word >> 8)) & 0x00ff00ff00ff00ffull;
    word = (word * 100 + (word >> 16)) & 0x0000ffff0000ffffull;
    return (uint32_t)(word * 10000 + (word >> 32));
}

STENCIL_INLINE void stencil_write(bw_wire_level *to, __m128i numbers, uint64_t rest) {
    _Static_assert(offsetof(bw_wire_level, quantity) == 8 && offsetof(bw_wire_level, orders) == 16 &&
                       offsetof(bw_wire_level, price_decimals) == 20 &&
                       offsetof(bw_wire_level, quantity_decimals) == 21, "numbers, then the rest");
    _mm_storeu_si128((__m128i *)(void *)&to->price, numbers);
    memcpy(&to->orders, &rest, sizeof rest);
}

STENCIL_INLINE bw_stencil *stencil_of(bw_decoder *d, uint32_t list, uint64_t others, uint64_t front) {
    const uint64_t key = (others ^ front * 0x9e3779b97f4a7c15ull) + list;
    return &d->stencil[(key * 0xd6e8feb86659fd93ull) >> (64 - BW_STENCIL_BITS)];
}

/* Elements of a list that are read in different ways have stencils of their own. */
STENCIL_INLINE uint32_t kind_of(uint32_t list, bool wide, bool counted) {
    return list | (uint32_t)wide << 8 | (uint32_t)counted << 9;
}

/* What does not change from one element of a list to the next. */
typedef struct stencil_run {
    bw_decoder *d;
    __m256i closer;
    uint32_t list, reach;
} stencil_run;

/* The stencil of the element at p, or NULL when none fits; *bytes of its block. `wide`: the numbers are in
 * the second block. `same`: the one to be tried, NULL for the one its layout names. */
STENCIL_INLINE const bw_stencil *find_stencil(const stencil_run *run, const char *p, const bool wide,
                                              stencil_block text, const bw_stencil *same, uint32_t *bytes) {
    const char *block = wide ? p + STENCIL_BLOCK : p;
    if (same) {
        *bytes = same->bytes;
    } else { /* all that the next element waits for */
        const __m256i closers = _mm256_cmpeq_epi8(load_32(block + run->reach), run->closer);
        *bytes = run->reach + _tzcnt_u32((uint32_t)_mm256_movemask_epi8(closers)) + 1;
    }
    const stencil_block first = wide ? load_block(p) : text;
    const uint64_t others = _bzhi_u64(~block_digits(text), *bytes), front = wide ? ~block_digits(first) : 0;
    const bw_stencil *stencil = same ? same : stencil_of(run->d, run->list, others, front);
    uint64_t differs = (stencil->others ^ others) | (stencil->must & ~block_same(text, stencil->expected));
    differs |= stencil->list ^ run->list;
    if (wide) {
        differs |= stencil->front ^ front;
        differs |= stencil->must_front & ~block_same(first, stencil->expected_front);
    }
    return differs ? NULL : stencil;
}

/* Whether an element's stencil is mostly that of the one before: then that is tried first, and nothing
 * waits. */
STENCIL_INLINE void note_steadiness(bw_level_template *shape, const bw_stencil *last) {
    const int32_t steady = shape->steady + (last == shape->last ? 1 : -STENCIL_CHANGE);
    shape->last = last;
    if (steady >= -STENCIL_STEADY_MAX && steady <= STENCIL_STEADY_MAX) shape->steady = steady;
}

/* Elements from p on by their stencils; returns behind the last of them, or p. */
STENCIL_INLINE const char *take_by_stencils(const level_run *run, const char *p, level_out *out,
                                            uint32_t side, const bool wide, const bool counted,
                                            const bool steady) {
    const char closer = run->plan->shape == BW_SHAPE_ARRAYS ? ']' : '}';
    const stencil_run about = {.d = run->d, .closer = _mm256_set1_epi8(closer),
                               .list = kind_of(run->list, wide, counted), .reach = run->shape->reach};
    /* the list's own bracket, at the least, stands behind an element */
    const char *const end = run->d->end - 1, *const begin = p, *behind = p;
    const bool sided = run->plan->side == BW_LEVELS_BY_FIELD;
    const bw_stencil *last = steady ? run->shape->last : NULL;
    uint32_t left = out->room;
    __m128i most = _mm_setzero_si128();
    while (left && (wide ? end - p >= (ptrdiff_t)STENCIL_BLOCK : p < end)) {
        const char *const block = wide ? p + STENCIL_BLOCK : p;
        const stencil_block text = load_block(block);
        uint32_t bytes;
        const bw_stencil *stencil = steady ? find_stencil(&about, p, wide, text, last, &bytes) : NULL;
        if (!stencil) stencil = find_stencil(&about, p, wide, text, NULL, &bytes);
        if (!stencil || block + bytes > end) break;
        last = stencil;
        const uint64_t orders = counted ? stencil_orders(stencil, block) : 0;
        stencil_write(out->next[sided ? stencil->side : side]++, stencil_read(stencil, text, block),
                      stencil->rest | orders);
        most = _mm_max_epu8(most, _mm_cvtsi64_si128((long long)stencil->rest));
        left--;
        behind = block + bytes;
        if (*behind != ',') break;
        p = behind + 1;
    }
    const uint64_t decimals = (uint64_t)_mm_cvtsi128_si64(most) >> 32;
    most_decimals(out, decimals & 0xff, decimals >> 8 & 0xff);
    if (!wide && !counted && behind != begin) note_steadiness(run->shape, last);
    run->d->stencil_credit += (int32_t)(out->room - left);
    out->room = left;
    return behind;
}

#define STENCIL_APART static __attribute__((noinline)) const char *

STENCIL_APART take_narrow(const level_run *run, const char *p, level_out *out, uint32_t side) {
    return take_by_stencils(run, p, out, side, false, false, false);
}

STENCIL_APART take_steady(const level_run *run, const char *p, level_out *out, uint32_t side) {
    return take_by_stencils(run, p, out, side, false, false, true);
}

STENCIL_APART take_counted(const level_run *run, const char *p, level_out *out, uint32_t side) {
    return take_by_stencils(run, p, out, side, false, true, false);
}

STENCIL_APART take_wide(const level_run *run, const char *p, level_out *out, uint32_t side) {
    return take_by_stencils(run, p, out, side, true, false, false);
}

/* Elements that are alike, from p on; returns behind the last of them, or p. */
static inline const char *take_quick(const level_run *run, const char *p, level_out *out, uint32_t side) {
    const bw_level_template *shape = run->shape;
    if (!shape->stencils) return p;
    if (shape->wide) return take_wide(run, p, out, side);
    if (shape->counted) return take_counted(run, p, out, side);
    return shape->steady > 0 ? take_steady(run, p, out, side) : take_narrow(run, p, out, side);
}

/* -- learning ------------------------------------------------------------------------------------ */

/* The digits in [from, to) of an element whose first or second block begins at `block` may differ. */
static void free_digits(bw_stencil *stencil, const char *block, const char *from, const char *to) {
    for (const char *p = from; p < to; p++) {
        if (!is_digit(*p)) continue;
        if (p >= block) stencil->must &= ~(UINT64_C(1) << (p - block));
        else stencil->must_front &= ~(UINT64_C(1) << (p - block + STENCIL_BLOCK));
    }
}

/* A number of the example: its digits may differ, its padding may not. False if it is no plain decimal, or
 * too long. `known`: the stencil has read such numbers before, perhaps with more decimals. */
static bool learn_number(bw_stencil *stencil, const char *block, const char *from, const char *to,
                         uint32_t which, bool known) {
    const char *point = memchr(from, '.', (size_t)(to - from)), *significant = to;
    for (const char *p = from; p < to; p++)
        if (!is_digit(*p) && p != point) return false;
    if (from == to || point == from || (point && point + 1 == to)) return false;
    while (point && significant[-1] == '0') significant--;
    const uint32_t whole = (uint32_t)((point ? point : to) - from);
    uint32_t places = point && significant > point + 1 ? (uint32_t)(significant - point - 1) : 0;
    if (known && point && stencil->decimals[which] > places) places = stencil->decimals[which];
    if (whole + places + (places != 0) > STENCIL_PLACES) return false;
    free_digits(stencil, block, from, point ? point + 1 + places : to);
    const uint32_t at = BW_SIMD_AVX512 ? (uint32_t)(from - block) : 0, none = STENCIL_PLACES - whole - places;
    for (uint32_t lane = none; lane < STENCIL_PLACES; lane++) {
        const uint32_t digit = lane - none;
        stencil->order[STENCIL_PLACES * which + lane] = (uint8_t)(at + digit + (digit >= whole));
        stencil->taken |= 1u << (STENCIL_PLACES * which + lane);
    }
    stencil->at[which] = (uint8_t)(from - block);
    stencil->decimals[which] = (uint8_t)places;
    return true;
}

static bool learn_orders(bw_stencil *stencil, const char *block, const char *from, const char *to) {
    if (to - from < 1 || to - from > 7) return false;
    for (const char *p = from; p < to; p++)
        if (!is_digit(*p)) return false;
    free_digits(stencil, block, from, to);
    stencil->orders_at = (uint8_t)(from - block);
    stencil->orders_shift = (uint8_t)(64 - 8 * (to - from));
    return true;
}

/* The values of the example by its shape's literals. False if one of them cannot be part of a stencil. */
static bool learn_values(const bw_level_template *shape, bw_stencil *stencil, const char *p,
                         const char *block, bool known) {
    uint32_t fields = 0;
    for (uint32_t i = 0; i < shape->values; i++) {
        const bw_segment_shape *segment = &shape->segment[i];
        const uint32_t field = segment->field;
        const char *from = p + segment->bytes, *to = from;
        const bool quoted = from[-1] == '"', wanted = field != BW_FIELD_SKIP && field != BW_FIELD_SIDE;
        while (quoted ? *to != '"' : *to != ',' && *to != ']' && *to != '}' && (unsigned char)*to > ' ') to++;
        p = to;
        if (field != BW_FIELD_SKIP && fields & 1u << field) return false; /* the last of them counts */
        fields |= 1u << field;
        if (field == BW_FIELD_SIDE) continue; /* which side it is, its text says */
        if (wanted && from < block) return false;
        if (field == BW_FIELD_SKIP) {
            /* of a number that is checked to be one, the first digit may not become 0 */
            if (!quoted && to - from > 1 && (is_digit(*from) || *from == '-')) return false;
            free_digits(stencil, block, from, to);
        } else if (field == BW_FIELD_ORDERS) {
            if (!learn_orders(stencil, block, from, to)) return false;
        } else if (!learn_number(stencil, block, from, to, field == BW_FIELD_QUANTITY, known)) {
            return false;
        }
    }
    return true;
}

/* What the list's elements are like, by the example [element, behind). False if these have no stencils. */
static bool learn_kind(const level_run *run, const char *element, const char *behind) {
    bw_level_template *shape = run->shape;
    const ptrdiff_t bytes = behind - element, left = run->d->end - element;
    shape->wide = bytes > (ptrdiff_t)STENCIL_BLOCK;
    shape->counted = false;
    for (uint32_t i = 0; i < shape->values; i++)
        shape->counted |= shape->segment[i].field == BW_FIELD_ORDERS;
    const ptrdiff_t of_block = shape->wide ? bytes - (ptrdiff_t)STENCIL_BLOCK : bytes;
    shape->reach = (uint8_t)(of_block > 48 ? 32 : of_block > 16 ? of_block - 16 : 0);
    return shape->values && left > bytes && of_block <= (ptrdiff_t)STENCIL_BLOCK &&
           !(shape->wide && shape->counted);
}

/* The element [element, behind), read in the general way, is an example of those that may follow. */
static __attribute__((noinline)) void learn_stencil(const level_run *run, const char *element,
                                                    const char *behind, uint32_t side) {
    bw_decoder *d = run->d;
    bw_level_template *shape = run->shape;
    shape->stencils = learn_kind(run, element, behind);
    if (!shape->stencils || ++d->stencil_credit <= STENCIL_COST) return;
    if (d->stencil_credit > STENCIL_CREDIT_MAX) d->stencil_credit = STENCIL_CREDIT_MAX;
    d->stencil_credit -= STENCIL_COST;
    const char *const block = shape->wide ? element + STENCIL_BLOCK : element;
    const uint32_t bytes = (uint32_t)(behind - block), list = kind_of(run->list, shape->wide, shape->counted);
    const uint64_t others = _bzhi_u64(~block_digits(load_block(block)), bytes);
    const uint64_t front = shape->wide ? ~block_digits(load_block(element)) : 0;
    bw_stencil *stencil = stencil_of(d, list, others, front);
    const bool known = stencil->others == others && stencil->front == front && stencil->list == list;
    bw_stencil made = {.others = others, .front = front, .must = _bzhi_u64(UINT64_MAX, bytes),
                       .must_front = shape->wide ? UINT64_MAX : 0, .list = list, .side = (uint8_t)side,
                       .bytes = (uint8_t)bytes};
    memset(made.order, 0x80, sizeof made.order);
    memcpy(made.decimals, stencil->decimals, sizeof made.decimals);
    memcpy(made.expected, block, STENCIL_BLOCK);
    if (shape->wide) memcpy(made.expected_front, element, STENCIL_BLOCK);
    if (!learn_values(shape, &made, element, block, known)) return;
    made.rest = (uint64_t)made.decimals[0] << 32 | (uint64_t)made.decimals[1] << 40;
    *stencil = made;
}

#endif
#endif
