/* libFuzzer: messages of permessage-deflate, one after the other over one window: bounded, no overrun,
 * and usable again after an error and a reset. The first byte of each piece is its length.
 *
 *   clang -g -O1 -D_GNU_SOURCE -I. -fsanitize=fuzzer,address,undefined tests/fuzz_inflate.c inflate.c -lz
 */
#include "inflate.h"

#include <stdlib.h>

#define MESSAGE_MAX 8192u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    bw_inflate *inflate = bw_inflate_new(MESSAGE_MAX);
    volatile char sum = 0;
    if (!inflate) abort();
    while (bytes) {
        size_t piece = *data++ * 4u;
        bytes--;
        if (piece > bytes) piece = bytes;
        char *out;
        size_t out_bytes;
        int result = bw_inflate_message(inflate, data, piece, &out, &out_bytes);
        if (result == BW_INFLATE_OK && out_bytes > MESSAGE_MAX) abort();
        if (result == BW_INFLATE_OK) {
            for (size_t i = 0; i < out_bytes; i++) sum = (char)(sum ^ out[i]);
        } else {
            bw_inflate_reset(inflate);
        }
        data += piece;
        bytes -= piece;
    }
    bw_inflate_free(inflate);
    return 0;
}
