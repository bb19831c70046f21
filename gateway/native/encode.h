/* A view or its changes as one message: JSON, tardis JSON or binary. Pure: structs in, bytes out.
 *
 * The formats are documented for subscribers in docs/gateway.md, byte by byte for the binary one.
 */
#ifndef BW_ENCODE_H
#define BW_ENCODE_H

#include "view.h"

#include <stddef.h>

enum bw_format { BW_FORMAT_JSON, BW_FORMAT_TARDIS, BW_FORMAT_BINARY };
enum bw_push { BW_PUSH_SNAPSHOT = 1, BW_PUSH_DELTA = 2 };

#define BW_CHANNEL_BYTES 64u
#define BW_BINARY_VERSION 1u
#define BW_BINARY_HEADER_BYTES 72u
#define BW_BINARY_WIDE 1u /* flag: 40-byte levels, 128-bit numbers */
#define BW_BINARY_MORE 2u /* flag: further pages of this snapshot follow as deltas */

typedef struct bw_encoding { /* how a stream is written; the same for all its messages */
    enum bw_view_kind kind;
    enum bw_format format;
    bool strings; /* numbers as exact decimal strings */
    bool stamps;
    char channel[BW_CHANNEL_BYTES];
    char exchange[16]; /* tardis */
    char native[40];   /* tardis */
    const char (*exchange_id)[16]; /* by exchange number, for fullbook */
} bw_encoding;

typedef struct bw_stamps {
    uint64_t sequence;
    int64_t exchange_ns, receive_ns, published_ns; /* of the newest update in the message; 0 = none */
    uint32_t state; /* enum bw_book_state, single-exchange channels */
} bw_stamps;

typedef struct bw_message {
    enum bw_push kind;
    const bw_view_level *level[BW_SIDES];
    uint32_t count[BW_SIDES];
    uint8_t price_exponent, quantity_exponent;
    bool more;          /* further pages follow */
    uint64_t conflated; /* messages this one stands for beyond itself; 0 = none */
    bw_stamps stamps;
} bw_message;

/* Bytes that bw_encode() can need at most. */
size_t bw_encode_bound(uint32_t levels);
size_t bw_encode(const bw_encoding *encoding, const bw_message *message, uint8_t *out);

const char *bw_state_text(uint32_t state);
const char *bw_reason_text(uint32_t reason);

#endif
