#include "checksum_joined.h"

#include "crc32_fold.h"

#include <string.h>

#define DIGITS_MAX 20u
#define LEVELS_MAX 32u /* of a side: a bit for each of both */
#define SIXTEEN_DIGITS UINT64_C(10000000000000000)

bool bw_checksum_never_joins;

bool bw_joined_fits(const bw_checksum_spec *spec) {
    return !bw_checksum_never_joins && bw_crc32_joins() && spec->order == BW_CHECKSUM_ASKS_THEN_BIDS &&
           spec->levels <= LEVELS_MAX && spec->text == BW_CHECKSUM_DIGITS && !spec->separator[0] &&
           !spec->negative_asks;
}

/* Digits of a number to the end of out[20], zeros (the byte) in front of them; returns how many. */
static uint32_t put_digits(uint8_t out[DIGITS_MAX], uint64_t value) {
    uint32_t at = DIGITS_MAX;
    do {
        out[--at] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value);
    memset(out, 0, at);
    return DIGITS_MAX - at;
}

/* Texts of any length; those that do not fit 32 bytes by the tables. */
static void note_long(bw_joined_level *level) {
    uint8_t price[DIGITS_MAX], quantity[DIGITS_MAX], text[2 * DIGITS_MAX] = {0};
    uint32_t of_price = put_digits(price, (uint64_t)level->price);
    uint32_t of_quantity = put_digits(quantity, (uint64_t)level->quantity);
    level->bytes = of_price + of_quantity;
    memcpy(text, price + DIGITS_MAX - of_price, of_price);
    memcpy(text + of_price, quantity + DIGITS_MAX - of_quantity, of_quantity);
    level->remainder = bw_crc32_remainder_by_table(text, level->bytes);
}

#if defined(__x86_64__)
#define BW_DIGITS __attribute__((target("avx2,pclmul,sse4.1")))

/* For shuffles that move 16 bytes up or down, zeros behind them. */
static const int8_t up_window[32] = {-16, -15, -14, -13, -12, -11, -10, -9, -8, -7, -6, -5, -4, -3, -2, -1,
                                     0,   1,   2,   3,   4,   5,   6,   7,  8,  9,  10, 11, 12, 13, 14, 15};
static const int8_t down_window[32] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                       -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};

static inline BW_DIGITS __m128i load(const void *at) {
    return _mm_loadu_si128((const __m128i *)at);
}

/* The 16 digits of each of two numbers below 10^16, most significant first. */
static inline BW_DIGITS __m256i digits_of(uint64_t a, uint64_t b) {
    const uint64_t half = 100000000u;
    __m256i eights = _mm256_set_epi64x((int64_t)(b % half), (int64_t)(b / half), (int64_t)(a % half),
                                       (int64_t)(a / half));
    __m256i upper = _mm256_srli_epi64(_mm256_mul_epu32(eights, _mm256_set1_epi64x(0xd1b71759)), 45);
    __m256i lower = _mm256_sub_epi32(eights, _mm256_mul_epu32(upper, _mm256_set1_epi64x(10000)));
    __m256i fours = _mm256_or_si256(upper, _mm256_slli_epi64(lower, 32));
    upper = _mm256_srli_epi16(_mm256_mulhi_epu16(fours, _mm256_set1_epi32(0x147b)), 3); /* / 100 */
    lower = _mm256_sub_epi32(fours, _mm256_mullo_epi16(upper, _mm256_set1_epi32(100)));
    __m256i pairs = _mm256_or_si256(upper, _mm256_slli_epi32(lower, 16));
    upper = _mm256_mulhi_epu16(pairs, _mm256_set1_epi16(6554)); /* / 10 */
    lower = _mm256_sub_epi16(pairs, _mm256_mullo_epi16(upper, _mm256_set1_epi16(10)));
    return _mm256_or_si256(upper, _mm256_slli_epi16(lower, 8));
}

/* Remainder and length of the level's text. */
static inline BW_DIGITS void note_level(bw_joined_level *level) {
    uint64_t most = (uint64_t)level->price | (uint64_t)level->quantity;
    if (__builtin_expect(most >= SIXTEEN_DIGITS, 0)) {
        note_long(level);
        return;
    }
    __m256i digits = digits_of((uint64_t)level->price, (uint64_t)level->quantity);
    uint32_t zeros = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(digits, _mm256_setzero_si256()));
    uint32_t of_price = 16 - (uint32_t)__builtin_ctz(~zeros | 1u << 15);
    uint32_t of_quantity = 16 - (uint32_t)__builtin_ctz(~zeros >> 16 | 1u << 15);
    /* zeros in front of the first digit that counts are no text */
    __m256i places = _mm256_inserti128_si256(_mm256_castsi128_si256(load(up_window + of_price)),
                                             load(up_window + of_quantity), 1);
    __m256i text = _mm256_and_si256(_mm256_or_si256(digits, _mm256_set1_epi8('0')),
                                    _mm256_cmpgt_epi8(places, _mm256_set1_epi8(-1)));
    __m128i price = _mm256_castsi256_si128(text), quantity = _mm256_extracti128_si256(text, 1);
    __m128i first = _mm_shuffle_epi8(price, load(up_window + of_quantity));
    __m128i second = _mm_or_si128(_mm_shuffle_epi8(price, load(down_window + of_quantity)), quantity);
    level->bytes = of_price + of_quantity;
    level->remainder = bw_crc32_remainder(first, second);
}
#else
#define BW_DIGITS

static void note_level(bw_joined_level *level) {
    note_long(level);
}
#endif

static inline uint32_t slot_of(int64_t price) {
    return (uint32_t)(((uint64_t)price * 0x9e3779b97f4a7c15u) >> 58);
}

/* The levels of a checksum in its order. */
typedef struct texts {
    uint32_t count;
    uint32_t bytes[2 * LEVELS_MAX];
    uint64_t remainder[2 * LEVELS_MAX];
    uint64_t missing; /* bits of those that the cache does not have */
    int64_t price[2 * LEVELS_MAX], quantity[2 * LEVELS_MAX];
} texts;

/* Adds what the cache knows of a side's best levels. */
static inline void look_up(texts *all, const bw_joined_level cache[BW_CHECKSUM_SLOTS],
                           const bw_book_store *store, const bw_book *book, uint32_t side,
                           uint32_t levels) {
    const bw_side *of = &book->side[side];
    const bw_directory_entry *entry = (const void *)(store->base + of->directory_offset);
    const uint32_t end = all->count + levels;
    uint32_t i = all->count;
    for (uint32_t k = of->directory_count; k-- && i < end;) {
        const bw_chunk *chunk = &store->chunk[entry[k].chunk];
        for (uint32_t at = entry[k].count; at-- && i < end; i++) {
            const int64_t here = side ? (int64_t)(0 - (uint64_t)chunk->key[at]) : chunk->key[at];
            const bw_joined_level *found = &cache[slot_of(here)];
            all->price[i] = here;
            all->quantity[i] = chunk->quantity[at];
            all->remainder[i] = found->remainder;
            all->bytes[i] = found->bytes;
            bool differs = (found->price != here) | (found->quantity != chunk->quantity[at]);
            all->missing |= (uint64_t)differs << i;
        }
    }
    all->count = i;
}

BW_DIGITS uint32_t bw_joined_compute(bw_joined *cache, const bw_checksum_spec *spec,
                                     const bw_book_store *store, const bw_book *book) {
    texts all;
    all.count = 0;
    all.missing = 0;
    look_up(&all, cache->level[1], store, book, 1, spec->levels);
    const uint32_t asks = all.count;
    look_up(&all, cache->level[0], store, book, 0, spec->levels);
    for (uint64_t missing = all.missing; missing; missing &= missing - 1) {
        const uint32_t i = (uint32_t)__builtin_ctzll(missing);
        bw_joined_level *made = &cache->level[i < asks][slot_of(all.price[i])];
        made->price = all.price[i];
        made->quantity = all.quantity[i];
        note_level(made);
        all.remainder[i] = made->remainder;
        all.bytes[i] = made->bytes;
    }
    return bw_crc32_joined(all.remainder, all.bytes, all.count);
}
