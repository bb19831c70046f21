typedef struct {
    uint32_t clients_max, clients_per_address;
    uint32_t request_bytes_max, message_bytes_max;
    uint32_t requests_per_second, requests_burst;
    uint32_t handshake_ms, ping_ms, timeout_ms;
    uint32_t queue_bytes_max, frame_bytes_max, send_buffer_bytes;
    uint32_t writer_patience_ms;
} bw_gateway_limits;
typedef struct {
    uint32_t number;
    char id[16];
} bw_gateway_exchange;
typedef struct {
    int listen_fd;
    const char *shm_dir, *bell_path, *fifo_path, *stats_path;
    const char *tls_certificate, *tls_key;
    const char *tokens;
    const bw_gateway_exchange *exchange;
    uint32_t exchange_count;
    uint32_t busy;
    int32_t cpu;
    bw_gateway_limits limits;
} bw_gateway_spec;
typedef struct {
    int64_t min_net;
    uint64_t min_notional;
    uint64_t capital;
    uint32_t taker_ppm[32];
} bw_arb_terms;
typedef struct {
    uint64_t tag;
    uint32_t kind;
    uint32_t exchange;
    uint32_t instrument;
    uint32_t depth;
    uint32_t deltas;
    uint32_t interval_ms;
    uint32_t format;
    uint32_t strings;
    uint32_t stamps;
    uint32_t slow;
    uint32_t heartbeat_ms;
    char channel[64];
    char symbol[32];
    char native[40];
    bw_arb_terms arb;
} bw_subscription;
typedef struct bw_gateway bw_gateway;
bw_gateway *bw_gateway_new(const bw_gateway_spec *spec, char *error, uint32_t error_bytes);
int bw_gateway_start(bw_gateway *gateway);
void bw_gateway_free(bw_gateway *gateway);
int bw_gateway_event_fd(const bw_gateway *gateway);
uint32_t bw_gateway_events(bw_gateway *gateway, uint8_t *out, uint32_t room);
int bw_gateway_send(bw_gateway *gateway, uint64_t client, const char *text, uint32_t bytes);
int bw_gateway_answer(bw_gateway *gateway, uint64_t client, const char *text, uint32_t bytes);
int bw_gateway_push(bw_gateway *gateway, uint64_t client, const uint8_t *frames, uint32_t bytes);
int bw_gateway_subscribe(bw_gateway *gateway, uint64_t client, const bw_subscription *subscription,
                         const char *text, uint32_t bytes);
int bw_gateway_unsubscribe(bw_gateway *gateway, uint64_t client, uint64_t tag, const char *text,
                           uint32_t bytes);
int bw_gateway_authorise(bw_gateway *gateway, uint64_t client, const char *text, uint32_t bytes);
int bw_gateway_close_client(bw_gateway *gateway, uint64_t client, uint32_t code, const char *reason);
int bw_gateway_send_all(bw_gateway *gateway, const char *text, uint32_t bytes);
int bw_gateway_stop(bw_gateway *gateway);
int64_t bw_snapshot_of(const bw_subscription *subscription, const char *const *path,
                       const bw_gateway_exchange *exchange, uint32_t count, uint32_t patience_ms,
                       uint8_t *out, uint64_t room, uint32_t *live, uint32_t *known);
typedef struct bw_arb_scan bw_arb_scan;
bw_arb_scan *bw_arb_scan_new(const char *const *path, const bw_gateway_exchange *exchange, uint32_t count,
                             uint32_t patience_ms);
void bw_arb_scan_free(bw_arb_scan *scan);
int64_t bw_arb_scan_symbol(bw_arb_scan *scan, const bw_subscription *wanted, char *out, int64_t *net,
                           uint32_t *rows, uint32_t *left_out);
typedef struct bw_replay bw_replay;
bw_replay *bw_replay_new(const bw_subscription *wanted, const char *const *path,
                         const bw_gateway_exchange *exchange, uint32_t count, char *error,
                         uint32_t error_bytes);
void bw_replay_free(bw_replay *replay);
uint32_t bw_replay_room(const bw_replay *replay);
int64_t bw_replay_next(bw_replay *replay, int64_t now_ns, uint64_t updates, uint8_t *out, uint32_t room);
