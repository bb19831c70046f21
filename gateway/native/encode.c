#include "encode.h"

#include <string.h>

static const char *const state_text[] = {"syncing", "live", "stale", "resync", "down"};
static const char *const reason_text[BW_REASON_COUNT] = {
    "none", "start", "disconnected", "gap", "checksum", "crossed", "silent", "decode", "buffer_full",
    "operator", "refused",
};

const char *bw_state_text(uint32_t state) {
    return state < sizeof state_text / sizeof *state_text ? state_text[state] : "unknown";
}

const char *bw_reason_text(uint32_t reason) {
    return reason < BW_REASON_COUNT && reason_text[reason] ? reason_text[reason] : "unknown";
}

size_t bw_encode_bound(uint32_t levels) {
    return 512 + BW_DECIMAL_SLACK + (size_t)levels * (2 * BW_DECIMAL_CHARS_MAX + 48);
}

#define PUT(out, literal) put_bytes(out, literal, sizeof literal - 1)

static inline char *put_bytes(char *out, const char *text, size_t bytes) {
    memcpy(out, text, bytes);
    return out + bytes;
}

static inline char *put_text(char *out, const char *text) {
    return put_bytes(out, text, strlen(text));
}

static inline char *put_stamp(char *out, int64_t value) {
    return bw_put_u64(out, value > 0 ? (uint64_t)value : 0);
}

static char *put_levels(char *out, const bw_encoding *encoding, const bw_message *message, uint32_t side) {
    bool quoted = encoding->strings || encoding->format == BW_FORMAT_TARDIS;
    const bw_view_level *level = message->level[side], *end = level + message->count[side];
    *out++ = '[';
    for (; level < end; level++) {
        *out++ = '[';
        if (quoted) *out++ = '"';
        out = bw_put_decimal(out, level->price, message->price_exponent);
        out = quoted ? PUT(out, "\",\"") : PUT(out, ",");
        if (level->quantity == 0 && encoding->format == BW_FORMAT_TARDIS) {
            out = PUT(out, "0.0"); /* how that format writes a level that left */
        } else {
            out = bw_put_decimal(out, level->quantity, message->quantity_exponent);
        }
        if (quoted) *out++ = '"';
        if (encoding->format != BW_FORMAT_TARDIS) {
            *out++ = ',';
            if (level->orders < 10) *out++ = (char)('0' + level->orders);
            else out = bw_put_u64(out, level->orders);
            if (encoding->kind == BW_VIEW_FULL) {
                out = PUT(out, ",\"");
                out = put_text(out, encoding->exchange_id[level->exchange % BW_EXCHANGES_MAX]);
                *out++ = '"';
            }
        }
        *out++ = ']';
        *out++ = ',';
    }
    if (message->count[side] > 0) out--; /* the last comma */
    *out++ = ']';
    return out;
}

static char *put_sides(char *out, const bw_encoding *encoding, const bw_message *message) {
    out = PUT(out, "\"data\":{\"bids\":");
    out = put_levels(out, encoding, message, 0);
    out = PUT(out, ",\"asks\":");
    return put_levels(out, encoding, message, 1);
}

static char *put_stamps(char *out, const bw_encoding *encoding, const bw_stamps *stamps) {
    out = PUT(out, ",\"seq\":");
    out = bw_put_u64(out, stamps->sequence);
    out = PUT(out, ",\"exch_ts\":");
    out = put_stamp(out, stamps->exchange_ns / 1000000);
    out = PUT(out, ",\"recv_ns\":");
    out = put_stamp(out, stamps->receive_ns);
    out = PUT(out, ",\"pub_ns\":");
    out = put_stamp(out, stamps->published_ns);
    if (encoding->kind == BW_VIEW_SINGLE) {
        out = PUT(out, ",\"state\":\"");
        out = put_text(out, bw_state_text(stamps->state));
        *out++ = '"';
    }
    return out;
}

static char *put_notes(char *out, const bw_message *message) {
    if (message->conflated > 0) {
        out = PUT(out, "\"conflated\":");
        out = bw_put_u64(out, message->conflated);
        *out++ = ',';
    }
    if (message->more) out = PUT(out, "\"more\":true,");
    return out;
}

static size_t encode_json(const bw_encoding *encoding, const bw_message *message, char *out) {
    char *start = out;
    out = message->kind == BW_PUSH_SNAPSHOT ? PUT(out, "{\"type\":\"snapshot\",\"channel\":\"")
                                                  : PUT(out, "{\"type\":\"delta\",\"channel\":\"");
    out = put_text(out, encoding->channel);
    out = PUT(out, "\",");
    out = put_notes(out, message);
    out = put_sides(out, encoding, message);
    out = PUT(out, ",\"ts\":");
    out = put_stamp(out, message->stamps.receive_ns / 1000000);
    if (encoding->stamps) out = put_stamps(out, encoding, &message->stamps);
    out = PUT(out, "}}");
    return (size_t)(out - start);
}

static size_t encode_tardis(const bw_encoding *encoding, const bw_message *message, char *out) {
    char *start = out;
    out = message->kind == BW_PUSH_SNAPSHOT ? PUT(out, "{\"type\":\"orderbook_snapshot\",\"exchange\":\"")
                                            : PUT(out, "{\"type\":\"orderbook_update\",\"exchange\":\"");
    out = put_text(out, encoding->exchange);
    out = PUT(out, "\",\"symbol\":\"");
    out = put_text(out, encoding->native);
    out = PUT(out, "\",");
    out = put_notes(out, message);
    out = put_sides(out, encoding, message);
    if (encoding->stamps) out = put_stamps(out, encoding, &message->stamps);
    out = PUT(out, "},\"timestamp\":");
    out = put_stamp(out, message->stamps.receive_ns / 1000000);
    *out++ = '}';
    return (size_t)(out - start);
}

static bool fits_64(const bw_message *message) {
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        for (uint32_t i = 0; i < message->count[side]; i++) {
            const bw_view_level *level = &message->level[side][i];
            if (level->price != (int64_t)level->price || level->quantity != (int64_t)level->quantity) {
                return false;
            }
        }
    }
    return true;
}

static uint8_t *put_binary_level(uint8_t *out, const bw_view_level *level, bool wide) {
    size_t bytes = wide ? sizeof(bw_wide) : sizeof(int64_t); /* little-endian: the low half comes first */
    memcpy(out, &level->price, bytes);
    memcpy(out + bytes, &level->quantity, bytes);
    memcpy(out + 2 * bytes, &level->orders, 4);
    memcpy(out + 2 * bytes + 4, &level->exchange, 4);
    return out + 2 * bytes + 8;
}

static size_t encode_binary(const bw_encoding *encoding, const bw_message *message, uint8_t *out) {
    bool wide = !fits_64(message);
    size_t channel_bytes = strlen(encoding->channel), padded = (channel_bytes + 7) & ~(size_t)7;
    struct {
        uint8_t version, kind, price_exponent, quantity_exponent;
        uint16_t channel_bytes, flags;
        uint32_t bids, asks;
        uint64_t sequence;
        int64_t ts_ms, exchange_ns, receive_ns, published_ns;
        uint64_t conflated;
        uint32_t state, reserved;
    } header = {
        BW_BINARY_VERSION, (uint8_t)message->kind, message->price_exponent, message->quantity_exponent,
        (uint16_t)channel_bytes,
        (uint16_t)((wide ? BW_BINARY_WIDE : 0) | (message->more ? BW_BINARY_MORE : 0)),
        message->count[0], message->count[1], message->stamps.sequence,
        message->stamps.receive_ns / 1000000, message->stamps.exchange_ns, message->stamps.receive_ns,
        message->stamps.published_ns, message->conflated,
        encoding->kind == BW_VIEW_SINGLE ? message->stamps.state : (uint32_t)BW_BOOK_LIVE, 0,
    };
    _Static_assert(sizeof header == BW_BINARY_HEADER_BYTES, "documented in docs/gateway.md");
    uint8_t *start = out;
    memcpy(out, &header, sizeof header);
    out += sizeof header;
    memset(out, 0, padded);
    memcpy(out, encoding->channel, channel_bytes);
    out += padded;
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        for (uint32_t i = 0; i < message->count[side]; i++) {
            out = put_binary_level(out, &message->level[side][i], wide);
        }
    }
    return (size_t)(out - start);
}

size_t bw_encode(const bw_encoding *encoding, const bw_message *message, uint8_t *out) {
    switch (encoding->format) {
    case BW_FORMAT_TARDIS: return encode_tardis(encoding, message, (char *)out);
    case BW_FORMAT_BINARY: return encode_binary(encoding, message, out);
    default: return encode_json(encoding, message, (char *)out);
    }
}
