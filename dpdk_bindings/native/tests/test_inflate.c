/* Messages that are each a gzip member or a raw DEFLATE stream: whole, bounded, verified, any number. */
#include "inflate.h"
#include "websocket.h"
#include "check.h"

#include <string.h>
#include <zlib.h>

#define MESSAGE_MAX 65536u
#define ROOM (MESSAGE_MAX + 4096u)

static uint8_t packed[ROOM];
static char text[2 * MESSAGE_MAX];

/* Packs `bytes` of `text` as one stream; returns its bytes. */
static size_t pack(enum bw_inflate_format format, size_t bytes, int flush) {
    z_stream stream = {0};
    int bits = format == BW_INFLATE_GZIP ? 31 : -15;
    CHECK_EQUAL(deflateInit2(&stream, 6, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (Bytef *)text;
    stream.avail_in = (uInt)bytes;
    stream.next_out = packed;
    stream.avail_out = sizeof packed;
    CHECK_EQUAL(deflate(&stream, flush), flush == Z_FINISH ? Z_STREAM_END : Z_OK);
    size_t made = sizeof packed - stream.avail_out;
    deflateEnd(&stream);
    return made;
}

static void fill(unsigned seed) {
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + (i * i + seed * i) % 23);
}

static void expect_text(bw_inflate *inflate, size_t made, size_t bytes) {
    char *out;
    size_t out_bytes;
    CHECK_EQUAL(bw_inflate_message(inflate, packed, made, &out, &out_bytes), BW_INFLATE_OK);
    CHECK_EQUAL(out_bytes, bytes);
    CHECK(memcmp(out, text, bytes) == 0);
    volatile char sum = 0;
    for (size_t i = 0; i < BW_WS_PADDING; i++) sum = (char)(sum ^ out[out_bytes + i]); /* readable */
}

static void expect_wrong(bw_inflate *inflate, const uint8_t *data, size_t bytes, int result) {
    char *out;
    size_t out_bytes;
    CHECK_EQUAL(bw_inflate_message(inflate, data, bytes, &out, &out_bytes), result);
    CHECK(out_bytes <= MESSAGE_MAX + 1);
}

static void test_whole_messages(enum bw_inflate_format format) {
    bw_inflate *inflate = bw_inflate_new(format, MESSAGE_MAX);
    CHECK(inflate);
    for (unsigned seed = 0; seed < 200; seed++) {
        size_t bytes = seed * 331u % MESSAGE_MAX;
        fill(seed);
        expect_text(inflate, pack(format, bytes, Z_FINISH), bytes);
    }
    fill(1);
    expect_text(inflate, pack(format, MESSAGE_MAX, Z_FINISH), MESSAGE_MAX);
    expect_wrong(inflate, packed, pack(format, MESSAGE_MAX + 1, Z_FINISH), BW_INFLATE_TOO_LARGE);
    memset(text, 'a', sizeof text);
    expect_wrong(inflate, packed, pack(format, sizeof text, Z_FINISH), BW_INFLATE_TOO_LARGE);
    fill(2);
    expect_text(inflate, pack(format, 1000, Z_FINISH), 1000); /* the next is not harmed */
    bw_inflate_free(inflate);
}

/* Cut anywhere, or with anything behind it, a message is refused, and the one after it is read. */
static void test_cut_messages(enum bw_inflate_format format) {
    bw_inflate *inflate = bw_inflate_new(format, MESSAGE_MAX);
    fill(3);
    size_t made = pack(format, 700, Z_FINISH);
    for (size_t bytes = 0; bytes < made; bytes++) {
        expect_wrong(inflate, packed, bytes, BW_INFLATE_MALFORMED);
        expect_text(inflate, made, 700);
    }
    packed[made] = 0;
    expect_wrong(inflate, packed, made + 1, BW_INFLATE_MALFORMED);
    expect_text(inflate, made, 700);
    bw_inflate_free(inflate);
}

static void test_gzip_verifies(void) {
    bw_inflate *inflate = bw_inflate_new(BW_INFLATE_GZIP, MESSAGE_MAX);
    fill(4);
    size_t made = pack(BW_INFLATE_GZIP, 700, Z_FINISH);
    for (size_t at = made - 8; at < made; at++) { /* its checksum and length */
        packed[at] ^= 1;
        expect_wrong(inflate, packed, made, BW_INFLATE_MALFORMED);
        packed[at] ^= 1;
    }
    expect_text(inflate, made, 700);
    expect_wrong(inflate, (const uint8_t *)"{\"ping\":1}", 10, BW_INFLATE_MALFORMED);
    bw_inflate_free(inflate);
}

static void test_raw_may_end_with_a_flush(void) {
    bw_inflate *inflate = bw_inflate_new(BW_INFLATE_DEFLATE, MESSAGE_MAX);
    for (unsigned seed = 0; seed < 20; seed++) {
        fill(seed);
        size_t made = pack(BW_INFLATE_DEFLATE, 3000 + seed, Z_SYNC_FLUSH);
        expect_text(inflate, made, 3000 + seed);
        expect_wrong(inflate, packed, made - 4, BW_INFLATE_MALFORMED);
    }
    bw_inflate_free(inflate);
}

int main(void) {
    for (enum bw_inflate_format format = BW_INFLATE_GZIP; format <= BW_INFLATE_DEFLATE; format++) {
        test_whole_messages(format);
        test_cut_messages(format);
    }
    test_gzip_verifies();
    test_raw_may_end_with_a_flush();
    return 0;
}
