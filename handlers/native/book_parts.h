/* What book.c (rare) and book_set.c (hot, compiled for several CPUs) share; nobody else includes it. */
#ifndef BW_BOOK_PARTS_H
#define BW_BOOK_PARTS_H

#include "book_search.h"

#define BW_MERGE_BELOW (BW_CHUNK_LEVELS / 4u) /* a chunk that shrinks to this merges with a neighbour */

BW_INLINE bw_directory_entry *bw_directory_of(const bw_book_store *store, const bw_side *side) {
    return (bw_directory_entry *)(void *)(store->base + side->directory_offset);
}

BW_INLINE int64_t bw_key_of(uint32_t side, int64_t price) {
    return side ? (int64_t)(0 - (uint64_t)price) : price;
}

void bw_side_shrink(bw_book_store *store, bw_side *side, uint32_t at);
enum bw_set bw_side_set_first(bw_book_store *store, bw_book *book, uint32_t side_index,
                              const bw_level *level);
enum bw_set bw_side_set_full(bw_book_store *store, bw_book *book, uint32_t side_index, const bw_level *level,
                             int64_t *evicted);

/* bw_book_set() for a CPU; book.c picks one, of all when built with BW_BOOK_VARIANTS. */
typedef enum bw_set bw_book_set_function(bw_book_store *store, bw_book *book, uint32_t side, int64_t price,
                                         int64_t quantity, uint32_t orders, int64_t *evicted);
bw_book_set_function bw_book_set_plain, bw_book_set_avx2, bw_book_set_avx512;

typedef uint32_t bw_book_set_many_function(bw_book_store *store, bw_book *book, uint32_t side,
                                           const bw_level *level, uint32_t count, bw_level *out);
bw_book_set_many_function bw_book_set_many_plain, bw_book_set_many_avx2, bw_book_set_many_avx512;

/* Which of them bw_book_set() takes: set at start to what the CPU can, by tests to all it can. */
enum bw_book_variant { BW_BOOK_PLAIN, BW_BOOK_AVX2, BW_BOOK_AVX512 };
extern enum bw_book_variant bw_book_variant;
enum bw_book_variant bw_book_variant_best(void);

BW_INLINE void bw_take_out(bw_book_store *store, bw_side *side, bw_directory_entry *entry, uint32_t at) {
    bw_chunk *chunk = &store->chunk[entry->chunk];
    uint32_t count = entry->count;
    bw_shift_out(chunk, at, count);
    if (store->orders_seen)
        memmove(chunk->orders + at, chunk->orders + at + 1, (count - at - 1) * sizeof *chunk->orders);
    entry->count = --count;
    entry->low_key = chunk->key[0];
    side->level_count--;
    if (count <= BW_MERGE_BELOW)
        bw_side_shrink(store, side, (uint32_t)(entry - bw_directory_of(store, side)));
}

BW_INLINE void bw_put_in(bw_book_store *store, bw_side *side, bw_directory_entry *entry, uint32_t at,
                         const bw_level *level, int64_t key) {
    bw_chunk *chunk = &store->chunk[entry->chunk];
    uint32_t count = entry->count;
    bw_shift_in(chunk, at, count, key, level->quantity);
    if (store->orders_seen)
        memmove(chunk->orders + at + 1, chunk->orders + at, (count - at) * sizeof *chunk->orders);
    chunk->orders[at] = level->orders;
    entry->count = count + 1;
    entry->low_key = chunk->key[0];
    side->level_count++;
}

#endif
