#include "inet_sum.h"

uint64_t bw_inet_sum(const void *data, size_t bytes) {
    const uint8_t *at = data;
    uint64_t even = 0, odd = 0; /* sums of 32-bit words cannot overflow 64 bits at any length we have */
    for (; bytes >= 32; bytes -= 32, at += 32) {
        uint64_t word[4];
        memcpy(word, at, sizeof word);
        even +=
            (word[0] & 0xffffffff) + (word[1] & 0xffffffff) + (word[2] & 0xffffffff) + (word[3] & 0xffffffff);
        odd += (word[0] >> 32) + (word[1] >> 32) + (word[2] >> 32) + (word[3] >> 32);
    }
    for (; bytes >= 4; bytes -= 4, at += 4) {
        uint32_t word;
        memcpy(&word, at, sizeof word);
        even += word;
    }
    if (bytes) {
        uint32_t word = 0;
        memcpy(&word, at, bytes);
        odd += word;
    }
    return even + odd;
}
