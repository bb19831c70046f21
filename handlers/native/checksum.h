/* The venue's checksum over the best levels of a book, made of the digits the venue means.
 *
 * Most updates leave most of the best levels as they were: their text is kept from the time before,
 * and a side that did not change costs a comparison.
 */
#ifndef BW_CHECKSUM_H
#define BW_CHECKSUM_H

#include "book.h"
#include "plan.h"

typedef struct bw_checksum_cache bw_checksum_cache;

/* Bytes of one book's cache; give zeroed memory aligned to 64. */
size_t bw_checksum_cache_bytes(const bw_checksum_spec *spec);

/* With how many decimals an update's numbers came (fewest of prices, of quantities; UINT8_MAX: it has none),
 * for texts as received. `fresh`: the book begins with it. */
void bw_checksum_note(bw_checksum_cache *cache, const uint8_t fewest[2], bool fresh);

/* Where it is not settled how a venue writes small prices: changes to the other way and returns true. */
bool bw_checksum_other_way(bw_checksum_cache *cache, const bw_checksum_spec *spec);

/* Checksum of the book as it stands. */
uint32_t bw_checksum_compute(bw_checksum_cache *cache, const bw_checksum_spec *spec,
                             const bw_book_store *store, const bw_book *book);

/* What the venue sent, with or without a sign, as the 32 bits it stands for; false if it can be none. */
bool bw_checksum_from_wire(int64_t sent, uint32_t *checksum);

#endif
