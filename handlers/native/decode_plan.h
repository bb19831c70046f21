/* The compiled plan: what the decoder walks and the engine asks. Made by plan.c, read-only after. */
#ifndef BW_DECODE_PLAN_H
#define BW_DECODE_PLAN_H

#include "plan.h"

#define BW_KEY_HEAD_BYTES 16u
#define BW_LEVEL_FIELDS_MAX 8u /* elements of one level array that a plan can name */

/* One key of an object, as the wire writes it: `"key":`. The first 16 bytes are compared as two
 * masked words, the rest (rare) by memcmp. */
typedef struct bw_trie_key {
    uint64_t head[2];
    uint64_t mask[2];
    uint8_t quoted_bytes; /* of `"key":` */
    uint8_t bytes;        /* of the key alone */
    uint8_t action;       /* enum bw_key_action */
    uint8_t target;
    char quoted[36];
} bw_trie_key;

typedef struct bw_trie_node {
    uint16_t key_first;
    uint16_t key_count;
} bw_trie_node;

enum bw_field { BW_FIELD_SKIP, BW_FIELD_PRICE, BW_FIELD_QUANTITY, BW_FIELD_ORDERS, BW_FIELD_SIDE };

typedef struct bw_level_plan {
    uint8_t shape;
    uint8_t side;
    uint8_t field_at[BW_LEVEL_FIELDS_MAX]; /* enum bw_field by position (ARRAYS) */
    uint8_t bid_bytes, ask_bytes;
    uint64_t side_word[2], side_mask[2]; /* value of the side field with its closing quote, bid and ask */
    char bid_text[16], ask_text[16];
    char key[5][32]; /* by enum bw_field (OBJECTS) */
    uint8_t key_bytes[5];
} bw_level_plan;

typedef struct bw_condition {
    uint8_t slot;
    uint8_t bytes; /* 0: presence is enough */
    char equals[32];
} bw_condition;

typedef struct bw_message_plan {
    uint32_t kind;
    uint32_t slots_needed; /* bits */
    int32_t slots_level;   /* the message is one level, in slots, as this list says; -1: it is not */
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
    uint32_t depth;
    uint32_t snapshot_levels;
    bool client_cuts;
    uint32_t text_heartbeat_bytes;
    char text_heartbeat[16];
};

#endif
