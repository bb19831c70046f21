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

typedef struct bw_level_template {
    uint32_t values; /* 0: nothing learned */
    bool stencils;   /* elements are tried by stencils */
    bool wide;       /* of more than 64 bytes */
    bool counted;    /* orders */
    int32_t steady;  /* above 0: elements mostly have the layout of the one before */
    const struct bw_stencil *last;
    uint8_t reach;   /* so many bytes of an element, or of its second block, hold no closing bracket */
    bw_segment_shape segment[BW_TEMPLATE_SEGMENTS_MAX + 1];
} bw_level_template;

#define BW_STENCIL_BITS 8u

/* See decode_stencil.h. Bits are bytes of the element's block: its first 64, or of a wide one the second. */
typedef struct bw_stencil {
    uint8_t expected[64];
    uint8_t expected_front[64]; /* of a wide element: its first 64 */
    uint64_t others; /* what is no digit, up to the element's end */
    uint64_t front;  /* the same of a wide one's first 64 */
    uint64_t must, must_front; /* what must be as expected */
    uint64_t rest;   /* decimals, where bw_wire_level has them behind its numbers */
    uint8_t order[32]; /* which byte comes to which of 16 lanes each, right-aligned */
    uint32_t taken;    /* lanes that a byte comes to */
    uint32_t list;     /* 1 + its number in the plan; 0: nothing learned */
    uint8_t at[2];     /* price and quantity */
    uint8_t decimals[2];
    uint8_t orders_at, orders_shift;
    uint8_t side;  /* where a field says it */
    uint8_t bytes; /* of the block, to the element's end */
    uint8_t unused[40]; /* so that its place takes no multiplication */
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
    int32_t stencil_credit;
    uint32_t mark_count; /* BW_MARKS_MAX: there were more */
    uint32_t layout_last, layout_next;
    int32_t layout_credit;
    bw_layout *layout_used; /* by which the frame was read, or NULL */
    _Alignas(64) bw_stencil stencil[1u << BW_STENCIL_BITS];
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
