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
    uint32_t exponents; /* those of the texts, and their decimals as received */
    uint8_t decimals[2]; /* as received: 1 + the fewest of any price and quantity, 0: none came yet */
    bool fixed_prices;   /* JAVASCRIPT: small prices without an exponent */
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

bool bw_checksum_from_wire(int64_t sent, uint32_t *checksum) {
    *checksum = (uint32_t)(uint64_t)sent;
    return sent == (int32_t)*checksum || sent == (int64_t)*checksum;
}

void bw_checksum_note(bw_checksum_cache *cache, const uint8_t fewest[2], bool fresh) {
    for (uint32_t i = 0; i < 2; i++) {
        if (fresh) cache->decimals[i] = 0;
        uint32_t decimals = fewest[i] < BW_DECIMALS_MAX ? fewest[i] + 1u : BW_DECIMALS_MAX + 1u;
        if (fewest[i] != UINT8_MAX && (cache->decimals[i] == 0 || decimals < cache->decimals[i])) {
            cache->decimals[i] = (uint8_t)decimals;
        }
    }
}

bool bw_checksum_other_way(bw_checksum_cache *cache, const bw_checksum_spec *spec) {
    if (spec->text != BW_CHECKSUM_JAVASCRIPT) return false;
    cache->fixed_prices = !cache->fixed_prices;
    cache->valid = 0;
    return true;
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

/* Decimal text of at least so many decimals and no more than it needs; no point without decimals. */
static uint32_t put_plain(char *out, int64_t mantissa, uint32_t exponent, uint32_t least) {
    while (exponent > least && mantissa % 10 == 0) {
        mantissa /= 10;
        exponent--;
    }
    uint64_t whole = (uint64_t)mantissa / (uint64_t)bw_power_of_ten[exponent];
    uint64_t part = (uint64_t)mantissa % (uint64_t)bw_power_of_ten[exponent];
    uint32_t used = put_digits(out, whole);
    if (exponent + least == 0) return used;
    out[used++] = '.';
    for (uint32_t i = exponent; i--; part /= 10) out[used + i] = (char)('0' + part % 10);
    used += exponent;
    for (; exponent < least; exponent++) out[used++] = '0';
    return used;
}

/* As JavaScript prints it: below 1e-6 one digit, the others behind a point, and an exponent. */
static uint32_t put_javascript(char *out, int64_t mantissa, uint32_t exponent) {
    char digits[20 + 20];
    if (mantissa == 0 || exponent < 7 || mantissa >= bw_power_of_ten[exponent - 6]) {
        return put_plain(out, mantissa, exponent, 0);
    }
    for (; mantissa % 10 == 0; exponent--) mantissa /= 10;
    uint32_t count = put_digits(digits, (uint64_t)mantissa), used = 0;
    out[used++] = digits[0];
    if (count > 1) out[used++] = '.';
    for (uint32_t i = 1; i < count; i++) out[used++] = digits[i];
    out[used++] = 'e';
    out[used++] = '-';
    return used + put_digits(out + used, exponent - (count - 1));
}

static uint32_t put_number(char *out, uint32_t text, const char *separator, int64_t mantissa,
                           uint32_t exponent, uint32_t least) {
    uint32_t used;
    switch (text) {
    case BW_CHECKSUM_DIGITS: used = put_digits(out, (uint64_t)mantissa); break;
    case BW_CHECKSUM_JAVASCRIPT: used = put_javascript(out, mantissa, exponent); break;
    default: used = put_plain(out, mantissa, exponent, least); break;
    }
    for (; *separator; separator++) out[used++] = *separator;
    return used;
}

static void put_level(level_text *text, const bw_checksum_cache *cache, const bw_checksum_spec *spec,
                      uint32_t side, const bw_level *level, const bw_book *book) {
    char room[4 * TEXT_BYTES] = {0};
    text->price = level->price;
    text->quantity = level->quantity;
    const uint8_t *decimals = cache->decimals;
    uint32_t used = put_number(room, cache->fixed_prices ? BW_CHECKSUM_PLAIN : spec->text, spec->separator,
                               level->price, book->price_exponent, decimals[0] ? decimals[0] - 1u : 0);
    if (side && spec->negative_asks) room[used++] = '-';
    used += put_number(room + used, spec->text, spec->separator, level->quantity, book->quantity_exponent,
                       decimals[1] ? decimals[1] - 1u : 0);
    memcpy(text->text, room, TEXT_BYTES);
    text->bytes = (uint16_t)(used < TEXT_BYTES ? used : TEXT_BYTES); /* longer numbers have no checksum */
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
        else put_level(&new[at], cache, spec, side, &level[at], book);
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
    uint32_t exponents = (uint32_t)book->price_exponent << 24 | (uint32_t)book->quantity_exponent << 16 |
        (uint32_t)cache->decimals[0] << 8 | cache->decimals[1];
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
    uint32_t first = spec->order != BW_CHECKSUM_BIDS_THEN_ASKS;
    bool follows = cache->side[!first].count != 0;
    if (!keep || (first ? asks : bids) || spec->separator[0]) {
        cache->crc_first = crc_of_side(cache, spec, first, 0, !follows);
    }
    cache->crc = crc_of_side(cache, spec, !first, cache->crc_first, true);
    return cache->crc;
}
