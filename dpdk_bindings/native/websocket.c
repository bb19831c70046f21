/* The buffer, from base: message of joined fragments | gap | bytes not parsed yet | room.
 *
 * The gap is what fragment headers and control frames leave behind; it is closed only when room gets
 * short. Outside a fragmented message there is only the unparsed part, and it starts over at base
 * whenever everything was parsed, so that small messages stay in the first cache lines.
 */
#include "websocket.h"

#include "inflate.h"
#include "reserve.h"

#include <stdlib.h>
#include <string.h>

#define RECORD_BYTES (16u << 10)  /* a whole TLS record always fits the room offered */
#define ROOM_MAX (64u << 10)      /* offered at once: larger reads only leave the cache */
#define SLIDE_ABOVE (32u << 10)   /* a partial frame further in than this moves to the start */
#define TRIM_ABOVE (8u << 20)     /* memory touched by a huge message goes back */
#define TRIM_TO (1u << 20)
#define CONTROL_BYTES_MAX 125u

struct bw_ws {
    uint8_t *base;
    size_t reserved;
    size_t parse;
    size_t frame_at; /* start of the frame being parsed, shown when it fails */
    size_t filled;
    size_t touched;
    size_t message_bytes_max;
    size_t message_at;
    size_t message_bytes;
    uint8_t message_opcode; /* 0: not inside a message */
    bool message_deflated;
    bool over; /* closed or failed: nothing is parsed any more */
    bool server;
    bool deflate_agreed;
    bw_inflate *inflate;
};

typedef struct frame {
    uint8_t opcode;
    bool final;
    bool deflated;
    bool masked;
    size_t header_bytes;
    uint64_t payload_bytes;
    const uint8_t *mask;
} frame;

bw_ws *bw_ws_new(enum bw_ws_role role, size_t message_bytes_max, bool inflate) {
    bw_ws *ws = calloc(1, sizeof *ws);
    if (!ws) return NULL;
    ws->server = role == BW_WS_SERVER;
    ws->deflate_agreed = inflate;
    ws->message_bytes_max = message_bytes_max;
    ws->reserved = bw_page_round(message_bytes_max + CONTROL_BYTES_MAX + 2 * BW_WS_HEADER_MAX + RECORD_BYTES +
                                 SLIDE_ABOVE + BW_WS_PADDING);
    ws->base = bw_reserve(ws->reserved);
    if (inflate) ws->inflate = bw_inflate_new(BW_INFLATE_MESSAGES, message_bytes_max);
    if (!ws->base || (inflate && !ws->inflate)) {
        bw_ws_free(ws);
        return NULL;
    }
    return ws;
}

void bw_ws_free(bw_ws *ws) {
    if (!ws) return;
    bw_inflate_free(ws->inflate);
    bw_unreserve(ws->base, ws->reserved);
    free(ws);
}

void bw_ws_reset(bw_ws *ws) {
    ws->parse = ws->filled = ws->message_bytes = 0;
    ws->message_opcode = 0;
    ws->over = false;
    if (ws->inflate) bw_inflate_reset(ws->inflate);
}

void bw_ws_set_inflate(bw_ws *ws, bool agreed) {
    ws->deflate_agreed = agreed && ws->inflate;
}

static void make_room(bw_ws *ws) {
    size_t unparsed = ws->filled - ws->parse;
    if (!ws->message_opcode) {
        if (unparsed && ws->parse < SLIDE_ABOVE) return;
        memmove(ws->base, ws->base + ws->parse, unparsed);
        ws->parse = 0;
        ws->filled = unparsed;
        return;
    }
    if (ws->reserved - BW_WS_PADDING - ws->filled >= RECORD_BYTES) return;
    if (ws->message_at) memmove(ws->base, ws->base + ws->message_at, ws->message_bytes);
    ws->message_at = 0;
    memmove(ws->base + ws->message_bytes, ws->base + ws->parse, unparsed);
    ws->parse = ws->message_bytes;
    ws->filled = ws->parse + unparsed;
}

uint8_t *bw_ws_room(bw_ws *ws, size_t *room) {
    if (ws->parse == ws->filled && !ws->message_opcode) {
        ws->parse = ws->filled = 0;
        if (ws->touched > TRIM_ABOVE) {
            bw_reserve_trim(ws->base, TRIM_TO, ws->touched + BW_WS_PADDING);
            ws->touched = TRIM_TO;
        }
    } else {
        make_room(ws);
    }
    size_t left = ws->reserved - BW_WS_PADDING - ws->filled;
    *room = left < ROOM_MAX ? left : ROOM_MAX;
    return ws->base + ws->filled;
}

void bw_ws_filled(bw_ws *ws, size_t bytes) {
    ws->filled += bytes;
    if (ws->filled > ws->touched) ws->touched = ws->filled;
}

const char *bw_ws_unparsed(const bw_ws *ws, size_t *bytes) {
    *bytes = ws->filled - ws->parse;
    return (const char *)ws->base + ws->parse;
}

void bw_ws_skip(bw_ws *ws, size_t bytes) {
    ws->parse += bytes;
}

size_t bw_ws_buffered(const bw_ws *ws) {
    return ws->filled - ws->parse + (ws->message_opcode ? ws->message_bytes : 0);
}

static int failed(bw_ws *ws, bw_ws_event *event, uint16_t code, const char *why) {
    ws->over = true;
    ws->parse = ws->frame_at;
    event->type = BW_WS_FAILED;
    event->close_code = code;
    event->payload = (char *)(uintptr_t)why;
    event->payload_bytes = strlen(why);
    return BW_WS_FAILED;
}

/* Reads a frame header. 1 read, 0 more bytes needed. */
static int read_header(const bw_ws *ws, frame *out) {
    const uint8_t *at = ws->base + ws->parse;
    size_t have = ws->filled - ws->parse;
    if (have < 2) return 0;
    out->final = at[0] & 0x80;
    out->deflated = at[0] & 0x40;
    out->opcode = at[0] & 0x0f;
    out->masked = at[1] & 0x80;
    uint8_t length = at[1] & 0x7f;
    size_t header = 2 + (length == 126 ? 2u : length == 127 ? 8u : 0u);
    if (have < header) return 0;
    out->payload_bytes = length;
    if (length == 126) {
        out->payload_bytes = (uint64_t)at[2] << 8 | at[3];
    } else if (length == 127) {
        uint64_t big;
        memcpy(&big, at + 2, sizeof big);
        out->payload_bytes = __builtin_bswap64(big);
    }
    out->mask = at + header;
    out->header_bytes = header + (out->masked ? 4u : 0u);
    return 1;
}

/* RFC 6455 5.2 to 5.5. NULL when the first two bytes are allowed here. */
static const char *broken_rule(const bw_ws *ws) {
    uint8_t first = ws->base[ws->parse];
    uint8_t second = ws->base[ws->parse + 1];
    uint8_t opcode = first & 0x0f;
    bool control = opcode >= 8;
    if (first & 0x30) return "reserved bits are set";
    if ((first & 0x40) && (!ws->deflate_agreed || control || opcode == BW_WS_OP_CONTINUATION)) {
        return "reserved bits are set";
    }
    if (opcode > BW_WS_OP_PONG || (opcode > BW_WS_OP_BINARY && !control)) return "unknown opcode";
    if (ws->server && !(second & 0x80)) return "frame is not masked";
    if (!ws->server && (second & 0x80)) return "frame is masked";
    if (control) {
        if (!(first & 0x80)) return "control frame is fragmented";
        if ((second & 0x7f) > CONTROL_BYTES_MAX) return "control frame is longer than 125 bytes";
        return NULL;
    }
    if (opcode == BW_WS_OP_CONTINUATION && !ws->message_opcode) return "continuation without a message";
    if (opcode != BW_WS_OP_CONTINUATION && ws->message_opcode) return "new message inside a message";
    return NULL;
}

static bool close_code_allowed(unsigned code) {
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

static int closed(bw_ws *ws, bw_ws_event *event) {
    const uint8_t *at = (const uint8_t *)event->payload;
    if (event->payload_bytes == 1) return failed(ws, event, 1002, "close frame with half a code");
    event->close_code = 1005;
    if (event->payload_bytes) {
        unsigned code = (unsigned)at[0] << 8 | at[1];
        if (!bw_utf8_valid(event->payload + 2, event->payload_bytes - 2)) {
            return failed(ws, event, 1007, "close reason is not UTF-8");
        }
        if (!close_code_allowed(code)) return failed(ws, event, 1002, "close code is not allowed");
        event->close_code = (uint16_t)code;
        event->payload += 2;
        event->payload_bytes -= 2;
    }
    ws->over = true;
    return event->type = BW_WS_CLOSED;
}

static int control_event(bw_ws *ws, bw_ws_event *event, uint8_t opcode, uint8_t *payload, size_t bytes) {
    event->payload = (char *)payload;
    event->payload_bytes = bytes;
    if (opcode == BW_WS_OP_CLOSE) return closed(ws, event);
    return event->type = opcode == BW_WS_OP_PING ? BW_WS_PING : BW_WS_PONG;
}

/* A whole message stands at `payload`. */
static int deliver(bw_ws *ws, bw_ws_event *event, uint8_t opcode, bool deflated, uint8_t *payload,
                   size_t bytes) {
    event->payload = (char *)payload;
    event->payload_bytes = bytes;
    if (deflated) {
        int result = bw_inflate_message(ws->inflate, payload, bytes, &event->payload, &event->payload_bytes);
        if (result == BW_INFLATE_TOO_LARGE)
            return failed(ws, event, 1009, "message inflates beyond the limit");
        if (result != BW_INFLATE_OK) return failed(ws, event, 1007, "compressed data is malformed");
    }
    if (opcode == BW_WS_OP_TEXT && !bw_utf8_valid(event->payload, event->payload_bytes)) {
        return failed(ws, event, 1007, "text is not UTF-8");
    }
    return event->type = opcode == BW_WS_OP_TEXT ? BW_WS_TEXT : BW_WS_BINARY;
}

/* Appends a fragment to the message; BW_WS_NONE while it is not the last one. */
static int join(bw_ws *ws, bw_ws_event *event, const frame *in, uint8_t *payload, size_t bytes) {
    if (in->opcode != BW_WS_OP_CONTINUATION) {
        ws->message_opcode = in->opcode;
        ws->message_deflated = in->deflated;
        ws->message_at = (size_t)(payload - ws->base);
        ws->message_bytes = bytes;
        return BW_WS_NONE;
    }
    memmove(ws->base + ws->message_at + ws->message_bytes, payload, bytes);
    ws->message_bytes += bytes;
    if (!in->final) return BW_WS_NONE;
    uint8_t opcode = ws->message_opcode;
    ws->message_opcode = 0;
    return deliver(ws, event, opcode, ws->message_deflated, ws->base + ws->message_at, ws->message_bytes);
}

int bw_ws_next(bw_ws *ws, bw_ws_event *event) {
    frame in;
    event->type = BW_WS_NONE;
    while (!ws->over && ws->filled - ws->parse >= 2) {
        const char *rule = broken_rule(ws);
        ws->frame_at = ws->parse;
        if (rule) return failed(ws, event, 1002, rule);
        if (!read_header(ws, &in)) return BW_WS_NONE;
        uint64_t before = in.opcode == BW_WS_OP_CONTINUATION ? ws->message_bytes : 0;
        if (in.payload_bytes > ws->message_bytes_max - before && in.opcode < 8) {
            return failed(ws, event, 1009, "message is too large");
        }
        size_t bytes = (size_t)in.payload_bytes;
        if (ws->filled - ws->parse < in.header_bytes + bytes) return BW_WS_NONE;
        uint8_t *payload = ws->base + ws->parse + in.header_bytes;
        if (in.masked) bw_ws_mask(payload, bytes, in.mask);
        ws->parse += in.header_bytes + bytes;
        if (in.opcode >= 8) return control_event(ws, event, in.opcode, payload, bytes);
        if (in.final && in.opcode) return deliver(ws, event, in.opcode, in.deflated, payload, bytes);
        if (join(ws, event, &in, payload, bytes) != BW_WS_NONE) return event->type;
    }
    return BW_WS_NONE;
}

size_t bw_ws_header(uint8_t out[BW_WS_HEADER_MAX], enum bw_ws_opcode opcode, size_t payload_bytes,
                    const uint8_t mask[4]) {
    uint8_t mask_bit = mask ? 0x80 : 0;
    size_t at = 2;
    out[0] = (uint8_t)(0x80 | opcode);
    if (payload_bytes < 126) {
        out[1] = (uint8_t)(mask_bit | payload_bytes);
    } else if (payload_bytes < 65536) {
        out[1] = mask_bit | 126;
        out[2] = (uint8_t)(payload_bytes >> 8);
        out[3] = (uint8_t)payload_bytes;
        at = 4;
    } else {
        uint64_t big = __builtin_bswap64(payload_bytes);
        out[1] = mask_bit | 127;
        memcpy(out + 2, &big, sizeof big);
        at = 10;
    }
    if (!mask) return at;
    memcpy(out + at, mask, 4);
    return at + 4;
}

void bw_ws_mask(uint8_t *payload, size_t bytes, const uint8_t mask[4]) {
    uint8_t key[8];
    uint64_t wide;
    memcpy(key, mask, 4);
    memcpy(key + 4, mask, 4);
    memcpy(&wide, key, sizeof wide);
    size_t at = 0;
    for (; at + 8 <= bytes; at += 8) {
        uint64_t word;
        memcpy(&word, payload + at, sizeof word);
        word ^= wide;
        memcpy(payload + at, &word, sizeof word);
    }
    for (; at < bytes; at++) payload[at] ^= key[at & 3];
}
