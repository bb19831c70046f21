/* The message plans of the five exchanges as C tables, for tests, fuzzing and the micro-benchmark.
 *
 * Written from the venues' sheets, apart from handlers/venues: the tests of the engine must not change
 * their meaning when a venue's facts do.
 */
#ifndef BW_VENUE_PLANS_H
#define BW_VENUE_PLANS_H

#include "plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum venue { VENUE_BINANCE, VENUE_COINBASE, VENUE_OKX, VENUE_BYBIT, VENUE_KRAKEN, VENUE_COUNT };
static const char *const venue_name[VENUE_COUNT] = {"binance", "coinbase", "okx", "bybit", "kraken"};

#define COUNT(array) (uint32_t)(sizeof(array) / sizeof *(array))
#define ARRAYS_OF(which, orders) {.shape = BW_SHAPE_ARRAYS, .side = which, .quantity_at = 1, .orders_at = orders, \
                                  .side_at = -1}
#define MESSAGE(of, ...) {.kind = of, .slots_level = -1, .condition_count = COUNT(((bw_condition_spec[]){__VA_ARGS__})), \
                          .condition = {__VA_ARGS__}}
enum { TAG0 = BW_SLOT_TAG0, TAG1, TAG2 };

static inline bw_plan_spec binance_spec(void) {
    static const bw_key_spec key[] = {
        {0, BW_KEY_OBJECT, 1, "data"}, {1, BW_KEY_SLOT, TAG0, "e"}, {1, BW_KEY_SLOT, BW_SLOT_TIME, "E"},
        {1, BW_KEY_SLOT, BW_SLOT_SYMBOL, "s"}, {1, BW_KEY_SLOT, BW_SLOT_FIRST, "U"},
        {1, BW_KEY_SLOT, BW_SLOT_LAST, "u"}, {1, BW_KEY_LEVELS, 0, "b"}, {1, BW_KEY_LEVELS, 1, "a"},
        {0, BW_KEY_SLOT, BW_SLOT_LAST, "lastUpdateId"}, {0, BW_KEY_LEVELS, 0, "bids"},
        {0, BW_KEY_LEVELS, 1, "asks"}, {0, BW_KEY_SLOT, TAG1, "id"},
    };
    static const bw_levels_spec levels[] = {ARRAYS_OF(BW_LEVELS_BIDS, -1), ARRAYS_OF(BW_LEVELS_ASKS, -1)};
    static const bw_message_spec message[] = {
        MESSAGE(BW_MESSAGE_DELTA, {TAG0, "depthUpdate"}),
        MESSAGE(BW_MESSAGE_REST_SNAPSHOT, {BW_SLOT_LAST, ""}),
        MESSAGE(BW_MESSAGE_CONTROL, {TAG1, ""}),
    };
    return (bw_plan_spec){.key_count = COUNT(key), .levels_count = COUNT(levels), .message_count = COUNT(message),
                          .key = key, .levels = levels, .message = message, .sync_rule = BW_SYNC_REST_SNAPSHOT,
                          .continuity = BW_CONTINUITY_RANGE, .time_format = BW_TIME_MS};
}

static inline bw_plan_spec coinbase_spec(void) {
    static const bw_key_spec key[] = {
        {0, BW_KEY_SLOT, TAG0, "channel"}, {0, BW_KEY_SLOT, BW_SLOT_TIME, "timestamp"},
        {0, BW_KEY_SLOT, BW_SLOT_LAST, "sequence_num"}, {0, BW_KEY_ITEMS, 1, "events"},
        {1, BW_KEY_SLOT, TAG1, "type"}, {1, BW_KEY_SLOT, BW_SLOT_SYMBOL, "product_id"},
        {1, BW_KEY_LEVELS, 0, "updates"},
    };
    static const bw_levels_spec levels[] = {
        {.shape = BW_SHAPE_OBJECTS, .side = BW_LEVELS_BY_FIELD, .price_key = "price_level",
         .quantity_key = "new_quantity", .side_key = "side", .bid_text = "bid", .ask_text = "offer"},
    };
    static const bw_message_spec message[] = {
        MESSAGE(BW_MESSAGE_DELTA, {TAG0, "l2_data"}, {TAG1, "update"}),
        MESSAGE(BW_MESSAGE_SNAPSHOT, {TAG0, "l2_data"}, {TAG1, "snapshot"}),
        MESSAGE(BW_MESSAGE_HEARTBEAT, {TAG0, "heartbeats"}),
        MESSAGE(BW_MESSAGE_CONTROL, {TAG0, "subscriptions"}),
    };
    return (bw_plan_spec){.key_count = COUNT(key), .levels_count = COUNT(levels), .message_count = COUNT(message),
                          .key = key, .levels = levels, .message = message, .sync_rule = BW_SYNC_FEED_SNAPSHOT,
                          .continuity = BW_CONTINUITY_CONNECTION, .time_format = BW_TIME_ISO8601};
}

static inline bw_plan_spec okx_spec(void) {
    static const bw_key_spec key[] = {
        {0, BW_KEY_OBJECT, 1, "arg"}, {1, BW_KEY_SLOT, TAG0, "channel"}, {1, BW_KEY_SLOT, BW_SLOT_SYMBOL, "instId"},
        {0, BW_KEY_SLOT, TAG1, "action"}, {0, BW_KEY_SLOT, TAG2, "event"}, {0, BW_KEY_ITEMS, 2, "data"},
        {2, BW_KEY_LEVELS, 1, "asks"}, {2, BW_KEY_LEVELS, 0, "bids"}, {2, BW_KEY_SLOT, BW_SLOT_TIME, "ts"},
        {2, BW_KEY_SLOT, BW_SLOT_CHECKSUM, "checksum"}, {2, BW_KEY_SLOT, BW_SLOT_PREVIOUS, "prevSeqId"},
        {2, BW_KEY_SLOT, BW_SLOT_LAST, "seqId"},
    };
    static const bw_levels_spec levels[] = {ARRAYS_OF(BW_LEVELS_BIDS, 3), ARRAYS_OF(BW_LEVELS_ASKS, 3)};
    static const bw_message_spec message[] = {
        MESSAGE(BW_MESSAGE_DELTA, {TAG0, "books"}, {TAG1, "update"}),
        MESSAGE(BW_MESSAGE_SNAPSHOT, {TAG0, "books"}, {TAG1, "snapshot"}),
        MESSAGE(BW_MESSAGE_CONTROL, {TAG2, ""}),
    };
    return (bw_plan_spec){.key_count = COUNT(key), .levels_count = COUNT(levels), .message_count = COUNT(message),
                          .key = key, .levels = levels, .message = message, .sync_rule = BW_SYNC_FEED_SNAPSHOT,
                          .continuity = BW_CONTINUITY_LINK, .time_format = BW_TIME_MS,
                          .checksum = {.levels = 25, .order = BW_CHECKSUM_INTERLEAVED_BID_FIRST,
                                       .text = BW_CHECKSUM_PLAIN, .separator = ":", .is_signed = 1},
                          .depth = 400, .text_heartbeat = "pong"};
}

static inline bw_plan_spec bybit_spec(void) {
    static const bw_key_spec key[] = {
        {0, BW_KEY_SLOT, TAG0, "topic"}, {0, BW_KEY_SLOT, TAG1, "type"}, {0, BW_KEY_OBJECT, 1, "data"},
        {1, BW_KEY_SLOT, BW_SLOT_SYMBOL, "s"}, {1, BW_KEY_LEVELS, 0, "b"}, {1, BW_KEY_LEVELS, 1, "a"},
        {1, BW_KEY_SLOT, BW_SLOT_LAST, "u"}, {0, BW_KEY_SLOT, BW_SLOT_TIME, "cts"}, {0, BW_KEY_SLOT, TAG2, "op"},
    };
    static const bw_levels_spec levels[] = {ARRAYS_OF(BW_LEVELS_BIDS, -1), ARRAYS_OF(BW_LEVELS_ASKS, -1)};
    static const bw_message_spec message[] = {
        MESSAGE(BW_MESSAGE_DELTA, {TAG0, ""}, {TAG1, "delta"}),
        MESSAGE(BW_MESSAGE_SNAPSHOT, {TAG0, ""}, {TAG1, "snapshot"}),
        MESSAGE(BW_MESSAGE_HEARTBEAT, {TAG2, "ping"}),
        MESSAGE(BW_MESSAGE_CONTROL, {TAG2, ""}),
    };
    return (bw_plan_spec){.key_count = COUNT(key), .levels_count = COUNT(levels), .message_count = COUNT(message),
                          .key = key, .levels = levels, .message = message, .sync_rule = BW_SYNC_FEED_SNAPSHOT,
                          .continuity = BW_CONTINUITY_NEXT, .time_format = BW_TIME_MS, .depth = 200};
}

static inline bw_plan_spec kraken_spec(void) {
    static const bw_key_spec key[] = {
        {0, BW_KEY_SLOT, TAG0, "channel"}, {0, BW_KEY_SLOT, TAG1, "type"}, {0, BW_KEY_ITEMS, 1, "data"},
        {1, BW_KEY_SLOT, BW_SLOT_SYMBOL, "symbol"}, {1, BW_KEY_LEVELS, 0, "bids"}, {1, BW_KEY_LEVELS, 1, "asks"},
        {1, BW_KEY_SLOT, BW_SLOT_CHECKSUM, "checksum"}, {1, BW_KEY_SLOT, BW_SLOT_TIME, "timestamp"},
        {0, BW_KEY_SLOT, TAG2, "method"},
    };
    static const bw_levels_spec levels[] = {
        {.shape = BW_SHAPE_OBJECTS, .side = BW_LEVELS_BIDS, .price_key = "price", .quantity_key = "qty"},
        {.shape = BW_SHAPE_OBJECTS, .side = BW_LEVELS_ASKS, .price_key = "price", .quantity_key = "qty"},
    };
    static const bw_message_spec message[] = {
        MESSAGE(BW_MESSAGE_DELTA, {TAG0, "book"}, {TAG1, "update"}),
        MESSAGE(BW_MESSAGE_SNAPSHOT, {TAG0, "book"}, {TAG1, "snapshot"}),
        MESSAGE(BW_MESSAGE_HEARTBEAT, {TAG0, "heartbeat"}),
        MESSAGE(BW_MESSAGE_CONTROL, {TAG0, "status"}),
        MESSAGE(BW_MESSAGE_CONTROL, {TAG2, ""}),
    };
    return (bw_plan_spec){.key_count = COUNT(key), .levels_count = COUNT(levels), .message_count = COUNT(message),
                          .key = key, .levels = levels, .message = message, .sync_rule = BW_SYNC_FEED_SNAPSHOT,
                          .continuity = BW_CONTINUITY_NONE, .time_format = BW_TIME_ISO8601,
                          .checksum = {.levels = 10, .order = BW_CHECKSUM_ASKS_THEN_BIDS, .text = BW_CHECKSUM_DIGITS},
                          .depth = 10, .client_cuts = 1};
}

static inline bw_plan_spec venue_spec(enum venue venue) {
    switch (venue) {
    case VENUE_BINANCE: return binance_spec();
    case VENUE_COINBASE: return coinbase_spec();
    case VENUE_OKX: return okx_spec();
    case VENUE_BYBIT: return bybit_spec();
    default: return kraken_spec();
    }
}

/* The plan, or the end of the program with the reason. */
static inline bw_plan *plan_of(const bw_plan_spec *spec) {
    char error[256];
    bw_plan *plan = bw_plan_new(spec, error, sizeof error);
    if (!plan) {
        fprintf(stderr, "%s\n", error);
        exit(1);
    }
    return plan;
}

#endif
