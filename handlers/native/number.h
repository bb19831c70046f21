/* Exact decimals: text to 64-bit mantissa and decimals, scaling, and the venues' time formats.
 *
 * A decimal is kept with the fewest decimals that hold it ("0.50" is 5 with 1), so the wire's padding
 * does not matter; a book scales it to its own exponent. Nothing here goes through a binary float.
 */
#ifndef BW_NUMBER_H
#define BW_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BW_DECIMALS_MAX 18u /* 10^18 is the largest power of ten in an int64_t */

extern const int64_t bw_power_of_ten[BW_DECIMALS_MAX + 1];

enum bw_number_fault { BW_NUMBER_OK, BW_NUMBER_MALFORMED, BW_NUMBER_OVERFLOW };

/* Any JSON number text (sign, exponent, leading zeros too); the whole of [text, text + bytes). */
enum bw_number_fault bw_decimal_parse(const char *text, size_t bytes, int64_t *mantissa,
                                      uint8_t *decimals);

/* The same for numbers whose digits do not fit: as many decimals as do, half rounded to even, never to 0.
 * What does not fit even without decimals is an overflow. */
enum bw_number_fault bw_decimal_round(const char *text, size_t bytes, int64_t *mantissa, uint8_t *decimals);

/* mantissa / 10^places, half to even; what is not 0 is at least 1 away from it. `places` up to 18. */
int64_t bw_round(int64_t mantissa, uint32_t places);

/* A whole number with optional sign; false if it is none or does not fit. */
bool bw_integer_parse(const char *text, size_t bytes, int64_t *value);

/* The mantissa at `up` more decimals; false when it does not fit. */
static inline bool bw_scale(int64_t mantissa, uint32_t up, int64_t *out) {
    return !__builtin_mul_overflow(mantissa, bw_power_of_ten[up], out);
}

/* The same of a number that was read already: whole / 10^decimals of the format's unit. */
int64_t bw_time_of(uint32_t format, int64_t whole, uint32_t decimals);

/* ns since the Unix epoch of a venue's time text in enum bw_time_format; 0 when it cannot be told
 * (year 1, wrong format): a time is a stamp, never a reason to lose an update. */
int64_t bw_time_parse(uint32_t format, const char *text, size_t bytes);

#endif
