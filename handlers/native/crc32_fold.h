/* The steps of CRC-32 by carry-less multiplication, for crc32.c and who computes remainders in registers. */
#ifndef BW_CRC32_FOLD_H
#define BW_CRC32_FOLD_H

#include "crc32.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define BW_CLMUL __attribute__((target("pclmul,sse4.1")))

/* 16 bytes moved up by as far as `by` says, and those that come there. */
static inline BW_CLMUL __m128i bw_crc32_fold(__m128i x, __m128i by, __m128i next) {
    return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(x, by, 0x00), _mm_clmulepi64_si128(x, by, 0x11)),
                         next);
}

/* Three steps from 16 bytes, into which all before them were folded, to what they leave: 12 bytes, 8 and 4,
 * each with the same remainder. */
static inline BW_CLMUL __m128i bw_crc32_to_12(__m128i one) {
    const __m128i by_16 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
    return _mm_xor_si128(_mm_srli_si128(one, 8), _mm_clmulepi64_si128(one, by_16, 0x10));
}

static inline BW_CLMUL __m128i bw_crc32_to_8(__m128i one) {
    const __m128i by_8 = _mm_set_epi64x(0, 0x0163cd6124), low = _mm_setr_epi32(-1, 0, -1, 0);
    return _mm_xor_si128(_mm_clmulepi64_si128(_mm_and_si128(one, low), by_8, 0x00), _mm_srli_si128(one, 4));
}

static inline BW_CLMUL uint32_t bw_crc32_to_4(__m128i one) {
    const __m128i barrett = _mm_set_epi64x(0x01f7011641, 0x01db710641), low = _mm_setr_epi32(-1, 0, -1, 0);
    __m128i quotient = _mm_and_si128(_mm_clmulepi64_si128(_mm_and_si128(one, low), barrett, 0x10), low);
    one = _mm_xor_si128(one, _mm_clmulepi64_si128(quotient, barrett, 0x00));
    return (uint32_t)_mm_extract_epi32(one, 1);
}

/* What 32 bytes leave when divided by the polynomial, as bw_crc32_joined() wants it. Zeros in front make no
 * difference: a shorter text stands at the end, behind zeros. */
static inline BW_CLMUL uint64_t bw_crc32_remainder(__m128i first, __m128i second) {
    const __m128i by_16 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
    return (uint64_t)_mm_cvtsi128_si64(bw_crc32_to_8(bw_crc32_to_12(bw_crc32_fold(first, by_16, second))));
}
#endif

#endif
