/* What a venue's facts compile to: where in a message things stand, which sync rule, which checksum.
 *
 * Python fills the *_spec structs from handlers/facts.py and hands them to bw_plan_new(), which
 * copies them into the form the decoder runs. The specs hold no pointers into Python afterwards.
 * A message is walked once along the trie of keys; what no key names is skipped. Values land in
 * slots (frame-wide, or per element of an ITEMS array), levels land in a scratch array. After the
 * walk the first message whose conditions hold says what the frame was; where there are items, what
 * each item was: conditions may look at frame-wide slots and at the item's own. A key under a LEVELS
 * or OBJECT action may hold another type of value in messages of another kind: that alone is no error.
 */
#ifndef BW_PLAN_H
#define BW_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#define BW_PLAN_NODES_MAX 32u
#define BW_PLAN_KEYS_MAX 96u
#define BW_PLAN_LEVELS_MAX 16u
#define BW_PLAN_MESSAGES_MAX 24u
#define BW_PLAN_CONDITIONS_MAX 4u
#define BW_PLAN_POSITIONS_MAX 8u /* elements of one array that a plan can name */
#define BW_CHECKSUM_LEVELS_MAX 64u
#define BW_ITEMS_MAX 64u /* elements of an ITEMS array in one frame */

enum bw_slot {
    BW_SLOT_SYMBOL,
    BW_SLOT_FIRST,    /* first venue update id of the message */
    BW_SLOT_LAST,     /* last (or only) one */
    BW_SLOT_PREVIOUS, /* the id of the message before */
    BW_SLOT_TIME,
    BW_SLOT_CHECKSUM,
    BW_SLOT_PRICE,    /* with QUANTITY and SIDE: the message is itself one level (BW_SHAPE_SLOTS) */
    BW_SLOT_QUANTITY,
    BW_SLOT_SIDE,
    BW_SLOT_TAG0, /* discriminators: type, channel, action, event ...; and whatever stands in several roles */
    BW_SLOT_COUNT = 24
};
/* A message reads its SYMBOL to CHECKSUM from the slot of that name unless it names another. */
#define BW_ROLE_COUNT 6u

enum bw_key_action {
    BW_KEY_OBJECT, /* descend into node `target`: an object, or an array of which positions are named */
    BW_KEY_ITEMS,  /* array of objects: each walked with node `target`, each an update of its own */
    BW_KEY_SLOT,   /* remember the value in slot `target` */
    BW_KEY_LEVELS, /* levels, as levels_spec `target` says */
};

typedef struct bw_key_spec {
    uint32_t node;    /* the node (object) this key stands in; 0 is the root */
    uint32_t action;  /* enum bw_key_action */
    uint32_t target;
    char text[32];    /* the key, NUL-terminated */
    uint32_t also;     /* 1 + the slot that remembers the value besides; 0: none */
    uint32_t position; /* 1 + the place in an array; 0: a key of an object, found by its text */
    uint32_t number;   /* protobuf field; 0: not in binary frames */
} bw_key_spec;

enum bw_level_shape {
    BW_SHAPE_ARRAYS,  /* [["price","qty",...],...] : *_at are positions */
    BW_SHAPE_OBJECTS, /* [{"price":..,"qty":..},...] : *_key are names */
    BW_SHAPE_SLOTS,   /* one level, in the slots PRICE, QUANTITY, SIDE; no key leads to it */
    BW_SHAPE_PAIRS,   /* objects with a bid and an ask each; a price of 0 stands for none */
};
enum bw_level_side {
    BW_LEVELS_BIDS,
    BW_LEVELS_ASKS,
    BW_LEVELS_BY_FIELD,
    BW_LEVELS_BY_SIGN, /* of the quantity: positive is a bid */
};
/* What a JSON value looks like. */
enum bw_form {
    BW_FORM_OBJECT,
    BW_FORM_ROWS, /* an array of arrays or objects, or an empty one */
    BW_FORM_ROW,  /* an array that begins with a plain value */
    BW_FORM_TEXT,
    BW_FORM_BARE,
};

typedef struct bw_levels_spec {
    uint32_t shape;
    uint32_t side;
    int32_t price_at, quantity_at, orders_at, side_at; /* -1: not there */
    char price_key[32], quantity_key[32], orders_key[32], side_key[32];
    char bid_text[16], ask_text[16]; /* values of the side field */
    char ask_price_key[32], ask_quantity_key[32]; /* PAIRS; the bid's are price_key and quantity_key */
    uint32_t orders_delete; /* 1: no orders, no level */
    uint32_t forms;         /* bits of what may stand there besides ROWS: ROW (one level), OBJECT (price:
                             * qty) */
    uint32_t number[4];     /* protobuf fields of price, quantity, orders, side; 0: not there */
} bw_levels_spec;

enum bw_message_kind {
    BW_MESSAGE_SNAPSHOT,      /* replaces the book */
    BW_MESSAGE_DELTA,
    BW_MESSAGE_REST_SNAPSHOT, /* only tried on bodies given to bw_engine_load_snapshot() */
    BW_MESSAGE_HEARTBEAT,     /* counted, never data */
    BW_MESSAGE_CONTROL,       /* handed to Python as text */
    BW_MESSAGE_CHECKSUM,      /* of the book as the messages before left it */
};
enum bw_test {
    BW_TEST_EQUALS, /* `equals`; "": the slot must be present, whatever its value */
    BW_TEST_SAME,   /* slot `other` holds the same text */
    BW_TEST_FORM,   /* enum bw_form `other` */
};
typedef struct bw_condition_spec {
    uint32_t slot;
    char equals[32];
    uint32_t test; /* enum bw_test */
    uint32_t other;
} bw_condition_spec;
typedef struct bw_message_spec {
    uint32_t kind;
    int32_t slots_level; /* levels_spec of shape SLOTS that this message is, or -1 */
    uint32_t condition_count;
    bw_condition_spec condition[BW_PLAN_CONDITIONS_MAX];
    uint32_t role[BW_ROLE_COUNT]; /* 1 + the slot read for SYMBOL to CHECKSUM; 0: the one of that name */
    uint32_t binds; /* 1 + the slot of an id that names SYMBOL's book on this connection; 0: none */
} bw_message_spec;

enum bw_sync_rule {
    BW_SYNC_FEED_SNAPSHOT,  /* the feed sends a snapshot, then deltas */
    BW_SYNC_REST_SNAPSHOT,  /* deltas are buffered until a REST snapshot joins them */
    BW_SYNC_SNAPSHOTS_ONLY, /* every message replaces the book; one with a smaller LAST is ignored */
    BW_SYNC_REQUESTED_SNAPSHOT, /* deltas are buffered until a snapshot comes on the same connection */
};
enum bw_continuity {
    BW_CONTINUITY_NONE,       /* nothing to check (a checksum may do it) */
    BW_CONTINUITY_LINK,       /* PREVIOUS == last; PREVIOUS == LAST == last is a keep-alive; LAST below
                               * PREVIOUS a reset; the first after a REST snapshot L: PREVIOUS <= L < LAST,
                               * where a PREVIOUS of 0 is none; after a requested snapshot PREVIOUS == L */
    BW_CONTINUITY_NEXT,       /* LAST == last + 1, after a requested snapshot too */
    BW_CONTINUITY_RANGE,      /* FIRST == last + 1; the first after a snapshot: FIRST <= L+1 <= LAST
                               * (L == -1: not opened yet, any first message starts the book) */
    BW_CONTINUITY_CONNECTION, /* LAST counts every message of the connection, + 1 each */
    BW_CONTINUITY_OVERLAP,    /* FIRST <= last < LAST (FIRST < last: a jump) */
    BW_CONTINUITY_COVERS,     /* FIRST <= last + 1 <= LAST (FIRST <= last: a jump) */
    BW_CONTINUITY_RISES,      /* last < LAST; LAST == last once more the same; below out of order: a gap */
    BW_CONTINUITY_JUMPS,      /* last < LAST (last + 1 < LAST: a jump); one that was jumped over and then
                               * comes is a gap, others from LAST on down were there before. No
                               * waiting for the missing one: where ids skip, each skip would hold the
                               * book back, and none was ever seen to come late */
};
/* BY_SIZE: a whole number is of the unit in which it lies between 1973 and 5138. */
enum bw_time_format {
    BW_TIME_NONE, BW_TIME_S, BW_TIME_MS, BW_TIME_US, BW_TIME_NS, BW_TIME_ISO8601, BW_TIME_BY_SIZE
};

enum bw_checksum_order {
    BW_CHECKSUM_ASKS_THEN_BIDS,
    BW_CHECKSUM_INTERLEAVED_BID_FIRST,
    BW_CHECKSUM_BIDS_THEN_ASKS,
};
enum bw_checksum_text {
    BW_CHECKSUM_DIGITS, /* digits at the book's exponents, no point, no leading zeros */
    BW_CHECKSUM_PLAIN,  /* shortest decimal text */
    BW_CHECKSUM_RECEIVED, /* padded with zeros to the fewest decimals any number of the book came with */
    BW_CHECKSUM_JAVASCRIPT, /* plain, with an exponent below 1e-6 */
};
typedef struct bw_checksum_spec {
    uint32_t levels; /* a side; 0 = the venue has no checksum */
    uint32_t order;
    uint32_t text;
    char separator[4]; /* between all numbers, "" for none */
    uint32_t is_signed;
    uint32_t negative_asks; /* 1: quantities of asks stand with a minus sign */
} bw_checksum_spec;

typedef struct bw_plan_spec {
    uint32_t key_count, levels_count, message_count;
    const bw_key_spec *key;
    const bw_levels_spec *levels;
    const bw_message_spec *message;
    uint32_t sync_rule, continuity, time_format;
    bw_checksum_spec checksum;
    uint32_t snapshot_levels; /* a snapshot side with so many levels was cut there: its worst price bounds
                               * what is verified; 0 = snapshots are whole */
    uint32_t depth;       /* levels a side the venue keeps; 0 = no bound */
    uint32_t client_cuts; /* 1: the client must cut to `depth` after every message */
    char text_heartbeat[16]; /* a whole frame that is a heartbeat though not JSON ("pong"), or "" */
    uint32_t straddle; /* 1: the first update may begin before the feed's snapshot and end behind it (LINK) */
    uint32_t audit;    /* 1: a snapshot of a book that follows is compared with it before it replaces it */
} bw_plan_spec;

typedef struct bw_plan bw_plan;

/* NULL on a bad spec, with the reason in error[error_bytes]. */
bw_plan *bw_plan_new(const bw_plan_spec *spec, char *error, uint32_t error_bytes);
void bw_plan_free(bw_plan *plan);

#endif
