/* A recorded book brought back: found in spans of a journal, moved record by record. */
#ifndef BW_PLAYED_H
#define BW_PLAYED_H

#include "book.h"

#include <stdbool.h>

/* Where the next record of `book` begins in a span of whole records, from byte `at` on; `bytes` where there
 * is none, or where the span is torn. */
uint32_t bw_span_find(const uint8_t *span, uint32_t bytes, uint32_t at, uint32_t book);

/* Moves the book on by one record of a later sequence. `known`: its levels are those of the sequence before.
 * Returns whether they are known now; while they are not, the book's state is RESYNC, never LIVE.
 * `store` NULL: the header only. */
bool bw_played_record(bw_book_store *store, bw_book *book, const bw_record *record, bool known);

#endif
