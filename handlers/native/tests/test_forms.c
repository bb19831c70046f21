/* Level lists of every form, arrays at the root, and protobuf: what they hold, and that no cut or flipped byte of a
 * frame is read beyond its end or makes the decoder's variants differ. */
#include "check.h"
#include "decode.h"
#include "decode_plan.h"
#include "venue_plans.h"

static bw_plan *plan;
static bw_decoder *decoder[2]; /* all the CPU can do, and portable */

static void use(enum venue venue) {
    bw_plan_spec spec = venue_spec(venue);
    for (int i = 0; i < 2; i++) bw_decoder_free(decoder[i]);
    bw_plan_free(plan);
    plan = plan_of(&spec);
    decoder[0] = bw_decoder_new(plan, 16);
    setenv("BOOKWIRE_DECODER", "portable", 1);
    decoder[1] = bw_decoder_new(plan, 16);
    unsetenv("BOOKWIRE_DECODER");
}

/* In a block of its own, so that a sanitizer sees what is read behind the padding. */
static char *block;
static bool decode(int which, const char *text, size_t bytes) {
    free(block);
    block = malloc(bytes + BW_DECODE_PADDING);
    memcpy(block, text, bytes);
    memset(block + bytes, '7', BW_DECODE_PADDING);
    return bw_decode(decoder[which], block, bytes);
}

static bool level_is(int which, uint32_t side, uint32_t at, int64_t price, uint32_t price_decimals, int64_t quantity,
                     uint32_t quantity_decimals) {
    const bw_wire_level *level = bw_decoder_levels(decoder[which], side) + at;
    return level->price == price && level->price_decimals == price_decimals && level->quantity == quantity &&
           level->quantity_decimals == quantity_decimals;
}

static uint32_t kind_of(int which) {
    const bw_message_plan *message = bw_decoder_classify(decoder[which], bw_decoder_item(decoder[which], 0), false);
    return message ? message->kind : UINT32_MAX;
}

static bool reads(int which, const char *text) {
    return decode(which, text, strlen(text));
}

static bool decodes(int which, const char *text) {
    return decode(which, text, strlen(text)) && !bw_decoder_item(decoder[which], 0)->fault;
}

static void test_pairs(int which) {
    use(VENUE_UPBIT);
    for (int lap = 0; lap < 2; lap++) { /* the second by the learned shape */
        CHECK(decodes(which, "{\"type\":\"orderbook\",\"code\":\"KRW-BTC\",\"timestamp\":1790134742106,\"orderbook_units\":["
                             "{\"ask_price\":1.16539E8,\"bid_price\":1.16538E8,\"ask_size\":7.9276E-4,\"bid_size\":0.08},"
                             "{\"ask_price\":0,\"bid_price\":116537000,\"ask_size\":0,\"bid_size\":1.0},"
                             "{\"bid_size\":3,\"ask_size\":2e+0,\"bid_price\":5,\"ask_price\":6}]}"));
        const bw_item *item = bw_decoder_item(decoder[which], 0);
        CHECK(item->level_count[0] == 3 && item->level_count[1] == 2 && item->quantity_decimals == 8);
        CHECK(level_is(which, 0, 0, 116538000, 0, 8, 2) && level_is(which, 1, 0, 116539000, 0, 79276, 8));
        CHECK(level_is(which, 0, 1, 116537000, 0, 1, 0) && level_is(which, 1, 1, 6, 0, 2, 0));
    }
    CHECK(!decodes(which, "{\"orderbook_units\":[{\"ask_price\":1,\"bid_price\":1,\"ask_size\":-1,\"bid_size\":1}]}"));
}

static void test_signs_and_single_rows(int which) {
    use(VENUE_BITFINEX);
    for (int lap = 0; lap < 2; lap++) {
        CHECK(decodes(which, "[17082,[[7254.7,3,3.3],[7254.6,2,-2e-8],[7254.5,0,1],[7250,0,-1]],19]"));
        const bw_item *item = bw_decoder_item(decoder[which], 0);
        CHECK(kind_of(which) == BW_MESSAGE_SNAPSHOT && item->level_count[0] == 2 && item->level_count[1] == 2);
        CHECK(level_is(which, 0, 0, 72547, 1, 33, 1) && level_is(which, 1, 0, 72546, 1, 2, 8));
        CHECK(level_is(which, 0, 1, 72545, 1, 0, 0) && level_is(which, 1, 1, 7250, 0, 0, 0));
        CHECK(decodes(which, "[17082,[7254.5,0,-1],20]") && kind_of(which) == BW_MESSAGE_DELTA);
        item = bw_decoder_item(decoder[which], 0);
        CHECK(item->level_count[0] == 0 && item->level_count[1] == 1 && level_is(which, 1, 0, 72545, 1, 0, 0));
    }
    CHECK(decodes(which, "[17082,[],21]") && kind_of(which) == BW_MESSAGE_SNAPSHOT);
    CHECK(reads(which, "[17082,\"hb\",22]") && kind_of(which) == BW_MESSAGE_HEARTBEAT);
    CHECK(reads(which, "[17082,\"cs\",-5,23]") && kind_of(which) == BW_MESSAGE_CHECKSUM);
    CHECK(reads(which, "{\"event\":\"subscribed\"}") && kind_of(which) == BW_MESSAGE_CONTROL);
    CHECK(reads(which, "[]") && kind_of(which) == UINT32_MAX);
    CHECK(!reads(which, "[17082") && !reads(which, "[17082,]") && !reads(which, "7"));
    CHECK(!reads(which, "[1,[7254.5,0,-1]}") && !reads(which, "[1] ]"));
}

static void test_objects_of_prices(int which) {
    use(VENUE_BINGX);
    CHECK(decodes(which, "{\"dataType\":\"BTC-USDT@incrDepth\",\"data\":{\"action\":\"update\",\"lastUpdateId\":7,"
                         "\"bids\":{\"86378.90\":\"0.0001\",\"5\":2},\"asks\":[[\"86379.1\",\"0.0000\"]]}}"));
    const bw_item *item = bw_decoder_item(decoder[which], 0);
    CHECK(item->level_count[0] == 2 && item->level_count[1] == 1 && kind_of(which) == BW_MESSAGE_DELTA);
    CHECK(level_is(which, 0, 0, 863789, 1, 1, 4) && level_is(which, 0, 1, 5, 0, 2, 0));
    CHECK(level_is(which, 1, 0, 863791, 1, 0, 0));
    CHECK(decodes(which, "{\"data\":{\"bids\":{ },\"asks\":{\"1\" : \"0.000061000000000000005\"}}}"));
    item = bw_decoder_item(decoder[which], 0);
    CHECK(item->rounded == 1 && level_is(which, 1, 0, 1, 0, 61, 6));
    const char *bad[] = {"{1:2}", "{\"1\"}", "{\"1\":\"x\"}", "{\"1\":[1]}", "{\"1\":\"-1\"}", "{\"x\":\"1\"}",
                         "{\"1\":\"99999999999999999999\"}", "7", "\"7\""};
    for (uint32_t i = 0; i < COUNT(bad); i++) {
        char frame[128];
        snprintf(frame, sizeof frame, "{\"data\":{\"bids\":%s}}", bad[i]);
        CHECK(!decodes(which, frame));
    }
}

static const uint8_t mexc[] = {
    0x0a, 3, 'c', 'h', 'n', 0x1a, 7, 'B', 'T', 'C', 'U', 'S', 'D', 'T', 0x30, 0xa8, 0xe3, 0xee, 0xf5, 0x88, 0x33,
    0xca, 0x13, 38, 0x0a, 10, 0x0a, 5, '1', '0', '0', '.', '5', 0x12, 1, '0', 0x12, 10, 0x12, 4, '1', '.', '2', '5',
    0x0a, 2, '9', '9', 0x22, 2, '4', '1', 0x2a, 2, '4', '2', 0x30, 0xff, 0x01, 0x39, 1, 2, 3,
};

static void test_protobuf(int which) {
    use(VENUE_MEXC);
    uint8_t frame[80];
    memcpy(frame, mexc, sizeof mexc);
    memset(frame + sizeof mexc, 0, 5); /* a fixed64 that nobody names, to its end */
    size_t bytes = sizeof mexc + 5;
    frame[23] = (uint8_t)(bytes - 24);
    CHECK(decode(which, (const char *)frame, bytes) && kind_of(which) == BW_MESSAGE_DELTA);
    const bw_item *item = bw_decoder_item(decoder[which], 0);
    int64_t number;
    CHECK(!item->fault && item->level_count[0] == 1 && item->level_count[1] == 1);
    CHECK(level_is(which, 0, 0, 99, 0, 125, 2) && level_is(which, 1, 0, 1005, 1, 0, 0));
    CHECK(bw_value_integer(block, &item->slot[BW_SLOT_TIME], &number) && number == 1754741322152);
    CHECK(bw_value_integer(block, &item->slot[BW_SLOT_FIRST], &number) && number == 41);
    CHECK(decode(which, "", 0) && kind_of(which) == UINT32_MAX);
    CHECK(reads(which, "{\"msg\":\"PONG\"}") && kind_of(which) == BW_MESSAGE_CONTROL);
    CHECK(!decode(which, "\x0b", 1) && !decode(which, "\x0a\x05xx", 4) && !decode(which, "\x02\x00", 2));
    CHECK(!decode(which, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11));
    for (size_t cut = 0; cut < bytes; cut++) decode(which, (const char *)frame, cut);
}

/* -- cut anywhere, any byte another ------------------------------------------------------------- */

/* Each spells a value with decimals of its own. */
static bool same_number(int64_t a, uint32_t a_decimals, int64_t b, uint32_t b_decimals) {
    for (; a % 10 == 0 && a_decimals; a_decimals--) a /= 10;
    for (; b % 10 == 0 && b_decimals; b_decimals--) b /= 10;
    return a == b && a_decimals == b_decimals;
}

static void agree(const char *text, size_t bytes) {
    bool took[2];
    uint32_t kind[2];
    for (int i = 0; i < 2; i++) {
        took[i] = decode(i, text, bytes);
        kind[i] = took[i] ? kind_of(i) : UINT32_MAX; /* as long as the frame is there */
    }
    CHECK(took[0] == took[1] && kind[0] == kind[1]);
    const bw_item *one = bw_decoder_item(decoder[0], 0), *other = bw_decoder_item(decoder[1], 0);
    if (!took[0]) return;
    CHECK(!one->fault == !other->fault && one->slots == other->slots);
    for (uint32_t side = 0; side < 2 && !one->fault; side++) {
        CHECK(one->level_count[side] == other->level_count[side]);
        for (uint32_t i = 0; i < one->level_count[side]; i++) {
            const bw_wire_level *level = bw_decoder_levels(decoder[0], side) + one->level_first[side] + i;
            const bw_wire_level *twin = bw_decoder_levels(decoder[1], side) + other->level_first[side] + i;
            CHECK(same_number(level->price, level->price_decimals, twin->price, twin->price_decimals));
            CHECK(same_number(level->quantity, level->quantity_decimals, twin->quantity, twin->quantity_decimals));
        }
    }
}

static void test_mutations(enum venue venue, const char *text, size_t bytes) {
    char frame[512];
    uint64_t seed = 88172645463325252ull;
    use(venue);
    agree(text, bytes); /* the shapes are learned */
    for (size_t cut = 0; cut <= bytes; cut++) agree(text, cut);
    for (int round = 0; round < 20000; round++) {
        memcpy(frame, text, bytes);
        for (int flips = 1 + round % 3; flips; flips--) {
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
            static const char likely[] = "0123456789.-eE+\"[]{},: ";
            frame[(seed >> 8) % bytes] = round & 1 ? likely[(seed >> 40) % (sizeof likely - 1)] : (char)(seed >> 50);
        }
        agree(frame, bytes);
    }
}

int main(void) {
    for (int which = 0; which < 2; which++) {
        test_pairs(which);
        test_signs_and_single_rows(which);
        test_objects_of_prices(which);
        test_protobuf(which);
    }
    const char *upbit = "{\"type\":\"orderbook\",\"code\":\"KRW-BTC\",\"timestamp\":1790134742106,\"orderbook_units\":["
                        "{\"ask_price\":1.16539E8,\"bid_price\":1.16538E8,\"ask_size\":7.9276E-4,\"bid_size\":0.08},"
                        "{\"ask_price\":1.2E8,\"bid_price\":1.1E8,\"ask_size\":7.9276E-4,\"bid_size\":0.08}]}";
    const char *bitfinex = "[17082,[[7254.7,3,3.3],[7254.6,2,-2e-8],[7254.5,0,1],[7250,0,-1]],19]";
    const char *bingx = "{\"dataType\":\"B\",\"data\":{\"action\":\"all\",\"lastUpdateId\":7,\"bids\":{\"86378.90\":"
                        "\"0.0001\",\"5\":2},\"asks\":[[\"86379.1\",\"0.0000\"],[\"86380.1\",\"1.0000\"]]}}";
    test_mutations(VENUE_UPBIT, upbit, strlen(upbit));
    test_mutations(VENUE_BITFINEX, bitfinex, strlen(bitfinex));
    test_mutations(VENUE_BINGX, bingx, strlen(bingx));
    test_mutations(VENUE_MEXC, (const char *)mexc, sizeof mexc);
    free(block);
    use(VENUE_BINGX);
    for (int i = 0; i < 2; i++) bw_decoder_free(decoder[i]);
    bw_plan_free(plan);
    return 0;
}
