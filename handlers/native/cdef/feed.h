#define BW_FEED_CONNECTIONS_MAX ...
#define BW_FEED_COMMANDS ...
#define BW_FEED_SEND_BYTES ...
enum bw_poll { BW_POLL_EPOLL, BW_POLL_BUSY };
enum bw_frames { BW_FRAMES_PLAIN, BW_FRAMES_GZIP, BW_FRAMES_DEFLATE, BW_FRAMES_PROTOBUF };
enum bw_close_cause {
    BW_CLOSE_ASKED = 1,
    BW_CLOSE_PEER,
    BW_CLOSE_EOF,
    BW_CLOSE_CONNECT,
    BW_CLOSE_TLS,
    BW_CLOSE_UPGRADE,
    BW_CLOSE_PROTOCOL,
    BW_CLOSE_TOO_LARGE,
    BW_CLOSE_UTF8,
    BW_CLOSE_TIMEOUT,
    BW_CLOSE_IO,
    BW_CLOSE_SEND_FULL,
};
enum bw_connection_state {
    BW_CONNECTION_FREE,
    BW_CONNECTION_CONNECTING,
    BW_CONNECTION_HANDSHAKE,
    BW_CONNECTION_UPGRADE,
    BW_CONNECTION_OPEN,
    BW_CONNECTION_CLOSING,
};
typedef struct bw_network bw_network;
typedef struct bw_feed bw_feed;
typedef struct bw_feed_spec {
    const bw_plan *plan;
    bw_shm_writer *shm;
    const char *ca_file;
    uint32_t poll;
    int32_t cpu;
    uint32_t busy_poll_us;
    uint32_t connections_max;
    uint32_t frames;
    uint64_t message_bytes_max;
    uint32_t levels_max;
    uint32_t crossed_max;
    uint64_t pending_bytes;
    bw_network *network;
    bw_raw_writer *raw;
} bw_feed_spec;
typedef struct bw_connect_spec {
    uint32_t connection;
    uint32_t secure;
    uint32_t deflate;
    uint32_t connect_timeout_ms;
    char address[48];
    char source_address[48];
    uint16_t port;
    char host[256];
    char path[2048];
    char headers[2048];
} bw_connect_spec;
typedef struct bw_connection_view {
    uint32_t state;
    uint32_t tls_resumed;
    int64_t opened_ns;
    int64_t last_receive_ns;
    int64_t last_message_ns;
    int64_t last_ping_ns;
    int64_t last_pong_ns;
    uint64_t messages;
    uint64_t bytes;
    uint64_t pings;
    uint64_t pongs;
    uint64_t send_waiting;
} bw_connection_view;
bw_feed *bw_feed_new(const bw_feed_spec *spec, char *error, uint32_t error_bytes);
void bw_feed_free(bw_feed *feed);
int bw_feed_run(bw_feed *feed);
int bw_feed_event_fd(const bw_feed *feed);
uint32_t bw_feed_events(bw_feed *feed, bw_event *out, uint32_t capacity);
uint64_t bw_feed_events_dropped(const bw_feed *feed);
bw_engine *bw_feed_engine(bw_feed *feed);
int bw_feed_connect(bw_feed *feed, const bw_connect_spec *spec);
int bw_feed_send_text(bw_feed *feed, uint32_t connection, const char *text, size_t bytes);
int bw_feed_send_ping(bw_feed *feed, uint32_t connection);
int bw_feed_close(bw_feed *feed, uint32_t connection, uint32_t code);
typedef struct bw_book_request {
    bw_symbol symbol;
    char topic[72];
    uint32_t price_exponent, quantity_exponent;
    uint32_t price_scale, quantity_scale;
} bw_book_request;
int bw_feed_add_book(bw_feed *feed, const bw_book_request *request);
int bw_feed_bind(bw_feed *feed, uint32_t book, uint32_t connection);
int bw_feed_hand_over(bw_feed *feed, uint32_t book, uint32_t connection);
int bw_feed_load_snapshot(bw_feed *feed, uint32_t book, const char *body, size_t bytes);
int bw_feed_resync(bw_feed *feed, uint32_t book, uint32_t reason);
int bw_feed_set_state(bw_feed *feed, uint32_t book, uint32_t state, uint32_t reason);
int bw_feed_add_bell(bw_feed *feed, const char *bell_path, const char *fifo_path);
int bw_feed_stop(bw_feed *feed);
void bw_feed_connection(const bw_feed *feed, uint32_t connection, bw_connection_view *out);
