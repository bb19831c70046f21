#include "decimal.h"

#include <string.h>

static const int64_t powers[BW_EXPONENT_MAX + 1] = {
    1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000,
    100000000000, 1000000000000, 10000000000000, 100000000000000, 1000000000000000,
    10000000000000000, 100000000000000000, 1000000000000000000,
};

static const char pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
    "49505152535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697"
    "9899";

int64_t bw_power10(unsigned exponent) {
    return powers[exponent <= BW_EXPONENT_MAX ? exponent : BW_EXPONENT_MAX];
}

/* Writes digits so that they end at `end`; returns where they start. */
static char *digits_before(char *end, uint64_t value) {
    while (value >= 100) {
        uint64_t rest = value / 100;
        end -= 2;
        memcpy(end, pairs + 2 * (value - rest * 100), 2);
        value = rest;
    }
    if (value >= 10) {
        end -= 2;
        memcpy(end, pairs + 2 * value, 2);
    } else {
        *--end = (char)('0' + value);
    }
    return end;
}

/* Copies whole words of a fixed size, which are a few moves: what lies beyond `count` is overwritten by
 * what comes next. Both sides must have BW_DECIMAL_SLACK bytes behind. */
static inline char *put_digits(char *out, const char *from, size_t count) {
    memcpy(out, from, 32);
    if (count > 32) memcpy(out + 32, from + 32, 32);
    return out + count;
}

char *bw_put_u64(char *out, uint64_t value) {
    char text[20 + BW_DECIMAL_SLACK];
    char *end = text + 20, *start = digits_before(end, value);
    return put_digits(out, start, (size_t)(end - start));
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

char *bw_put_decimal(char *out, bw_wide mantissa, unsigned exponent) {
    char text[BW_DECIMAL_CHARS_MAX + BW_EXPONENT_MAX + BW_DECIMAL_SLACK];
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
        out = put_digits(out, start, (size_t)(point - start));
    }
    if (end > point) {
        *out++ = '.';
        out = put_digits(out, point, (size_t)(end - point));
    }
    return out;
}
