/* permessage-deflate (RFC 7692), the receiving half: whole messages, bounded output. */
#ifndef BW_INFLATE_H
#define BW_INFLATE_H

#include <stddef.h>
#include <stdint.h>

typedef struct bw_inflate bw_inflate;

enum bw_inflate_result { BW_INFLATE_OK = 0, BW_INFLATE_MALFORMED = -1, BW_INFLATE_TOO_LARGE = -2 };

/* `message_bytes_max` bounds what a message may become (a bomb fails, it does not fill memory). The
 * window is kept from message to message, which is right whether or not the peer resets its own. */
bw_inflate *bw_inflate_new(size_t message_bytes_max);
void bw_inflate_free(bw_inflate *inflate);
void bw_inflate_reset(bw_inflate *inflate);

/* Message in, text out: *out stays valid until the next call, with padding behind it. After an error
 * only bw_inflate_reset() makes it usable again. */
int bw_inflate_message(bw_inflate *inflate, const uint8_t *data, size_t bytes, char **out,
                       size_t *out_bytes);

#endif
