/* Where a key stands in a chunk of ascending keys and in a side's directory, and how what lies above
 * it moves. Two ways with the same result: AVX2 when compiled for it, plain C otherwise.
 *
 * Keys behind a chunk's count are BW_KEY_NONE, so a search needs no count and has no branch that could
 * be mispredicted. A chunk's arrays are 64-byte aligned, and a move may read (never write) one element
 * past the last: for keys and quantities that is the next array of the same chunk.
 */
#ifndef BW_BOOK_SEARCH_H
#define BW_BOOK_SEARCH_H

#include "book.h"

#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define BW_KEY_NONE INT64_MAX
#define BW_INLINE static inline __attribute__((always_inline))

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

#if defined(__AVX512F__) && defined(__AVX512BW__)

/* How many of the chunk's keys are below the wanted one. */
BW_INLINE uint32_t bw_chunk_below(const int64_t *key, int64_t wanted) {
    __m512i limit = _mm512_set1_epi64(wanted);
    uint64_t below = 0;
    for (uint32_t i = 0; i < BW_CHUNK_LEVELS / 8; i++)
        below |= (uint64_t)_mm512_cmpgt_epi64_mask(limit, _mm512_load_si512(key + 8 * i)) << (8 * i);
    return (uint32_t)__builtin_popcountll(below);
}

#define BW_LANES 8u
#define BW_VECTORS (BW_CHUNK_LEVELS / BW_LANES)

/* Makes place `at` of `count` free for a level: what lies above moves up by one. All vectors, always: a
 * mispredicted end of a loop would cost more than the stores it saves. */
BW_INLINE void bw_shift_in(bw_chunk *chunk, uint32_t at, uint32_t count, int64_t key, int64_t quantity) {
    (void)at, (void)count;
    __m512i new_key = _mm512_set1_epi64(key), new_quantity = _mm512_set1_epi64(quantity);
    __m512i key_below = new_key, quantity_below = new_quantity;
    for (uint32_t i = 0; i < BW_CHUNK_LEVELS; i += 8) {
        __m512i key_here = _mm512_load_si512(chunk->key + i);
        __m512i quantity_here = _mm512_load_si512(chunk->quantity + i);
        __mmask8 above = _mm512_cmpgt_epi64_mask(key_here, new_key);
        __m512i old_key = _mm512_mask_mov_epi64(new_key, above, key_here);
        __m512i old_quantity = _mm512_mask_mov_epi64(new_quantity, above, quantity_here);
        /* whole vectors, not masked stores: the next search loads them, and can be given only whole ones */
        _mm512_store_si512(chunk->key + i, _mm512_mask_alignr_epi64(key_here, above, old_key, key_below, 7));
        _mm512_store_si512(chunk->quantity + i,
                           _mm512_mask_alignr_epi64(quantity_here, above, old_quantity, quantity_below, 7));
        key_below = old_key;
        quantity_below = old_quantity;
    }
}

/* Takes place `at` of `count` out: what lies above moves down by one. */
BW_INLINE void bw_shift_out(bw_chunk *chunk, uint32_t at, uint32_t count) {
    (void)count;
    const __m512i none = _mm512_set1_epi64(BW_KEY_NONE);
    __m512i gone = _mm512_set1_epi64(chunk->key[at]);
    __m512i old_key = _mm512_load_si512(chunk->key), old_quantity = _mm512_load_si512(chunk->quantity);
    for (uint32_t i = 0; i < BW_CHUNK_LEVELS; i += 8) {
        bool last = i + 8 == BW_CHUNK_LEVELS;
        __m512i key_above = last ? none : _mm512_load_si512(chunk->key + i + 8);
        __m512i quantity_above = last ? none : _mm512_load_si512(chunk->quantity + i + 8);
        __mmask8 moved = _mm512_cmpge_epi64_mask(old_key, gone);
        _mm512_store_si512(chunk->key + i, _mm512_mask_alignr_epi64(old_key, moved, key_above, old_key, 1));
        _mm512_store_si512(chunk->quantity + i,
                           _mm512_mask_alignr_epi64(old_quantity, moved, quantity_above, old_quantity, 1));
        old_key = key_above;
        old_quantity = quantity_above;
    }
}

#elif defined(__AVX2__)

/* How many of the chunk's keys are below the wanted one. */
BW_INLINE uint32_t bw_chunk_below(const int64_t *key, int64_t wanted) {
    __m256i limit = _mm256_set1_epi64x(wanted);
    __m256i sum[4] = {0};
    for (uint32_t i = 0; i < BW_CHUNK_LEVELS; i += 16)
        for (uint32_t lane = 0; lane < 4; lane++) {
            __m256i four = _mm256_load_si256((const __m256i *)(key + i + 4 * lane));
            sum[lane] = _mm256_sub_epi64(sum[lane], _mm256_cmpgt_epi64(limit, four));
        }
    __m256i all = _mm256_add_epi64(_mm256_add_epi64(sum[0], sum[1]), _mm256_add_epi64(sum[2], sum[3]));
    __m128i half = _mm_add_epi64(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    return (uint32_t)(_mm_cvtsi128_si64(half) + _mm_extract_epi64(half, 1));
}

/* Makes place `at` of `count` free for a level: what lies above moves up by one. */
BW_INLINE __m256i bw_lane_in(__m256i old, __m256i above, __m256i here, int64_t value) {
    const __m256i up = _mm256_setr_epi32(0, 1, 0, 1, 2, 3, 4, 5);
    __m256i mixed = _mm256_blendv_epi8(old, _mm256_permutevar8x32_epi32(old, up), above);
    return _mm256_blendv_epi8(mixed, _mm256_set1_epi64x(value), here);
}

BW_INLINE void bw_shift_in(bw_chunk *chunk, uint32_t at, uint32_t count, int64_t key, int64_t quantity) {
    uint32_t first = at & ~3u;
    __m256i *keys = (__m256i *)(void *)(chunk->key + first), *quantities = (void *)(chunk->quantity + first);
    for (uint32_t i = count & ~3u; i > first; i -= 4) {
        __m256i *to_key = (void *)(chunk->key + i), *to_quantity = (void *)(chunk->quantity + i);
        _mm256_store_si256(to_key, _mm256_loadu_si256((const void *)(chunk->key + i - 1)));
        _mm256_store_si256(to_quantity, _mm256_loadu_si256((const void *)(chunk->quantity + i - 1)));
    }
    __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3), place = _mm256_set1_epi64x(at & 3);
    __m256i above = _mm256_cmpgt_epi64(lane, place), here = _mm256_cmpeq_epi64(lane, place);
    _mm256_store_si256(keys, bw_lane_in(_mm256_load_si256(keys), above, here, key));
    _mm256_store_si256(quantities, bw_lane_in(_mm256_load_si256(quantities), above, here, quantity));
}

/* Takes place `at` of `count` out: what lies above moves down by one. */
BW_INLINE void bw_shift_out(bw_chunk *chunk, uint32_t at, uint32_t count) {
    uint32_t first = at & ~3u;
    __m256i *keys = (__m256i *)(void *)(chunk->key + first), *quantities = (void *)(chunk->quantity + first);
    __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3), place = _mm256_set1_epi64x(at & 3);
    __m256i stay = _mm256_cmpgt_epi64(place, lane);
    __m256i next_keys = _mm256_loadu_si256((const void *)(chunk->key + first + 1));
    __m256i next_quantities = _mm256_loadu_si256((const void *)(chunk->quantity + first + 1));
    _mm256_store_si256(keys, _mm256_blendv_epi8(next_keys, _mm256_load_si256(keys), stay));
    _mm256_store_si256(quantities, _mm256_blendv_epi8(next_quantities, _mm256_load_si256(quantities), stay));
    for (uint32_t i = first + 4; i < count; i += 4) {
        __m256i *to_key = (void *)(chunk->key + i), *to_quantity = (void *)(chunk->quantity + i);
        _mm256_store_si256(to_key, _mm256_loadu_si256((const void *)(chunk->key + i + 1)));
        _mm256_store_si256(to_quantity, _mm256_loadu_si256((const void *)(chunk->quantity + i + 1)));
    }
    chunk->key[count - 1] = BW_KEY_NONE;
    chunk->key[BW_CHUNK_LEVELS - 1] = BW_KEY_NONE; /* got what stands behind the keys */
}

#else

BW_INLINE uint32_t bw_chunk_below(const int64_t *key, int64_t wanted) {
    const int64_t *at = key;
    for (uint32_t half = BW_CHUNK_LEVELS / 2; half; half /= 2) at += at[half - 1] < wanted ? half : 0;
    return (uint32_t)(at - key) + (*at < wanted);
}

BW_INLINE void bw_shift_in(bw_chunk *chunk, uint32_t at, uint32_t count, int64_t key, int64_t quantity) {
    memmove(chunk->key + at + 1, chunk->key + at, (count - at) * sizeof *chunk->key);
    memmove(chunk->quantity + at + 1, chunk->quantity + at, (count - at) * sizeof *chunk->quantity);
    chunk->key[at] = key;
    chunk->quantity[at] = quantity;
}

BW_INLINE void bw_shift_out(bw_chunk *chunk, uint32_t at, uint32_t count) {
    memmove(chunk->key + at, chunk->key + at + 1, (count - at - 1) * sizeof *chunk->key);
    memmove(chunk->quantity + at, chunk->quantity + at + 1, (count - at - 1) * sizeof *chunk->quantity);
    chunk->key[count - 1] = BW_KEY_NONE;
}

#endif
#endif
