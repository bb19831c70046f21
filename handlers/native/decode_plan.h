/* The compiled plan: what the decoder walks and the engine asks. Made by plan.c, read-only after. */
#ifndef BW_DECODE_PLAN_H
#define BW_DECODE_PLAN_H

#include "plan.h"

#define BW_KEY_HEAD_BYTES 16u
#define BW_LEVEL_FIELDS_MAX 8u /* elements of one level array that a plan can name */

#define BW_KEY_TWICE 4u

/* One key of an object, as the wire writes it: `"key":`. The first 16 bytes are compared as two
 * masked words, the rest (rare) by memcmp. */
typedef struct bw_trie_key {
    uint64_t head[2];
    uint64_t mask[2];
    uint8_t quoted_bytes; /* of `"key":` */
    uint8_t bytes;        /* of the key alone */
    uint8_t action;       /* enum bw_key_action, or BW_KEY_TWICE: as `way` says, and into slot `also` */
    uint8_t target;
    uint8_t way;          /* enum bw_key_action */
    uint8_t also;
    uint32_t number;      /* protobuf field, 0: none */
    char quoted[36];
} bw_trie_key;

/* Keys found by their text come first, then those of positions; binary frames find either by number. */
typedef struct bw_trie_node {
    uint16_t key_first;
    uint16_t key_count; /* of those found by text */
    uint16_t all_count;
    uint8_t at[BW_PLAN_POSITIONS_MAX]; /* 1 + key of a position, 0: not named */
    bool is_array;                     /* some position is named */
} bw_trie_node;

enum bw_field {
    BW_FIELD_SKIP,
    BW_FIELD_PRICE,
    BW_FIELD_QUANTITY,
    BW_FIELD_ORDERS,
    BW_FIELD_SIDE,
    BW_FIELD_ASK_PRICE, /* of pairs, whose bid is PRICE and QUANTITY */
    BW_FIELD_ASK_QUANTITY,
    BW_FIELD_COUNT
};

typedef struct bw_level_plan {
    uint8_t shape;
    uint8_t side;
    uint8_t forms;         /* bits by enum bw_form, besides rows */
    bool orders_delete;
    bool is_plain;         /* rows alone, side known or by field: the quick loop can have it */
    uint8_t field_at[BW_LEVEL_FIELDS_MAX]; /* enum bw_field by position (ARRAYS) */
    uint8_t bid_bytes, ask_bytes;
    uint64_t side_word[2], side_mask[2]; /* value of the side field with its closing quote, bid and ask */
    char bid_text[16], ask_text[16];
    char key[BW_FIELD_COUNT][32]; /* by enum bw_field (OBJECTS, PAIRS) */
    uint8_t key_bytes[BW_FIELD_COUNT];
    uint32_t number[BW_FIELD_COUNT]; /* protobuf fields */
} bw_level_plan;

typedef struct bw_condition {
    uint8_t slot;
    uint8_t bytes; /* of `equals`; 0: presence is enough */
    uint8_t test;  /* enum bw_test */
    uint8_t other; /* slot (SAME) or form (FORM) */
    char equals[32];
} bw_condition;

typedef struct bw_message_plan {
    uint32_t kind;
    uint32_t slots_needed; /* bits */
    int32_t slots_level;   /* the message is one level, in slots, as this list says; -1: it is not */
    uint8_t role[BW_ROLE_COUNT]; /* slots read for SYMBOL to CHECKSUM */
    uint8_t binds;               /* slot of an id that will name the book; BW_SLOT_COUNT: none */
    uint32_t condition_count;
    bw_condition condition[BW_PLAN_CONDITIONS_MAX];
} bw_message_plan;

struct bw_plan {
    bw_trie_node node[BW_PLAN_NODES_MAX];
    bw_trie_key key[BW_PLAN_KEYS_MAX];
    bw_level_plan levels[BW_PLAN_LEVELS_MAX];
    bw_message_plan message[BW_PLAN_MESSAGES_MAX];
    uint32_t message_count;
    uint32_t sync_rule, continuity, time_format;
    bw_checksum_spec checksum;
    uint32_t symbol_slots; /* bits of those that any message of a book reads its symbol from */
    bool binds;            /* books are named by ids that a control message bound */
    bool straddle, audit;
    bool checksum_apart; /* in messages of its own */
    bool has_numbers;      /* binary frames are protobuf */
    bool compares_values;  /* some condition is about two values: a frame's layout does not tell its kind */
    uint32_t depth;
    uint32_t snapshot_levels;
    bool client_cuts;
    uint32_t text_heartbeat_bytes;
    char text_heartbeat[16];
};

#endif
