/* Where a key stands: in a chunk of 64 ascending keys, and in a side's directory of chunks.
 *
 * Keys behind a chunk's count are BW_KEY_NONE, so a search needs no count and has no branch to
 * mispredict. Two ways with the same result: AVX2 compares all keys at once, the portable one halves.
 * bw_book_set() is compiled for both and picks one at start.
 */
#ifndef BW_BOOK_SEARCH_H
#define BW_BOOK_SEARCH_H

#include "book.h"

#define BW_KEY_NONE INT64_MAX
#define BW_INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__)
#include <immintrin.h>
#define BW_AVX2 __attribute__((target("avx2")))

BW_INLINE BW_AVX2 uint32_t bw_lane_sum(__m256i lanes) {
    __m128i half = _mm_add_epi64(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
    return (uint32_t)(_mm_cvtsi128_si64(half) + _mm_extract_epi64(half, 1));
}

/* How many of the chunk's keys are below the wanted one. */
BW_INLINE BW_AVX2 uint32_t bw_chunk_below_avx2(const int64_t *key, int64_t wanted) {
    __m256i limit = _mm256_set1_epi64x(wanted);
    __m256i sum[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (uint32_t i = 0; i < BW_CHUNK_LEVELS; i += 8)
        for (uint32_t lane = 0; lane < 2; lane++) {
            __m256i four = _mm256_loadu_si256((const __m256i *)(key + i + 4 * lane));
            sum[lane] = _mm256_sub_epi64(sum[lane], _mm256_cmpgt_epi64(limit, four));
        }
    return bw_lane_sum(_mm256_add_epi64(sum[0], sum[1]));
}

/* Of `BW_WINDOW` entries from `from`: how many begin at or below the wanted key. */
#define BW_WINDOW 32u
BW_INLINE BW_AVX2 uint32_t bw_window_below_avx2(const bw_directory_entry *from, int64_t wanted) {
    const __m256i keys = _mm256_setr_epi64x(-1, 0, -1, 0); /* an entry is its key, then index and count */
    __m256i limit = _mm256_set1_epi64x(wanted);
    __m256i above[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (uint32_t i = 0; i < BW_WINDOW; i += 4)
        for (uint32_t lane = 0; lane < 2; lane++) {
            __m256i two = _mm256_loadu_si256((const __m256i *)(from + i + 2 * lane));
            above[lane] = _mm256_sub_epi64(above[lane], _mm256_cmpgt_epi64(two, limit));
        }
    return BW_WINDOW - bw_lane_sum(_mm256_and_si256(_mm256_add_epi64(above[0], above[1]), keys));
}
#endif

BW_INLINE uint32_t bw_chunk_below_plain(const int64_t *key, int64_t wanted) {
    const int64_t *at = key;
    for (uint32_t half = BW_CHUNK_LEVELS / 2; half; half /= 2) at += at[half - 1] < wanted ? half : 0;
    return (uint32_t)(at - key) + (*at < wanted);
}

/* The last entry that begins at or below the wanted key; the first where none does. count >= 1. */
BW_INLINE uint32_t bw_directory_find(const bw_directory_entry *entry, uint32_t count, int64_t wanted) {
    uint32_t at = 0;
    for (uint32_t rest = count; rest > 1;) {
        uint32_t half = rest / 2;
        at += entry[at + half].low_key <= wanted ? half : 0;
        rest -= half;
    }
    return at;
}

#endif
