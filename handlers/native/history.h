/* Journal records as rows for columns: each update with its changes and the best prices after it.
 *
 * Keeps a copy of every book, loaded from BOOK blocks and moved by DELTA records; while a book's copy is
 * not known (before the first BOOK, after a RESET or a hole in the sequence) its rows carry no best prices.
 */
#ifndef BW_HISTORY_H
#define BW_HISTORY_H

#include "book.h"

#include <stdbool.h>

typedef struct bw_row {
    uint64_t sequence;
    uint64_t venue_sequence;
    int64_t exchange_ns;
    int64_t receive_ns;
    int64_t published_ns;
    uint32_t book;
    uint32_t epoch;
    uint32_t bid_count; /* changes, or of a copied book its levels */
    uint32_t ask_count;
    uint8_t type; /* enum bw_record_type */
    uint8_t state;
    uint8_t reason;
    uint8_t verified_by;
    uint8_t price_exponent;
    uint8_t quantity_exponent;
    uint8_t top_sides; /* bit 0: bid_* holds, bit 1: ask_* holds */
    uint8_t hole;      /* 1: the sequence before it is missing */
    int64_t bid_price; /* best after the update */
    int64_t bid_quantity;
    int64_t ask_price;
    int64_t ask_quantity;
} bw_row;

_Static_assert(sizeof(bw_row) == 96, "no padding");

typedef struct bw_history bw_history;
bw_history *bw_history_new(uint32_t books, uint32_t level_capacity);
void bw_history_free(bw_history *history);

/* A BOOK block: taken where it is newer than the copy, or the copy is not known. True if taken. */
bool bw_history_load(bw_history *history, uint32_t book, const bw_book *header, const bw_level *bids,
                     uint32_t bid_count, const bw_level *asks, uint32_t ask_count);
/* Rows of whole records, with their changes behind each other in `levels`. Stops when a room is full;
 * *consumed says how many bytes were taken. Returns the rows made. */
uint32_t bw_history_rows(bw_history *history, const uint8_t *records, uint64_t bytes, bw_row *rows,
                         uint32_t row_room, bw_level *levels, uint32_t level_room, uint64_t *consumed);
/* The book's copy as a row, its levels best first into `levels`. False while it is not known. */
bool bw_history_copy(bw_history *history, uint32_t book, bw_row *row, bw_level *levels, uint32_t level_room);

#endif
