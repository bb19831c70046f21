/* Inside of the decoder, shared by its variants and decode.c; nobody else includes this. */
#ifndef BW_DECODE_STATE_H
#define BW_DECODE_STATE_H

#include "decode.h"
#include "decode_plan.h"
#include "number.h"

#define BW_TEMPLATE_SEGMENTS_MAX 8u
#define BW_LITERAL_BYTES_MAX 31u
#define BW_NEST_MAX 64u /* containers inside each other in what is skipped */

/* What the bytes of one list element looked like the last time: literal, value, literal, value, ...,
 * literal. Elements of one message differ in their values only, so the next one is tried against it
 * and goes the general way when it differs. */
typedef struct bw_segment_shape {
    uint64_t word[4]; /* literal before the value, zero-padded */
    uint64_t mask[4];
    uint8_t bytes;
    uint8_t field; /* enum bw_field of the value behind it; of the last one: none follows */
} bw_segment_shape;

#define BW_QUOTED_VALUES_MAX 4u
#define BW_QUOTED_QUOTES_MAX 16u

typedef struct bw_level_template {
    uint32_t values; /* 0: nothing learned */
    bool pair;       /* price and quantity, and nothing else */
    bool wide;       /* elements of about 64 bytes and more */
    bool rows;       /* ["price","quantity"], perhaps with more strings */
    uint8_t quoted;  /* see decode_quoted.h: quotes of an element; 0: not of that kind */
    uint8_t closing[BW_QUOTED_VALUES_MAX]; /* which of the quotes ends a value */
    uint8_t value_of[BW_FIELD_COUNT]; /* by enum bw_field */
    bool sided;          /* side, something skipped, price, quantity: all strings */
    uint8_t skipped;     /* length of what was skipped last */
    uint32_t fields;     /* bits by enum bw_field */
    bw_segment_shape segment[BW_TEMPLATE_SEGMENTS_MAX + 1];
} bw_level_template;

/* See decode_stencil.h. */
typedef struct bw_stencil {
    uint8_t expected[64];
    uint8_t limit[64]; /* by how much a byte may differ (xor) from what is expected */
    uint8_t order[32]; /* shuffle: digits of price and quantity to the right end of 16 lanes each */
    uint8_t at[2];
    uint8_t decimals[2];
    uint8_t whole[2];  /* digits before the point */
    uint8_t length[1]; /* of the price, padding included */
    uint8_t misses;    /* in a row */
    uint8_t bytes;     /* of an element without its comma; 0: nothing learned */
    int32_t trust;     /* below 0: this list's elements differ too much to try */
} bw_stencil;

/* What the walk met outside of lists, and the lists: what decode_layout.h learns from. */
enum bw_mark_kind { BW_MARK_SKIPPED, BW_MARK_SLOT, BW_MARK_LIST };
#define BW_MARKS_MAX 32u

typedef struct bw_mark {
    uint32_t at, behind;
    uint8_t what; /* enum bw_mark_kind */
    uint8_t target;
    uint8_t of_item;
} bw_mark;

#define BW_LAYOUTS 8u
#define BW_LAYOUT_LISTS 2u
#define BW_LAYOUT_BYTES 192u /* of one piece */

typedef struct bw_layout_slot {
    uint8_t at; /* in its piece */
    uint8_t bytes;
    uint8_t piece, slot, of_item, kind;
} bw_layout_slot;

/* See decode_layout.h. */
typedef struct bw_layout {
    uint32_t pieces; /* lists and one; 0: nothing learned */
    uint32_t slots[2]; /* of frame and item */
    uint8_t item;      /* 1: there is one */
    uint8_t list[BW_LAYOUT_LISTS];
    uint8_t bytes[BW_LAYOUT_LISTS + 1];
    uint8_t slot_count;
    bool judged; /* `message` is what such a frame is */
    const bw_message_plan *message;
    bw_layout_slot slot[BW_SLOT_COUNT];
    uint8_t low[BW_LAYOUT_LISTS + 1][BW_LAYOUT_BYTES];
    uint8_t more[BW_LAYOUT_LISTS + 1][BW_LAYOUT_BYTES];
} bw_layout;

struct bw_decoder {
    const bw_plan *plan;
    bool (*walk)(bw_decoder *decoder);
    bool (*walk_json)(bw_decoder *decoder); /* of these two, where binary frames are protobuf */
    const char *variant;
    const char *text;
    const char *end;
    const char *failure;
    uint32_t failure_at;
    uint32_t levels_max;
    uint32_t level_used[2];
    uint32_t item_count;
    bw_wire_level *level[2];
    uint8_t key_first[BW_PLAN_NODES_MAX]; /* key that began this node's object last time */
    uint8_t key_next[BW_PLAN_KEYS_MAX];   /* key that followed this one last time */
    bw_level_template shape[BW_PLAN_LEVELS_MAX];
    bw_stencil stencil[BW_PLAN_LEVELS_MAX];
    uint32_t mark_count; /* BW_MARKS_MAX: there were more */
    uint32_t layout_last, layout_next;
    int32_t layout_credit;
    bw_layout *layout_used; /* by which the frame was read, or NULL */
    bw_mark mark[BW_MARKS_MAX];
    bw_layout layout[BW_LAYOUTS];
    bw_item frame;
    bw_item item[BW_ITEMS_MAX];
};

bool bw_decode_walk_portable(bw_decoder *decoder);
bool bw_decode_walk_avx2(bw_decoder *decoder);
bool bw_decode_walk_avx512(bw_decoder *decoder);
bool bw_decode_protobuf(bw_decoder *decoder);
bool bw_decode_either(bw_decoder *decoder);

static inline void bw_item_reset(const bw_decoder *d, bw_item *item) {
    item->slots = item->levels_seen = 0;
    item->fault = NULL;
    item->price_decimals = item->quantity_decimals = 0;
    item->rounded = 0;
    item->fewest_decimals[0] = item->fewest_decimals[1] = UINT8_MAX;
    for (uint32_t side = 0; side < 2; side++) {
        item->level_first[side] = d->level_used[side];
        item->level_count[side] = 0;
    }
}

/* Slow ways, the same for all variants. */
bool bw_key_equals(const char *text, const bw_value *key, const char *wanted, uint32_t wanted_bytes);

#endif
