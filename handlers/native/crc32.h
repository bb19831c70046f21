/* CRC-32 (IEEE 802.3, the one of zlib and of the exchanges), by carry-less multiplication where the
 * CPU has it, else by tables. */
#ifndef BW_CRC32_H
#define BW_CRC32_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* CRC of the bytes, continued from `crc` (0 to begin), so that crc(b, crc(a)) is that of a and b. */
uint32_t bw_crc32(uint32_t crc, const void *data, size_t bytes);

/* The table way alone, for tests. */
uint32_t bw_crc32_by_table(uint32_t crc, const void *data, size_t bytes);

/* Whether this CPU can do what the next one needs (AVX2 and carry-less multiplication). */
bool bw_crc32_joins(void);

/* CRC of `count` texts put one behind the other, of which only remainders and lengths are known. All together
 * have at most BW_CRC32_JOINED_MAX bytes. A remainder has 8 bytes: what bw_crc32_remainder() leaves
 * (crc32_fold.h), or bw_crc32_remainder_by_table(). */
#define BW_CRC32_JOINED_MAX 5120u
uint32_t bw_crc32_joined(const uint64_t *remainder, const uint32_t *bytes, uint32_t count);
uint64_t bw_crc32_remainder_by_table(const void *data, size_t bytes);

#endif
