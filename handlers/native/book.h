/* One side-sorted order book in chunks, of fixed capacity, laid out as shm_layout.h says.
 *
 * The same code keeps the writer's book in shared memory and a reader's mirror in private memory:
 * a bw_book_store is where the bytes are. Nothing here allocates, locks or reads a clock. Callers
 * bracket a batch of changes by bw_book_begin()/bw_book_end(), which work the sequence lock and
 * refresh the top levels; everything between is one consistent step for readers.
 *
 * Full book: the worst level leaves first (told to the caller as a change). Counted here, so not by
 * the caller: book->evicted and book->absent_deletes. What leaves draws side->verified_price in to the
 * worst level that stays: what lies beyond is no longer known to be right.
 */
#ifndef BW_BOOK_H
#define BW_BOOK_H

#include "shm_layout.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct bw_book_store {
    uint8_t *base;          /* directories and books are addressed from here */
    bw_chunk *chunk;        /* pool */
    uint32_t *free_chunk;   /* stack of free chunk indexes, private to the owner */
    uint32_t free_count;
    uint32_t chunk_capacity;
    uint32_t reserved_chunks; /* one for each empty side, so that a first level always finds room */
    uint32_t book_capacity;
    bw_book *book;
    const bw_side *finger_side; /* where the last change was: the next is often near */
    uint32_t finger;
    uint32_t orders_seen; /* 0: every orders field of the pool is 0 and need not be moved */
    size_t mapped_bytes;  /* of a store with memory of its own */
} bw_book_store;

/* Builds a store with `books` books of `level_capacity` levels a side in memory of its own
 * (mirrors, tests). NULL if memory is short. `chunk_capacity` 0: enough for all books full. */
bw_book_store *bw_book_store_new(uint32_t books, uint32_t level_capacity, uint32_t chunk_capacity);
void bw_book_store_free(bw_book_store *store);

/* The same over memory that belongs to someone else: `base` has zeroed books, directories and chunks
 * at the given offsets; free_chunk has room for chunk_capacity indexes. */
typedef struct bw_book_area {
    uint8_t *base;
    uint64_t book_offset, directory_offset, chunk_offset;
    uint32_t books, level_capacity, chunk_capacity;
} bw_book_area;
void bw_book_store_init(bw_book_store *store, const bw_book_area *area, uint32_t *free_chunk);
uint32_t bw_book_directory_capacity(uint32_t level_capacity); /* entries of one side */

bw_book *bw_book_store_at(bw_book_store *store, uint32_t book);

void bw_book_begin(bw_book *book);
void bw_book_end(bw_book_store *store, bw_book *book);

/* Drops all levels of both sides, gives their chunks back, sets both verified_price to 0. */
void bw_book_clear(bw_book_store *store, bw_book *book);

/* Sets a level (quantity 0 removes it). `price` is the plain mantissa for either side.
 * Returns what happened. On BW_SET_EVICTED *evicted is the price of the level that left. */
enum bw_set { BW_SET_CHANGED, BW_SET_INSERTED, BW_SET_REMOVED, BW_SET_ABSENT, BW_SET_EVICTED,
              BW_SET_BEYOND /* worse than the worst of a full book: not kept */ };
enum bw_set bw_book_set(bw_book_store *store, bw_book *book, uint32_t side, int64_t price,
                        int64_t quantity, uint32_t orders, int64_t *evicted);

/* Fills an empty side with levels that stand best first; returns how many found room. */
uint32_t bw_book_load(bw_book_store *store, bw_book *book, uint32_t side, const bw_level *best_first,
                      uint32_t count);

/* Sets many levels, as if one after the other; `reserved` of each is ignored. Writes what changed to
 * `out` (room for 2 * count: a level may push another out), so that whoever sets these gets the same
 * book; returns how many. Quickest where levels go from best to worst. */
uint32_t bw_book_set_many(bw_book_store *store, bw_book *book, uint32_t side, const bw_level *level,
                          uint32_t count, bw_level *out);

/* Removes the worst levels until at most `depth` remain on the side; writes the prices of those
 * that left to `left` (room for `capacity`); returns how many left. */
uint32_t bw_book_cut(bw_book_store *store, bw_book *book, uint32_t side, uint32_t depth,
                     int64_t *left, uint32_t capacity);

/* Multiplies every price by 10^price_up and quantity by 10^quantity_up and raises the book's
 * exponents by as much; false on overflow (the book is then untouched). */
bool bw_book_rescale(bw_book_store *store, bw_book *book, uint32_t price_up, uint32_t quantity_up);

/* Best `depth` levels of a side, best first, into `out`; returns how many. Owner's side only. */
uint32_t bw_book_copy(const bw_book_store *store, const bw_book *book, uint32_t side, uint32_t depth,
                      bw_level *out);
/* The `count` levels that stand behind the best `skip` ones. */
uint32_t bw_book_copy_behind(const bw_book_store *store, const bw_book *book, uint32_t side, uint32_t skip,
                             uint32_t count, bw_level *out);

#endif
