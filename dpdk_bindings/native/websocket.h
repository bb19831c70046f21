/* WebSocket (RFC 6455) for both roles, sans-I/O: bytes in, events out; bytes to send are built here.
 *
 * The parser owns the receive buffer, so that payloads are used where they were decrypted: ask
 * bw_ws_room(), write there, say bw_ws_filled(), then take events until there is none. An event's
 * payload is valid until the next call, unmasked, with BW_WS_PADDING readable bytes behind it.
 * Fragments are joined in place. Buffers are reserved at start and grow by touching, not by malloc.
 */
#ifndef BW_WEBSOCKET_H
#define BW_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BW_WS_PADDING 64u
#define BW_WS_HEADER_MAX 14u

enum bw_ws_role { BW_WS_CLIENT, BW_WS_SERVER };
enum bw_ws_event_type {
    BW_WS_NONE,    /* more bytes needed */
    BW_WS_TEXT,
    BW_WS_BINARY,
    BW_WS_PING,
    BW_WS_PONG,
    BW_WS_CLOSED,  /* peer's close frame: close_code (1005 if none), payload = reason */
    BW_WS_FAILED,  /* protocol violation: close_code to send (1002, 1007, 1009), payload = why */
};
enum bw_ws_opcode { BW_WS_OP_CONTINUATION = 0, BW_WS_OP_TEXT = 1, BW_WS_OP_BINARY = 2,
                    BW_WS_OP_CLOSE = 8, BW_WS_OP_PING = 9, BW_WS_OP_PONG = 10 };

typedef struct bw_ws bw_ws;
typedef struct bw_ws_event {
    int type;
    uint16_t close_code;
    char *payload;
    size_t payload_bytes;
} bw_ws_event;

/* `message_bytes_max`: a larger message fails with 1009. `inflate`: permessage-deflate was agreed
 * (without context takeover on our side). NULL when memory is short. */
bw_ws *bw_ws_new(enum bw_ws_role role, size_t message_bytes_max, bool inflate);
void bw_ws_free(bw_ws *ws);
void bw_ws_reset(bw_ws *ws);
uint8_t *bw_ws_room(bw_ws *ws, size_t *room);
void bw_ws_filled(bw_ws *ws, size_t bytes);
int bw_ws_next(bw_ws *ws, bw_ws_event *event); /* returns event->type */
size_t bw_ws_buffered(const bw_ws *ws);        /* bytes of an unfinished message */

/* Writes a final frame's header; returns its bytes. `mask` NULL: unmasked (server). */
size_t bw_ws_header(uint8_t out[BW_WS_HEADER_MAX], enum bw_ws_opcode opcode, size_t payload_bytes,
                    const uint8_t mask[4]);
void bw_ws_mask(uint8_t *payload, size_t bytes, const uint8_t mask[4]);
/* True if the text is well-formed UTF-8. */
bool bw_utf8_valid(const char *text, size_t bytes);

/* HTTP/1.1 upgrade. Return bytes written / consumed, 0 = more needed, < 0 = refused or malformed. */
int bw_upgrade_request(char *out, size_t room, const char *host, const char *path,
                       const char *extra_headers, const char key[25]);
/* On refusal *status holds the HTTP status and *retry_after seconds (0 = none). */
int bw_upgrade_response_parse(const char *data, size_t bytes, const char key[25], int *status,
                              int *retry_after);
typedef struct bw_upgrade {
    char path[256];
    char key[25];
    char origin[128];
    char authorization[512];
    bool upgrade;       /* false: a plain HTTP request */
} bw_upgrade;
int bw_upgrade_request_parse(const char *data, size_t bytes, bw_upgrade *out);
int bw_upgrade_response(char *out, size_t room, const char key[25]);

#endif
