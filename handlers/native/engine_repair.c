/* What goes wrong and what mends it: events, resyncs, REST snapshots, connections that come and go.
 *
 * Invalidate first, then repair: a book leaves LIVE in the same step that finds it wrong. One repair
 * is under way per book; it is asked for once, and again only when what came did not help.
 */
#include "engine_state.h"

bw_event *bw_claim_event(bw_engine *engine, uint32_t type, const bw_tracked *tracked, uint32_t code,
                         int64_t now_ns) {
    bw_event *event = bw_event_claim(engine->events);
    if (!event) return NULL;
    event->type = type;
    event->code = code;
    event->time_ns = now_ns;
    if (tracked) {
        event->book = tracked->index;
        event->connection = tracked->connection;
    }
    return event;
}

void bw_tell(bw_engine *engine, uint32_t type, const bw_tracked *tracked, uint32_t code, int64_t a, int64_t b,
             int64_t now_ns) {
    bw_event *event = bw_claim_event(engine, type, tracked, code, now_ns);
    if (!event) return;
    event->a = a;
    event->b = b;
    bw_event_publish(engine->events);
}

void bw_repair_ask(bw_engine *engine, bw_tracked *tracked, int64_t now_ns) {
    if (!tracked->repair_due || tracked->repair_told) return;
    bool holds = bw_sync_holds(engine->plan->sync_rule);
    uint32_t type = holds ? BW_EVENT_NEED_SNAPSHOT : BW_EVENT_NEED_RESUBSCRIBE;
    bw_event *event = bw_claim_event(engine, type, tracked, tracked->repair_reason, now_ns);
    if (!event) return; /* a full ring: tried again with the next update */
    event->a = ++tracked->requests;
    tracked->repair_told = true;
    bw_event_publish(engine->events);
}

void bw_repair_done(bw_tracked *tracked) {
    tracked->repair_due = tracked->repair_told = false;
}

void bw_repair_plan(bw_engine *engine, bw_tracked *tracked, uint32_t reason, int64_t now_ns) {
    tracked->book->resyncs++;
    tracked->book->resync_reason = reason;
    tracked->crossed_run = 0;
    tracked->sync.phase = BW_SYNC_WAITING;
    tracked->repair_reason = reason;
    bw_pending_clear(engine->pending, &tracked->held);
    if (engine->plan->sync_rule == BW_SYNC_SNAPSHOTS_ONLY) return; /* the next message mends it */
    tracked->repair_due = true;
    bw_repair_ask(engine, tracked, now_ns);
}

void bw_repair_begin(bw_engine *engine, bw_tracked *tracked, uint32_t reason, int64_t now_ns) {
    bw_publish_state(engine, tracked, BW_BOOK_RESYNC, reason, now_ns);
    bw_repair_plan(engine, tracked, reason, now_ns);
}

/* The update is kept; a hole between it and the one before makes it the first. */
void bw_repair_hold(bw_engine *engine, bw_tracked *tracked, const bw_update *update) {
    bw_pending_queue *held = &tracked->held;
    if (held->count) {
        bw_sync so_far = {.phase = BW_SYNC_FOLLOWING, .last = held->last};
        enum bw_sync_verdict verdict =
            bw_sync_update(&so_far, engine->plan->sync_rule, engine->plan->continuity, &update->ids);
        if (verdict == BW_SYNC_OLD) {
            tracked->book->duplicates++;
            return;
        }
        if (verdict == BW_SYNC_GAP) {
            tracked->book->gaps++;
            tracked->book->dropped += held->count;
            bw_tell(engine, BW_EVENT_GAP, tracked, BW_REASON_GAP,
                    bw_sync_expected(&so_far, engine->plan->continuity),
                    bw_sync_got(engine->plan->continuity, &update->ids), update->receive_ns);
            bw_pending_clear(engine->pending, held);
        }
    }
    bw_pending_update kept = {.ids = update->ids, .exchange_ns = update->exchange_ns,
                              .receive_ns = update->receive_ns,
                              .level_count = {update->count[0], update->count[1]},
                              .price_decimals = (uint8_t)update->price_decimals,
                              .quantity_decimals = (uint8_t)update->quantity_decimals};
    if (!bw_pending_push(engine->pending, held, &kept, update->level[0], update->level[1])) {
        tracked->book->dropped += held->count + 1;
        bw_repair_begin(engine, tracked, BW_REASON_BUFFER_FULL, update->receive_ns);
        return;
    }
    atomic_store_explicit(&engine->stats->pending_bytes_peak, bw_pending_bytes_peak(engine->pending),
                          memory_order_relaxed);
    if (!tracked->repair_due) {
        tracked->repair_due = true;
        tracked->repair_reason = tracked->book->reason;
    }
    bw_repair_ask(engine, tracked, update->receive_ns);
}

void bw_line_gap(bw_engine *engine, uint32_t connection, int64_t expected, int64_t got, int64_t now_ns) {
    bw_event *event = bw_claim_event(engine, BW_EVENT_GAP, NULL, BW_REASON_GAP, now_ns);
    if (event) {
        event->connection = connection;
        event->a = expected;
        event->b = got;
        bw_event_publish(engine->events);
    }
    for (uint32_t i = 0; i < engine->book_capacity; i++) {
        bw_tracked *tracked = &engine->book[i];
        if (!tracked->book || tracked->connection != connection || tracked->repair_told) continue;
        if (tracked->sync.phase == BW_SYNC_OFF) continue;
        tracked->book->gaps++; /* of a book that waits, the snapshot may be what was lost */
        bw_repair_begin(engine, tracked, BW_REASON_GAP, now_ns);
    }
}

/* The book begins on a connection that is up: it waits for the feed's snapshot, or for a first update. */
static void start(bw_engine *engine, bw_tracked *tracked, int64_t now_ns) {
    tracked->sync.phase = BW_SYNC_WAITING;
    tracked->repair_reason = BW_REASON_START;
    bw_repair_done(tracked);
    bw_pending_clear(engine->pending, &tracked->held);
    if (engine->plan->sync_rule == BW_SYNC_SNAPSHOTS_ONLY) bw_sync_snapshot(&tracked->sync, INT64_MIN, false);
    bw_publish_state(engine, tracked, BW_BOOK_SYNCING, BW_REASON_START, now_ns);
}

static bw_tracked *tracked_at(bw_engine *engine, uint32_t book) {
    return book < engine->book_capacity && engine->book[book].book ? &engine->book[book] : NULL;
}

void bw_engine_bind(bw_engine *engine, uint32_t book, uint32_t connection) {
    bw_tracked *tracked = tracked_at(engine, book);
    if (!tracked) return;
    if (connection >= engine->connections_max) {
        tracked->connection = tracked->heir = tracked->book->connection = BW_NO_CONNECTION;
        tracked->sync.phase = BW_SYNC_OFF;
        bw_repair_done(tracked);
        bw_pending_clear(engine->pending, &tracked->held);
        return;
    }
    tracked->connection = connection;
    tracked->heir = BW_NO_CONNECTION;
    tracked->book->connection = connection;
    bool up = engine->line[connection].up;
    if (up && tracked->sync.phase == BW_SYNC_OFF) start(engine, tracked, tracked->book->state_since_ns);
}

void bw_engine_hand_over(bw_engine *engine, uint32_t book, uint32_t connection) {
    bw_tracked *tracked = tracked_at(engine, book);
    if (tracked && connection != tracked->connection) tracked->heir = connection;
}

bool bw_takes_over(bw_engine *engine, bw_tracked *tracked, uint32_t connection) {
    if (connection != tracked->heir || connection == BW_NO_CONNECTION) return false;
    bw_engine_bind(engine, tracked->index, connection);
    tracked->sync.phase = BW_SYNC_WAITING; /* its snapshot begins the book: no audit of what the other sent */
    return true;
}

void bw_engine_connection_up(bw_engine *engine, uint32_t connection, int64_t now_ns) {
    if (connection >= engine->connections_max) return;
    engine->line[connection] = (bw_line){.up = true};
    bw_forget_ids(engine, connection);
    for (uint32_t i = 0; i < engine->book_capacity; i++) {
        bw_tracked *tracked = &engine->book[i];
        if (tracked->book && tracked->connection == connection) start(engine, tracked, now_ns);
    }
}

void bw_engine_connection_down(bw_engine *engine, uint32_t connection, uint32_t reason, int64_t now_ns) {
    if (connection >= engine->connections_max) return;
    engine->line[connection].up = false;
    bw_forget_ids(engine, connection);
    for (uint32_t i = 0; i < engine->book_capacity; i++) {
        bw_tracked *tracked = &engine->book[i];
        if (!tracked->book || tracked->connection != connection) continue;
        tracked->sync.phase = BW_SYNC_OFF;
        bw_repair_done(tracked);
        bw_pending_clear(engine->pending, &tracked->held);
        bw_publish_state(engine, tracked, BW_BOOK_DOWN, reason, now_ns);
    }
}

void bw_engine_resync(bw_engine *engine, uint32_t book, uint32_t reason, int64_t now_ns) {
    bw_tracked *tracked = tracked_at(engine, book);
    if (!tracked || tracked->sync.phase == BW_SYNC_OFF) return;
    bw_repair_done(tracked); /* asked for anew, even if it was before */
    bw_repair_begin(engine, tracked, reason, now_ns);
}

void bw_engine_set_state(bw_engine *engine, uint32_t book, uint32_t state, uint32_t reason, int64_t now_ns) {
    bw_tracked *tracked = tracked_at(engine, book);
    if (tracked) bw_publish_state(engine, tracked, state, reason, now_ns);
}

/* -- snapshots from elsewhere ---------------------------------------------------------------------------- */

enum snapshot_result { SNAPSHOT_TAKEN, SNAPSHOT_TOO_OLD, SNAPSHOT_UNDECODABLE };

static void tell_result(bw_engine *engine, bw_tracked *tracked, enum snapshot_result result, int64_t last,
                        int64_t now_ns) {
    bw_tell(engine, BW_EVENT_SNAPSHOT_RESULT, tracked, 0, result, last, now_ns);
    if (result == SNAPSHOT_TAKEN) return;
    tracked->repair_told = false; /* what came did not help */
    bw_repair_ask(engine, tracked, now_ns);
}

/* The update in a REST body; false if it holds none. */
static bool decode_rest(bw_engine *engine, const char *body, size_t bytes, bw_update *update) {
    bw_decoder *decoder = engine->decoder;
    if (!bw_decode(decoder, body, bytes)) return false;
    const bw_item *item = bw_decoder_item(decoder, 0);
    const bw_message_plan *message = bw_decoder_classify(decoder, item, true);
    if (!message || item->fault) return false;
    const bw_value *last = bw_decoder_slot(decoder, item, message->role[BW_SLOT_LAST]);
    if (!last || !bw_value_integer(body, last, &update->ids.last)) return false;
    update->exchange_ns = bw_exchange_ns(engine, item, message);
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        update->level[side] = bw_decoder_levels(decoder, side) + item->level_first[side];
        update->count[side] = item->level_count[side];
    }
    update->price_decimals = item->price_decimals;
    update->quantity_decimals = item->quantity_decimals;
    return true;
}

static bool too_old(const bw_engine *engine, const bw_tracked *tracked, int64_t last) {
    if (tracked->held.count) return !bw_sync_reaches(engine->plan->continuity, last, &tracked->held.first);
    return tracked->sync.phase == BW_SYNC_FOLLOWING && last < tracked->sync.last;
}

void bw_engine_load_snapshot(bw_engine *engine, uint32_t book, const char *body, size_t bytes,
                             int64_t now_ns) {
    bw_tracked *tracked = tracked_at(engine, book);
    if (!tracked || tracked->sync.phase == BW_SYNC_OFF) return;
    bw_update update = {.receive_ns = now_ns, .decoded_ns = now_ns};
    if (!decode_rest(engine, body, bytes, &update)) {
        tracked->book->quarantined++;
        tell_result(engine, tracked, SNAPSHOT_UNDECODABLE, 0, now_ns);
        return;
    }
    if (tracked->scale[0] | tracked->scale[1]) bw_unscale(&update, tracked);
    bw_repair_snapshot(engine, tracked, &update);
}

const char *bw_repair_snapshot(bw_engine *engine, bw_tracked *tracked, bw_update *update) {
    int64_t last = update->ids.last, now_ns = update->receive_ns;
    if (too_old(engine, tracked, last)) {
        bw_count(&engine->stats->snapshots_too_old, 1);
        tell_result(engine, tracked, SNAPSHOT_TOO_OLD, last, now_ns);
        return NULL;
    }
    enum bw_sync_verdict verdict = BW_SYNC_APPLY;
    uint32_t epoch = tracked->book->epoch;
    const char *bad = bw_apply_joined_snapshot(engine, tracked, update, &verdict);
    if (bad && tracked->book->epoch == epoch) { /* its own numbers do not fit: nothing was replaced */
        tell_result(engine, tracked, SNAPSHOT_UNDECODABLE, last, now_ns);
        return bad;
    }
    bw_count(&engine->stats->snapshots_loaded, 1);
    bw_repair_done(tracked);
    tell_result(engine, tracked, SNAPSHOT_TAKEN, last, now_ns);
    if (tracked->book->state == BW_BOOK_RESYNC && tracked->book->reason != BW_REASON_NONE &&
        (bad || verdict == BW_SYNC_GAP || tracked->book->reason == BW_REASON_CROSSED)) {
        bw_repair_plan(engine, tracked, tracked->book->reason, now_ns);
    }
    return NULL;
}
