/* The Internet checksum (RFC 1071), and the pseudo headers of IPv4 (RFC 9293 3.1) and IPv6 (RFC 8200 8.1). */
#ifndef BW_INET_SUM_H
#define BW_INET_SUM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* One's complement sum of the bytes in memory order, not folded; an odd last byte is padded with 0. */
uint64_t bw_inet_sum(const void *data, size_t bytes);

static inline uint16_t bw_inet_fold(uint64_t sum) {
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* A sum of 32-bit halves: what is added to bw_inet_sum() of the segment. */
static inline uint64_t bw_inet_pseudo(const uint8_t *addresses, size_t address_bytes, uint8_t protocol,
                                      uint32_t bytes) {
    uint64_t sum = (uint64_t)__builtin_bswap32(bytes) + ((uint64_t)protocol << 8);
    for (size_t at = 0; at < address_bytes; at += 4) {
        uint32_t word;
        memcpy(&word, addresses + at, sizeof word);
        sum += word;
    }
    return sum;
}

#endif
