/* The message plans of nine exchanges as C tables, for tests, fuzzing and the micro-benchmark.
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

#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* tables name what they have */

enum venue {
    VENUE_BINANCE, VENUE_COINBASE, VENUE_OKX, VENUE_BYBIT, VENUE_KRAKEN, VENUE_UPBIT, VENUE_MEXC, VENUE_BITFINEX,
    VENUE_BINGX, VENUE_COUNT
};
static const char *const venue_name[VENUE_COUNT] = {"binance", "coinbase", "okx",      "bybit", "kraken",
                                                    "upbit",   "mexc",     "bitfinex", "bingx"};

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

static inline bw_plan_spec upbit_spec(void) {
    static const bw_key_spec key[] = {
        {0, BW_KEY_SLOT, TAG0, "type"}, {0, BW_KEY_SLOT, BW_SLOT_SYMBOL, "code"},
        {0, BW_KEY_SLOT, BW_SLOT_LAST, "timestamp"}, {0, BW_KEY_LEVELS, 0, "orderbook_units"},
    };
    static const bw_levels_spec levels[] = {
        {.shape = BW_SHAPE_PAIRS, .price_key = "bid_price", .quantity_key = "bid_size", .ask_price_key = "ask_price",
         .ask_quantity_key = "ask_size"},
    };
    static const bw_message_spec message[] = {MESSAGE(BW_MESSAGE_SNAPSHOT, {TAG0, "orderbook"})};
    return (bw_plan_spec){.key_count = COUNT(key), .levels_count = COUNT(levels), .message_count = COUNT(message),
                          .key = key, .levels = levels, .message = message, .sync_rule = BW_SYNC_SNAPSHOTS_ONLY,
                          .continuity = BW_CONTINUITY_RISES, .time_format = BW_TIME_BY_SIZE};
}

static inline bw_plan_spec mexc_spec(void) {
    static const bw_key_spec key[] = {
        {0, BW_KEY_SLOT, TAG0, "channel", .number = 1}, {0, BW_KEY_SLOT, BW_SLOT_SYMBOL, "symbol", .number = 3},
        {0, BW_KEY_SLOT, BW_SLOT_TIME, "sendTime", .number = 6},
        {0, BW_KEY_OBJECT, 1, "publicAggreDepths", .number = 313}, {1, BW_KEY_LEVELS, 1, "asks", .number = 1},
        {1, BW_KEY_LEVELS, 0, "bids", .number = 2}, {1, BW_KEY_SLOT, BW_SLOT_FIRST, "fromVersion", .number = 4},
        {1, BW_KEY_SLOT, BW_SLOT_LAST, "toVersion", .number = 5}, {0, BW_KEY_SLOT, TAG1, "msg"},
        {0, BW_KEY_SLOT, TAG2, "lastUpdateId"}, {0, BW_KEY_LEVELS, 0, "bids"}, {0, BW_KEY_LEVELS, 1, "asks"},
    };
    static const bw_levels_spec levels[] = {
        {.shape = BW_SHAPE_OBJECTS, .side = BW_LEVELS_BIDS, .price_key = "price", .quantity_key = "quantity",
         .number = {1, 2}},
        {.shape = BW_SHAPE_OBJECTS, .side = BW_LEVELS_ASKS, .price_key = "price", .quantity_key = "quantity",
         .number = {1, 2}},
    };
    static const bw_message_spec message[] = {
        MESSAGE(BW_MESSAGE_DELTA, {BW_SLOT_LAST, ""}),
        {.kind = BW_MESSAGE_REST_SNAPSHOT, .slots_level = -1, .role = {[BW_SLOT_LAST] = 1 + TAG2}},
        MESSAGE(BW_MESSAGE_HEARTBEAT, {TAG0, ""}),
        MESSAGE(BW_MESSAGE_CONTROL, {TAG1, ""}),
    };
    return (bw_plan_spec){.key_count = COUNT(key), .levels_count = COUNT(levels), .message_count = COUNT(message),
                          .key = key, .levels = levels, .message = message, .sync_rule = BW_SYNC_REST_SNAPSHOT,
                          .continuity = BW_CONTINUITY_RANGE, .time_format = BW_TIME_MS};
}

static inline bw_plan_spec bitfinex_spec(void) {
    static const bw_key_spec key[] = {
        {0, BW_KEY_SLOT, BW_SLOT_SYMBOL, "[0]", .position = 1}, {0, BW_KEY_LEVELS, 0, "[1]", 1 + TAG0, .position = 2},
        {0, BW_KEY_SLOT, TAG1, "[2]", .position = 3}, {0, BW_KEY_SLOT, BW_SLOT_LAST, "[3]", .position = 4},
        {0, BW_KEY_SLOT, TAG2, "event"}, {0, BW_KEY_SLOT, TAG2 + 1, "symbol"}, {0, BW_KEY_SLOT, TAG2 + 2, "chanId"},
    };
    static const bw_levels_spec levels[] = {
        {.shape = BW_SHAPE_ARRAYS, .side = BW_LEVELS_BY_SIGN, .quantity_at = 2, .orders_at = 1, .side_at = -1,
         .orders_delete = 1, .forms = 1u << BW_FORM_ROWS | 1u << BW_FORM_ROW},
    };
    static const bw_message_spec message[] = {
        {BW_MESSAGE_DELTA, -1, 1, {{TAG0, "", BW_TEST_FORM, BW_FORM_ROW}}, {[BW_SLOT_LAST] = 1 + TAG1}},
        {BW_MESSAGE_SNAPSHOT, -1, 1, {{TAG0, "", BW_TEST_FORM, BW_FORM_ROWS}}, {[BW_SLOT_LAST] = 1 + TAG1}},
        {BW_MESSAGE_CHECKSUM, -1, 1, {{TAG0, "cs"}}, {[BW_SLOT_CHECKSUM] = 1 + TAG1}},
        {BW_MESSAGE_HEARTBEAT, -1, 1, {{TAG0, "hb"}}, {[BW_SLOT_LAST] = 1 + TAG1}},
        {BW_MESSAGE_CONTROL, -1, 1, {{TAG2, "subscribed"}}, {1 + TAG2 + 1}, .binds = 1 + TAG2 + 2},
        MESSAGE(BW_MESSAGE_CONTROL, {TAG2, ""}),
    };
    return (bw_plan_spec){.key_count = COUNT(key), .levels_count = COUNT(levels), .message_count = COUNT(message),
                          .key = key, .levels = levels, .message = message, .sync_rule = BW_SYNC_FEED_SNAPSHOT,
                          .continuity = BW_CONTINUITY_CONNECTION,
                          .checksum = {.levels = 25, .order = BW_CHECKSUM_INTERLEAVED_BID_FIRST, .separator = ":",
                                       .text = BW_CHECKSUM_JAVASCRIPT, .is_signed = 1, .negative_asks = 1}};
}

static inline bw_plan_spec bingx_spec(void) {
    static const bw_key_spec key[] = {
        {0, BW_KEY_SLOT, BW_SLOT_SYMBOL, "dataType"}, {0, BW_KEY_OBJECT, 1, "data"}, {1, BW_KEY_SLOT, TAG0, "action"},
        {1, BW_KEY_SLOT, BW_SLOT_LAST, "lastUpdateId"}, {1, BW_KEY_LEVELS, 0, "bids"}, {1, BW_KEY_LEVELS, 1, "asks"},
        {0, BW_KEY_SLOT, TAG1, "id"},
    };
    static const bw_levels_spec levels[] = {
        {.shape = BW_SHAPE_ARRAYS, .side = BW_LEVELS_BIDS, .quantity_at = 1, .orders_at = -1, .side_at = -1,
         .forms = 1u << BW_FORM_ROWS | 1u << BW_FORM_OBJECT},
        {.shape = BW_SHAPE_ARRAYS, .side = BW_LEVELS_ASKS, .quantity_at = 1, .orders_at = -1, .side_at = -1,
         .forms = 1u << BW_FORM_ROWS | 1u << BW_FORM_OBJECT},
    };
    static const bw_message_spec message[] = {
        MESSAGE(BW_MESSAGE_DELTA, {TAG0, "update"}),
        MESSAGE(BW_MESSAGE_SNAPSHOT, {TAG0, "all"}),
        MESSAGE(BW_MESSAGE_CONTROL, {TAG1, ""}),
    };
    return (bw_plan_spec){.key_count = COUNT(key), .levels_count = COUNT(levels), .message_count = COUNT(message),
                          .key = key, .levels = levels, .message = message, .sync_rule = BW_SYNC_FEED_SNAPSHOT,
                          .continuity = BW_CONTINUITY_JUMPS, .depth = 1000, .client_cuts = 1, .audit = 1};
}

static inline bw_plan_spec venue_spec(enum venue venue) {
    switch (venue) {
    case VENUE_UPBIT: return upbit_spec();
    case VENUE_MEXC: return mexc_spec();
    case VENUE_BITFINEX: return bitfinex_spec();
    case VENUE_BINGX: return bingx_spec();
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
