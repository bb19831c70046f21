#include "inflate.h"

#include "reserve.h"
#include "websocket.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define TRIM_ABOVE (8u << 20)
#define TRIM_TO (1u << 20)
#define GZIP_BITS (16 + MAX_WBITS)

/* Ends what a sender flushed: permessage-deflate cuts it off, other senders leave it there. */
static const uint8_t flushed[4] = {0x00, 0x00, 0xff, 0xff};

struct bw_inflate {
    z_stream stream;
    enum bw_inflate_format format;
    uint8_t *out;
    size_t reserved;
    size_t message_bytes_max;
    size_t touched;
};

bw_inflate *bw_inflate_new(enum bw_inflate_format format, size_t message_bytes_max) {
    bw_inflate *inflate = calloc(1, sizeof *inflate);
    int bits = format == BW_INFLATE_GZIP ? GZIP_BITS : -MAX_WBITS;
    if (!inflate) return NULL;
    inflate->format = format;
    /* one byte more than allowed, so that too large shows as output, not as a full buffer */
    inflate->reserved = message_bytes_max + 1 + BW_WS_PADDING;
    inflate->message_bytes_max = message_bytes_max;
    inflate->out = bw_reserve(inflate->reserved);
    if (!inflate->out || inflateInit2(&inflate->stream, bits) != Z_OK) {
        bw_unreserve(inflate->out, inflate->reserved);
        free(inflate);
        return NULL;
    }
    return inflate;
}

void bw_inflate_free(bw_inflate *inflate) {
    if (!inflate) return;
    inflateEnd(&inflate->stream);
    bw_unreserve(inflate->out, inflate->reserved);
    free(inflate);
}

void bw_inflate_reset(bw_inflate *inflate) {
    inflateReset(&inflate->stream);
}

/* Runs zlib over one piece of input. 0 when all of it is used. */
static int run(bw_inflate *state, const uint8_t *data, size_t bytes, size_t *used) {
    z_stream *stream = &state->stream;
    size_t limit = state->message_bytes_max + 1;
    while (bytes) {
        size_t room = limit - *used;
        uInt in = bytes < INT_MAX ? (uInt)bytes : INT_MAX;
        uInt out = room < INT_MAX ? (uInt)room : INT_MAX;
        stream->next_in = (Bytef *)(uintptr_t)data;
        stream->avail_in = in;
        stream->next_out = state->out + *used;
        stream->avail_out = out;
        int result = inflate(stream, Z_SYNC_FLUSH);
        size_t taken = in - stream->avail_in;
        data += taken;
        bytes -= taken;
        *used += out - stream->avail_out;
        if (*used >= limit) return BW_INFLATE_TOO_LARGE;
        if (result == Z_STREAM_END) {
            inflateReset(stream); /* a final block is allowed (RFC 7692, 7.2.3.4); go on with a new stream */
            if (!taken) return BW_INFLATE_MALFORMED;
            continue;
        }
        if (result == Z_BUF_ERROR || (result == Z_OK && !taken)) break; /* all is out that can be */
        if (result != Z_OK) return BW_INFLATE_MALFORMED;
    }
    return bytes ? BW_INFLATE_MALFORMED : BW_INFLATE_OK;
}

/* One piece of the stream that all messages of a connection make. */
static int continued(bw_inflate *state, const uint8_t *data, size_t bytes, size_t *used) {
    int result = run(state, data, bytes, used);
    return result == BW_INFLATE_OK ? run(state, flushed, sizeof flushed, used) : result;
}

/* A stream of its own: all of it there, and nothing behind it. */
static int whole(bw_inflate *state, const uint8_t *data, size_t bytes, size_t *used) {
    z_stream *stream = &state->stream;
    if (bytes > INT_MAX || inflateReset(stream) != Z_OK) return BW_INFLATE_MALFORMED;
    stream->next_in = (Bytef *)(uintptr_t)data;
    stream->avail_in = (uInt)bytes;
    stream->next_out = state->out;
    stream->avail_out = (uInt)(state->message_bytes_max + 1);
    int result = inflate(stream, Z_FINISH);
    *used = state->message_bytes_max + 1 - stream->avail_out;
    if (!stream->avail_out) return BW_INFLATE_TOO_LARGE;
    if (stream->avail_in) return BW_INFLATE_MALFORMED;
    if (result == Z_STREAM_END) return BW_INFLATE_OK;
    bool flush = state->format == BW_INFLATE_DEFLATE && result == Z_BUF_ERROR && bytes > sizeof flushed;
    return flush && memcmp(data + bytes - sizeof flushed, flushed, sizeof flushed) == 0 ? BW_INFLATE_OK
                                                                                       : BW_INFLATE_MALFORMED;
}

int bw_inflate_message(bw_inflate *inflate, const uint8_t *data, size_t bytes, char **out,
                       size_t *out_bytes) {
    size_t used = 0;
    if (inflate->touched > TRIM_ABOVE) {
        bw_reserve_trim(inflate->out, TRIM_TO, inflate->touched);
        inflate->touched = TRIM_TO;
    }
    int result = inflate->format == BW_INFLATE_MESSAGES ? continued(inflate, data, bytes, &used)
                                                        : whole(inflate, data, bytes, &used);
    if (used > inflate->touched) inflate->touched = used;
    if (result == BW_INFLATE_OK && used > inflate->message_bytes_max) result = BW_INFLATE_TOO_LARGE;
    *out = (char *)inflate->out;
    *out_bytes = used;
    return result;
}
