/* One frame to slots and levels, in one pass, in place, along the plan's trie.
 *
 * What no key of the plan names is skipped: strings are checked for their end and control
 * characters, containers for balance, but not for the grammar inside. Key order is never assumed;
 * the order seen last is only the first guess. Levels land in scratch arrays, one a side, in the order
 * of the text. A value of another type than its key's action wants is a fault of its item, to be
 * judged by whoever knows what kind of message it is; broken JSON is a failure of the frame.
 */
#ifndef BW_DECODE_H
#define BW_DECODE_H

#include "plan.h"

#include <stddef.h>

#define BW_DECODE_PADDING 64u /* readable bytes behind a frame, any content */

/* A level as it came: value = mantissa / 10^decimals, without the decimals that only pad the numbers of
 * its list. */
typedef struct bw_wire_level {
    int64_t price;
    int64_t quantity;
    uint32_t orders;
    uint8_t price_decimals;
    uint8_t quantity_decimals;
    uint16_t reserved;
} bw_wire_level;

enum bw_value_kind {
    BW_VALUE_STRING,
    BW_VALUE_BARE,
    BW_VALUE_NESTED, /* with its brackets; of a binary frame: a message */
    BW_VALUE_VARINT, /* the bytes of a protobuf number */
};

typedef struct bw_value {
    uint32_t at;    /* offset in the frame; of a string: behind the quote */
    uint32_t bytes;
    uint16_t kind;
    uint16_t escaped; /* the text holds backslashes */
} bw_value;

typedef struct bw_item {
    uint32_t slots;       /* bits of those present */
    uint32_t levels_seen; /* bits of the level lists present */
    uint32_t level_first[2];
    uint32_t level_count[2];
    uint8_t price_decimals; /* most of any level */
    uint8_t quantity_decimals;
    uint16_t rounded; /* quantities with more decimals than fit 64 bits */
    uint8_t fewest_decimals[2]; /* of any price and any quantity but 0, as text; UINT8_MAX: none. Only where
                                 * the venue's checksum is made of the text as received */
    uint32_t fault_at;
    const char *fault;    /* a value that does not suit its action, or NULL */
    bw_value slot[BW_SLOT_COUNT];
} bw_item;

typedef struct bw_decoder bw_decoder;

/* Room for `levels_max` levels in one frame, all items together. NULL when memory is short. */
bw_decoder *bw_decoder_new(const bw_plan *plan, uint32_t levels_max);
void bw_decoder_free(bw_decoder *decoder);

/* False when the frame is broken; bw_decoder_failure() then says how and where. `text` must have
 * BW_DECODE_PADDING readable bytes behind it; bytes < 4 GiB. */
bool bw_decode(bw_decoder *decoder, const char *text, size_t bytes);

const char *bw_decoder_failure(const bw_decoder *decoder, uint32_t *at);
/* Items of the frame decoded last; a frame without an ITEMS array is itself the one item. */
uint32_t bw_decoder_items(const bw_decoder *decoder);
/* Item's view: its own slots and the frame's. `item` below bw_decoder_items(). */
const bw_item *bw_decoder_item(const bw_decoder *decoder, uint32_t item);
const bw_item *bw_decoder_frame(const bw_decoder *decoder);
/* Scratch of one side, levels_max of them: the frame's until the next bw_decode(), and the caller's to
 * change. */
bw_wire_level *bw_decoder_levels(const bw_decoder *decoder, uint32_t side);

/* The slot of the item, else of the frame; NULL when neither has it. */
const bw_value *bw_decoder_slot(const bw_decoder *decoder, const bw_item *item, uint32_t slot);

/* Message of the plan that the item is, in the plan's order; NULL when none fits. REST_SNAPSHOT
 * messages are considered for REST bodies and only for them. */
struct bw_message_plan;
const struct bw_message_plan *bw_decoder_classify(const bw_decoder *decoder, const bw_item *item, bool rest);

/* For messages that are themselves one level: puts it into the item. NULL or what is wrong. */
const char *bw_decoder_level_from_slots(bw_decoder *decoder, bw_item *item,
                                        const struct bw_message_plan *message);

/* The value as a whole number; false when it is none. */
bool bw_value_integer(const char *text, const bw_value *value, int64_t *number);

/* Text of a value with escapes undone, into out[room]; returns its bytes, or -1 if it does not fit or
 * an escape is malformed. */
int bw_value_unescape(const char *text, const bw_value *value, char *out, size_t room);

/* Which of the compiled variants runs here ("avx512", "avx2", "portable"), for logs and benches. */
const char *bw_decoder_variant(const bw_decoder *decoder);

#endif
