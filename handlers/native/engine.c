/* A frame's way: decoded, recognised, its book found, its place in the sequence judged. */
#include "engine_state.h"

#include "clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALIBRATE_FRAMES 1024u

/* -- frames that do not fit ---------------------------------------------------------------------- */

static void quarantine(bw_engine *engine, uint32_t connection, bw_tracked *tracked, const char *text,
                       size_t bytes,
                       const char *why, uint32_t at, int64_t now_ns) {
    bw_count(&engine->stats->quarantined, 1);
    if (tracked) tracked->book->quarantined++;
    bw_event *event = bw_claim_event(engine, BW_EVENT_QUARANTINE, tracked, BW_REASON_DECODE, now_ns);
    if (!event) return;
    event->connection = connection;
    event->a = (int64_t)bytes;
    event->b = at;
    int used = snprintf(event->text, sizeof event->text, "%s at byte %u: ", why, at);
    size_t room = sizeof event->text - (size_t)used, head = bytes < room ? bytes : room;
    memcpy(event->text + used, text, head);
    event->text_bytes = (uint32_t)used + (uint32_t)head;
    event->text_cut = (uint32_t)(bytes - head);
    bw_event_publish(engine->events);
}

void bw_engine_quarantine(bw_engine *engine, uint32_t connection, const char *text, size_t bytes,
                          const char *why,
                          int64_t now_ns) {
    quarantine(engine, connection, NULL, text, bytes, why, 0, now_ns);
}

static bw_tracked *book_named(const bw_engine *engine, uint32_t connection, const char *name,
                              uint32_t bytes) {
    return engine->bindings ? bw_find_bound(engine, connection, name, bytes)
                            : bw_find_symbol(engine, name, bytes);
}

bw_tracked *bw_book_of(const bw_engine *engine, uint32_t connection, const bw_item *item, uint32_t slot) {
    const bw_value *symbol = bw_decoder_slot(engine->decoder, item, slot);
    if (!symbol || symbol->kind == BW_VALUE_NESTED) return NULL;
    const char *text = engine->decoder->text;
    if (!symbol->escaped) return book_named(engine, connection, text + symbol->at, symbol->bytes);
    char plain[BW_SYMBOL_BYTES_MAX];
    int bytes = bw_value_unescape(text, symbol, plain, sizeof plain);
    return bytes > 0 ? book_named(engine, connection, plain, (uint32_t)bytes) : NULL;
}

/* A frame or item that is data, or may be, but cannot be read: its book is no longer known to be right. */
static void refuse_item(bw_engine *engine, uint32_t connection, bw_tracked *tracked, size_t bytes,
                        const char *why,
                        uint32_t at, int64_t now_ns) {
    bw_count(&engine->stats->decode_failures, 1);
    quarantine(engine, connection, tracked, engine->decoder->text, bytes, why, at, now_ns);
    if (tracked && tracked->connection == connection && tracked->sync.phase >= BW_SYNC_JOINING) {
        bw_repair_begin(engine, tracked, BW_REASON_DECODE, now_ns);
    } else if (tracked && tracked->held.count) {
        tracked->book->dropped += tracked->held.count;
        bw_pending_clear(engine->pending, &tracked->held);
    }
}

/* -- data ---------------------------------------------------------------------------------------- */

static bool slot_integer(const bw_engine *engine, const bw_item *item, uint32_t slot, int64_t *value) {
    const bw_value *found = bw_decoder_slot(engine->decoder, item, slot);
    return found && bw_value_integer(engine->decoder->text, found, value);
}

/* The ids that the venue's rule looks at. NULL or what is missing. */
static const char *take_ids(const bw_engine *engine, const bw_item *item, const bw_message_plan *message,
                            bw_sync_ids *ids) {
    const uint8_t *role = message->role;
    bool delta = message->kind == BW_MESSAGE_DELTA;
    *ids = (bw_sync_ids){0};
    switch (engine->plan->continuity) {
    case BW_CONTINUITY_NONE: slot_integer(engine, item, role[BW_SLOT_LAST], &ids->last); return NULL;
    case BW_CONTINUITY_LINK:
        if (delta && !slot_integer(engine, item, role[BW_SLOT_PREVIOUS], &ids->previous))
            return "no previous update id";
        break;
    case BW_CONTINUITY_RANGE:
    case BW_CONTINUITY_OVERLAP:
    case BW_CONTINUITY_COVERS:
        if (delta && !slot_integer(engine, item, role[BW_SLOT_FIRST], &ids->first))
            return "no first update id";
        break;
    default: break;
    }
    return slot_integer(engine, item, role[BW_SLOT_LAST], &ids->last) ? NULL : "no update id";
}

int64_t bw_exchange_ns(const bw_engine *engine, const bw_item *item, const bw_message_plan *message) {
    const bw_value *time = bw_decoder_slot(engine->decoder, item, message->role[BW_SLOT_TIME]);
    const char *text = engine->decoder->text;
    uint32_t format = engine->plan->time_format;
    int64_t whole;
    if (!time) return 0;
    if (time->kind != BW_VALUE_VARINT) return bw_time_parse(format, text + time->at, time->bytes);
    return bw_value_integer(text, time, &whole) ? bw_time_of(format, whole, 0) : 0;
}

const char *bw_take_update(const bw_engine *engine, bw_item *item, const bw_message_plan *message,
                           bw_update *update) {
    memcpy(update->fewest_decimals, item->fewest_decimals, sizeof update->fewest_decimals);
    update->has_checksum = engine->plan->checksum.levels &&
                           slot_integer(engine, item, message->role[BW_SLOT_CHECKSUM], &update->checksum);
    if (message->kind == BW_MESSAGE_CHECKSUM) return update->has_checksum ? NULL : "no checksum";
    const char *bad = item->fault;
    if (!bad) bad = take_ids(engine, item, message, &update->ids);
    if (!bad && message->slots_level >= 0) bad = bw_decoder_level_from_slots(engine->decoder, item, message);
    if (bad) return bad;
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        update->level[side] = bw_decoder_levels(engine->decoder, side) + item->level_first[side];
        update->count[side] = item->level_count[side];
    }
    update->price_decimals = item->price_decimals;
    update->quantity_decimals = item->quantity_decimals;
    update->rounded = item->rounded;
    update->exchange_ns = bw_exchange_ns(engine, item, message);
    return NULL;
}

/* An update of a book whose connection brought it, by the verdict of the rule. */
static const char *take_delta(bw_engine *engine, bw_tracked *tracked, bw_update *update) {
    const bw_plan *plan = engine->plan;
    int64_t expected = bw_sync_expected(&tracked->sync, plan->continuity);
    switch (bw_sync_update(&tracked->sync, plan->sync_rule, plan->continuity, &update->ids)) {
    case BW_SYNC_APPLY:
        tracked->book->jumps = tracked->sync.jumps;
        return bw_apply_update(engine, tracked, update);
    case BW_SYNC_OLD: tracked->book->duplicates++; return NULL;
    case BW_SYNC_KEEP_ALIVE:
        bw_note_liveness(tracked, update->receive_ns);
        if (tracked->book->state != BW_BOOK_LIVE) {
            bw_publish_state(engine, tracked, BW_BOOK_LIVE, BW_REASON_NONE, update->receive_ns);
        }
        return NULL;
    case BW_SYNC_HOLD: bw_repair_hold(engine, tracked, update); return NULL;
    case BW_SYNC_GAP:
        tracked->book->gaps++;
        bw_tell(engine, BW_EVENT_GAP, tracked, BW_REASON_GAP, expected,
                bw_sync_got(plan->continuity, &update->ids), update->receive_ns);
        bw_repair_begin(engine, tracked, BW_REASON_GAP, update->receive_ns);
        if (bw_sync_holds(plan->sync_rule)) bw_repair_hold(engine, tracked, update);
        return NULL;
    default:
        tracked->book->dropped++;
        bw_repair_ask(engine, tracked, update->receive_ns);
        return NULL;
    }
}

/* A snapshot of the feed, by the venue's rule. */
static const char *take_snapshot(bw_engine *engine, bw_tracked *tracked, bw_update *update) {
    const bw_plan *plan = engine->plan;
    if (plan->sync_rule == BW_SYNC_REQUESTED_SNAPSHOT) return bw_repair_snapshot(engine, tracked, update);
    if (plan->sync_rule == BW_SYNC_SNAPSHOTS_ONLY &&
        bw_sync_replaces(&tracked->sync, plan->continuity, &update->ids) == BW_SYNC_OLD) {
        tracked->book->duplicates++;
        return NULL;
    }
    if (plan->audit && tracked->sync.phase == BW_SYNC_FOLLOWING && bw_audit(engine, tracked, update)) {
        bw_sync_snapshot(&tracked->sync, update->ids.last, false);
        update->count[0] = update->count[1] = 0; /* the book stays as it is */
        return bw_apply_update(engine, tracked, update);
    }
    return bw_apply_snapshot(engine, tracked, update);
}

static bool is_snapshot(const bw_engine *engine, const bw_message_plan *message) {
    return message->kind == BW_MESSAGE_SNAPSHOT || engine->plan->sync_rule == BW_SYNC_SNAPSHOTS_ONLY;
}

static const char *take_in(bw_engine *engine, bw_tracked *tracked, const bw_message_plan *message,
                           bw_update *update) {
    if (message->kind == BW_MESSAGE_CHECKSUM) {
        bw_apply_checksum(engine, tracked, update);
        return NULL;
    }
    if (tracked->scale[0] | tracked->scale[1]) bw_unscale(update, tracked);
    if (update->rounded) tracked->book->rounded += update->rounded;
    return is_snapshot(engine, message) ? take_snapshot(engine, tracked, update)
                                        : take_delta(engine, tracked, update);
}

/* Data for a symbol that is none of ours, or for an id that is not bound yet. */
static void put_aside(bw_engine *engine, uint32_t connection, const bw_value *symbol, size_t bytes,
                      int64_t receive_ns) {
    const char *text = engine->decoder->text;
    bool kept = engine->bindings && symbol->kind != BW_VALUE_NESTED && engine->decoder->item_count == 0 &&
        bw_keep_early(engine, connection, text + symbol->at, symbol->bytes, text, bytes, receive_ns);
    if (!kept) bw_count(&engine->stats->unknown_symbols, 1);
}

static void take_data(bw_engine *engine, uint32_t connection, bw_item *item, const bw_message_plan *message,
                      size_t bytes, bw_update *update) {
    bw_tracked *tracked = bw_book_of(engine, connection, item, message->role[BW_SLOT_SYMBOL]);
    const bw_value *symbol = bw_decoder_slot(engine->decoder, item, message->role[BW_SLOT_SYMBOL]);
    if (!tracked && symbol) {
        put_aside(engine, connection, symbol, bytes, update->receive_ns);
        return;
    }
    const char *bad = symbol ? bw_take_update(engine, item, message, update) : "no symbol";
    uint32_t at = item->fault ? item->fault_at : 0;
    if (!bad) {
        bool ours = tracked->connection == connection && tracked->sync.phase != BW_SYNC_OFF;
        if (!ours && !(is_snapshot(engine, message) && bw_takes_over(engine, tracked, connection))) {
            tracked->book->dropped++;
            return;
        }
        bad = take_in(engine, tracked, message, update);
    }
    if (bad) refuse_item(engine, connection, tracked, bytes, bad, at, update->receive_ns);
}

/* -- frames -------------------------------------------------------------------------------------- */

/* For venues that count a connection's messages: false when this one was seen before. */
static bool counts_on(bw_engine *engine, uint32_t connection, int64_t now_ns) {
    int64_t number;
    const bw_message_plan *message =
        bw_decoder_classify(engine->decoder, bw_decoder_item(engine->decoder, 0), false);
    uint32_t slot = message ? message->role[BW_SLOT_LAST] : (uint32_t)BW_SLOT_LAST;
    if (connection >= engine->connections_max) return true;
    if (!slot_integer(engine, bw_decoder_frame(engine->decoder), slot, &number)) return true;
    bw_sync_counter *counter = &engine->line[connection].counter;
    int64_t expected = counter->last + 1;
    enum bw_sync_verdict verdict = bw_sync_count(counter, number);
    if (verdict == BW_SYNC_GAP) bw_line_gap(engine, connection, expected, number, now_ns);
    return verdict != BW_SYNC_OLD;
}

/* The frame could not be decoded. What was read of it may still say whose it was. */
static void refuse_frame(bw_engine *engine, uint32_t connection, size_t bytes, int64_t now_ns) {
    bw_decoder *decoder = engine->decoder;
    uint32_t at;
    const char *why = bw_decoder_failure(decoder, &at);
    bw_tracked *tracked = NULL;
    const bw_item *item = bw_decoder_item(decoder, bw_decoder_items(decoder) - 1);
    for (uint32_t slots = engine->plan->symbol_slots; slots && !tracked; slots &= slots - 1) {
        tracked = bw_book_of(engine, connection, item, (uint32_t)__builtin_ctz(slots));
    }
    refuse_item(engine, connection, tracked, bytes, why, at, now_ns);
}

/* An acknowledgement names a book for the rest of this connection. */
static void take_binding(bw_engine *engine, uint32_t connection, const bw_item *item,
                         const bw_message_plan *message) {
    const bw_decoder *decoder = engine->decoder;
    const bw_value *symbol = bw_decoder_slot(decoder, item, message->role[BW_SLOT_SYMBOL]);
    const bw_value *id = bw_decoder_slot(decoder, item, message->binds);
    if (!symbol || !id || symbol->escaped || id->kind == BW_VALUE_NESTED) return;
    const bw_tracked *tracked = bw_find_symbol(engine, decoder->text + symbol->at, symbol->bytes);
    if (tracked) engine->bound |= bw_bind_id(engine, connection, tracked, decoder->text + id->at, id->bytes);
}

static void take_items(bw_engine *engine, uint32_t connection, size_t bytes, bw_update *update) {
    bw_decoder *decoder = engine->decoder;
    uint32_t items = bw_decoder_items(decoder);
    for (uint32_t i = 0; i < items; i++) {
        bw_item *item = decoder->item_count ? &decoder->item[i] : &decoder->frame;
        const bw_message_plan *message = bw_decoder_classify(decoder, item, false);
        if (!message) {
            refuse_item(engine, connection, NULL, bytes, "no message of the plan fits", 0,
                update->receive_ns);
        } else if (message->kind == BW_MESSAGE_HEARTBEAT || message->kind == BW_MESSAGE_CONTROL) {
            bool control = message->kind == BW_MESSAGE_CONTROL;
            bw_count(control ? &engine->stats->frames_control : &engine->stats->heartbeats, 1);
            if (message->binds < BW_SLOT_COUNT) take_binding(engine, connection, item, message);
            if (control) {
                bw_event_control(engine->events, connection, decoder->text, bytes, update->receive_ns);
            }
            break; /* one a frame, whatever its items */
        } else {
            take_data(engine, connection, item, message, bytes, update);
        }
    }
}

/* Frames that came before their id was bound. They were counted when they came. */
static void take_early(bw_engine *engine) {
    uint32_t cursor = 0, connection;
    size_t bytes;
    const char *text;
    bw_update update = {.decoded_ns = bw_wall_ns()};
    engine->bound = false;
    while ((text = bw_next_early(engine, &cursor, &connection, &bytes, &update.receive_ns))) {
        if (bw_decode(engine->decoder, text, bytes)) take_items(engine, connection, bytes, &update);
    }
}

void bw_engine_reading(bw_engine *engine, int64_t read_ns) {
    engine->read_ns = read_ns;
}

/* A message is measured whole or not at all: one that publishes nothing leaves its turn to the next. */
static void measure(bw_engine *engine, int64_t receive_ns, int64_t plaintext_ns) {
    bw_measured *measured = &engine->measured;
    measured->on = true;
    measured->until = 1;
    measured->receive_ns = receive_ns;
    measured->read_ns = engine->read_ns;
    measured->plaintext_ns = plaintext_ns;
    measured->message_ns = bw_wall_ns();
}

void bw_engine_frame(bw_engine *engine, uint32_t connection, const char *text, size_t bytes,
                     int64_t receive_ns,
                     int64_t plaintext_ns) {
    const bw_plan *plan = engine->plan;
    bw_decoder *decoder = engine->decoder;
    bw_count(&engine->stats->messages, 1);
    bw_count(&engine->stats->bytes, bytes);
    engine->measured.on = false;
    if (--engine->measured.until == 0) measure(engine, receive_ns, plaintext_ns);
    if (plan->text_heartbeat_bytes && bytes == plan->text_heartbeat_bytes &&
        memcmp(text, plan->text_heartbeat, bytes) == 0) {
        bw_count(&engine->stats->heartbeats, 1);
        return;
    }
    if (!bw_decode(decoder, text, bytes)) {
        refuse_frame(engine, connection, bytes, receive_ns);
        return;
    }
    if (plan->continuity == BW_CONTINUITY_CONNECTION && !counts_on(engine, connection, receive_ns)) return;
    bw_update update; /* filled by bw_take_update() but for these */
    update.receive_ns = receive_ns;
    update.decoded_ns = bw_wall_ns();
    take_items(engine, connection, bytes, &update);
    engine->measured.on = false;
    if (engine->bound) take_early(engine);
    int64_t decoded_ns = update.decoded_ns;
    uint64_t plaintext = receive_ns && plaintext_ns > receive_ns ? (uint64_t)(plaintext_ns - receive_ns) : 0;
    uint64_t decoded = decoded_ns > plaintext_ns ? (uint64_t)(decoded_ns - plaintext_ns) : 0;
    bw_count(&engine->stats->stage_ns[BW_STAGE_RECEIVE_TO_PLAINTEXT][bw_histogram_bucket(plaintext)], 1);
    bw_count(&engine->stats->stage_ns[BW_STAGE_PLAINTEXT_TO_DECODED][bw_histogram_bucket(decoded)], 1);
}

uint32_t bw_engine_frames(bw_engine *engine, uint32_t connection, const char *joined, const uint32_t *offsets,
                          uint32_t count, int64_t receive_ns, int64_t step_ns, uint32_t *frame_ns) {
    uint64_t before = engine->published;
    for (uint32_t i = 0; i < count; i++, receive_ns += step_ns) {
        if (i % CALIBRATE_FRAMES == 0) bw_clock_calibrate(); /* as the loop does */
        int64_t began = frame_ns ? bw_steady_ns() : 0;
        bw_engine_frame(engine, connection, joined + offsets[i], offsets[i + 1] - offsets[i], receive_ns,
                        receive_ns);
        if (frame_ns) frame_ns[i] = (uint32_t)(bw_steady_ns() - began);
    }
    return (uint32_t)(engine->published - before);
}
