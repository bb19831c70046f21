#include "crc32_fold.h"

#include <stdbool.h>
#include <string.h>

#define POLYNOMIAL 0xedb88320u /* reflected */
#define SLICES 8u
#define FOLD_BYTES_MIN 64u

static uint32_t table[SLICES][256];
#if defined(__x86_64__)
static bool has_clmul;
#endif
static bool can_join;
static uint32_t shift_by[BW_CRC32_JOINED_MAX + 1]; /* x^(8n - 1): what moves a remainder up by n bytes */

__attribute__((constructor)) static void make_tables(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (uint32_t bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
        table[0][i] = crc;
    }
    for (uint32_t slice = 1; slice < SLICES; slice++) {
        for (uint32_t i = 0; i < 256; i++) {
            table[slice][i] = table[slice - 1][i] >> 8 ^ table[0][table[slice - 1][i] & 255];
        }
    }
    uint32_t power = (1u << 31 ^ POLYNOMIAL) << 1 | 1; /* x^-1: x^0 divided by x */
    for (uint32_t bytes = 0; bytes <= BW_CRC32_JOINED_MAX; bytes++) {
        shift_by[bytes] = power;
        power = power >> 8 ^ table[0][power & 255];
    }
#if defined(__x86_64__)
    __builtin_cpu_init();
    has_clmul = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
    can_join = has_clmul && __builtin_cpu_supports("avx2");
#endif
}

/* `state` is the inverted crc, as the folding below keeps it. */
static uint32_t by_table(uint32_t state, const uint8_t *p, size_t bytes) {
    for (; bytes >= 8; bytes -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        word ^= state;
        state = 0;
        for (uint32_t i = 0; i < SLICES; i++) state ^= table[SLICES - 1 - i][word >> (8 * i) & 255];
    }
    for (; bytes; bytes--, p++) state = state >> 8 ^ table[0][(state ^ *p) & 255];
    return state;
}

#if defined(__x86_64__)
static inline BW_CLMUL __m128i load(const uint8_t *p) {
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* Gopal et al., "Fast CRC computation for generic polynomials using PCLMULQDQ" (Intel, 2009), with the
 * constants of the reflected IEEE polynomial. `bytes` is a multiple of 16, at least 64. */
static BW_CLMUL uint32_t by_folding(uint32_t state, const uint8_t *p, size_t bytes) {
    const __m128i by_64 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4);
    const __m128i by_16 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
    __m128i x[4];
    for (uint32_t i = 0; i < 4; i++) x[i] = load(p + 16 * i);
    x[0] = _mm_xor_si128(x[0], _mm_cvtsi32_si128((int)state));
    for (p += 64, bytes -= 64; bytes >= 64; p += 64, bytes -= 64) {
        for (uint32_t i = 0; i < 4; i++) x[i] = bw_crc32_fold(x[i], by_64, load(p + 16 * i));
    }
    __m128i one = x[0];
    for (uint32_t i = 1; i < 4; i++) one = bw_crc32_fold(one, by_16, x[i]);
    for (; bytes >= 16; p += 16, bytes -= 16) one = bw_crc32_fold(one, by_16, load(p));
    return bw_crc32_to_4(bw_crc32_to_8(bw_crc32_to_12(one)));
}

BW_CLMUL uint32_t bw_crc32_joined(const uint64_t *remainder, const uint32_t *bytes, uint32_t count) {
    __m128i sum = _mm_setzero_si128();
    uint32_t behind = 0;
    for (uint32_t i = count; i--; behind += bytes[i]) {
        __m128i shift = _mm_cvtsi32_si128((int)shift_by[behind]);
        sum = _mm_xor_si128(sum, _mm_clmulepi64_si128(_mm_cvtsi64_si128((int64_t)remainder[i]), shift, 0));
    }
    /* the register begins with all bits set */
    __m128i shift = _mm_cvtsi32_si128((int)shift_by[behind]), start = _mm_setr_epi32(0, -1, 0, 0);
    sum = _mm_xor_si128(sum, _mm_clmulepi64_si128(start, shift, 0));
    return ~bw_crc32_to_4(bw_crc32_to_8(sum));
}
#else
uint32_t bw_crc32_joined(const uint64_t *remainder, const uint32_t *bytes, uint32_t count) {
    (void)remainder, (void)bytes, (void)count;
    return 0; /* nobody asks where bw_crc32_joins() says no */
}
#endif

bool bw_crc32_joins(void) {
    return can_join;
}

uint64_t bw_crc32_remainder_by_table(const void *data, size_t bytes) {
    return (uint64_t)by_table(0, data, bytes) << 32;
}

uint32_t bw_crc32_by_table(uint32_t crc, const void *data, size_t bytes) {
    return ~by_table(~crc, data, bytes);
}

uint32_t bw_crc32(uint32_t crc, const void *data, size_t bytes) {
    const uint8_t *p = data;
    uint32_t state = ~crc;
#if defined(__x86_64__)
    if (has_clmul && bytes >= FOLD_BYTES_MIN) {
        size_t folded = bytes & ~(size_t)15;
        state = by_folding(state, p, folded);
        p += folded;
        bytes -= folded;
    }
#endif
    return ~by_table(state, p, bytes);
}
