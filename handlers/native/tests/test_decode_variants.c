/* All variants of the decoder read the same out of the same frames: streams in the forms of the venues, numbers
 * of all lengths, and many frames with a byte changed, put in or left out. What was learned from the frames
 * before must not matter. */
#include "check.h"
#include "decode.h"
#include "venue_plans.h"

#include <stdarg.h>

enum { FRAMES = 6000, FRAME_BYTES = 8192, VARIANTS = 3 };

static uint64_t seed = 5;
static char frame[FRAME_BYTES + BW_DECODE_PADDING];
static size_t used;

static uint32_t below(uint32_t limit) {
    return (uint32_t)(next_random(&seed) >> 20) % limit;
}

static __attribute__((format(printf, 1, 2))) void put(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    used += (size_t)vsnprintf(frame + used, FRAME_BYTES - used, format, arguments);
    va_end(arguments);
}

/* `style` 0: padded to the same decimals; 1: shortest; 2: anything. */
static void put_number(uint32_t style) {
    static const uint32_t power[] = {1, 10, 1000, 100000, 100000000};
    uint32_t whole = style == 0 ? 10000 + below(90000) : below(power[below(5)]);
    if (style == 0) put("%u.%08u", whole, below(100000000) / 1000 * 1000);
    else if (below(4) == 0) put("%u", whole);
    else if (style == 2 && below(8) == 0) put("%ue%u", whole, below(3));
    else put("%u.%0*u", whole, (int)below(9) + 1, below(power[below(5)]));
}

static void put_row(enum venue venue, uint32_t style) {
    const bool coinbase = venue == VENUE_COINBASE, kraken = venue == VENUE_KRAKEN;
    if (coinbase)
        put("{\"side\":\"%s\",\"event_time\":\"2026-11-20T00:00:00.%0*uZ\",\"price_level\":\"",
            below(2) ? "bid" : "offer", style == 2 ? (int)below(9) + 1 : 6, below(1000));
    else put(kraken ? "{\"price\":" : "[\"");
    put_number(style);
    put(coinbase ? "\",\"new_quantity\":\"" : kraken ? ",\"qty\":" : "\",\"");
    put_number(style);
    if (venue == VENUE_OKX) put("\",\"0\",\"%u", below(style == 2 ? 100000 : 50));
    put(coinbase ? "\"}" : kraken ? "}" : "\"]");
}

static void put_list(enum venue venue, uint32_t style) {
    put("[");
    for (uint32_t left = below(4) == 0 ? below(30) : below(6); left; left--) {
        put_row(venue, style);
        if (left > 1) put(style == 2 && below(20) == 0 ? ", " : ",");
    }
    put("]");
}

static void put_frame(enum venue venue, uint32_t style) {
    const char *symbol[] = {"BTCUSDT", "ETHUSDT", "DOGEUSDT", "a_b-c/d"};
    const char *name = symbol[below(4)];
    uint32_t id = below(below(2) ? 100000 : 2000000000);
    used = 0;
    switch (venue) {
    case VENUE_BINANCE:
        put("{\"stream\":\"x@depth\",\"data\":{\"e\":\"depthUpdate\",\"E\":17%u,\"s\":\"%s\",\"U\":%u,\"u\":%u,"
            "\"b\":", id, name, id, id + 1);
        put_list(venue, style);
        put(",\"a\":");
        put_list(venue, style);
        put("}}");
        break;
    case VENUE_COINBASE:
        put("{\"channel\":\"l2_data\",\"timestamp\":\"t\",\"sequence_num\":%u,\"events\":[{\"type\":\"%s\","
            "\"product_id\":\"%s\",\"updates\":", id, below(9) ? "update" : "snapshot", name);
        put_list(venue, style);
        put("}]}");
        break;
    case VENUE_OKX:
        put("{\"arg\":{\"channel\":\"books\",\"instId\":\"%s\"},\"action\":\"%s\",\"data\":[{\"asks\":", name,
            below(9) ? "update" : "snapshot");
        put_list(venue, style);
        put(",\"bids\":");
        put_list(venue, style);
        put(",\"ts\":\"%u\",\"checksum\":-%u,\"prevSeqId\":%u,\"seqId\":%u}]}", id, id, id, id + 1);
        break;
    case VENUE_BYBIT:
        put("{\"topic\":\"orderbook.200.%s\",\"ts\":%u,\"type\":\"%s\",\"data\":{\"s\":\"%s\",\"b\":", name, id,
            below(9) ? "delta" : "snapshot", name);
        put_list(venue, style);
        put(",\"a\":");
        put_list(venue, style);
        put(",\"u\":%u,\"seq\":%u},\"cts\":%u}", id, id, id);
        break;
    default:
        put("{\"channel\":\"book\",\"type\":\"%s\",\"data\":[{\"symbol\":\"%s\",\"bids\":",
            below(9) ? "update" : "snapshot", name);
        put_list(venue, style);
        put(",\"asks\":");
        put_list(venue, style);
        put(",\"checksum\":%u,\"timestamp\":\"2026-11-20T00:00:%02u.1Z\"}]}", id, id % 60);
    }
}

static void spoil(void) {
    static const char odd[] = "\"\\,:[]{}0123456789.-e \n\001atx\377";
    size_t at = below((uint32_t)used);
    char other = odd[below(sizeof odd - 1)];
    switch (below(4)) {
    case 0: memmove(frame + at, frame + at + 1, --used - at); break;
    case 1:
        memmove(frame + at + 1, frame + at, used++ - at);
        frame[at] = other;
        break;
    case 2: used = at; break;
    default: frame[at] = other;
    }
}

/* Both spell a value with decimals of their own. */
static bool same_number(int64_t a, uint8_t a_decimals, int64_t b, uint8_t b_decimals) {
    for (; a_decimals > b_decimals && a % 10 == 0; a_decimals--) a /= 10;
    for (; b_decimals > a_decimals && b % 10 == 0; b_decimals--) b /= 10;
    return a == b && (a_decimals == b_decimals || a == 0);
}

static void check_values(const bw_item *a, const bw_item *b) {
    CHECK(a->slots == b->slots);
    for (uint32_t i = 0; i < BW_SLOT_COUNT; i++) {
        const bw_value *x = &a->slot[i], *y = &b->slot[i];
        if (!(a->slots >> i & 1)) continue;
        CHECK(x->at == y->at && x->bytes == y->bytes && x->kind == y->kind && x->escaped == y->escaped);
    }
}

static void check_same(const bw_decoder *one, const bw_decoder *other, uint32_t number) {
    const bw_item *a = bw_decoder_item(one, number), *b = bw_decoder_item(other, number);
    check_values(a, b);
    CHECK(a->levels_seen == b->levels_seen && !a->fault == !b->fault);
    CHECK(bw_decoder_classify(one, a, false) == bw_decoder_classify(other, b, false));
    for (uint32_t side = 0; side < 2 && !a->fault; side++) {
        const bw_wire_level *x = bw_decoder_levels(one, side) + a->level_first[side];
        const bw_wire_level *y = bw_decoder_levels(other, side) + b->level_first[side];
        CHECK(a->level_count[side] == b->level_count[side]);
        for (uint32_t i = 0; i < a->level_count[side]; i++) {
            CHECK(same_number(x[i].price, x[i].price_decimals, y[i].price, y[i].price_decimals));
            CHECK(same_number(x[i].quantity, x[i].quantity_decimals, y[i].quantity, y[i].quantity_decimals));
            CHECK(x[i].orders == y[i].orders);
        }
    }
}

/* Returns how many of the frames could be read. */
static uint32_t play(enum venue venue) {
    static const char *const most[VARIANTS] = {"portable", "avx2", "avx512"};
    bw_plan_spec spec = venue_spec(venue);
    bw_plan *plan = plan_of(&spec);
    bw_decoder *decoder[VARIANTS];
    uint32_t whole = 0;
    for (uint32_t i = 0; i < VARIANTS; i++) {
        setenv("BOOKWIRE_DECODER", most[i], 1);
        decoder[i] = bw_decoder_new(plan, 256);
    }
    for (uint32_t round = 0; round < FRAMES; round++) {
        put_frame(venue, round / 200 % 3);
        if (below(3) == 0) spoil();
        char *block = malloc(used + BW_DECODE_PADDING); /* a sanitizer sees what is read behind it */
        memcpy(block, frame, used);
        memset(block + used, round & 1 ? '"' : '}', BW_DECODE_PADDING);
        bool read = bw_decode(decoder[0], block, used);
        whole += read;
        for (uint32_t i = 1; i < VARIANTS; i++) {
            CHECK(bw_decode(decoder[i], block, used) == read);
            if (!read) continue;
            CHECK(bw_decoder_items(decoder[0]) == bw_decoder_items(decoder[i]));
            check_values(bw_decoder_frame(decoder[0]), bw_decoder_frame(decoder[i]));
            for (uint32_t k = 0; k < bw_decoder_items(decoder[0]); k++) check_same(decoder[0], decoder[i], k);
        }
        free(block);
    }
    for (uint32_t i = 0; i < VARIANTS; i++) bw_decoder_free(decoder[i]);
    bw_plan_free(plan);
    return whole;
}

int main(void) {
    for (enum venue venue = 0; venue < VENUE_COUNT; venue++) CHECK(play(venue) > FRAMES / 2);
    return 0;
}
