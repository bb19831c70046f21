/* The quick way of checksum.c for recipes that are digits and nothing between them: CRC-32 is linear, so
 * that of the whole text is put together from what each level's text leaves, and a level that did not change
 * costs a look. Inside of the checksum; nobody else includes this.
 */
#ifndef BW_CHECKSUM_JOINED_H
#define BW_CHECKSUM_JOINED_H

#include "book.h"
#include "plan.h"

#define BW_CHECKSUM_SLOTS 64u

/* A level's text by its price: where two levels want one slot, both are made anew each time. */
typedef struct bw_joined_level {
    int64_t price, quantity; /* quantity 0: nothing here */
    uint64_t remainder;
    uint32_t bytes;
} bw_joined_level;

typedef struct bw_joined {
    bw_joined_level level[BW_SIDES][BW_CHECKSUM_SLOTS];
} bw_joined;

extern bool bw_checksum_never_joins; /* for tests: the other way is taken everywhere */

/* Whether the recipe can be computed so on this CPU. */
bool bw_joined_fits(const bw_checksum_spec *spec);
/* Zeroed memory is an empty cache. Nothing of it depends on the book's exponents but the mantissas. */
uint32_t bw_joined_compute(bw_joined *cache, const bw_checksum_spec *spec, const bw_book_store *store,
                           const bw_book *book);

#endif
