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

/* `message_bytes_max`: a larger message fails with 1009. `inflate`: permessage-deflate was agreed (for
 * what the peer sends; we never compress). Text is always validated, in both roles: it costs about
 * 1 ns per 64 bytes of ASCII and the decoder behind it may then trust its input. NULL when memory is
 * short. */
bw_ws *bw_ws_new(enum bw_ws_role role, size_t message_bytes_max, bool inflate);
void bw_ws_free(bw_ws *ws);
void bw_ws_reset(bw_ws *ws);
/* Of a ws made with `inflate`: whether the peer agreed after all. Reset keeps it. */
void bw_ws_set_inflate(bw_ws *ws, bool agreed);
uint8_t *bw_ws_room(bw_ws *ws, size_t *room);
void bw_ws_filled(bw_ws *ws, size_t bytes);
int bw_ws_next(bw_ws *ws, bw_ws_event *event); /* returns event->type; nothing after CLOSED or FAILED */
size_t bw_ws_buffered(const bw_ws *ws);        /* bytes of an unfinished message */
/* What was filled and not parsed yet: the HTTP head before the first frame (skip it when read), or
 * after BW_WS_FAILED the frame that broke the rule. */
const char *bw_ws_unparsed(const bw_ws *ws, size_t *bytes);
void bw_ws_skip(bw_ws *ws, size_t bytes);

/* Writes a final frame's header; returns its bytes. `mask` NULL: unmasked (server). */
size_t bw_ws_header(uint8_t out[BW_WS_HEADER_MAX], enum bw_ws_opcode opcode, size_t payload_bytes,
                    const uint8_t mask[4]);
void bw_ws_mask(uint8_t *payload, size_t bytes, const uint8_t mask[4]);
/* True if the text is well-formed UTF-8. */
bool bw_utf8_valid(const char *text, size_t bytes);

/* HTTP/1.1 upgrade (RFC 6455, 4). A head may have BW_UPGRADE_BYTES_MAX bytes. */
#define BW_UPGRADE_BYTES_MAX (16u << 10)
#define BW_UPGRADE_KEY_BYTES 25u /* base64 text and its NUL */

/* The client's key from 16 random bytes. */
void bw_upgrade_key(const uint8_t random[16], char key[BW_UPGRADE_KEY_BYTES]);

/* Client: writes the request; returns its bytes, or -1 when it does not fit or a field holds a line
 * break. `host` is the Host header's value, `extra_headers` whole "Name: value\r\n" lines or "". */
int bw_upgrade_request(char *out, size_t room, const char *host, const char *path, const char *extra_headers,
                       bool deflate, const char key[BW_UPGRADE_KEY_BYTES]);
typedef struct bw_upgrade_answer {
    int status;      /* HTTP status, 0 if it was not HTTP */
    int retry_after; /* seconds, 0 = not told */
    bool deflate;    /* permessage-deflate was agreed */
    char why[128];   /* refused or malformed: one line for people */
} bw_upgrade_answer;
/* Client: bytes of the response's head when it is a good 101, 0 = more needed, -1 = see `answer`. */
int bw_upgrade_response_parse(const char *data, size_t bytes, bool deflate_offered,
                              const char key[BW_UPGRADE_KEY_BYTES], bw_upgrade_answer *answer);

typedef struct bw_upgrade {
    char path[1024]; /* with query */
    char key[BW_UPGRADE_KEY_BYTES];
    char origin[128];
    char authorization[512];
    bool upgrade; /* false: a plain HTTP request */
    bool get;     /* the method is GET */
} bw_upgrade;
/* Server: bytes of the request's head, 0 = more needed, < 0: minus the HTTP status to answer with
 * (400 malformed, 414 path too long, 426 other WebSocket version, 431 head too large). */
int bw_upgrade_request_parse(const char *data, size_t bytes, bw_upgrade *out);
/* Server: writes the 101; returns its bytes or -1 when `room` is short (129 bytes are enough). */
int bw_upgrade_response(char *out, size_t room, const char key[BW_UPGRADE_KEY_BYTES]);

#endif
