/* libFuzzer: messages one after the other, of permessage-deflate over one window, or each a gzip member or
 * a raw stream of its own: bounded, no overrun, and usable again after an error (and, with a window, a
 * reset). The first byte of all says the format, the first byte of each piece its length.
 *
 *   clang -g -O1 -D_GNU_SOURCE -I. -fsanitize=fuzzer,address,undefined tests/fuzz_inflate.c inflate.c -lz
 */
#include "inflate.h"

#include <stdlib.h>

#define MESSAGE_MAX 8192u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (!bytes) return 0;
    enum bw_inflate_format format = (enum bw_inflate_format)(*data++ % 3);
    bw_inflate *inflate = bw_inflate_new(format, MESSAGE_MAX);
    volatile char sum = 0;
    bytes--;
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
        } else if (format == BW_INFLATE_MESSAGES) {
            bw_inflate_reset(inflate);
        }
        data += piece;
        bytes -= piece;
    }
    bw_inflate_free(inflate);
    return 0;
}
