/* Frames in, events out: what the property tests in tests/wire do not reach easily (sizes, edges of
 * the buffer, padding, deflate). */
#include "check.h"
#include "inflate.h"
#include "websocket.h"

#include <string.h>
#include <zlib.h>

#define MESSAGE_MAX (1u << 20)

static void feed(bw_ws *ws, const void *data, size_t bytes) {
    const uint8_t *at = data;
    while (bytes) {
        size_t room;
        uint8_t *into = bw_ws_room(ws, &room);
        size_t step = bytes < room ? bytes : room;
        CHECK(room > 0);
        memcpy(into, at, step);
        bw_ws_filled(ws, step);
        at += step;
        bytes -= step;
    }
}

/* Writes a frame as the peer of `role` would; returns its bytes. */
static size_t frame(uint8_t *out, enum bw_ws_role role, uint8_t first, const void *payload, size_t bytes) {
    static const uint8_t mask[4] = {0x11, 0x22, 0x33, 0x44};
    const uint8_t *key = role == BW_WS_SERVER ? mask : NULL;
    size_t header = bw_ws_header(out, first & 15, bytes, key);
    out[0] = first;
    memcpy(out + header, payload, bytes);
    if (key) bw_ws_mask(out + header, bytes, mask);
    return header + bytes;
}

static void expect(bw_ws *ws, int type, const void *payload, size_t bytes) {
    bw_ws_event event;
    CHECK_EQUAL(bw_ws_next(ws, &event), type);
    CHECK_EQUAL(event.payload_bytes, bytes);
    CHECK(memcmp(event.payload, payload, bytes) == 0);
}

static void expect_failed(bw_ws *ws, uint16_t code) {
    bw_ws_event event;
    CHECK_EQUAL(bw_ws_next(ws, &event), BW_WS_FAILED);
    CHECK_EQUAL(event.close_code, code);
    CHECK(event.payload_bytes > 0);
    CHECK_EQUAL(bw_ws_next(ws, &event), BW_WS_NONE);
}

static void expect_none(bw_ws *ws) {
    bw_ws_event event;
    CHECK_EQUAL(bw_ws_next(ws, &event), BW_WS_NONE);
}

static void test_lengths(enum bw_ws_role role) {
    static const size_t lengths[] = {0, 1, 7, 8, 125, 126, 127, 65535, 65536, 70000, MESSAGE_MAX};
    uint8_t *payload = malloc(MESSAGE_MAX), *wire = malloc(MESSAGE_MAX + BW_WS_HEADER_MAX);
    bw_ws *ws = bw_ws_new(role, MESSAGE_MAX, false);
    CHECK(ws && payload && wire);
    for (size_t i = 0; i < MESSAGE_MAX; i++) payload[i] = (uint8_t)('a' + i % 23);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t bytes = frame(wire, role, 0x81, payload, lengths[i]);
        feed(ws, wire, bytes - 1);
        expect_none(ws);
        feed(ws, wire + bytes - 1, 1);
        expect(ws, BW_WS_TEXT, payload, lengths[i]);
        expect_none(ws);
        CHECK_EQUAL(bw_ws_buffered(ws), 0);
    }
    bw_ws_free(ws);
    free(payload);
    free(wire);
}

/* A message of the largest size in tiny fragments with pings between: the gap must be closed often. */
static void test_fragments_fill_the_buffer(enum bw_ws_role role) {
    static const char piece[] = "0123456789abcdefghij";
    enum { PIECE = sizeof piece - 1, PIECES = 40000 };
    bw_ws *ws = bw_ws_new(role, PIECE * PIECES, false);
    uint8_t wire[64];
    bw_ws_event event;
    for (int i = 0; i < PIECES; i++) {
        feed(ws, wire, frame(wire, role, 0x89, "ping", 4));
        uint8_t first = (uint8_t)((i == 0 ? 1 : 0) | (i == PIECES - 1 ? 0x80 : 0));
        feed(ws, wire, frame(wire, role, first, piece, PIECE));
        expect(ws, BW_WS_PING, "ping", 4);
        if (i < PIECES - 1) expect_none(ws);
    }
    CHECK_EQUAL(bw_ws_next(ws, &event), BW_WS_TEXT);
    CHECK_EQUAL(event.payload_bytes, PIECE * PIECES);
    for (int i = 0; i < PIECES; i++) CHECK(memcmp(event.payload + i * PIECE, piece, PIECE) == 0);
    volatile char padding = event.payload[event.payload_bytes + BW_WS_PADDING - 1];
    (void)padding;
    feed(ws, wire, frame(wire, role, 0x01, piece, PIECE));
    expect_none(ws);
    bw_ws_free(ws);
}

static void test_too_large_is_refused_by_the_header(void) {
    static const uint8_t claims_2_to_63[] = {0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t claims_101[] = {0x82, 101};
    static const uint8_t first_60[] = {0x02, 60};
    static const uint8_t next_41[] = {0x80, 41};
    char body[60] = {0};
    bw_ws *ws = bw_ws_new(BW_WS_CLIENT, 100, false);
    feed(ws, claims_2_to_63, sizeof claims_2_to_63);
    expect_failed(ws, 1009);
    bw_ws_reset(ws);
    feed(ws, claims_101, sizeof claims_101);
    expect_failed(ws, 1009);
    bw_ws_reset(ws);
    feed(ws, first_60, sizeof first_60);
    feed(ws, body, sizeof body);
    feed(ws, next_41, sizeof next_41);
    expect_failed(ws, 1009);
    bw_ws_free(ws);
}

static void test_offending_frame_is_shown(void) {
    static const uint8_t bad_text[] = {0x81, 3, 'a', 0xff, 'b'};
    size_t bytes;
    bw_ws *ws = bw_ws_new(BW_WS_CLIENT, 100, false);
    feed(ws, "\x81\x02ok", 4);
    feed(ws, bad_text, sizeof bad_text);
    expect(ws, BW_WS_TEXT, "ok", 2);
    expect_failed(ws, 1007);
    const char *shown = bw_ws_unparsed(ws, &bytes);
    CHECK_EQUAL(bytes, sizeof bad_text);
    CHECK(memcmp(shown, bad_text, bytes) == 0);
    bw_ws_free(ws);
}

static size_t deflated(z_stream *stream, uint8_t *out, size_t room, const void *data, size_t bytes) {
    stream->next_in = (Bytef *)(uintptr_t)data;
    stream->avail_in = (uInt)bytes;
    stream->next_out = out;
    stream->avail_out = (uInt)room;
    CHECK_EQUAL(deflate(stream, Z_SYNC_FLUSH), Z_OK);
    size_t made = room - stream->avail_out;
    CHECK(made > 4);
    return made - 4; /* RFC 7692: without 00 00 ff ff */
}

static void test_deflate(void) {
    uint8_t packed[4096], wire[4200];
    z_stream stream = {0};
    CHECK_EQUAL(deflateInit2(&stream, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    bw_ws *ws = bw_ws_new(BW_WS_CLIENT, 4096, true);
    char text[64];
    for (int i = 0; i < 200; i++) { /* later ones refer back to earlier ones */
        int bytes = snprintf(text, sizeof text, "{\"price\":\"45000.%02d\",\"quantity\":\"0.1\"}", i % 100);
        size_t made = deflated(&stream, packed, sizeof packed, text, (size_t)bytes);
        feed(ws, wire, frame(wire, BW_WS_CLIENT, 0x41, packed, made / 2));
        feed(ws, wire, frame(wire, BW_WS_CLIENT, 0x80, packed + made / 2, made - made / 2));
        expect(ws, BW_WS_TEXT, text, (size_t)bytes);
        feed(ws, "\x81\x02{}", 4); /* not every message need be compressed */
        expect(ws, BW_WS_TEXT, "{}", 2);
    }
    static char bomb[1 << 20];
    size_t made = deflated(&stream, packed, sizeof packed, bomb, 4097);
    feed(ws, wire, frame(wire, BW_WS_CLIENT, 0xc1, packed, made));
    expect_failed(ws, 1009);
    bw_ws_reset(ws);
    feed(ws, "\xc1\x04\xff\xff\xff\xff", 6);
    expect_failed(ws, 1007);
    deflateEnd(&stream);
    bw_ws_free(ws);
}

static void test_utf8(void) {
    static const char *good[] = {"",
                                 "a",
                                 "\xc2\x80",
                                 "\xdf\xbf",
                                 "\xe0\xa0\x80",
                                 "\xed\x9f\xbf",
                                 "\xee\x80\x80",
                                 "\xf0\x90\x80\x80",
                                 "\xf4\x8f\xbf\xbf"};
    static const char *bad[] = {"\x80", "\xc1\xbf", "\xc2", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe2\x82",
                                "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xc3("};
    char text[300];
    for (size_t before = 0; before < 140; before++) { /* at every place of the 64-byte steps */
        memset(text, 'x', sizeof text);
        for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
            memcpy(text + before, good[i], strlen(good[i]));
            CHECK(bw_utf8_valid(text, before + strlen(good[i])));
            CHECK(bw_utf8_valid(text, sizeof text));
            memset(text, 'x', sizeof text);
        }
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            memcpy(text + before, bad[i], strlen(bad[i]));
            CHECK(!bw_utf8_valid(text, before + strlen(bad[i])));
            CHECK(!bw_utf8_valid(text, sizeof text));
            memset(text, 'x', sizeof text);
        }
    }
}

int main(void) {
    for (int role = BW_WS_CLIENT; role <= BW_WS_SERVER; role++) {
        test_lengths((enum bw_ws_role)role);
        test_fragments_fill_the_buffer((enum bw_ws_role)role);
    }
    test_too_large_is_refused_by_the_header();
    test_offending_frame_is_shown();
    test_deflate();
    test_utf8();
    return 0;
}
