enum bw_ws_role { BW_WS_CLIENT, BW_WS_SERVER };
enum bw_ws_event_type {
    BW_WS_NONE,
    BW_WS_TEXT,
    BW_WS_BINARY,
    BW_WS_PING,
    BW_WS_PONG,
    BW_WS_CLOSED,
    BW_WS_FAILED,
};
typedef struct bw_ws bw_ws;
typedef struct bw_ws_event {
    int type;
    uint16_t close_code;
    char *payload;
    size_t payload_bytes;
} bw_ws_event;
bw_ws *bw_ws_new(enum bw_ws_role role, size_t message_bytes_max, bool inflate);
void bw_ws_free(bw_ws *ws);
uint8_t *bw_ws_room(bw_ws *ws, size_t *room);
void bw_ws_filled(bw_ws *ws, size_t bytes);
int bw_ws_next(bw_ws *ws, bw_ws_event *event);
bool bw_utf8_valid(const char *text, size_t bytes);
