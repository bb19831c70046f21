/* Frames to slots and levels: venues' own frames, any key order and spacing, and what is refused. */
#include "check.h"
#include "decode.h"
#include "venue_plans.h"

static bw_plan *plan;
static bw_decoder *decoder;

static void use(enum venue venue) {
    bw_plan_spec spec = venue_spec(venue);
    bw_decoder_free(decoder);
    bw_plan_free(plan);
    plan = plan_of(&spec);
    decoder = bw_decoder_new(plan, 16);
}

/* In a block of its own, so that a sanitizer sees what is read behind the padding. */
static bool decode(const char *text) {
    static char *block;
    size_t bytes = strlen(text);
    free(block);
    block = malloc(bytes + BW_DECODE_PADDING);
    memcpy(block, text, bytes);
    memset(block + bytes, '}', BW_DECODE_PADDING);
    return bw_decode(decoder, block, bytes);
}

static void check_level(uint32_t side, uint32_t at, int64_t price, uint8_t price_decimals, int64_t quantity,
                        uint8_t quantity_decimals) {
    const bw_wire_level *level = bw_decoder_levels(decoder, side) + at;
    CHECK(level->price == price && level->price_decimals == price_decimals);
    CHECK(level->quantity == quantity && level->quantity_decimals == quantity_decimals);
}

static bool slot_is(uint32_t item, uint32_t slot, const char *text, const char *frame) {
    const bw_value *value = bw_decoder_slot(decoder, bw_decoder_item(decoder, item), slot);
    return value && value->bytes == strlen(text) && memcmp(frame + value->at, text, value->bytes) == 0;
}

static void test_binance(void) {
    const char *frame = "{\"stream\":\"blzeth@depth@100ms\",\"data\":{\"e\":\"depthUpdate\",\"E\":1633998524073,"
                        "\"s\":\"BLZETH\",\"U\":281916631,\"u\":281916632,\"b\":[],\"a\":[[\"0.00006556\","
                        "\"0.00000000\"],[\"0.00006615\",\"1528.00000000\"],[\"12.5\",\"1e-08\"]]}}";
    use(VENUE_BINANCE);
    for (int lap = 0; lap < 3; lap++) { /* guesses of the laps before must not matter */
        CHECK(decode(frame));
        const bw_item *item = bw_decoder_item(decoder, 0);
        CHECK(item->level_count[0] == 0 && item->level_count[1] == 3 && !item->fault);
        check_level(1, 0, 6556, 8, 0, 0);
        check_level(1, 2, 125, 1, 1, 8);
        CHECK(slot_is(0, BW_SLOT_SYMBOL, "BLZETH", frame) && slot_is(0, BW_SLOT_LAST, "281916632", frame));
    }
}

static void test_order_and_spacing(void) {
    use(VENUE_BINANCE);
    CHECK(decode(" {\n\"data\" : { \"a\" : [ [ \"2\" , \"3\" ] , [\"2.5\",\"3.25\"] ] , \"x\" : {\"a\":[[1]]}, "
                 "\"b\":[ ], \"u\":5,\"U\":4,\"\\u0073\":\"BTC\\u0055SDT\",\"e\":\"depthUpdate\"} , \"z\":null}\t "));
    const bw_item *item = bw_decoder_item(decoder, 0);
    CHECK(item->level_count[1] == 2 && !item->fault);
    check_level(1, 0, 2, 0, 3, 0);
    check_level(1, 1, 25, 1, 325, 2);
    CHECK(bw_decoder_slot(decoder, item, BW_SLOT_SYMBOL)->escaped);
    CHECK(bw_decoder_classify(decoder, item, false) != NULL);
}

/* The shape is known from the list before, so the quick way begins each of these. */
static void test_spaces_between_levels(void) {
    use(VENUE_BINANCE);
    for (int lap = 0; lap < 2; lap++) {
        CHECK(decode("{\"data\": {\"a\": [[\"1.50\", \"2.00\"], [\"1.60\", \"3.00\"],\n[\"1.70\", \"4.00\"]]}}"));
        CHECK(!bw_decoder_item(decoder, 0)->fault && bw_decoder_item(decoder, 0)->level_count[1] == 3);
        check_level(1, 2, 17, 1, 4, 0);
    }
}

static void test_kraken(void) {
    use(VENUE_KRAKEN);
    CHECK(decode("{\"channel\":\"book\",\"type\":\"update\",\"data\":[{\"symbol\":\"BTC/USD\",\"bids\":[],\"asks\":"
                 "[{\"price\":62807.0,\"qty\":0.00000000},{\"price\":62818.8,\"qty\":0.65540712},{\"qty\":1e-8,"
                 "\"price\":6e4}],\"checksum\":4249465476,\"timestamp\":\"2026-08-16T23:37:03.745044Z\"}]}"));
    check_level(1, 0, 62807, 0, 0, 0);
    check_level(1, 1, 628188, 1, 65540712, 8);
    check_level(1, 2, 60000, 0, 1, 8);
}

/* The last of two values counts, in frames that look like the one before, too. */
static void test_a_key_that_stands_twice(void) {
    const char *frame = "{\"channel\":\"book\",\"type\":\"update\",\"data\":[{\"symbol\":\"BTC/USD\",\"bids\":["
                        "{\"price\":61799.5,\"qty\":61798.83310964,\"qty\":0.5},"
                        "{\"price\":61798.5,\"qty\":61798.83310964,\"qty\":1.5}],\"asks\":[],\"checksum\":1}]}";
    use(VENUE_KRAKEN);
    for (int lap = 0; lap < 4; lap++) {
        CHECK(decode(frame));
        check_level(0, 0, 617995, 1, 5, 1);
        check_level(0, 1, 617985, 1, 15, 1);
    }
}

/* Digits of keys are no number's digits. */
static void test_keys_that_differ_in_digits(void) {
    use(VENUE_KRAKEN);
    for (int lap = 0; lap < 4; lap++) {
        CHECK(decode("{\"data\":[{\"bids\":[{\"x1\":1,\"price\":7.5,\"qty\":2.5},"
                     "{\"x2\":1,\"price\":8.5,\"qty\":3.5}]}]}"));
        CHECK(!bw_decoder_item(decoder, 0)->fault && bw_decoder_item(decoder, 0)->level_count[0] == 2);
        check_level(0, 1, 85, 1, 35, 1);
    }
}

static void test_coinbase_sides(void) {
    use(VENUE_COINBASE);
    CHECK(decode("{\"channel\":\"l2_data\",\"timestamp\":\"t\",\"sequence_num\":1,\"events\":[{\"type\":\"update\","
                 "\"product_id\":\"BTC-USD\",\"updates\":[{\"side\":\"bid\",\"event_time\":\"x\",\"price_level\":"
                 "\"63211.05\",\"new_quantity\":\"0\"},{\"side\":\"offer\",\"event_time\":\"y\",\"price_level\":\"7\","
                 "\"new_quantity\":\"1\"},{\"side\":\"bid\",\"event_time\":\"z\",\"price_level\":\"6.5\","
                 "\"new_quantity\":\"2\"}]},{\"type\":\"update\",\"product_id\":\"ETH-USD\",\"updates\":[{\"side\":"
                 "\"offer\",\"event_time\":\"\",\"price_level\":\"9\",\"new_quantity\":\"4\"}]}]}"));
    CHECK(bw_decoder_items(decoder) == 2);
    const bw_item *first = bw_decoder_item(decoder, 0), *second = bw_decoder_item(decoder, 1);
    CHECK(first->level_count[0] == 2 && first->level_count[1] == 1 && second->level_count[1] == 1);
    check_level(0, 1, 65, 1, 2, 0);
    check_level(1, second->level_first[1], 9, 0, 4, 0);
}

static void test_other_types_are_faults(void) {
    use(VENUE_BINANCE);
    CHECK(decode("{\"data\":{\"s\":\"BTCUSDT\",\"b\":\"61837.63\",\"a\":\"61837.64\"}}"));
    CHECK(bw_decoder_item(decoder, 0)->fault);
    CHECK(decode("{\"data\":null}") && bw_decoder_item(decoder, 0)->fault);
    const char *bad[] = {"[[\"1\"]]", "[[\"x\",\"1\"]]", "[[\"1\",\"-1\"]]", "[[\"99999999999999999999\",\"1\"]]", "[1]",
                         "[[\"1\",\"2\"],]", "[[\"1\",\"2\"]\"3\"]", "[[\"1\",[2]]]", "[[\"1.\",\"2\"]]", "[[\"\",\"2\"]]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char frame[200];
        snprintf(frame, sizeof frame, "{\"data\":{\"b\":[[\"1.5\",\"2.5\"]],\"a\":%s}}", bad[i]);
        CHECK(decode(frame));
        const bw_item *item = bw_decoder_item(decoder, 0);
        CHECK(item->fault && item->fault_at > 0 && item->level_count[0] == 1 && item->level_count[1] == 0);
    }
}

static void test_broken_frames(void) {
    const char *whole = "{\"data\":{\"e\":\"depthUpdate\",\"s\":\"B\\n\",\"u\":12,\"b\":[[\"1.5\",\"2\"],[\"1\",\"2\"]],"
                        "\"k\":[{\"x\":[1,2,\"]\"]}],\"a\":[]}}";
    use(VENUE_BINANCE);
    CHECK(decode(whole));
    for (size_t cut = 0; cut < strlen(whole); cut++) {
        char frame[200];
        snprintf(frame, sizeof frame, "%.*s", (int)cut, whole);
        CHECK(!decode(frame));
        uint32_t at;
        CHECK(bw_decoder_failure(decoder, &at) && at <= cut);
    }
    const char *bad[] = {"", "[]", "pong", "{\"a\":1}x", "{\"a\":1,}", "{\"a\" 1}", "{a:1}", "{\"a\":tru}", "{\"a\":01}",
                         "{\"a\":[}]}", "{\"a\":\"\\x\"}", "{\"a\":\"\t\"}", "{\"a\":\"\\u12g4\"}", "{\"a\":-}", "{} {}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) CHECK(!decode(bad[i]));
}

static void test_limits(void) {
    char frame[4096] = "{\"data\":{\"b\":[";
    use(VENUE_BINANCE);
    for (int i = 0; i < 17; i++) strcat(frame, i ? ",[\"1\",\"2\"]" : "[\"1\",\"2\"]");
    strcat(frame, "]}}");
    CHECK(decode(frame) && bw_decoder_item(decoder, 0)->fault); /* 17 levels, room for 16 */
    use(VENUE_OKX);
    strcpy(frame, "{\"data\":[{}");
    for (uint32_t i = 0; i < BW_ITEMS_MAX; i++) strcat(frame, ",{}");
    strcat(frame, "]}");
    CHECK(!decode(frame));
}

static void test_bad_plans(void) {
    char error[128];
    bw_plan_spec spec = binance_spec();
    bw_key_spec loop[] = {{0, BW_KEY_OBJECT, 0, "data"}};
    spec.key = loop;
    spec.key_count = 1;
    CHECK(!bw_plan_new(&spec, error, sizeof error) && strstr(error, "data"));
    spec = kraken_spec();
    spec.depth = 0;
    CHECK(!bw_plan_new(&spec, error, sizeof error) && strstr(error, "depth"));
    spec = okx_spec();
    spec.key_count--; /* seqId */
    CHECK(!bw_plan_new(&spec, error, sizeof error) && strstr(error, "slot"));
}

int main(void) {
    const char *variants[] = {"", "portable"};
    for (int i = 0; i < 2; i++) {
        setenv("BOOKWIRE_DECODER", variants[i], 1);
        test_binance();
        test_order_and_spacing();
        test_spaces_between_levels();
        test_kraken();
    test_a_key_that_stands_twice();
    test_keys_that_differ_in_digits();
        test_coinbase_sides();
        test_other_types_are_faults();
        test_broken_frames();
        test_limits();
    }
    test_bad_plans();
    return 0;
}
