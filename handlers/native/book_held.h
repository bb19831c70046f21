/* A chunk held in registers while levels of one message change it. Included by book_batch.c only, AVX-512
 * only.
 *
 * Whether a level is new, gone or only changed is as good as random, so no branch asks for it: quantities
 * are changed in place, and what comes and what goes is noted. Then the levels to be taken out are, and
 * those to be put in: each moves what lies above its place by a lane.
 */
#ifndef BW_BOOK_HELD_H
#define BW_BOOK_HELD_H

#include "book_parts.h"

#define BW_VECTORS (BW_CHUNK_LEVELS / BW_LANES)

_Static_assert(BW_CHUNK_LEVELS == 32, "masks of places have 32 bits");

typedef struct bw_held {
    __m512i key[BW_VECTORS], quantity[BW_VECTORS];
    __m512i orders[BW_VECTORS / 2];
} bw_held;

BW_INLINE void bw_held_load(bw_held *held, const bw_chunk *chunk, bool orders) {
    for (uint32_t i = 0; i < BW_VECTORS; i++) {
        held->key[i] = _mm512_load_si512(chunk->key + BW_LANES * i);
        held->quantity[i] = _mm512_load_si512(chunk->quantity + BW_LANES * i);
    }
    for (uint32_t i = 0; orders && i < BW_VECTORS / 2; i++)
        held->orders[i] = _mm512_load_si512(chunk->orders + 2 * BW_LANES * i);
}

BW_INLINE void bw_held_store(const bw_held *held, bw_chunk *chunk, bool orders) {
    for (uint32_t i = 0; i < BW_VECTORS; i++) {
        _mm512_store_si512(chunk->key + BW_LANES * i, held->key[i]);
        _mm512_store_si512(chunk->quantity + BW_LANES * i, held->quantity[i]);
    }
    for (uint32_t i = 0; orders && i < BW_VECTORS / 2; i++)
        _mm512_store_si512(chunk->orders + 2 * BW_LANES * i, held->orders[i]);
}

/* Gives the level its new quantity if it is held, and says whether it is. */
BW_INLINE bool bw_held_change(bw_held *held, int64_t key, int64_t quantity, uint32_t orders,
                              bool with_orders) {
    const __m512i wanted = _mm512_set1_epi64(key), new_quantity = _mm512_set1_epi64(quantity);
    __mmask8 same[BW_VECTORS];
    for (uint32_t i = 0; i < BW_VECTORS; i++) {
        same[i] = _mm512_cmpeq_epi64_mask(held->key[i], wanted);
        held->quantity[i] = _mm512_mask_mov_epi64(held->quantity[i], same[i], new_quantity);
    }
    for (uint32_t i = 0; with_orders && i < BW_VECTORS / 2; i++) {
        __mmask16 both = _mm512_kunpackb(same[2 * i + 1], same[2 * i]);
        held->orders[i] = _mm512_mask_set1_epi32(held->orders[i], both, (int)orders);
    }
    return _mm512_kor(_mm512_kor(same[0], same[1]), _mm512_kor(same[2], same[3])) != 0;
}

/* Lanes from the level's place on, of each vector. */
BW_INLINE void bw_held_from(const bw_held *held, __m512i key, __mmask8 from[BW_VECTORS]) {
    for (uint32_t i = 0; i < BW_VECTORS; i++) from[i] = _mm512_cmpge_epi64_mask(held->key[i], key);
}

/* Takes out a level that is held: those above it come down by a lane. */
BW_INLINE void bw_held_take_out(bw_held *held, int64_t key, bool with_orders) {
    const __m512i none = _mm512_set1_epi64(BW_KEY_NONE);
    __mmask8 from[BW_VECTORS];
    bw_held_from(held, _mm512_set1_epi64(key), from);
    for (uint32_t i = 0; i < BW_VECTORS; i++) {
        const bool last = i + 1 == BW_VECTORS;
        const __m512i key_next = last ? none : held->key[i + 1];
        const __m512i quantity_next = last ? none : held->quantity[i + 1];
        held->key[i] = _mm512_mask_alignr_epi64(held->key[i], from[i], key_next, held->key[i], 1);
        held->quantity[i] =
            _mm512_mask_alignr_epi64(held->quantity[i], from[i], quantity_next, held->quantity[i], 1);
    }
    if (!with_orders) return;
    const __m512i low = held->orders[0], high = held->orders[1];
    held->orders[0] = _mm512_mask_alignr_epi32(low, _mm512_kunpackb(from[1], from[0]), high, low, 1);
    held->orders[1] = _mm512_mask_alignr_epi32(high, _mm512_kunpackb(from[3], from[2]), none, high, 1);
}

/* Puts in a level that is not held, where there is room: those above its place go up by a lane. */
BW_INLINE void bw_held_put_in(bw_held *held, int64_t key, int64_t quantity, uint32_t orders,
                              bool with_orders) {
    const __m512i new_key = _mm512_set1_epi64(key), new_quantity = _mm512_set1_epi64(quantity);
    __mmask8 from[BW_VECTORS], here[BW_VECTORS];
    __m512i key_before = new_key, quantity_before = new_quantity;
    bw_held_from(held, new_key, from);
    for (uint32_t i = 0; i < BW_VECTORS; i++) {
        const __m512i old_key = held->key[i], old_quantity = held->quantity[i];
        /* only at the new level's own place what comes up has a lower key */
        held->key[i] = _mm512_mask_max_epi64(old_key, from[i], new_key,
                                             _mm512_alignr_epi64(old_key, key_before, 7));
        here[i] = _mm512_cmpeq_epi64_mask(held->key[i], new_key);
        held->quantity[i] =
            _mm512_mask_alignr_epi64(old_quantity, from[i], old_quantity, quantity_before, 7);
        held->quantity[i] = _mm512_mask_mov_epi64(held->quantity[i], here[i], new_quantity);
        key_before = old_key;
        quantity_before = old_quantity;
    }
    if (!with_orders) return;
    const __m512i new_orders = _mm512_set1_epi32((int)orders), low = held->orders[0], high = held->orders[1];
    const __mmask16 from_low = _mm512_kunpackb(from[1], from[0]);
    const __mmask16 from_high = _mm512_kunpackb(from[3], from[2]);
    const __m512i up_low = _mm512_mask_alignr_epi32(low, from_low, low, new_orders, 15);
    const __m512i up_high = _mm512_mask_alignr_epi32(high, from_high, high, low, 15);
    held->orders[0] = _mm512_mask_mov_epi32(up_low, _mm512_kunpackb(here[1], here[0]), new_orders);
    held->orders[1] = _mm512_mask_mov_epi32(up_high, _mm512_kunpackb(here[3], here[2]), new_orders);
}

#endif
