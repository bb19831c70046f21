#include "checksum.h"

#include "checksum_joined.h"
#include "crc32.h"
#include "number.h"

#include <string.h>

#define TEXT_BYTES 46u /* two numbers of 20 characters, two separators of 3 */

/* Text of one level. A copy is one cache line; so appending copies more than is used. */
typedef struct level_text {
    int64_t price;
    int64_t quantity;
    uint16_t bytes;
    char text[TEXT_BYTES];
} level_text;
_Static_assert(sizeof(level_text) == 64, "one cache line");

typedef struct side_text {
    uint32_t count;
    uint32_t current; /* which half of `level` */
} side_text;

struct bw_checksum_cache {
    bw_joined joined; /* all there is to it where the quick way fits */
    side_text side[BW_SIDES];
    uint32_t exponents; /* those of the texts */
    uint32_t crc;
    uint32_t crc_first; /* of the first side alone, where sides come one after the other */
    uint32_t valid;
    alignas(64) level_text level[]; /* [side][half][spec->levels] */
};

static inline level_text *texts_of(bw_checksum_cache *cache, const bw_checksum_spec *spec, uint32_t side,
                                   uint32_t half) {
    return cache->level + (side * 2 + half) * spec->levels;
}

size_t bw_checksum_cache_bytes(const bw_checksum_spec *spec) {
    return sizeof(bw_checksum_cache) + (size_t)spec->levels * 2 * BW_SIDES * sizeof(level_text);
}

bool bw_checksum_from_wire(const bw_checksum_spec *spec, int64_t sent, uint32_t *checksum) {
    *checksum = (uint32_t)(uint64_t)sent;
    return spec->is_signed ? sent == (int32_t)sent : sent == (int64_t)*checksum;
}

static const char digit_pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";

/* Digits of a positive number, most significant first; returns how many. Writes 20 bytes in any case. */
static uint32_t put_digits(char *out, uint64_t value) {
    char reversed[20 + 20] = {0}, *first = reversed + 20; /* the copy below may read behind the digits */
    while (value >= 100) {
        uint64_t rest = value / 100;
        first -= 2;
        memcpy(first, digit_pairs + 2 * (value - rest * 100), 2);
        value = rest;
    }
    if (value >= 10) {
        first -= 2;
        memcpy(first, digit_pairs + 2 * value, 2);
    } else {
        *--first = (char)('0' + value);
    }
    memcpy(out, first, 20);
    return (uint32_t)(reversed + 20 - first);
}

/* Shortest decimal text: no padding, no point without decimals. */
static uint32_t put_plain(char *out, int64_t mantissa, uint32_t exponent) {
    while (exponent && mantissa % 10 == 0) {
        mantissa /= 10;
        exponent--;
    }
    uint64_t whole = (uint64_t)mantissa / (uint64_t)bw_power_of_ten[exponent];
    uint64_t part = (uint64_t)mantissa % (uint64_t)bw_power_of_ten[exponent];
    uint32_t used = put_digits(out, whole);
    if (exponent == 0) return used;
    out[used++] = '.';
    for (uint32_t i = exponent; i--; part /= 10) out[used + i] = (char)('0' + part % 10);
    return used + exponent;
}

static uint32_t put_number(char *out, const bw_checksum_spec *spec, int64_t mantissa, uint32_t exponent) {
    uint32_t used = spec->text == BW_CHECKSUM_DIGITS ? put_digits(out, (uint64_t)mantissa)
                                                     : put_plain(out, mantissa, exponent);
    for (const char *s = spec->separator; *s; s++) out[used++] = *s;
    return used;
}

static void put_level(level_text *text, const bw_checksum_spec *spec, const bw_level *level,
                      const bw_book *book) {
    char room[2 * TEXT_BYTES] = {0};
    text->price = level->price;
    text->quantity = level->quantity;
    uint32_t used = put_number(room, spec, level->price, book->price_exponent);
    used += put_number(room + used, spec, level->quantity, book->quantity_exponent);
    memcpy(text->text, room, TEXT_BYTES);
    text->bytes = (uint16_t)used;
}

static bool same(const level_text *text, const bw_level *level) {
    return text->price == level->price && text->quantity == level->quantity;
}

/* Brings the texts of one side up to date. Old and new levels both go from best to worst, so one walk
 * finds those whose text can stay. Returns whether anything changed. */
static bool refresh_side(bw_checksum_cache *cache, const bw_checksum_spec *spec, const bw_book_store *store,
                         const bw_book *book, uint32_t side, bool keep) {
    bw_level level[BW_CHECKSUM_LEVELS_MAX];
    side_text *texts = &cache->side[side];
    const level_text *old = texts_of(cache, spec, side, texts->current);
    uint32_t count = bw_book_copy(store, book, side, spec->levels, level);
    uint32_t kept = keep ? texts->count : 0, at = 0, old_at = 0;
    if (keep && count == kept) {
        while (at < count && same(&old[at], &level[at])) at++;
        if (at == count) return false;
    }
    level_text *new = texts_of(cache, spec, side, !texts->current);
    for (at = 0; at < count; at++) {
        while (old_at < kept &&
               (side ? old[old_at].price < level[at].price : old[old_at].price > level[at].price)) {
            old_at++;
        }
        if (old_at < kept && same(&old[old_at], &level[at])) new[at] = old[old_at];
        else put_level(&new[at], spec, &level[at], book);
    }
    texts->count = count;
    texts->current = !texts->current;
    return true;
}

static char *append(char *out, const level_text *text) {
    memcpy(out, text->text, TEXT_BYTES);
    return out + text->bytes;
}

static uint32_t crc_of_side(bw_checksum_cache *cache, const bw_checksum_spec *spec, uint32_t side,
                            uint32_t crc,
                            bool last) {
    char joined[(BW_CHECKSUM_LEVELS_MAX + 1) * TEXT_BYTES], *out = joined;
    const level_text *text = texts_of(cache, spec, side, cache->side[side].current);
    for (uint32_t i = 0; i < cache->side[side].count; i++) out = append(out, &text[i]);
    size_t bytes = (size_t)(out - joined), separator = strlen(spec->separator);
    if (last && bytes >= separator) bytes -= separator;
    return bw_crc32(crc, joined, bytes);
}

static uint32_t crc_interleaved(bw_checksum_cache *cache, const bw_checksum_spec *spec) {
    char joined[(2 * BW_CHECKSUM_LEVELS_MAX + 1) * TEXT_BYTES], *out = joined;
    const level_text *text[BW_SIDES];
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        text[side] = texts_of(cache, spec, side, cache->side[side].current);
    }
    for (uint32_t i = 0; i < spec->levels; i++) {
        for (uint32_t side = 0; side < BW_SIDES; side++) {
            if (i < cache->side[side].count) out = append(out, &text[side][i]);
        }
    }
    size_t bytes = (size_t)(out - joined), separator = strlen(spec->separator);
    return bw_crc32(0, joined, bytes >= separator ? bytes - separator : bytes);
}

uint32_t bw_checksum_compute(bw_checksum_cache *cache, const bw_checksum_spec *spec,
                             const bw_book_store *store, const bw_book *book) {
    if (bw_joined_fits(spec)) return bw_joined_compute(&cache->joined, spec, store, book);
    uint32_t exponents = (uint32_t)book->price_exponent << 8 | book->quantity_exponent;
    bool keep = cache->valid && cache->exponents == exponents;
    bool bids = refresh_side(cache, spec, store, book, 0, keep);
    bool asks = refresh_side(cache, spec, store, book, 1, keep);
    cache->valid = 1;
    cache->exponents = exponents;
    if (keep && !bids && !asks) return cache->crc;
    if (spec->order == BW_CHECKSUM_INTERLEAVED_BID_FIRST) {
        cache->crc = crc_interleaved(cache, spec);
        return cache->crc;
    }
    bool bids_last = cache->side[0].count != 0;
    if (!keep || asks || spec->separator[0]) cache->crc_first = crc_of_side(cache, spec, 1, 0, !bids_last);
    cache->crc = crc_of_side(cache, spec, 0, cache->crc_first, true);
    return cache->crc;
}
