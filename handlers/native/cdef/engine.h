#define BW_ENGINE_PADDING ...
typedef struct bw_shm_writer bw_shm_writer;
typedef struct bw_event_ring bw_event_ring;
typedef struct bw_engine bw_engine;
typedef struct bw_engine_spec {
    const bw_plan *plan;
    bw_shm_writer *shm;
    bw_event_ring *events;
    uint32_t levels_max;
    uint64_t pending_bytes;
    uint32_t connections_max;
    uint32_t crossed_max;
} bw_engine_spec;
bw_engine *bw_engine_new(const bw_engine_spec *spec, char *error, uint32_t error_bytes);
void bw_engine_free(bw_engine *engine);
int bw_engine_add_book(bw_engine *engine, uint32_t book, const char *symbol);
void bw_engine_set_scale(bw_engine *engine, uint32_t book, uint32_t price_decimals,
                         uint32_t quantity_decimals);
void bw_engine_bind(bw_engine *engine, uint32_t book, uint32_t connection);
void bw_engine_hand_over(bw_engine *engine, uint32_t book, uint32_t connection);
void bw_engine_connection_up(bw_engine *engine, uint32_t connection, int64_t now_ns);
void bw_engine_connection_down(bw_engine *engine, uint32_t connection, uint32_t reason, int64_t now_ns);
void bw_engine_frame(bw_engine *engine, uint32_t connection, const char *text, size_t bytes,
                     int64_t receive_ns, int64_t plaintext_ns);
uint32_t bw_engine_frames(bw_engine *engine, uint32_t connection, const char *joined,
                          const uint32_t *offsets, uint32_t count, int64_t receive_ns,
                          int64_t step_ns, uint32_t *frame_ns);
void bw_engine_load_snapshot(bw_engine *engine, uint32_t book, const char *body, size_t bytes,
                             int64_t now_ns);
void bw_engine_resync(bw_engine *engine, uint32_t book, uint32_t reason, int64_t now_ns);
void bw_engine_set_state(bw_engine *engine, uint32_t book, uint32_t state, uint32_t reason,
                         int64_t now_ns);
void bw_engine_quarantine(bw_engine *engine, uint32_t connection, const char *text, size_t bytes,
                          const char *why, int64_t now_ns);

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
    BW_VALUE_NESTED,
    BW_VALUE_VARINT,
};
typedef struct bw_value {
    uint32_t at;
    uint32_t bytes;
    uint16_t kind;
    uint16_t escaped;
} bw_value;
typedef struct bw_item {
    uint32_t slots;
    uint32_t levels_seen;
    uint32_t level_first[2];
    uint32_t level_count[2];
    uint8_t price_decimals;
    uint8_t quantity_decimals;
    uint16_t rounded;
    uint8_t fewest_decimals[2];
    uint32_t fault_at;
    const char *fault;
    bw_value slot[24];
} bw_item;
typedef struct bw_decoder bw_decoder;
bw_decoder *bw_decoder_new(const bw_plan *plan, uint32_t levels_max);
void bw_decoder_free(bw_decoder *decoder);
bool bw_decode(bw_decoder *decoder, const char *text, size_t bytes);
const char *bw_decoder_failure(const bw_decoder *decoder, uint32_t *at);
uint32_t bw_decoder_items(const bw_decoder *decoder);
const bw_item *bw_decoder_item(const bw_decoder *decoder, uint32_t item);
const bw_item *bw_decoder_frame(const bw_decoder *decoder);
bw_wire_level *bw_decoder_levels(const bw_decoder *decoder, uint32_t side);
bool bw_value_integer(const char *text, const bw_value *value, int64_t *number);
int bw_value_unescape(const char *text, const bw_value *value, char *out, size_t room);
const char *bw_decoder_variant(const bw_decoder *decoder);
