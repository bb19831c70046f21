/* The receiving half of compression, bounded: permessage-deflate (RFC 7692), and messages that are each a
 * gzip member (RFC 1952) or a raw DEFLATE stream (RFC 1951) of their own. */
#ifndef BW_INFLATE_H
#define BW_INFLATE_H

#include <stddef.h>
#include <stdint.h>

typedef struct bw_inflate bw_inflate;

enum bw_inflate_result { BW_INFLATE_OK = 0, BW_INFLATE_MALFORMED = -1, BW_INFLATE_TOO_LARGE = -2 };

enum bw_inflate_format {
    BW_INFLATE_MESSAGES, /* permessage-deflate: the window is kept from message to message, which is right
                          * whether or not the peer resets its own */
    BW_INFLATE_GZIP,     /* each message one gzip member, its checksum and length verified */
    BW_INFLATE_DEFLATE,  /* each message one raw DEFLATE stream, ended by a final block or a sync flush */
};

/* `message_bytes_max` bounds what a message may become (a bomb fails, it does not fill memory). Memory is
 * taken here and at the first messages only. NULL when it is short. */
bw_inflate *bw_inflate_new(enum bw_inflate_format format, size_t message_bytes_max);
void bw_inflate_free(bw_inflate *inflate);
void bw_inflate_reset(bw_inflate *inflate);

/* Message in, text out: *out stays valid until the next call, with padding behind it. After an error
 * of BW_INFLATE_MESSAGES only bw_inflate_reset() makes it usable again; the others start anew each time. */
int bw_inflate_message(bw_inflate *inflate, const uint8_t *data, size_t bytes, char **out,
                       size_t *out_bytes);

#endif
