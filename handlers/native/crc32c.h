/* CRC-32C (Castagnoli; the one of iSCSI, ext4 and SSE4.2), by the CPU's instruction where it has one. */
#ifndef BW_CRC32C_H
#define BW_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC of the bytes, continued from `crc` (0 to begin), so that crc(b, crc(a)) is that of a and b. */
uint32_t bw_crc32c(uint32_t crc, const void *data, size_t bytes);

/* The table way alone, for tests. */
uint32_t bw_crc32c_by_table(uint32_t crc, const void *data, size_t bytes);

#endif
