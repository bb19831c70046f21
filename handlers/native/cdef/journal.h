#define BW_RAW_LAYOUT_VERSION ...
#define BW_RAW_PAYLOAD_MAX ...
enum bw_raw_type {
    BW_RAW_PAD, BW_RAW_FRAME, BW_RAW_UP, BW_RAW_DOWN, BW_RAW_SNAPSHOT, BW_RAW_RESYNC, BW_RAW_STATE,
    BW_RAW_BIND, BW_RAW_BOOK, BW_RAW_HAND_OVER
};
typedef struct bw_raw_header {
    char magic[8];
    uint32_t layout_version;
    uint32_t header_bytes;
    uint64_t file_bytes;
    uint64_t generation;
    uint64_t ring_bytes;
    uint32_t exchange_number;
    uint32_t level_capacity;
    char exchange[16];
    uint64_t head;
    uint64_t reserved;
    uint64_t oversize;
    ...;
} bw_raw_header;
typedef struct bw_raw_record {
    uint32_t bytes;
    uint8_t type;
    uint8_t cut;
    uint16_t connection;
    uint32_t book;
    uint32_t payload_bytes;
    int64_t time_ns;
    int64_t plaintext_ns;
    uint32_t a;
    uint32_t b;
} bw_raw_record;
typedef struct bw_raw_writer bw_raw_writer;
typedef struct bw_raw_spec {
    const char *path;
    const char *exchange;
    uint32_t exchange_number;
    uint32_t level_capacity;
    uint64_t generation;
    uint64_t ring_bytes;
} bw_raw_spec;
bw_raw_writer *bw_raw_writer_new(const bw_raw_spec *spec, char *error, uint32_t error_bytes);
void bw_raw_writer_close(bw_raw_writer *writer);
void bw_raw_put(bw_raw_writer *writer, bw_raw_record record, const void *payload, size_t bytes);
typedef struct bw_raw_reader bw_raw_reader;
bw_raw_reader *bw_raw_reader_open(const char *path, char *error, uint32_t error_bytes);
void bw_raw_reader_close(bw_raw_reader *reader);
const bw_raw_header *bw_raw_reader_header(const bw_raw_reader *reader);

#define BW_JOURNAL_SPAN_BYTES ...
enum bw_journal_type {
    BW_JOURNAL_FILE = 1, BW_JOURNAL_SYMBOLS, BW_JOURNAL_RECORDS, BW_JOURNAL_BOOK, BW_JOURNAL_RAW,
    BW_JOURNAL_GAP, BW_JOURNAL_END, BW_JOURNAL_SEAM
};
typedef struct bw_journal_block {
    char magic[4];
    uint32_t header_crc;
    uint32_t payload_crc;
    uint32_t payload_bytes;
    uint16_t type;
    uint16_t reserved0;
    uint32_t book;
    uint64_t number;
    uint64_t generation;
    uint64_t position;
    int64_t time_ns;
    uint64_t items;
} bw_journal_block;
typedef struct bw_journal bw_journal;
enum bw_follow { BW_FOLLOW_OVERRUN = -1, BW_FOLLOW_DISK = -2 };
enum bw_block { BW_BLOCK_OK = 0, BW_BLOCK_END = 1, BW_BLOCK_TORN = -1, BW_BLOCK_DAMAGED = -2 };
bw_journal *bw_journal_new(const char *path, char *error, uint32_t error_bytes);
void bw_journal_free(bw_journal *journal);
int bw_journal_sync(bw_journal *journal);
uint64_t bw_journal_bytes(const bw_journal *journal);
int bw_journal_append(bw_journal *journal, const bw_journal_block *head, const void *payload, uint32_t bytes);
int64_t bw_journal_follow(bw_journal *journal, const bw_segment *segment, bw_ring_cursor *cursor,
                          int64_t now_ns);
int64_t bw_journal_follow_raw(bw_journal *journal, const bw_raw_reader *raw, bw_ring_cursor *cursor,
                              int64_t now_ns);
int bw_journal_errno(const bw_journal *journal);
uint32_t bw_journal_records(const bw_journal *journal);
uint32_t bw_journal_resets(const bw_journal *journal, uint32_t *books, uint32_t capacity);
int bw_journal_look(const uint8_t *file, uint64_t bytes, uint64_t at, bw_journal_block *out);
uint64_t bw_journal_find(const uint8_t *file, uint64_t bytes, uint64_t at);
uint32_t bw_crc32c(uint32_t crc, const void *data, size_t bytes);
uint32_t bw_crc32c_by_table(uint32_t crc, const void *data, size_t bytes);

typedef struct bw_row {
    uint64_t sequence;
    uint64_t venue_sequence;
    int64_t exchange_ns;
    int64_t receive_ns;
    int64_t published_ns;
    uint32_t book;
    uint32_t epoch;
    uint32_t bid_count;
    uint32_t ask_count;
    uint8_t type;
    uint8_t state;
    uint8_t reason;
    uint8_t verified_by;
    uint8_t price_exponent;
    uint8_t quantity_exponent;
    uint8_t top_sides;
    uint8_t hole;
    int64_t bid_price;
    int64_t bid_quantity;
    int64_t ask_price;
    int64_t ask_quantity;
} bw_row;
typedef struct bw_history bw_history;
bw_history *bw_history_new(uint32_t books, uint32_t level_capacity);
void bw_history_free(bw_history *history);
bool bw_history_load(bw_history *history, uint32_t book, const bw_book *header, const bw_level *bids,
                     uint32_t bid_count, const bw_level *asks, uint32_t ask_count);
uint32_t bw_history_rows(bw_history *history, const uint8_t *records, uint64_t bytes, bw_row *rows,
                         uint32_t row_room, bw_level *levels, uint32_t level_room, uint64_t *consumed);
bool bw_history_copy(bw_history *history, uint32_t book, bw_row *row, bw_level *levels, uint32_t level_room);
uint32_t bw_span_find(const uint8_t *span, uint32_t bytes, uint32_t at, uint32_t book);
bool bw_played_record(bw_book_store *store, bw_book *book, const bw_record *record, bool known);
enum bw_strand_key { BW_KEY_VENUE_SEQUENCE, BW_KEY_EXCHANGE_NS, BW_KEY_RECEIVE_NS };
enum bw_strand_phase {
    BW_STRAND_IDLE,
    BW_STRAND_ANCHOR,
    BW_STRAND_WAIT,
    BW_STRAND_EMIT,
    BW_STRAND_HELD,
};
enum bw_strand_event {
    BW_STRANDS_DONE,
    BW_STRANDS_BEGAN,
    BW_STRANDS_BROKE,
    BW_STRANDS_START,
    BW_STRANDS_ANCHOR,
    BW_STRANDS_END,
    BW_STRANDS_EMPTY,
    BW_STRANDS_HELD,
    BW_STRANDS_ROOM,
    BW_STRANDS_BAD,
};
typedef struct bw_strand {
    bw_book *book;
    bw_record last;
    uint64_t reached;
    uint64_t from_sequence, until_sequence;
    int64_t after_key, until_key;
    int64_t epoch_up;
    uint64_t sequence_up;
    uint32_t out_book;
    uint8_t key;
    uint8_t phase;
    bool known;
    bool covered;
    bool whole;
    bool owes;
} bw_strand;
typedef struct bw_strands_out {
    uint8_t *data;
    uint32_t room, used, records;
    uint32_t resets;
} bw_strands_out;
typedef struct bw_strands bw_strands;
bw_strands *bw_strands_new(uint32_t books, uint32_t level_capacity);
void bw_strands_free(bw_strands *strands);
bw_strand *bw_strands_at(bw_strands *strands, uint32_t book);
bool bw_strands_load(bw_strands *strands, uint32_t book, const bw_book *header, const bw_level *bids,
                     uint32_t bid_count, const bw_level *asks, uint32_t ask_count);
void bw_strand_begin(bw_strand *strand);
void bw_strands_take(bw_strands *strands, const bw_record *record);
enum bw_strand_event bw_strands_survey(bw_strands *strands, const uint8_t *span, uint32_t bytes, uint32_t *at,
                                       uint32_t *book);
enum bw_strand_event bw_strands_splice(bw_strands *strands, const uint8_t *span, uint32_t bytes, uint32_t *at,
                                       uint32_t *book, bw_strands_out *out);
bool bw_strand_emit(bw_strand *strand, const bw_record *record, bw_strands_out *out);
int64_t bw_strand_key_of(const bw_record *record, uint32_t key);
uint32_t bw_strands_owing(const bw_strands *strands, uint32_t *books, uint32_t room, uint32_t *waiting);
uint32_t bw_strands_copy(const bw_strands *strands, uint32_t book, uint8_t *out, uint32_t room);
uint32_t bw_strands_best(const bw_strands *strands, uint32_t book, uint32_t side, uint32_t depth,
                         bw_level *out);
