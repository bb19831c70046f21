/* Exact decimals: integers with a power of ten, compared and printed without a float in between.
 *
 * A consolidated view joins books of different exponents, so its numbers are 128 bits wide: a 64-bit
 * mantissa times 10^18 always fits, and so does the sum over all exchanges.
 */
#ifndef BW_DECIMAL_H
#define BW_DECIMAL_H

#include <stdint.h>

typedef __int128 bw_wide;

#define BW_EXPONENT_MAX 18u
#define BW_DECIMAL_CHARS_MAX 44u /* sign, 39 digits, point, leading "0." */

/* 10^exponent, exponent <= BW_EXPONENT_MAX. */
int64_t bw_power10(unsigned exponent);

#define BW_DECIMAL_SLACK 32u

/* Both write without a terminating NUL and return the end; up to BW_DECIMAL_SLACK bytes behind the end
 * may be overwritten. */
char *bw_put_u64(char *out, uint64_t value);
/* Shortest exact text of mantissa / 10^exponent: no zero after the last digit, no lone point. */
char *bw_put_decimal(char *out, bw_wide mantissa, unsigned exponent);

#endif
