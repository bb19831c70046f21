/* A chunk held in registers while levels of one message change it. Included by book_batch.c only, AVX-512
 * only.
 *
 * Whether a level is new, gone or only changed is as good as random, so no branch asks for it: one
 * permutation moves what lies above its place up, down or not at all.
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

enum bw_move { BW_MOVE_IN, BW_MOVE_OUT };

/* Where each lane comes from: the one below (a level comes), the one above (one leaves). Numbers from 8
 * (16) on are lanes of the neighbour. */
static const alignas(64) int64_t bw_moves[2][8] = {{15, 0, 1, 2, 3, 4, 5, 6}, {1, 2, 3, 4, 5, 6, 7, 8}};
static const alignas(64) int32_t bw_moves_of_orders[2][16] = {
    {31, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14},
    {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

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
        __mmask16 both = (__mmask16)((uint32_t)same[2 * i] | (uint32_t)same[2 * i + 1] << BW_LANES);
        held->orders[i] = _mm512_mask_set1_epi32(held->orders[i], both, (int)orders);
    }
    return _mm512_kor(_mm512_kor(same[0], same[1]), _mm512_kor(same[2], same[3])) != 0;
}

/* Puts in a level that is not held or takes out one that is. */
BW_INLINE void bw_held_move(bw_held *held, enum bw_move move, int64_t key, int64_t quantity, uint32_t orders,
                            bool with_orders) {
    const __m512i order = _mm512_load_si512(bw_moves[move]);
    const __m512i new_key = _mm512_set1_epi64(key), new_quantity = _mm512_set1_epi64(quantity);
    const __mmask8 in = move == BW_MOVE_IN ? 0xff : 0;
    __mmask8 from[BW_VECTORS], here[BW_VECTORS];
    __m512i key_below = new_key, quantity_below = new_quantity;
    for (uint32_t i = 0; i < BW_VECTORS; i++) {
        const bool last = i + 1 == BW_VECTORS;
        __m512i old_key = held->key[i], old_quantity = held->quantity[i];
        __m512i key_next = last ? _mm512_set1_epi64(BW_KEY_NONE) : held->key[i + 1];
        __m512i quantity_next = last ? new_quantity : held->quantity[i + 1];
        key_next = _mm512_mask_mov_epi64(key_next, in, key_below);
        quantity_next = _mm512_mask_mov_epi64(quantity_next, in, quantity_below);
        from[i] = _mm512_cmpge_epi64_mask(old_key, new_key);
        /* only the new level's own place is given a lower key by the permutation */
        held->key[i] = _mm512_mask_max_epi64(old_key, from[i], new_key,
                                             _mm512_permutex2var_epi64(old_key, order, key_next));
        here[i] = _mm512_cmpeq_epi64_mask(held->key[i], new_key);
        quantity_next = _mm512_mask_permutex2var_epi64(old_quantity, from[i], order, quantity_next);
        held->quantity[i] = _mm512_mask_mov_epi64(quantity_next, here[i], new_quantity);
        key_below = old_key;
        quantity_below = old_quantity;
    }
    if (!with_orders) return;
    const __m512i orders_order = _mm512_load_si512(bw_moves_of_orders[move]);
    const __m512i new_orders = _mm512_set1_epi32((int)orders), low = held->orders[0], high = held->orders[1];
    const __mmask16 in_orders = move == BW_MOVE_IN ? 0xffff : 0;
    const __mmask16 from_low = (__mmask16)((uint32_t)from[0] | (uint32_t)from[1] << BW_LANES);
    const __mmask16 from_high = (__mmask16)((uint32_t)from[2] | (uint32_t)from[3] << BW_LANES);
    const __mmask16 here_low = (__mmask16)((uint32_t)here[0] | (uint32_t)here[1] << BW_LANES);
    const __mmask16 here_high = (__mmask16)((uint32_t)here[2] | (uint32_t)here[3] << BW_LANES);
    __m512i below = _mm512_mask_permutex2var_epi32(low, from_low, orders_order,
                                                   _mm512_mask_mov_epi32(high, in_orders, new_orders));
    __m512i above = _mm512_mask_permutex2var_epi32(high, from_high, orders_order,
                                                   _mm512_mask_mov_epi32(new_orders, in_orders, low));
    held->orders[0] = _mm512_mask_mov_epi32(below, here_low, new_orders);
    held->orders[1] = _mm512_mask_mov_epi32(above, here_high, new_orders);
}

#endif
