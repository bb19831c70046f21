/* One level in, out or changed: half of the hot path. Compiled once for every CPU and once for AVX2.
 *
 * Changes come sorted or clustered, so the chunk of the last one, or a neighbour, is tried first; what is
 * rare is left to book.c.
 */
#include "book_parts.h"

#ifndef BW_BOOK_SET
#define BW_BOOK_SET bw_book_set_plain
#endif

#define BW_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* The entry that the key belongs to. Most keys are in the last one found or next to it. Behind the last
 * entry stands one whose low_key is BW_KEY_NONE. */
BW_INLINE uint32_t find_entry(bw_book_store *store, const bw_side *side, const bw_directory_entry *directory,
                              int64_t key) {
    uint32_t last = side->directory_count - 1;
    uint32_t at = store->finger < last ? store->finger : last;
    if (store->finger_side != side) at = last;
    at = at + (directory[at + 1].low_key <= key) - ((directory[at].low_key > key) & (at > 0));
    if (BW_UNLIKELY((directory[at + 1].low_key <= key) | ((directory[at].low_key > key) & (at > 0))))
        at = bw_directory_find(directory, last + 1, key);
    store->finger_side = side;
    store->finger = at;
    return at;
}

enum bw_set BW_BOOK_SET(bw_book_store *store, bw_book *book, uint32_t side_index, int64_t price,
                        int64_t quantity, uint32_t orders, int64_t *evicted) {
    bw_side *side = &book->side[side_index];
    bw_directory_entry *directory = bw_directory_of(store, side);
    bw_level level = {.price = price, .quantity = quantity, .orders = orders};
    int64_t key = bw_key_of(side_index, price);
    store->orders_seen |= orders;
    if (BW_UNLIKELY(side->directory_count == 0)) return bw_side_set_first(store, book, side_index, &level);
    uint32_t at = find_entry(store, side, directory, key), last = side->directory_count - 1;
    bw_directory_entry *entry = directory + at;
    bw_chunk *chunk = &store->chunk[entry->chunk];
    uint32_t place = bw_chunk_below(chunk->key, key), count = entry->count;
    uint32_t better = count - place + (at < last ? directory[last].count : 0);
    book->top_stale |= (uint32_t)(better <= BW_TOP_LEVELS) << side_index;
    bool held = place < count && chunk->key[place & (BW_CHUNK_LEVELS - 1)] == key;
    if (quantity == 0) {
        if (!held) {
            book->absent_deletes++;
            return BW_SET_ABSENT;
        }
        bw_take_out(store, side, entry, place);
        return BW_SET_REMOVED;
    }
    if (held) {
        chunk->quantity[place] = quantity;
        chunk->orders[place] = orders;
        return BW_SET_CHANGED;
    }
    if (BW_UNLIKELY(count == BW_CHUNK_LEVELS || side->level_count >= side->level_capacity))
        return bw_side_set_full(store, book, side_index, &level, evicted);
    bw_put_in(store, side, entry, place, &level, key);
    return BW_SET_INSERTED;
}
