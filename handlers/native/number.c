#include "number.h"
#include "plan.h"

#include <string.h>

const int64_t bw_power_of_ten[BW_DECIMALS_MAX + 1] = {
    1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000,
    100000000000, 1000000000000, 10000000000000, 100000000000000, 1000000000000000,
    10000000000000000, 100000000000000000, 1000000000000000000,
};

#define NS_PER_S 1000000000LL

static inline bool is_digit(char c) {
    return (unsigned char)(c - '0') <= 9;
}

/* Signed exponent after 'e'; false if malformed. Saturates far outside what could fit. */
static bool parse_exponent(const char *p, const char *end, int32_t *exponent) {
    bool minus = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+')) p++;
    if (p == end) return false;
    int32_t value = 0;
    for (; p < end; p++) {
        if (!is_digit(*p)) return false;
        if (value < 100000) value = value * 10 + (*p - '0');
    }
    *exponent = minus ? -value : value;
    return true;
}

/* Fewest decimals that hold digits * 10^-scale. */
static enum bw_number_fault settle(uint64_t digits, int64_t scale, bool minus, int64_t *mantissa,
                                   uint8_t *decimals) {
    if (digits == 0) scale = 0;
    while (scale > 0 && digits % 10 == 0) {
        digits /= 10;
        scale--;
    }
    while (scale < 0) {
        if (__builtin_mul_overflow(digits, 10u, &digits)) return BW_NUMBER_OVERFLOW;
        scale++;
    }
    if (scale > (int64_t)BW_DECIMALS_MAX || digits > INT64_MAX) return BW_NUMBER_OVERFLOW;
    *mantissa = minus ? -(int64_t)digits : (int64_t)digits;
    *decimals = (uint8_t)scale;
    return BW_NUMBER_OK;
}

enum bw_number_fault bw_decimal_parse(const char *text, size_t bytes, int64_t *mantissa,
                                      uint8_t *decimals) {
    const char *p = text, *end = text + bytes;
    bool minus = p < end && *p == '-';
    if (minus) p++;
    uint64_t digits = 0;
    int64_t scale = 0, zeros = 0; /* zeros: read but not yet taken in, they may be padding */
    bool point = false, any = false, last_is_digit = false, overflow = false;
    for (; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.') {
            if (point || !last_is_digit) return BW_NUMBER_MALFORMED;
            point = true;
            last_is_digit = false;
            continue;
        }
        if (!is_digit(*p)) return BW_NUMBER_MALFORMED;
        any = last_is_digit = true;
        if (*p == '0') {
            zeros++;
        } else {
            for (int64_t i = 0; digits != 0 && i < zeros; i++) {
                overflow |= __builtin_mul_overflow(digits, 10u, &digits);
            }
            overflow |= __builtin_mul_overflow(digits, 10u, &digits);
            overflow |= __builtin_add_overflow(digits, (unsigned)(*p - '0'), &digits);
            zeros = 0;
        }
        scale += point;
    }
    if (!any || !last_is_digit) return BW_NUMBER_MALFORMED;
    int32_t exponent = 0;
    if (p < end && !parse_exponent(p + 1, end, &exponent)) return BW_NUMBER_MALFORMED;
    if (overflow) return BW_NUMBER_OVERFLOW;
    return settle(digits, scale - zeros - exponent, minus, mantissa, decimals);
}

int64_t bw_round(int64_t mantissa, uint32_t places) {
    int64_t unit = bw_power_of_ten[places], sign = mantissa < 0 ? -1 : 1;
    int64_t whole = mantissa / unit, rest = mantissa % unit * sign;
    if (rest > unit - rest || (rest == unit - rest && whole & 1)) whole += sign;
    return whole == 0 && mantissa != 0 ? sign : whole;
}

enum bw_number_fault bw_decimal_round(const char *text, size_t bytes, int64_t *mantissa, uint8_t *decimals) {
    const char *p = text, *end = text + bytes;
    bool minus = p < end && *p == '-', point = false, more = false;
    int64_t digits = 0, scale = 0; /* value = digits / 10^scale, and `more` behind them */
    for (p += minus; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '.') {
            point = true;
        } else if (digits < bw_power_of_ten[BW_DECIMALS_MAX - 1]) { /* 18 digits, the last to round by */
            digits = digits * 10 + (*p - '0');
            scale += point;
        } else {
            more |= *p != '0';
            scale -= !point;
        }
    }
    int32_t exponent = 0;
    if (p < end && !parse_exponent(p + 1, end, &exponent)) return BW_NUMBER_MALFORMED;
    scale -= exponent;
    if (more && digits % 10 == 5) digits++; /* a half that is more than a half; 19 digits have room for it */
    if (more && digits % 10 == 0) digits++;
    if (scale <= 0) return BW_NUMBER_OVERFLOW;
    int64_t too_many = scale > (int64_t)BW_DECIMALS_MAX ? scale - BW_DECIMALS_MAX : 1;
    if (too_many > (int64_t)BW_DECIMALS_MAX) {
        digits = digits != 0; /* smaller than the smallest there is */
        scale = BW_DECIMALS_MAX;
    } else {
        digits = bw_round(digits, (uint32_t)too_many);
        scale -= too_many;
    }
    return settle((uint64_t)digits, scale, minus, mantissa, decimals);
}

/* Value of eight digits, or false if they are not all digits. */
static bool parse_eight(const char *text, uint64_t *value) {
    uint64_t word;
    memcpy(&word, text, sizeof word);
    uint64_t digits = word - 0x3030303030303030ull;
    if (((word + 0x4646464646464646ull) | digits) & 0x8080808080808080ull) return false;
    digits = (digits * 10 + (digits >> 8)) & 0x00ff00ff00ff00ffull;
    digits = (digits * 100 + (digits >> 16)) & 0x0000ffff0000ffffull;
    *value = (digits * 10000 + (digits >> 32)) & 0xffffffffull;
    return true;
}

bool bw_integer_parse(const char *text, size_t bytes, int64_t *value) {
    bool minus = bytes && text[0] == '-';
    size_t i = minus;
    if (i == bytes) return false;
    uint64_t digits = 0, eight;
    for (; i + 8 <= bytes; i += 8) {
        if (!parse_eight(text + i, &eight) || __builtin_mul_overflow(digits, 100000000u, &digits) ||
            __builtin_add_overflow(digits, eight, &digits)) {
            return false;
        }
    }
    for (; i < bytes; i++) {
        if (!is_digit(text[i]) || __builtin_mul_overflow(digits, 10u, &digits) ||
            __builtin_add_overflow(digits, (unsigned)(text[i] - '0'), &digits)) {
            return false;
        }
    }
    if (digits > INT64_MAX) return false;
    *value = minus ? -(int64_t)digits : (int64_t)digits;
    return true;
}

/* Days since 1970-01-01 of a Gregorian date (Howard Hinnant's days_from_civil). */
static int64_t days_from_civil(int64_t year, int64_t month, int64_t day) {
    year -= month <= 2;
    int64_t era = year / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static int64_t digits_at(const char *text, uint32_t count, bool *ok) {
    int64_t value = 0;
    for (uint32_t i = 0; i < count; i++) {
        *ok &= is_digit(text[i]);
        value = value * 10 + (text[i] - '0');
    }
    return value;
}

/* 2026-08-16: days since 1970-01-01, or -1. Stamps come day after day: the last one is kept. */
static int64_t parse_date(const char *text) {
    static _Thread_local struct {
        char text[10];
        int64_t days;
    } last;
    if (last.days && memcmp(text, last.text, sizeof last.text) == 0) return last.days;
    if (text[4] != '-' || text[7] != '-') return -1;
    bool ok = true;
    int64_t year = digits_at(text, 4, &ok), month = digits_at(text + 5, 2, &ok);
    int64_t day = digits_at(text + 8, 2, &ok);
    if (!ok || year < 1970 || year > 2200 || month < 1 || month > 12 || day < 1 || day > 31) return -1;
    memcpy(last.text, text, sizeof last.text);
    last.days = days_from_civil(year, month, day);
    return last.days;
}

/* 23:37:02: seconds, or -1. */
static int64_t parse_clock(const char *text) {
    const uint64_t colons = 0x0000ff0000ff0000u;
    uint64_t word;
    memcpy(&word, text, sizeof word);
    word ^= 0x30303a30303a3030u; /* digits become their values, colons 0 */
    if ((word & colons) || ((word | (word + 0x7676767676767676u)) & 0x8080808080808080u)) return -1;
    word = word * 10 + (word >> 8); /* each even byte: two digits, but for where they overlap a colon */
    return (int64_t)((word & 0xff) * 3600 + (word >> 24 & 0xff) * 60 + (word >> 48 & 0xff));
}

/* 2026-08-16T23:37:02.102345Z: fraction of any number of digits, of which 9 count; 'T' or a space; UTC by
 * 'Z', "+00:00" or nothing. */
static int64_t parse_iso8601(const char *text, size_t bytes) {
    if (bytes < 19 || (text[10] != 'T' && text[10] != ' ')) return 0;
    int64_t days = parse_date(text), seconds = parse_clock(text + 11), fraction = 0;
    if (days < 0 || seconds < 0) return 0;
    size_t i = 19;
    if (i < bytes && text[i] == '.') {
        uint32_t count = 0;
        for (i++; i < bytes && is_digit(text[i]); i++) {
            if (count == 9) continue;
            fraction = fraction * 10 + (text[i] - '0');
            count++;
        }
        fraction *= bw_power_of_ten[9 - count];
    }
    size_t rest = bytes - i;
    bool utc = rest == 0 || (rest == 1 && text[i] == 'Z') ||
               (rest == 6 && memcmp(text + i, "+00:00", 6) == 0);
    return utc ? (days * 86400 + seconds) * NS_PER_S + fraction : 0;
}

/* The unit in which a whole number is a time of our age. */
static uint32_t unit_by_size(int64_t whole) {
    return whole < 100000000000 ? BW_TIME_S : whole < 100000000000000 ? BW_TIME_MS
        : whole < 100000000000000000 ? BW_TIME_US : BW_TIME_NS;
}

int64_t bw_time_of(uint32_t format, int64_t whole, uint32_t decimals) {
    static const uint32_t decimals_of[] = {[BW_TIME_S] = 9, [BW_TIME_MS] = 6, [BW_TIME_US] = 3,
                                           [BW_TIME_NS] = 0};
    int64_t ns;
    if (format == BW_TIME_BY_SIZE && decimals == 0) format = unit_by_size(whole);
    if (format == BW_TIME_NONE || format > BW_TIME_NS) return 0;
    if (whole < 0 || decimals > decimals_of[format]) return 0;
    return bw_scale(whole, decimals_of[format] - decimals, &ns) ? ns : 0;
}

int64_t bw_time_parse(uint32_t format, const char *text, size_t bytes) {
    if (format == BW_TIME_ISO8601) return parse_iso8601(text, bytes);
    int64_t mantissa;
    uint8_t decimals = 0;
    if (!bw_integer_parse(text, bytes, &mantissa) && /* mostly, and quicker */
        bw_decimal_parse(text, bytes, &mantissa, &decimals) != BW_NUMBER_OK) {
        return 0;
    }
    return bw_time_of(format, mantissa, decimals);
}
