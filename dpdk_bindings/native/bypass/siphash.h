/* SipHash-2-4 (Aumasson and Bernstein, 2012) of whole 64-bit words: a keyed hash. */
#ifndef BW_SIPHASH_H
#define BW_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

static inline void bw_sip_round(uint64_t v[4]) {
#define BW_ROTATE(x, by) (((x) << (by)) | ((x) >> (64 - (by))))
    v[0] += v[1], v[1] = BW_ROTATE(v[1], 13) ^ v[0], v[0] = BW_ROTATE(v[0], 32);
    v[2] += v[3], v[3] = BW_ROTATE(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = BW_ROTATE(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = BW_ROTATE(v[1], 17) ^ v[2], v[2] = BW_ROTATE(v[2], 32);
#undef BW_ROTATE
}

static inline uint64_t bw_siphash(const uint64_t key[2], const uint64_t *words, size_t count) {
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261,
                     key[1] ^ 0x7465646279746573};
    for (size_t i = 0; i <= count; i++) {
        uint64_t word = i < count ? words[i] : (uint64_t)(count * 8) << 56;
        v[3] ^= word;
        bw_sip_round(v);
        bw_sip_round(v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++) bw_sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
