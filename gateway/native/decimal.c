#include "decimal.h"

#include <string.h>

static const int64_t powers[BW_EXPONENT_MAX + 1] = {
    1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000,
    100000000000, 1000000000000, 10000000000000, 100000000000000, 1000000000000000,
    10000000000000000, 100000000000000000, 1000000000000000000,
};

int64_t bw_power10(unsigned exponent) {
    return powers[exponent <= BW_EXPONENT_MAX ? exponent : BW_EXPONENT_MAX];
}

#define EIGHT UINT64_C(100000000)
#define ZEROS UINT64_C(0x3030303030303030)

/* The eight digits of a number below 10^8 as eight bytes, the first in the lowest: three steps that each
 * split all parts in two, by multiplication. */
static inline uint64_t digits_of(uint32_t value) {
    uint64_t parts = value / 10000 | (uint64_t)(value % 10000) << 32;
    uint64_t upper = (parts * 10486 >> 20) & 0x0000007f0000007f;
    parts = (parts - 100 * upper) << 16 | upper;
    upper = (parts * 103 >> 10) & 0x000f000f000f000f;
    return (parts - 10 * upper) << 8 | upper;
}

static inline char *put_eight(char *out, uint64_t digits) {
    uint64_t text = digits + ZEROS;
    memcpy(out, &text, sizeof text); /* little-endian: the first digit comes first */
    return out + sizeof text;
}

/* Below 10^8, without leading zeros; eight bytes are written in any case. */
static inline char *put_first(char *out, uint32_t value) {
    uint64_t digits = digits_of(value);
    unsigned zeros = (unsigned)__builtin_ctzll(digits | UINT64_C(1) << 56) / 8;
    uint64_t text = (digits + ZEROS) >> 8 * zeros;
    memcpy(out, &text, sizeof text);
    return out + sizeof text - zeros;
}

static inline char *put_number(char *out, uint64_t value) {
    if (__builtin_expect(value < EIGHT, 1)) return put_first(out, (uint32_t)value);
    uint64_t upper = value / EIGHT;
    if (upper < EIGHT) {
        out = put_first(out, (uint32_t)upper);
    } else {
        out = put_first(out, (uint32_t)(upper / EIGHT));
        out = put_eight(out, digits_of((uint32_t)(upper % EIGHT)));
    }
    return put_eight(out, digits_of((uint32_t)(value % EIGHT)));
}

char *bw_put_u64(char *out, uint64_t value) {
    return put_number(out, value);
}

/* The point and what follows it, without zeros at the end; nothing where all are. At most eight digits. */
static inline char *put_fraction(char *out, uint64_t digits) {
    unsigned used = 8 - (unsigned)__builtin_ctzll(__builtin_bswap64(digits) | UINT64_C(1) << 63) / 8;
    *out = '.';
    put_eight(out + 1, digits);
    return out + (digits ? 1 + used : 0);
}

/* Below 10^8, exponent <= 7: eight digits are all of it, the whole part and the fraction. */
static inline char *put_short(char *out, uint32_t mantissa, unsigned exponent) {
    uint64_t digits = digits_of(mantissa);
    unsigned last_whole = 7 - exponent;
    unsigned zeros = (unsigned)__builtin_ctzll(digits | UINT64_C(1) << 8 * last_whole) / 8;
    put_eight(out, digits >> 8 * zeros);
    return put_fraction(out + last_whole + 1 - zeros, digits >> 8 >> 8 * last_whole);
}

/* Below 10^16, exponent <= 8: the first eight digits are whole, the others what the exponent says. */
static inline char *put_long(char *out, uint64_t mantissa, unsigned exponent) {
    out = put_first(out, (uint32_t)(mantissa / EIGHT));
    uint64_t digits = digits_of((uint32_t)(mantissa % EIGHT));
    unsigned whole = 8 - exponent;
    put_eight(out, digits);
    return put_fraction(out + whole, digits >> 4 * whole >> 4 * whole);
}

/* --- what exceeds that ------------------------------------------------------------------------- */

/* Writes digits so that they end at `end`; returns where they start. */
static char *digits_before(char *end, uint64_t value) {
    char first[sizeof(uint64_t)];
    for (; value >= EIGHT; value /= EIGHT) {
        end -= sizeof first;
        put_eight(end, digits_of((uint32_t)(value % EIGHT)));
    }
    size_t count = (size_t)(put_first(first, (uint32_t)value) - first);
    return memcpy(end - count, first, count);
}

/* As digits_before() for what exceeds 64 bits: 19 digits at a time. */
static char *wide_digits_before(char *end, unsigned __int128 value) {
    const uint64_t ten19 = 10000000000000000000u;
    while (value > UINT64_MAX) {
        uint64_t low = (uint64_t)(value % ten19);
        value /= ten19;
        char *start = digits_before(end, low);
        end -= 19;
        memset(end, '0', (size_t)(start - end));
    }
    return digits_before(end, (uint64_t)value);
}

static __attribute__((noinline)) char *put_wide(char *out, bw_wide mantissa, unsigned exponent) {
    char text[BW_DECIMAL_CHARS_MAX + BW_EXPONENT_MAX];
    char *end = text + BW_DECIMAL_CHARS_MAX + BW_EXPONENT_MAX;
    if (mantissa == 0) {
        *out++ = '0';
        return out;
    }
    unsigned __int128 magnitude = (unsigned __int128)mantissa;
    if (mantissa < 0) {
        *out++ = '-';
        magnitude = -magnitude;
    }
    char *start = wide_digits_before(end, magnitude);
    if (exponent > BW_EXPONENT_MAX) exponent = BW_EXPONENT_MAX;
    char *point = end - exponent;
    while (end > point && end[-1] == '0') end--;
    if (start >= point) { /* below one: zeros between the point and the first digit */
        memset(point, '0', (size_t)(start - point));
        start = point;
        *out++ = '0';
    } else {
        memcpy(out, start, (size_t)(point - start));
        out += point - start;
    }
    if (end > point) {
        *out++ = '.';
        memcpy(out, point, (size_t)(end - point));
        out += end - point;
    }
    return out;
}

char *bw_put_decimal(char *out, bw_wide mantissa, unsigned exponent) {
    if (__builtin_expect(mantissa < 0 || mantissa >= (bw_wide)(EIGHT * EIGHT) || exponent > 8, 0))
        return put_wide(out, mantissa, exponent);
    return mantissa < (bw_wide)EIGHT && exponent < 8 ? put_short(out, (uint32_t)mantissa, exponent)
                                                      : put_long(out, (uint64_t)mantissa, exponent);
}
