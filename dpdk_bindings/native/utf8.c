/* UTF-8 validation: order book text is ASCII, so that way is made fast (64 bytes a step, which the
 * compiler turns into vector instructions) and the rest is checked character by character. */
#include "websocket.h"

#include <string.h>

#define HIGH_BITS UINT64_C(0x8080808080808080)

/* Bytes of ASCII at the start, as far as steps of 64 and then of 8 show it. */
static size_t ascii_prefix(const uint8_t *at, size_t bytes) {
    size_t done = 0;
    uint64_t word[8];
    for (; done + 64 <= bytes; done += 64) {
        memcpy(word, at + done, sizeof word);
        uint64_t any = (word[0] | word[1]) | (word[2] | word[3]) | (word[4] | word[5]) | (word[6] | word[7]);
        if (any & HIGH_BITS) break;
    }
    for (; done + 8 <= bytes; done += 8) {
        memcpy(word, at + done, 8);
        if (word[0] & HIGH_BITS) break;
    }
    return done;
}

/* Bytes of the well-formed character at `at` (Unicode table 3-7), 0 if there is none. */
static size_t character(const uint8_t *at, size_t bytes) {
    uint8_t first = at[0];
    if (first < 0x80) return 1;
    size_t need = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || bytes < need) return 0;
    uint8_t low = 0x80, high = 0xbf;
    if (first == 0xe0) low = 0xa0;
    if (first == 0xed) high = 0x9f; /* surrogates */
    if (first == 0xf0) low = 0x90;
    if (first == 0xf4) high = 0x8f; /* above U+10FFFF */
    if (at[1] < low || at[1] > high) return 0;
    for (size_t i = 2; i < need; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
    }
    return need;
}

bool bw_utf8_valid(const char *text, size_t bytes) {
    const uint8_t *at = (const uint8_t *)text;
    const uint8_t *end = at + bytes;
    while (at < end) {
        at += ascii_prefix(at, (size_t)(end - at));
        const uint8_t *stop = end - at > 8 ? at + 8 : end;
        while (at < stop) {
            size_t step = character(at, (size_t)(end - at));
            if (!step) return false;
            at += step;
        }
    }
    return true;
}
