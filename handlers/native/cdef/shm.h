#define BW_SHM_LAYOUT_VERSION ...
#define BW_SHM_HEADER_BYTES ...
#define BW_CHUNK_LEVELS ...
#define BW_TOP_LEVELS 4
#define BW_RECORD_CHANGES_MAX ...
#define BW_RECORD_BYTES_MAX ...
#define BW_HISTOGRAM_BUCKETS 256
#define BW_STAGE_COUNT 4
#define BW_BUDGET_EVERY ...
enum bw_budget { BW_BUDGET_TCP, BW_BUDGET_TLS, BW_BUDGET_WEBSOCKET, BW_BUDGET_DECODE, BW_BUDGET_BOOK,
                 BW_BUDGET_RING, BW_BUDGET_COUNT };
enum bw_segment_state { BW_SEGMENT_STARTING, BW_SEGMENT_RUNNING, BW_SEGMENT_CLOSED };
enum bw_book_state { BW_BOOK_SYNCING, BW_BOOK_LIVE, BW_BOOK_STALE, BW_BOOK_RESYNC, BW_BOOK_DOWN };
enum bw_instrument_kind { BW_KIND_SPOT, BW_KIND_PERPETUAL, BW_KIND_FUTURE };
enum bw_verified_by { BW_VERIFIED_NONE, BW_VERIFIED_SEQUENCE, BW_VERIFIED_CHECKSUM };
enum bw_verifier_state {
    BW_VERIFIER_ABSENT, BW_VERIFIER_OK, BW_VERIFIER_NOT_SENT, BW_VERIFIER_SUSPENDED
};
enum bw_reason {
    BW_REASON_NONE, BW_REASON_START, BW_REASON_DISCONNECTED, BW_REASON_GAP, BW_REASON_CHECKSUM,
    BW_REASON_CROSSED, BW_REASON_SILENT, BW_REASON_DECODE, BW_REASON_BUFFER_FULL, BW_REASON_OPERATOR,
    BW_REASON_REFUSED, BW_REASON_COUNT
};
enum bw_record_type { BW_RECORD_PAD, BW_RECORD_DELTA, BW_RECORD_RESET, BW_RECORD_STATE };
typedef struct bw_level {
    int64_t price;
    int64_t quantity;
    uint32_t orders;
    uint32_t reserved;
} bw_level;
typedef struct bw_chunk {
    int64_t key[32];
    int64_t quantity[32];
    uint32_t orders[32];
} bw_chunk;
typedef struct bw_directory_entry {
    int64_t low_key;
    uint32_t chunk;
    uint32_t count;
} bw_directory_entry;
typedef struct bw_side {
    uint64_t directory_offset;
    uint32_t directory_capacity;
    uint32_t directory_count;
    uint32_t level_count;
    uint32_t level_capacity;
    int64_t verified_price;
} bw_side;
typedef struct bw_book {
    uint64_t version;
    uint64_t sequence;
    uint64_t venue_sequence;
    uint32_t epoch;
    uint32_t state;
    uint32_t reason;
    uint8_t price_exponent;
    uint8_t quantity_exponent;
    uint8_t verified_by;
    uint8_t verifier_state;
    uint32_t top_count[2];
    uint32_t top_stale;
    int64_t exchange_ns;
    int64_t receive_ns;
    int64_t decoded_ns;
    int64_t published_ns;
    int64_t state_since_ns;
    int64_t last_data_ns;
    int64_t cadence_ns;
    bw_level top[2][4];
    bw_side side[2];
    uint64_t updates;
    uint64_t gaps;
    uint64_t resyncs;
    uint64_t checksums_ok;
    uint64_t checksums_bad;
    uint64_t absent_deletes;
    uint64_t evicted;
    uint64_t crossed;
    uint64_t duplicates;
    uint64_t quarantined;
    uint32_t resync_reason;
    uint32_t connection;
    uint64_t dropped;
    uint64_t audits;
    uint64_t audit_mismatches;
    uint64_t jumps;
    uint64_t rounded;
    ...;
} bw_book;
typedef struct bw_symbol {
    char canonical[32];
    char native[40];
    char base[16];
    char quote[16];
    uint32_t kind;
    ...;
} bw_symbol;
typedef struct bw_record {
    uint32_t bytes;
    uint8_t type;
    uint8_t verified_by;
    uint8_t price_exponent;
    uint8_t quantity_exponent;
    uint32_t book;
    uint32_t epoch;
    uint64_t sequence;
    uint64_t venue_sequence;
    int64_t exchange_ns;
    int64_t receive_ns;
    int64_t decoded_ns;
    int64_t published_ns;
    uint32_t bid_count;
    uint32_t ask_count;
    uint32_t state;
    uint32_t reason;
} bw_record;
typedef struct bw_stats {
    uint64_t messages, bytes, frames_control, heartbeats, quarantined, unknown_symbols, decode_failures,
        connects, disconnects, connect_failures, tls_failures, websocket_errors, largest_frame_bytes,
        receive_queue_bytes, events_dropped, snapshots_loaded, snapshots_too_old, pending_bytes_peak,
        chunks_used, connections_open, loop_turns;
    uint64_t stage_ns[4][256];
} bw_stats;
typedef struct bw_timing {
    uint64_t cycles_per_second;
    uint64_t budget_every;
    uint64_t busy_ns;
    uint64_t crossed_ns;
    uint64_t budget_ns[6][256];
    uint64_t gap_us[256];
    ...;
} bw_timing;
typedef struct bw_shm_header {
    char magic[8];
    uint32_t layout_version;
    uint32_t header_bytes;
    uint64_t segment_bytes;
    uint64_t generation;
    uint32_t exchange_number;
    uint32_t writer_pid;
    char exchange[16];
    uint32_t book_capacity;
    uint32_t chunk_capacity;
    uint32_t chunk_levels;
    uint64_t symbol_offset;
    uint64_t book_offset;
    uint64_t directory_offset;
    uint64_t chunk_offset;
    uint64_t ring_offset;
    uint64_t ring_bytes;
    uint64_t stats_offset;
    uint64_t heartbeat_ns;
    uint32_t state;
    uint32_t book_count;
    uint64_t timing_offset;
    uint64_t ring_head;
    uint64_t ring_reserved;
    ...;
} bw_shm_header;
uint32_t bw_histogram_bucket(uint64_t ns);

typedef struct bw_book_store bw_book_store;
bw_book_store *bw_book_store_new(uint32_t books, uint32_t level_capacity, uint32_t chunk_capacity);
void bw_book_store_free(bw_book_store *store);
bw_book *bw_book_store_at(bw_book_store *store, uint32_t book);
void bw_book_begin(bw_book *book);
void bw_book_end(bw_book_store *store, bw_book *book);
void bw_book_clear(bw_book_store *store, bw_book *book);
enum bw_set { BW_SET_CHANGED, BW_SET_INSERTED, BW_SET_REMOVED, BW_SET_ABSENT, BW_SET_EVICTED, BW_SET_BEYOND };
uint32_t bw_book_set_many(bw_book_store *store, bw_book *book, uint32_t side, const bw_level *level,
                          uint32_t count, bw_level *out);
enum bw_set bw_book_set(bw_book_store *store, bw_book *book, uint32_t side, int64_t price,
                        int64_t quantity, uint32_t orders, int64_t *evicted);
uint32_t bw_book_load(bw_book_store *store, bw_book *book, uint32_t side, const bw_level *best_first,
                      uint32_t count);
uint32_t bw_book_cut(bw_book_store *store, bw_book *book, uint32_t side, uint32_t depth,
                     int64_t *left, uint32_t capacity);
bool bw_book_rescale(bw_book_store *store, bw_book *book, uint32_t price_up, uint32_t quantity_up);
uint32_t bw_book_copy(const bw_book_store *store, const bw_book *book, uint32_t side, uint32_t depth,
                      bw_level *out);

typedef struct bw_shm_writer bw_shm_writer;
typedef struct bw_shm_spec {
    const char *path;
    const char *exchange;
    uint32_t exchange_number;
    uint32_t book_capacity;
    uint32_t level_capacity;
    uint32_t chunk_capacity;
    uint64_t ring_bytes;
} bw_shm_spec;
bw_shm_writer *bw_shm_writer_new(const bw_shm_spec *spec, char *error, uint32_t error_bytes);
void bw_shm_writer_close(bw_shm_writer *writer);
uint64_t bw_shm_bytes_needed(const bw_shm_spec *spec);
bw_shm_header *bw_shm_writer_header(bw_shm_writer *writer);
bw_stats *bw_shm_writer_stats(bw_shm_writer *writer);
bw_timing *bw_shm_writer_timing(bw_shm_writer *writer);
bw_book_store *bw_shm_writer_store(bw_shm_writer *writer);
bw_book *bw_shm_writer_book(bw_shm_writer *writer, uint32_t book);
int bw_shm_writer_add_book(bw_shm_writer *writer, const bw_symbol *symbol, uint8_t price_exponent,
                           uint8_t quantity_exponent, int64_t now_ns);
bw_record *bw_record_reserve(bw_shm_writer *writer, uint32_t changes);
void bw_record_commit(bw_shm_writer *writer, bw_record *record, uint32_t bids, uint32_t asks,
                      int64_t published_ns);
int bw_shm_writer_add_bell(bw_shm_writer *writer, const char *bell_path, const char *fifo_path);
void bw_shm_writer_ring_bells(bw_shm_writer *writer);

typedef struct bw_segment bw_segment;
enum bw_read {
    BW_READ_OK = 0, BW_READ_EMPTY = 1, BW_READ_OVERRUN = -1, BW_READ_DEAD = -2, BW_READ_BUSY = -3,
    BW_READ_NO_BOOK = -4
};
bw_segment *bw_segment_open(const char *path, char *error, uint32_t error_bytes);
void bw_segment_close(bw_segment *segment);
const bw_shm_header *bw_segment_header(const bw_segment *segment);
const bw_symbol *bw_segment_symbol(const bw_segment *segment, uint32_t book);
const bw_book *bw_segment_book(const bw_segment *segment, uint32_t book);
const bw_stats *bw_segment_stats(const bw_segment *segment);
const bw_timing *bw_segment_timing(const bw_segment *segment);
bool bw_segment_alive(bw_segment *segment, int64_t now_ns, int64_t patience_ns);
bool bw_segment_replaced(const bw_segment *segment);
int bw_book_read_header(const bw_segment *segment, uint32_t book, bw_book *out);
int bw_book_read(const bw_segment *segment, uint32_t book, uint32_t depth, bw_book *header,
                 bw_level *bids, uint32_t *bid_count, bw_level *asks, uint32_t *ask_count,
                 uint64_t *ring_position);
typedef struct bw_ring_cursor {
    uint64_t position;
    uint64_t overruns;
} bw_ring_cursor;
void bw_ring_seek_head(const bw_segment *segment, bw_ring_cursor *cursor);
int bw_ring_next(const bw_segment *segment, bw_ring_cursor *cursor, const bw_record **record);
int bw_ring_done(const bw_segment *segment, bw_ring_cursor *cursor, const bw_record *record);

typedef struct bw_bell bw_bell;
bw_bell *bw_bell_new(const char *bell_path, const char *fifo_path, char *error, uint32_t error_bytes);
void bw_bell_free(bw_bell *bell);
int bw_bell_fd(const bw_bell *bell);
void bw_bell_sleep(bw_bell *bell);
void bw_bell_awake(bw_bell *bell);
