/* A level's exact layout, learned from one element and laid over the next ones. Included by decode_walk.c
 * only, AVX2 only.
 *
 * Where a venue pads its numbers, most elements of a list have the same bytes but for their digits. One
 * comparison then says that all the rest is as expected, and one shuffle puts both numbers' digits in
 * their places. Zeros that only pad belong to what is expected, so a number with more digits misses.
 */
#ifndef BW_DECODE_STENCIL_H
#define BW_DECODE_STENCIL_H

#include "decode_text.h"

#if BW_SIMD_AVX2

#define STENCIL_TRUST_MAX 64
#define STENCIL_TRUST_MISS 4
#define STENCIL_TRUST_LOST (-100) /* so many lists go without before it is tried again */
#define STENCIL_TRUST_NEW 12
#define STENCIL_MISSES 2          /* in a row: the layout is another now, not a stray element */

static inline __m256i load_32(const void *at) {
    return _mm256_loadu_si256((const __m256i *)at);
}

/* Notes one number of the example: its digits may differ, its padding may not. */
static void stencil_number(bw_stencil *stencil, const char *element, const char *number, const char *behind,
                           uint32_t which, bool same_layout) {
    const char *point = memchr(number, '.', (size_t)(behind - number)), *significant = behind;
    if (point) {
        while (significant[-1] == '0') significant--;
        if (significant == point + 1) significant = point;
    } else {
        point = behind;
    }
    uint32_t whole = (uint32_t)(point - number);
    uint32_t places = significant > point ? (uint32_t)(significant - point - 1) : 0;
    if (same_layout && stencil->whole[which] == whole && stencil->decimals[which] > places) {
        places = stencil->decimals[which]; /* this one happens to end in zeros */
        significant = point + 1 + places;
    }
    uint32_t digits = whole + places;
    stencil->whole[which] = (uint8_t)whole;
    for (const char *p = number; p < behind; p++) {
        if (*p == '.') continue;
        stencil->expected[p - element] = '0';
        stencil->limit[p - element] = p < significant || p < point ? 9 : 0;
    }
    for (uint32_t lane = 0; lane < 16; lane++) {
        uint32_t digit = lane + digits - 16;
        stencil->order[16 * which + lane] = lane + digits < 16 ? 0x80 : (uint8_t)(digit + (digit >= whole));
    }
    stencil->decimals[which] = (uint8_t)places;
    stencil->at[which] = (uint8_t)(number - element);
}

/* Learns from the element [element, behind). Its numbers have at most 16
 * characters that count. */
static void stencil_learn(bw_stencil *stencil, const char *element, const char *behind, const char *price,
                          const char *price_behind, const char *quantity, const char *quantity_behind) {
    size_t bytes = (size_t)(behind - element);
    bool same_layout = stencil->bytes == bytes && stencil->at[0] == price - element &&
                       stencil->at[1] == quantity - element && price_behind - price == stencil->length[0];
    stencil->bytes = 0;
    stencil->length[0] = (uint8_t)(price_behind - price);
    if (bytes > sizeof stencil->expected) return;
    memset(stencil->expected, 0, sizeof stencil->expected);
    memset(stencil->limit, 0xff, sizeof stencil->limit);
    memcpy(stencil->expected, element, bytes);
    memset(stencil->limit, 0, bytes);
    stencil_number(stencil, element, price, price_behind, 0, same_layout);
    stencil_number(stencil, element, quantity, quantity_behind, 1, same_layout);
    stencil->bytes = (uint8_t)bytes;
}

static inline bool stencil_fits(const bw_stencil *stencil, const char *p) {
    __m256i differs = _mm256_xor_si256(load_32(p), load_32(stencil->expected));
    __m256i fits = _mm256_cmpeq_epi8(_mm256_min_epu8(differs, load_32(stencil->limit)), differs);
    if (stencil->bytes > 32) {
        differs = _mm256_xor_si256(load_32(p + 32), load_32(stencil->expected + 32));
        fits = _mm256_and_si256(
            fits, _mm256_cmpeq_epi8(_mm256_min_epu8(differs, load_32(stencil->limit + 32)), differs));
    }
    return _mm256_movemask_epi8(fits) == -1;
}

static inline int64_t join_halves(uint64_t both) {
    return (int64_t)((both & 0xffffffffu) * 100000000u + (both >> 32));
}

/* Two numbers of up to 16 digits: `order` puts each one's to the right end of its 16 lanes. */
static inline void join_digits(__m256i digit, __m256i order, int64_t mantissa[2]) {
    __m256i place = _mm256_shuffle_epi8(digit, order);
    __m256i pairs = _mm256_maddubs_epi16(place, _mm256_set1_epi16(0x010a));
    __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi32(0x00010064));
    __m256i eights = _mm256_madd_epi16(_mm256_packus_epi32(fours, fours), _mm256_set1_epi32(0x00012710));
    mantissa[0] = join_halves((uint64_t)_mm_cvtsi128_si64(_mm256_castsi256_si128(eights)));
    mantissa[1] = join_halves((uint64_t)_mm_cvtsi128_si64(_mm256_extracti128_si256(eights, 1)));
}

/* Both numbers of an element that fits. */
static inline void stencil_read(const bw_stencil *stencil, const char *p, int64_t mantissa[2]) {
    __m128i low = _mm_loadu_si128((const __m128i *)(const void *)(p + stencil->at[0]));
    __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(p + stencil->at[1]));
    __m256i digit = _mm256_sub_epi8(_mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1),
                                    _mm256_set1_epi8('0'));
    join_digits(digit, load_32(stencil->order), mantissa);
}

static inline void stencil_hits(bw_stencil *stencil, size_t hits) {
    if (!hits) return;
    size_t trust = (size_t)stencil->trust + hits;
    stencil->trust = trust < STENCIL_TRUST_MAX ? (int32_t)trust : STENCIL_TRUST_MAX;
    stencil->misses = 0;
}

/* Whether to try the stencil on this list. */
static inline bool stencil_trusted(bw_stencil *stencil) {
    if (stencil->trust >= 0) return true;
    if (++stencil->trust == 0) stencil->trust = STENCIL_TRUST_NEW;
    return false;
}

/* True when the element that missed is to be learned: it has more digits in the same places, or it is not
 * the first of another layout. */
static inline bool stencil_miss(bw_stencil *stencil, size_t bytes) {
    if (!stencil->bytes) return true;
    stencil->trust -= STENCIL_TRUST_MISS;
    if (stencil->trust < 0) stencil->trust = STENCIL_TRUST_LOST;
    if (++stencil->misses < STENCIL_MISSES && stencil->bytes != bytes) return false;
    stencil->misses = 0;
    return stencil->trust >= 0;
}

#endif
#endif
