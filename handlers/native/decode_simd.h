/* The few byte-parallel steps of the decoder: with AVX2 where the file is compiled for it, else plain C.
 *
 * Every function may read up to 64 bytes from its pointer; callers keep within the frame's padding.
 */
#ifndef BW_DECODE_SIMD_H
#define BW_DECODE_SIMD_H

#include "decode_state.h"

#include <string.h>

#if defined(__AVX2__) && defined(__BMI2__)
#include <immintrin.h>
#define BW_SIMD_AVX2 1
#else
#define BW_SIMD_AVX2 0
#endif
#if BW_SIMD_AVX2 && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512VBMI__)
#define BW_SIMD_AVX512 1
#else
#define BW_SIMD_AVX512 0
#endif

static inline uint64_t load_word(const char *p) {
    uint64_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static inline bool is_digit(char c) {
    return (unsigned char)(c - '0') <= 9;
}

static inline bool key_matches(const char *p, const bw_trie_key *key) {
    uint64_t differs = ((load_word(p) ^ key->head[0]) & key->mask[0]) |
                       ((load_word(p + 8) ^ key->head[1]) & key->mask[1]);
    if (differs) return false;
    return key->quoted_bytes <= BW_KEY_HEAD_BYTES ||
           memcmp(p + BW_KEY_HEAD_BYTES, key->quoted + BW_KEY_HEAD_BYTES,
                  key->quoted_bytes - BW_KEY_HEAD_BYTES) == 0;
}

static inline bool word_matches(const char *p, uint64_t word, uint64_t mask) {
    return ((load_word(p) ^ word) & mask) == 0;
}

#if BW_SIMD_AVX2

static inline __m256i load_32(const void *at) {
    return _mm256_loadu_si256((const __m256i *)at);
}

static inline bool literal_matches(const char *p, const bw_segment_shape *segment) {
    __m256i text = _mm256_loadu_si256((const __m256i *)(const void *)p);
    __m256i word = _mm256_loadu_si256((const __m256i *)(const void *)segment->word);
    __m256i mask = _mm256_loadu_si256((const __m256i *)(const void *)segment->mask);
    return _mm256_testz_si256(_mm256_xor_si256(text, word), mask);
}

/* First quote, backslash or control character from p on; `end` if none stands before it. */
static inline const char *find_string_stop(const char *p, const char *end) {
    const __m256i quote = _mm256_set1_epi8('"'), slash = _mm256_set1_epi8('\\');
    const __m256i control = _mm256_set1_epi8(0x1f);
    for (; p < end; p += 32) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)p);
        __m256i hit = _mm256_or_si256(_mm256_or_si256(_mm256_cmpeq_epi8(v, quote),
                                                      _mm256_cmpeq_epi8(v, slash)),
                                      _mm256_cmpeq_epi8(_mm256_min_epu8(v, control), v));
        uint32_t bits = (uint32_t)_mm256_movemask_epi8(hit);
        if (bits) {
            p += _tzcnt_u32(bits);
            return p < end ? p : end;
        }
    }
    return end;
}

/* First quote or bracket of any kind from p on. */
static inline const char *find_structure(const char *p, const char *end) {
    const __m256i quote = _mm256_set1_epi8('"'), fold = _mm256_set1_epi8(0x20);
    const __m256i open = _mm256_set1_epi8('{'), close = _mm256_set1_epi8('}');
    for (; p < end; p += 32) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)p);
        __m256i folded = _mm256_or_si256(v, fold); /* '[' and '{', ']' and '}' differ in this bit */
        __m256i hit = _mm256_or_si256(
            _mm256_cmpeq_epi8(v, quote),
            _mm256_or_si256(_mm256_cmpeq_epi8(folded, open), _mm256_cmpeq_epi8(folded, close)));
        uint32_t bits = (uint32_t)_mm256_movemask_epi8(hit);
        if (bits) {
            p += _tzcnt_u32(bits);
            return p < end ? p : end;
        }
    }
    return end;
}

/* Behind the whole number at p, or NULL if it is none, or one of more than 20 digits. */
static inline const char *skip_whole(const char *p, const char *end) {
    __m256i text = _mm256_loadu_si256((const __m256i *)(const void *)p);
    __m256i digit = _mm256_sub_epi8(text, _mm256_set1_epi8('0'));
    __m256i is_num = _mm256_cmpeq_epi8(_mm256_min_epu8(digit, _mm256_set1_epi8(9)), digit);
    uint32_t count = _tzcnt_u32(~(uint32_t)_mm256_movemask_epi8(is_num));
    const char *behind = p + count;
    if (count - 1u >= 20u || behind > end || (*p == '0' && count > 1)) return NULL;
    return *behind == '.' || (*behind | 0x20) == 'e' ? NULL : behind;
}

/* For shuffles that set digits right-aligned and leave the point out. */
static const int8_t digit_window[32] = {-16, -15, -14, -13, -12, -11, -10, -9, -8, -7, -6, -5, -4, -3, -2, -1,
                                        0,   1,   2,   3,   4,   5,   6,   7,  8,  9,  10, 11, 12, 13, 14,
                                        15};
static const int8_t point_window[32] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

static inline __m128i load_window(const int8_t *at) {
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

/* Plain decimal at p (digits, perhaps one point, no sign or exponent) of up to 16 significant places:
 * the character behind it, or NULL when it is none of these and must go the slow way. The caller sees to
 * it that what stands behind is no digit. */
static inline const char *scan_decimal(const char *p, int64_t *mantissa, uint8_t *decimals) {
    __m256i text = _mm256_loadu_si256((const __m256i *)(const void *)p);
    __m256i digit = _mm256_sub_epi8(text, _mm256_set1_epi8('0'));
    __m256i is_num = _mm256_cmpeq_epi8(_mm256_min_epu8(digit, _mm256_set1_epi8(9)), digit);
    uint32_t points = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(text, _mm256_set1_epi8('.')));
    uint32_t digits = (uint32_t)_mm256_movemask_epi8(is_num);
    uint32_t zeros = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(digit, _mm256_setzero_si256()));
    uint32_t bytes = _tzcnt_u32(~(digits | points));
    points = _bzhi_u32(points, bytes);
    uint32_t point = (uint32_t)_tzcnt_u64(points | 1ull << bytes);
    uint32_t significant = 63u - (uint32_t)_lzcnt_u64(_bzhi_u32(digits & ~zeros, bytes) | 1ull << point);
    uint32_t places = significant - point;
    uint32_t taken = significant + (places != 0);
    /* a number that fills all 32 bytes may go on: then the literal behind it cannot fit */
    uint32_t odd = (points & (points - 1u)) | (point == 0) | (point + 1 == bytes) | (taken > 16u);
    if (__builtin_expect(odd != 0, 0)) return NULL;
    __m128i order = _mm_add_epi8(load_window(digit_window + significant), load_window(point_window + places));
    __m128i place = _mm_shuffle_epi8(_mm256_castsi256_si128(digit), order);
    const __m128i tens = _mm_set1_epi16(0x010a);
    const __m128i hundreds = _mm_set1_epi32(0x00010064);
    const __m128i myriads = _mm_set1_epi32(0x00012710);
    __m128i pairs = _mm_madd_epi16(_mm_maddubs_epi16(place, tens), hundreds);
    __m128i eights = _mm_madd_epi16(_mm_packus_epi32(pairs, pairs), myriads);
    uint64_t both = (uint64_t)_mm_cvtsi128_si64(eights);
    *mantissa = (int64_t)((uint32_t)both * 100000000ull + (both >> 32));
    *decimals = (uint8_t)places;
    return p + bytes;
}

#else

static inline const char *skip_whole(const char *p, const char *end) {
    (void)p, (void)end;
    return NULL; /* the grammar's own way is as quick */
}

static inline bool literal_matches(const char *p, const bw_segment_shape *segment) {
    uint64_t differs = (load_word(p) ^ segment->word[0]) & segment->mask[0];
    if (segment->bytes > 8) {
        for (uint32_t i = 1; i < 4; i++)
            differs |= (load_word(p + 8 * i) ^ segment->word[i]) & segment->mask[i];
    }
    return differs == 0;
}

/* High bit set in each byte that equals `c`; exact up to the lowest one set. */
static inline uint64_t bytes_equal(uint64_t word, unsigned char c) {
    uint64_t x = word ^ (0x0101010101010101ull * c);
    return (x - 0x0101010101010101ull) & ~x & 0x8080808080808080ull;
}

static inline const char *find_string_stop(const char *p, const char *end) {
    for (; p < end; p += 8) {
        uint64_t word = load_word(p);
        uint64_t control = (word - 0x2020202020202020ull) & ~word & 0x8080808080808080ull;
        uint64_t hit = bytes_equal(word, '"') | bytes_equal(word, '\\') | control;
        if (hit) {
            while (*p != '"' && *p != '\\' && (unsigned char)*p >= 0x20) p++;
            return p < end ? p : end;
        }
    }
    return end;
}

static inline const char *find_structure(const char *p, const char *end) {
    for (; p < end; p += 8) {
        uint64_t word = load_word(p);
        uint64_t folded = word | 0x2020202020202020ull;
        uint64_t hit = bytes_equal(word, '"') | bytes_equal(folded, '{') | bytes_equal(folded, '}');
        if (hit) {
            while (*p != '"' && (*p | 0x20) != '{' && (*p | 0x20) != '}') p++;
            return p < end ? p : end;
        }
    }
    return end;
}

static inline const char *scan_decimal(const char *p, int64_t *mantissa, uint8_t *decimals) {
    const char *start = p, *point = NULL;
    uint64_t value = 0, zeros = 0;
    uint32_t taken = 0;
    for (; p - start < 32; p++) {
        unsigned digit = (unsigned char)(*p - '0');
        if (digit == 0) {
            zeros++;
        } else if (digit <= 9) {
            taken += (uint32_t)zeros + 1;
            if (taken > 17) return NULL;
            for (; zeros; zeros--) value *= 10;
            value = value * 10 + digit;
        } else if (*p == '.' && !point && p > start) {
            point = p;
            taken += (uint32_t)zeros;
            if (taken > 17) return NULL;
            /* zeros before the point count, those behind may be padding */
            for (; zeros; zeros--) value *= 10;
        } else {
            break;
        }
    }
    if (p == start || p - start > 31 || (point && p == point + 1)) return NULL;
    if (!point) {
        if (taken + zeros > 17) return NULL;
        for (; zeros; zeros--) value *= 10;
        point = p - 1;
    }
    *mantissa = (int64_t)value;
    *decimals = (uint8_t)((uint64_t)(p - point - 1) - zeros);
    return p;
}

#endif
#endif
