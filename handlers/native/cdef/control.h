enum bw_event_type {
    BW_EVENT_CONNECTED = 1,
    BW_EVENT_CLOSED = 2,
    BW_EVENT_CONTROL = 3,
    BW_EVENT_NEED_SNAPSHOT = 4,
    BW_EVENT_NEED_RESUBSCRIBE = 5,
    BW_EVENT_BOOK_STATE = 6,
    BW_EVENT_GAP = 7,
    BW_EVENT_CHECKSUM = 8,
    BW_EVENT_VERIFIER = 9,
    BW_EVENT_QUARANTINE = 10,
    BW_EVENT_SNAPSHOT_RESULT = 11,
    BW_EVENT_STOPPED = 12,
    BW_EVENT_REFUSED = 13,
};
#define BW_EVENT_TEXT_BYTES 432
#define BW_NO_BOOK ...
#define BW_NO_CONNECTION ...
typedef struct bw_event {
    uint32_t type;
    uint32_t connection;
    uint32_t book;
    uint32_t code;
    int64_t a;
    int64_t b;
    int64_t time_ns;
    uint32_t text_bytes;
    uint32_t text_cut;
    char text[432];
} bw_event;
