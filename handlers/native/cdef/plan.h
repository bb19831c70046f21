#define BW_PLAN_NODES_MAX 32
#define BW_PLAN_KEYS_MAX 96
#define BW_PLAN_LEVELS_MAX 16
#define BW_PLAN_MESSAGES_MAX 24
#define BW_PLAN_CONDITIONS_MAX 4
#define BW_PLAN_POSITIONS_MAX 8
#define BW_CHECKSUM_LEVELS_MAX 64
#define BW_ITEMS_MAX 64

enum bw_slot {
    BW_SLOT_SYMBOL,
    BW_SLOT_FIRST,
    BW_SLOT_LAST,
    BW_SLOT_PREVIOUS,
    BW_SLOT_TIME,
    BW_SLOT_CHECKSUM,
    BW_SLOT_PRICE,
    BW_SLOT_QUANTITY,
    BW_SLOT_SIDE,
    BW_SLOT_TAG0,
    BW_SLOT_COUNT = 24
};

#define BW_ROLE_COUNT 6

enum bw_key_action {
    BW_KEY_OBJECT,
    BW_KEY_ITEMS,
    BW_KEY_SLOT,
    BW_KEY_LEVELS,
};

typedef struct bw_key_spec {
    uint32_t node;
    uint32_t action;
    uint32_t target;
    char text[32];
    uint32_t also;
    uint32_t position;
    uint32_t number;
} bw_key_spec;

enum bw_level_shape {
    BW_SHAPE_ARRAYS,
    BW_SHAPE_OBJECTS,
    BW_SHAPE_SLOTS,
    BW_SHAPE_PAIRS,
};
enum bw_level_side {
    BW_LEVELS_BIDS,
    BW_LEVELS_ASKS,
    BW_LEVELS_BY_FIELD,
    BW_LEVELS_BY_SIGN,
};

enum bw_form {
    BW_FORM_OBJECT,
    BW_FORM_ROWS,
    BW_FORM_ROW,
    BW_FORM_TEXT,
    BW_FORM_BARE,
};

typedef struct bw_levels_spec {
    uint32_t shape;
    uint32_t side;
    int32_t price_at, quantity_at, orders_at, side_at;
    char price_key[32], quantity_key[32], orders_key[32], side_key[32];
    char bid_text[16], ask_text[16];
    char ask_price_key[32], ask_quantity_key[32];
    uint32_t orders_delete;
    uint32_t forms;
    uint32_t number[4];
} bw_levels_spec;

enum bw_message_kind {
    BW_MESSAGE_SNAPSHOT,
    BW_MESSAGE_DELTA,
    BW_MESSAGE_REST_SNAPSHOT,
    BW_MESSAGE_HEARTBEAT,
    BW_MESSAGE_CONTROL,
    BW_MESSAGE_CHECKSUM,
};
enum bw_test {
    BW_TEST_EQUALS,
    BW_TEST_SAME,
    BW_TEST_FORM,
};
typedef struct bw_condition_spec {
    uint32_t slot;
    char equals[32];
    uint32_t test;
    uint32_t other;
} bw_condition_spec;
typedef struct bw_message_spec {
    uint32_t kind;
    int32_t slots_level;
    uint32_t condition_count;
    bw_condition_spec condition[4];
    uint32_t role[6];
    uint32_t binds;
} bw_message_spec;

enum bw_sync_rule {
    BW_SYNC_FEED_SNAPSHOT,
    BW_SYNC_REST_SNAPSHOT,
    BW_SYNC_SNAPSHOTS_ONLY,
    BW_SYNC_REQUESTED_SNAPSHOT,
};
enum bw_continuity {
    BW_CONTINUITY_NONE,
    BW_CONTINUITY_LINK,
    BW_CONTINUITY_NEXT,
    BW_CONTINUITY_RANGE,
    BW_CONTINUITY_CONNECTION,
    BW_CONTINUITY_OVERLAP,
    BW_CONTINUITY_COVERS,
    BW_CONTINUITY_RISES,
    BW_CONTINUITY_JUMPS,
};

enum bw_time_format {
    BW_TIME_NONE, BW_TIME_S, BW_TIME_MS, BW_TIME_US, BW_TIME_NS, BW_TIME_ISO8601, BW_TIME_BY_SIZE
};

enum bw_checksum_order {
    BW_CHECKSUM_ASKS_THEN_BIDS,
    BW_CHECKSUM_INTERLEAVED_BID_FIRST,
    BW_CHECKSUM_BIDS_THEN_ASKS,
};
enum bw_checksum_text {
    BW_CHECKSUM_DIGITS,
    BW_CHECKSUM_PLAIN,
    BW_CHECKSUM_RECEIVED,
    BW_CHECKSUM_JAVASCRIPT,
};
typedef struct bw_checksum_spec {
    uint32_t levels;
    uint32_t order;
    uint32_t text;
    char separator[4];
    uint32_t is_signed;
    uint32_t negative_asks;
} bw_checksum_spec;

typedef struct bw_plan_spec {
    uint32_t key_count, levels_count, message_count;
    const bw_key_spec *key;
    const bw_levels_spec *levels;
    const bw_message_spec *message;
    uint32_t sync_rule, continuity, time_format;
    bw_checksum_spec checksum;
    uint32_t snapshot_levels;
    uint32_t depth;
    uint32_t client_cuts;
    char text_heartbeat[16];
    uint32_t straddle;
    uint32_t audit;
} bw_plan_spec;

typedef struct bw_plan bw_plan;

bw_plan *bw_plan_new(const bw_plan_spec *spec, char *error, uint32_t error_bytes);
void bw_plan_free(bw_plan *plan);
