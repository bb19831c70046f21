/* A frame's way: decoded, recognised, its book found, its place in the sequence judged. */
#include "engine_state.h"

#include "clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALIBRATE_FRAMES 1024u

static uint64_t hash_symbol(const uint64_t *word, uint32_t words) {
    uint64_t hash = 0x9e3779b97f4a7c15ull;
    for (uint32_t i = 0; i < words; i++) {
        hash = (hash ^ word[i]) * 0xff51afd7ed558ccdull;
        hash ^= hash >> 32;
    }
    return hash;
}

/* Bytes to zero-padded words; returns how many. `text` has 8 readable bytes from each word's first on. */
static inline uint32_t symbol_words(const char *text, uint32_t bytes,
                                    uint64_t word[BW_SYMBOL_BYTES_MAX / 8]) {
    uint32_t words = (bytes + 7) / 8;
    for (uint32_t i = 0; i < words; i++) memcpy(word + i, text + 8 * i, sizeof *word);
    if (bytes & 7) word[words - 1] &= (UINT64_C(1) << 8 * (bytes & 7)) - 1;
    return words;
}

static bw_tracked *find_symbol(const bw_engine *engine, const char *text, uint32_t bytes) {
    uint64_t word[BW_SYMBOL_BYTES_MAX / 8];
    if (bytes == 0 || bytes > BW_SYMBOL_BYTES_MAX) return NULL;
    uint32_t words = symbol_words(text, bytes, word);
    for (uint64_t at = hash_symbol(word, words);; at++) {
        uint32_t entry = engine->table[at & engine->table_mask];
        if (entry == 0) return NULL;
        bw_tracked *tracked = &engine->book[entry - 1];
        if (tracked->symbol_bytes != bytes) continue;
        uint64_t differs = 0;
        for (uint32_t i = 0; i < words; i++) differs |= tracked->symbol[i] ^ word[i];
        if (!differs) return tracked;
    }
}

static bool allocate(bw_engine *engine, const bw_engine_spec *spec) {
    uint32_t slots = 16;
    while (slots < 4 * engine->book_capacity) slots *= 2;
    size_t cache_bytes = (bw_checksum_cache_bytes(&spec->plan->checksum) + 63) & ~(size_t)63;
    engine->table_mask = slots - 1;
    engine->table = calloc(slots, sizeof *engine->table);
    engine->book = calloc(engine->book_capacity, sizeof *engine->book);
    engine->line = calloc(spec->connections_max, sizeof *engine->line);
    engine->decoder = bw_decoder_new(spec->plan, spec->levels_max);
    engine->pending = bw_pending_new(spec->pending_bytes);
    if (!engine->table || !engine->book || !engine->line || !engine->decoder || !engine->pending)
        return false;
    if (spec->plan->checksum.levels == 0) return true;
    engine->checksum_area = aligned_alloc(64, cache_bytes * engine->book_capacity);
    if (!engine->checksum_area) return false;
    memset(engine->checksum_area, 0, cache_bytes * engine->book_capacity);
    for (uint32_t i = 0; i < engine->book_capacity; i++) {
        engine->book[i].checksum = (bw_checksum_cache *)(void *)(engine->checksum_area + i * cache_bytes);
    }
    return true;
}

bw_engine *bw_engine_new(const bw_engine_spec *spec, char *error, uint32_t error_bytes) {
    const char *wrong = !spec->plan || !spec->shm || !spec->events ? "plan, segment and events are needed"
                        : !spec->levels_max                        ? "levels_max is 0"
                        : !spec->connections_max                   ? "connections_max is 0"
                        : !spec->crossed_max                       ? "crossed_max is 0"
                                                                   : NULL;
    bw_engine *engine = wrong ? NULL : calloc(1, sizeof *engine);
    if (!engine) {
        if (error && error_bytes) snprintf(error, error_bytes, "engine: %s", wrong ? wrong : "no memory");
        return NULL;
    }
    engine->plan = spec->plan;
    engine->shm = spec->shm;
    engine->events = spec->events;
    engine->stats = bw_shm_writer_stats(spec->shm);
    engine->store = bw_shm_writer_store(spec->shm);
    engine->book_capacity = bw_shm_writer_header(spec->shm)->book_capacity;
    engine->connections_max = spec->connections_max;
    engine->crossed_max = spec->crossed_max;
    if (!allocate(engine, spec)) {
        if (error && error_bytes) {
            snprintf(error, error_bytes,
                     "engine: no memory for %u books, %u levels a frame, %llu bytes held back",
                     engine->book_capacity, spec->levels_max, (unsigned long long)spec->pending_bytes);
        }
        bw_engine_free(engine);
        return NULL;
    }
    return engine;
}

void bw_engine_free(bw_engine *engine) {
    if (!engine) return;
    bw_decoder_free(engine->decoder);
    bw_pending_free(engine->pending);
    free(engine->checksum_area);
    free(engine->table);
    free(engine->book);
    free(engine->line);
    free(engine);
}

int bw_engine_add_book(bw_engine *engine, uint32_t book, const char *native_symbol) {
    char padded[BW_SYMBOL_BYTES_MAX] = "";
    size_t bytes = strlen(native_symbol);
    if (bytes && bytes <= sizeof padded) memcpy(padded, native_symbol, bytes);
    if (book >= engine->book_capacity || engine->book[book].book) return -1;
    if (bytes == 0 || bytes > BW_SYMBOL_BYTES_MAX || find_symbol(engine, padded, (uint32_t)bytes))
        return -1;
    bw_tracked *tracked = &engine->book[book];
    tracked->book = bw_shm_writer_book(engine->shm, book);
    if (tracked->book->price_exponent > BW_DECIMALS_MAX ||
        tracked->book->quantity_exponent > BW_DECIMALS_MAX) {
        tracked->book = NULL;
        return -1;
    }
    tracked->index = book;
    tracked->connection = BW_NO_CONNECTION;
    tracked->book->connection = BW_NO_CONNECTION;
    bw_pending_queue_init(&tracked->held);
    if (tracked->checksum) tracked->book->verifier_state = BW_VERIFIER_NOT_SENT;
    tracked->symbol_bytes = (uint32_t)bytes;
    uint64_t at = hash_symbol(tracked->symbol, symbol_words(padded, (uint32_t)bytes, tracked->symbol));
    while (engine->table[at & engine->table_mask]) at++;
    engine->table[at & engine->table_mask] = book + 1;
    return 0;
}

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

/* The book that an item is about, if its symbol was seen and is ours. */
static bw_tracked *book_of(const bw_engine *engine, const bw_item *item) {
    const bw_value *symbol = bw_decoder_slot(engine->decoder, item, BW_SLOT_SYMBOL);
    if (!symbol || symbol->kind == BW_VALUE_NESTED) return NULL;
    const char *text = engine->decoder->text;
    if (!symbol->escaped) return find_symbol(engine, text + symbol->at, symbol->bytes);
    char plain[BW_SYMBOL_BYTES_MAX];
    int bytes = bw_value_unescape(text, symbol, plain, sizeof plain);
    return bytes > 0 ? find_symbol(engine, plain, (uint32_t)bytes) : NULL;
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
    return found && found->kind != BW_VALUE_NESTED &&
           bw_integer_parse(engine->decoder->text + found->at, found->bytes, value);
}

/* The ids that the venue's rule looks at. NULL or what is missing. */
static const char *take_ids(const bw_engine *engine, const bw_item *item, bool snapshot, bw_sync_ids *ids) {
    *ids = (bw_sync_ids){0};
    switch (engine->plan->continuity) {
    case BW_CONTINUITY_NONE: slot_integer(engine, item, BW_SLOT_LAST, &ids->last); return NULL;
    case BW_CONTINUITY_LINK:
        if (!snapshot && !slot_integer(engine, item, BW_SLOT_PREVIOUS, &ids->previous))
            return "no previous update id";
        break;
    case BW_CONTINUITY_RANGE:
        if (!snapshot && !slot_integer(engine, item, BW_SLOT_FIRST, &ids->first)) return "no first update id";
        break;
    default: break;
    }
    return slot_integer(engine, item, BW_SLOT_LAST, &ids->last) ? NULL : "no update id";
}

static const char *take_update(const bw_engine *engine, bw_item *item, const bw_message_plan *message,
                               bw_update *update) {
    const char *bad = item->fault;
    if (!bad) bad = take_ids(engine, item, message->kind == BW_MESSAGE_SNAPSHOT, &update->ids);
    if (!bad && message->slots_level >= 0) bad = bw_decoder_level_from_slots(engine->decoder, item, message);
    if (bad) return bad;
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        update->level[side] = bw_decoder_levels(engine->decoder, side) + item->level_first[side];
        update->count[side] = item->level_count[side];
    }
    update->price_decimals = item->price_decimals;
    update->quantity_decimals = item->quantity_decimals;
    const bw_value *time = bw_decoder_slot(engine->decoder, item, BW_SLOT_TIME);
    const char *text = engine->decoder->text;
    update->exchange_ns = time ? bw_time_parse(engine->plan->time_format, text + time->at, time->bytes) : 0;
    update->has_checksum = engine->plan->checksum.levels &&
                           slot_integer(engine, item, BW_SLOT_CHECKSUM, &update->checksum);
    return NULL;
}

/* An update of a book whose connection brought it, by the verdict of the rule. */
static const char *take_delta(bw_engine *engine, bw_tracked *tracked, bw_update *update) {
    const bw_plan *plan = engine->plan;
    int64_t expected = bw_sync_expected(&tracked->sync, plan->continuity);
    switch (bw_sync_update(&tracked->sync, plan->sync_rule, plan->continuity, &update->ids)) {
    case BW_SYNC_APPLY: return bw_apply_update(engine, tracked, update);
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
                plan->continuity == BW_CONTINUITY_LINK    ? update->ids.previous
                : plan->continuity == BW_CONTINUITY_RANGE ? update->ids.first
                                                          : update->ids.last,
                update->receive_ns);
        bw_repair_begin(engine, tracked, BW_REASON_GAP, update->receive_ns);
        if (plan->sync_rule == BW_SYNC_REST_SNAPSHOT) bw_repair_hold(engine, tracked, update);
        return NULL;
    default:
        tracked->book->dropped++;
        bw_repair_ask(engine, tracked, update->receive_ns);
        return NULL;
    }
}

static void take_data(bw_engine *engine, uint32_t connection, bw_item *item, const bw_message_plan *message,
                      size_t bytes, bw_update *update) {
    bw_tracked *tracked = book_of(engine, item);
    const bw_value *symbol = bw_decoder_slot(engine->decoder, item, BW_SLOT_SYMBOL);
    if (!tracked && symbol) {
        bw_count(&engine->stats->unknown_symbols, 1);
        return;
    }
    const char *bad = symbol ? take_update(engine, item, message, update) : "no symbol";
    uint32_t at = item->fault ? item->fault_at : 0;
    if (!bad) {
        if (tracked->connection != connection || tracked->sync.phase == BW_SYNC_OFF) {
            tracked->book->dropped++;
            return;
        }
        if (message->kind == BW_MESSAGE_SNAPSHOT || engine->plan->sync_rule == BW_SYNC_SNAPSHOTS_ONLY) {
            bad = bw_apply_snapshot(engine, tracked, update);
        } else {
            bad = take_delta(engine, tracked, update);
        }
    }
    if (bad) refuse_item(engine, connection, tracked, bytes, bad, at, update->receive_ns);
}

/* -- frames -------------------------------------------------------------------------------------- */

/* For venues that count a connection's messages: false when this one was seen before. */
static bool counts_on(bw_engine *engine, uint32_t connection, int64_t now_ns) {
    int64_t number;
    if (engine->plan->continuity != BW_CONTINUITY_CONNECTION || connection >= engine->connections_max)
        return true;
    if (!slot_integer(engine, bw_decoder_frame(engine->decoder), BW_SLOT_LAST, &number)) return true;
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
    bw_tracked *tracked = book_of(engine, bw_decoder_item(decoder, bw_decoder_items(decoder) - 1));
    refuse_item(engine, connection, tracked, bytes, why, at, now_ns);
}

void bw_engine_frame(bw_engine *engine, uint32_t connection, const char *text, size_t bytes,
                     int64_t receive_ns,
                     int64_t plaintext_ns) {
    const bw_plan *plan = engine->plan;
    bw_decoder *decoder = engine->decoder;
    bw_count(&engine->stats->messages, 1);
    bw_count(&engine->stats->bytes, bytes);
    if (plan->text_heartbeat_bytes && bytes == plan->text_heartbeat_bytes &&
        memcmp(text, plan->text_heartbeat, bytes) == 0) {
        bw_count(&engine->stats->heartbeats, 1);
        return;
    }
    if (!bw_decode(decoder, text, bytes)) {
        refuse_frame(engine, connection, bytes, receive_ns);
        return;
    }
    if (!counts_on(engine, connection, receive_ns)) return;
    bw_update update = {.receive_ns = receive_ns, .decoded_ns = bw_wall_ns()};
    uint32_t items = bw_decoder_items(decoder);
    for (uint32_t i = 0; i < items; i++) {
        bw_item *item = decoder->item_count ? &decoder->item[i] : &decoder->frame;
        const bw_message_plan *message = bw_decoder_classify(decoder, item, false);
        if (!message) {
            refuse_item(engine, connection, NULL, bytes, "no message of the plan fits", 0, receive_ns);
        } else if (message->kind == BW_MESSAGE_HEARTBEAT || message->kind == BW_MESSAGE_CONTROL) {
            bool control = message->kind == BW_MESSAGE_CONTROL;
            bw_count(control ? &engine->stats->frames_control : &engine->stats->heartbeats, 1);
            if (control) bw_event_control(engine->events, connection, text, bytes, receive_ns);
            break; /* one a frame, whatever its items */
        } else {
            take_data(engine, connection, item, message, bytes, &update);
        }
    }
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
