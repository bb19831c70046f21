/* Levels into books, books into records: the last part of a message's way through the engine. */
#include "engine_state.h"

#include "clock.h"

#include <string.h>

#define CADENCE_DECAY_SHIFT 6 /* the longest pause is forgotten by 1/64 an update */

void bw_note_liveness(bw_tracked *tracked, int64_t receive_ns) {
    bw_book *book = tracked->book;
    int64_t pause = receive_ns - book->last_data_ns;
    int64_t decayed = book->cadence_ns - (book->cadence_ns >> CADENCE_DECAY_SHIFT);
    if (book->last_data_ns) book->cadence_ns = pause > decayed ? pause : decayed;
    book->last_data_ns = receive_ns;
}

/* A wire level begins as a level does; what follows is ignored. */
static inline const bw_level *as_levels(const bw_wire_level *level) {
    _Static_assert(sizeof(bw_wire_level) == sizeof(bw_level) &&
                       offsetof(bw_wire_level, quantity) == offsetof(bw_level, quantity) &&
                       offsetof(bw_wire_level, orders) == offsetof(bw_level, orders), "the same layout");
    return (const bw_level *)(const void *)level;
}

static inline bw_level *put_change(bw_level *out, int64_t price, int64_t quantity, uint32_t orders) {
    *out = (bw_level){.price = price, .quantity = quantity, .orders = orders};
    return out + 1;
}

/* Sets one side's levels and cuts it; returns behind the last change written. At most two changes a
 * level: it may push another out. */
static bw_level *apply_side(bw_engine *engine, bw_book *book, const bw_update *update, uint32_t side,
                            bw_level *out) {
    if (update->count[side] == 0) return out;
    out += bw_book_set_many(engine->store, book, side, as_levels(update->level[side]), update->count[side],
                            out);
    uint32_t depth = engine->plan->depth;
    if (depth && book->side[side].level_count > depth) {
        uint32_t left = bw_book_cut(engine->store, book, side, depth, engine->left, BW_RECORD_CHANGES_MAX);
        if (!engine->plan->client_cuts) book->evicted += left; /* a guard: the venue should have cut */
        for (uint32_t i = 0; i < left; i++) out = put_change(out, engine->left[i], 0, 0);
    }
    return out;
}

/* The same where no record follows: snapshots and updates joined to them. */
static void fill_side(bw_engine *engine, bw_book *book, const bw_update *update, uint32_t side) {
    const bw_wire_level *level = update->level[side], *end = level + update->count[side];
    for (; level < end; level++) {
        int64_t evicted;
        bw_book_set(engine->store, book, side, level->price, level->quantity, level->orders, &evicted);
    }
    if (engine->plan->depth && book->side[side].level_count > engine->plan->depth) {
        uint32_t left = bw_book_cut(engine->store, book, side, engine->plan->depth, engine->left, 0);
        if (!engine->plan->client_cuts) book->evicted += left;
    }
}

static bool best_price(const bw_engine *engine, const bw_book *book, uint32_t side, int64_t *price) {
    const bw_side *of = &book->side[side];
    if (of->directory_count == 0) return false;
    const bw_directory_entry *entry =
        (const bw_directory_entry *)(const void *)(engine->store->base + of->directory_offset) +
        of->directory_count - 1;
    int64_t key = engine->store->chunk[entry->chunk].key[entry->count - 1];
    *price = side ? -key : key;
    return true;
}

/* The book is not crossed any more, or not LIVE: how long it was both. */
static void note_uncrossed(bw_engine *engine, bw_tracked *tracked, int64_t now_ns) {
    int64_t ns = now_ns - tracked->crossed_since_ns;
    if (ns > 0) bw_count(&engine->timing->crossed_ns, (uint64_t)ns);
    tracked->crossed_since_ns = 0;
}

/* BW_REASON_CROSSED when the book has been crossed too often in a row. */
static uint32_t check_crossed(bw_engine *engine, bw_tracked *tracked, int64_t now_ns) {
    int64_t bid, ask;
    if (!best_price(engine, tracked->book, 0, &bid) || !best_price(engine, tracked->book, 1, &ask) ||
        bid < ask) {
        if (tracked->crossed_since_ns) note_uncrossed(engine, tracked, now_ns);
        tracked->crossed_run = 0;
        return BW_REASON_NONE;
    }
    tracked->book->crossed++;
    if (!tracked->crossed_since_ns && engine->timing) tracked->crossed_since_ns = now_ns;
    return ++tracked->crossed_run >= engine->crossed_max ? BW_REASON_CROSSED : BW_REASON_NONE;
}

static void set_verifier(bw_engine *engine, bw_tracked *tracked, uint32_t state, int64_t now_ns) {
    if (tracked->book->verifier_state == state) return;
    tracked->book->verifier_state = (uint8_t)state;
    bw_tell(engine, BW_EVENT_VERIFIER, tracked, 0, state, 0, now_ns);
}

uint32_t bw_check_sum(bw_engine *engine, bw_tracked *tracked, const bw_update *update, bool fresh) {
    bw_book *book = tracked->book;
    const bw_checksum_spec *spec = &engine->plan->checksum;
    if (fresh) tracked->verified_run = 0;
    if (spec->text == BW_CHECKSUM_RECEIVED && tracked->checksum) {
        bw_checksum_note(tracked->checksum, update->fewest_decimals, fresh);
    }
    if (!tracked->checksum || (book->verifier_state == BW_VERIFIER_SUSPENDED && !fresh))
        return BW_REASON_NONE;
    bool empty = book->side[0].level_count + book->side[1].level_count == 0;
    if (!update->has_checksum || (update->checksum == 0 && !empty)) {
        set_verifier(engine, tracked, BW_VERIFIER_NOT_SENT, update->receive_ns);
        return BW_REASON_NONE;
    }
    uint32_t sent, computed = bw_checksum_compute(tracked->checksum, spec, engine->store, book);
    bool is_one = bw_checksum_from_wire(update->checksum, &sent);
    if (sent != computed && bw_checksum_other_way(tracked->checksum, spec)) {
        uint32_t other = bw_checksum_compute(tracked->checksum, spec, engine->store, book);
        if (sent == other) computed = other;
        else bw_checksum_other_way(tracked->checksum, spec);
    }
    if (is_one && sent == computed) {
        book->checksums_ok++;
        book->verified_by |= BW_VERIFIED_CHECKSUM;
        if (++tracked->verified_run > BW_VERIFIER_FRESH) tracked->wrong_run = 0;
        set_verifier(engine, tracked, BW_VERIFIER_OK, update->receive_ns);
        return BW_REASON_NONE;
    }
    book->checksums_bad++;
    if (book->verifier_state == BW_VERIFIER_SUSPENDED) return BW_REASON_NONE;
    bw_tell(engine, BW_EVENT_CHECKSUM, tracked, BW_REASON_CHECKSUM, update->checksum,
            spec->is_signed ? (int64_t)(int32_t)computed : (int64_t)computed, update->receive_ns);
    tracked->wrong_run = tracked->verified_run <= BW_VERIFIER_FRESH ? tracked->wrong_run + 1 : 1;
    if (tracked->wrong_run <= BW_VERIFIER_WRONG_MAX) return BW_REASON_CHECKSUM;
    set_verifier(engine, tracked, BW_VERIFIER_SUSPENDED, update->receive_ns);
    return BW_REASON_NONE;
}

static inline void note_stage(bw_engine *engine, enum bw_stage stage, int64_t from_ns, int64_t to_ns) {
    uint64_t ns = to_ns > from_ns ? (uint64_t)(to_ns - from_ns) : 0;
    bw_count(&engine->stats->stage_ns[stage][bw_histogram_bucket(ns)], 1);
}

static inline void note_budget(bw_engine *engine, enum bw_budget part, int64_t from_ns, int64_t to_ns) {
    uint64_t ns = to_ns > from_ns ? (uint64_t)(to_ns - from_ns) : 0;
    bw_count(&engine->timing->budget_ns[part][bw_histogram_bucket(ns)], 1);
}

/* The record of the message that is measured is visible: each border from the one before it. */
static void note_measured(bw_engine *engine, int64_t decoded_ns, int64_t applied_ns, int64_t visible_ns) {
    bw_measured *measured = &engine->measured;
    int64_t read_ns = measured->read_ns;
    measured->on = false;
    measured->until = BW_BUDGET_EVERY;
    if (read_ns) note_budget(engine, BW_BUDGET_TCP, measured->receive_ns, read_ns);
    else read_ns = measured->receive_ns;
    note_budget(engine, BW_BUDGET_TLS, read_ns, measured->plaintext_ns);
    note_budget(engine, BW_BUDGET_WEBSOCKET, measured->plaintext_ns, measured->message_ns);
    note_budget(engine, BW_BUDGET_DECODE, measured->message_ns, decoded_ns);
    note_budget(engine, BW_BUDGET_BOOK, decoded_ns, applied_ns);
    note_budget(engine, BW_BUDGET_RING, applied_ns, visible_ns);
}

/* How long a book that had been LIVE was not. */
static void note_gap(bw_engine *engine, bw_tracked *tracked, uint32_t old_state, uint32_t state,
                     int64_t now_ns) {
    if (state != BW_BOOK_LIVE && tracked->crossed_since_ns) note_uncrossed(engine, tracked, now_ns);
    if (old_state == BW_BOOK_LIVE && state != BW_BOOK_LIVE) {
        tracked->left_live_ns = now_ns;
    } else if (state == BW_BOOK_LIVE && tracked->left_live_ns) {
        int64_t ns = now_ns > tracked->left_live_ns ? now_ns - tracked->left_live_ns : 0;
        bw_count(&engine->timing->gap_us[bw_histogram_bucket((uint64_t)ns / 1000)], 1);
        tracked->left_live_ns = 0;
    }
}

/* Fills what all records have from the book as it now is. */
static void fill_record(bw_record *record, const bw_tracked *tracked, enum bw_record_type type) {
    const bw_book *book = tracked->book;
    record->type = (uint8_t)type;
    record->verified_by = book->verified_by;
    record->price_exponent = book->price_exponent;
    record->quantity_exponent = book->quantity_exponent;
    record->book = tracked->index;
    record->epoch = book->epoch;
    record->sequence = book->sequence;
    record->venue_sequence = book->venue_sequence;
    record->exchange_ns = book->exchange_ns;
    record->receive_ns = book->receive_ns;
    record->decoded_ns = book->decoded_ns;
    record->state = book->state;
    record->reason = book->reason;
}

/* Ends the write that changed levels: verdicts, state, stamps, then record and events. `record` NULL: the
 * book was replaced or rescaled, a RESET is published. Returns the reason for a repair, if any. */
static void finish(bw_engine *engine, bw_tracked *tracked, const bw_update *update, bw_record *record,
                   uint32_t changes[2], uint32_t state, uint32_t reason) {
    bw_book *book = tracked->book;
    uint32_t old_state = book->state, old_reason = book->reason;
    bool differs = old_state != state || old_reason != reason, measured = engine->measured.on;
    int64_t applied_ns = measured ? bw_wall_ns() : 0;
    book->sequence++;
    book->venue_sequence = (uint64_t)update->ids.last;
    book->updates++;
    book->exchange_ns = update->exchange_ns;
    book->receive_ns = update->receive_ns;
    book->decoded_ns = update->decoded_ns;
    book->state = state;
    book->reason = reason;
    if (differs) book->state_since_ns = update->receive_ns;
    bw_note_liveness(tracked, update->receive_ns);
    int64_t now_ns = bw_wall_ns();
    book->published_ns = now_ns;
    bw_book_end(engine->store, book);
    enum bw_record_type type = record ? BW_RECORD_DELTA : BW_RECORD_RESET;
    if (!record) record = bw_record_reserve(engine->shm, 0);
    fill_record(record, tracked, type);
    bw_record_commit(engine->shm, record, changes[0], changes[1], now_ns);
    if (measured) note_measured(engine, update->decoded_ns, applied_ns, bw_wall_ns());
    note_stage(engine, BW_STAGE_DECODED_TO_PUBLISHED, update->decoded_ns, now_ns);
    note_stage(engine, BW_STAGE_RECEIVE_TO_PUBLISHED, update->receive_ns, now_ns);
    engine->published++;
    if (!differs) return;
    note_gap(engine, tracked, old_state, state, update->receive_ns);
    bw_tell(engine, BW_EVENT_BOOK_STATE, tracked, reason, state, old_state, update->receive_ns);
}

static uint8_t verified_by_rule(const bw_engine *engine) {
    return engine->plan->continuity == BW_CONTINUITY_NONE ? BW_VERIFIED_NONE : BW_VERIFIED_SEQUENCE;
}

const char *bw_apply_update(bw_engine *engine, bw_tracked *tracked, bw_update *update) {
    bw_book *book = tracked->book;
    uint32_t price_up, quantity_up;
    const char *bad = bw_fit_levels(engine, tracked, update, false, &price_up, &quantity_up);
    if (bad) return bad;
    uint32_t most = 2 * (update->count[0] + update->count[1]);
    bool reset = (price_up | quantity_up) != 0 || most > BW_RECORD_CHANGES_MAX;
    bw_book_begin(book);
    if ((price_up | quantity_up) && !bw_book_rescale(engine->store, book, price_up, quantity_up)) {
        bw_book_end(engine->store, book);
        return "the book does not fit 64 bits at the exponent the venue uses";
    }
    uint32_t changes[2] = {0, 0};
    bw_record *record = NULL;
    if (reset) {
        fill_side(engine, book, update, 0);
        fill_side(engine, book, update, 1);
    } else {
        record = bw_record_reserve(engine->shm, most);
        bw_level *first = (bw_level *)(void *)(record + 1);
        bw_level *bids_end = apply_side(engine, book, update, 0, first);
        changes[0] = (uint32_t)(bids_end - first);
        changes[1] = (uint32_t)(apply_side(engine, book, update, 1, bids_end) - bids_end);
    }
    book->verified_by = verified_by_rule(engine);
    uint32_t reason = BW_REASON_NONE;
    if (!engine->plan->checksum_apart) reason = bw_check_sum(engine, tracked, update, false);
    uint32_t crossed = check_crossed(engine, tracked, update->receive_ns);
    if (!reason) reason = crossed;
    finish(engine, tracked, update, record, changes, reason ? BW_BOOK_RESYNC : BW_BOOK_LIVE, reason);
    if (reason) bw_repair_plan(engine, tracked, reason, update->receive_ns);
    return NULL;
}

/* A snapshot side that is as long as the venue ever sends was cut there: beyond it nothing is known. */
static void bound_verified(const bw_engine *engine, bw_book *book, const bw_update *update, uint32_t side) {
    uint32_t cut = engine->plan->snapshot_levels;
    if (!cut || update->count[side] < cut) return;
    int64_t worst = update->level[side][0].price;
    for (uint32_t i = 1; i < update->count[side]; i++) {
        int64_t price = update->level[side][i].price;
        if (side ? price > worst : price < worst) worst = price;
    }
    book->side[side].verified_price = worst;
}

/* Empties the book and fills it; inside a write. NULL or why the levels do not fit. */
static const char *replace(bw_engine *engine, bw_tracked *tracked, bw_update *update) {
    bw_book *book = tracked->book;
    uint32_t price_up, quantity_up;
    const char *bad = bw_fit_levels(engine, tracked, update, true, &price_up, &quantity_up);
    if (bad) return bad;
    bw_book_begin(book);
    bw_book_clear(engine->store, book);
    if (book->quantity_exponent > tracked->quantity_ceiling)
        book->quantity_exponent = (uint8_t)tracked->quantity_ceiling;
    bw_book_rescale(engine->store, book, price_up, quantity_up); /* an empty book always fits */
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        bound_verified(engine, book, update, side);
        fill_side(engine, book, update, side);
    }
    book->epoch++;
    book->verified_by = verified_by_rule(engine);
    tracked->crossed_run = 0;
    return NULL;
}

const char *bw_apply_snapshot(bw_engine *engine, bw_tracked *tracked, bw_update *update) {
    const char *bad = replace(engine, tracked, update);
    if (bad) return bad;
    bw_repair_done(tracked);
    bw_sync_snapshot(&tracked->sync, update->ids.last, engine->plan->straddle);
    uint32_t reason = BW_REASON_NONE;
    if (engine->plan->checksum_apart) tracked->verified_run = 0;
    else reason = bw_check_sum(engine, tracked, update, true);
    uint32_t crossed = check_crossed(engine, tracked, update->receive_ns);
    if (!reason) reason = crossed;
    uint32_t none[2] = {0, 0};
    finish(engine, tracked, update, NULL, none, reason ? BW_BOOK_RESYNC : BW_BOOK_LIVE, reason);
    if (reason) bw_repair_plan(engine, tracked, reason, update->receive_ns);
    return NULL;
}

/* The updates held back, oldest first. *verdict GAP: they leave off somewhere. */
static const char *join_held(bw_engine *engine, bw_tracked *tracked, bw_update *last,
                             enum bw_sync_verdict *verdict) {
    const bw_plan *plan = engine->plan;
    bw_pending_update held;
    *verdict = BW_SYNC_APPLY;
    while (bw_pending_peek(engine->pending, &tracked->held, &held)) {
        *verdict = bw_sync_update(&tracked->sync, plan->sync_rule, plan->continuity, &held.ids);
        if (*verdict == BW_SYNC_GAP) return NULL;
        if (*verdict == BW_SYNC_APPLY) {
            bw_update update = {.level = {engine->joined[0], engine->joined[1]},
                                .count = {held.level_count[0], held.level_count[1]},
                                .price_decimals = held.price_decimals,
                                .quantity_decimals = held.quantity_decimals,
                                .ids = held.ids, .exchange_ns = held.exchange_ns,
                                .receive_ns = held.receive_ns,
                                .decoded_ns = last->decoded_ns};
            uint32_t price_up, quantity_up;
            bw_pending_levels(engine->pending, &tracked->held, update.level[0], update.level[1]);
            const char *bad = bw_fit_levels(engine, tracked, &update, false, &price_up, &quantity_up);
            if (bad) return bad;
            if (!bw_book_rescale(engine->store, tracked->book, price_up, quantity_up)) {
                return "the book does not fit 64 bits at the exponent the venue uses";
            }
            for (uint32_t side = 0; side < BW_SIDES; side++) fill_side(engine, tracked->book, &update, side);
            *last = update;
        }
        bw_pending_pop(engine->pending, &tracked->held);
    }
    return NULL;
}

const char *bw_apply_joined_snapshot(bw_engine *engine, bw_tracked *tracked, bw_update *update,
                                   enum bw_sync_verdict *verdict) {
    const char *bad = replace(engine, tracked, update);
    if (bad) return bad;
    bw_update last = *update;
    bool unopened = update->ids.last == -1; /* listed, not opened: right once the first update came */
    bw_sync_joined_snapshot(&tracked->sync, update->ids.last);
    bad = join_held(engine, tracked, &last, verdict);
    bool joined = tracked->sync.phase == BW_SYNC_FOLLOWING || !unopened;
    uint32_t reason = check_crossed(engine, tracked, update->receive_ns), state = BW_BOOK_LIVE;
    if (bad) reason = BW_REASON_DECODE;
    else if (*verdict == BW_SYNC_GAP) reason = BW_REASON_GAP;
    if (reason) state = BW_BOOK_RESYNC;
    else if (!joined) state = tracked->book->state == BW_BOOK_RESYNC ? BW_BOOK_RESYNC : BW_BOOK_SYNCING;
    if (!reason && !joined) reason = tracked->book->reason;
    uint32_t none[2] = {0, 0};
    finish(engine, tracked, &last, NULL, none, state, reason);
    return bad;
}

void bw_publish_state(bw_engine *engine, bw_tracked *tracked, uint32_t state, uint32_t reason,
                      int64_t now_ns) {
    bw_book *book = tracked->book;
    uint32_t old = book->state;
    if (old == state && book->reason == reason) return;
    bw_book_begin(book);
    book->state = state;
    book->reason = reason;
    book->state_since_ns = now_ns;
    book->sequence++;
    bw_book_end(engine->store, book);
    bw_record *record = bw_record_reserve(engine->shm, 0);
    fill_record(record, tracked, BW_RECORD_STATE);
    bw_record_commit(engine->shm, record, 0, 0, now_ns);
    note_gap(engine, tracked, old, state, now_ns);
    bw_tell(engine, BW_EVENT_BOOK_STATE, tracked, reason, state, old, now_ns);
}
