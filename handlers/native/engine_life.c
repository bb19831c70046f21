/* The engine's making and its books; nothing else in the room allocates for it. */
#include "engine_state.h"

#include "number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What only some venues' rules need. */
static bool allocate_for_rules(bw_engine *engine, const bw_engine_spec *spec) {
    size_t levels_bytes = ((size_t)spec->levels_max + 1) * sizeof(bw_wire_level);
    bool ok = true;
    if (spec->plan->binds) ok = (engine->bindings = bw_bindings_new(engine->book_capacity)) != NULL;
    if (spec->plan->audit) ok &= (engine->audited = malloc(levels_bytes)) != NULL;
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        engine->joined[side] = bw_decoder_levels(engine->decoder, side);
        if (spec->plan->sync_rule != BW_SYNC_REQUESTED_SNAPSHOT) continue;
        engine->joined[side] = malloc(levels_bytes); /* other items of the frame stand in the decoder's */
        ok &= engine->joined[side] != NULL;
    }
    return ok;
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
    if (!allocate_for_rules(engine, spec)) return false;
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
    engine->timing = bw_shm_writer_timing(spec->shm);
    engine->measured.until = BW_BUDGET_EVERY;
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
    bw_rehearsal_free(engine->rehearsal);
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        if (engine->decoder && engine->joined[side] != bw_decoder_levels(engine->decoder, side)) {
            free(engine->joined[side]);
        }
    }
    bw_bindings_free(engine->bindings);
    free(engine->audited);
    bw_decoder_free(engine->decoder);
    bw_pending_free(engine->pending);
    free(engine->checksum_area);
    free(engine->table);
    free(engine->book);
    free(engine->line);
    free(engine);
}

int bw_engine_add_book(bw_engine *engine, uint32_t book, const char *symbol) {
    size_t bytes = strlen(symbol);
    if (book >= engine->book_capacity || engine->book[book].book) return -1;
    if (bytes == 0 || bytes > BW_SYMBOL_BYTES_MAX) return -1;
    if (bw_find_symbol(engine, symbol, (uint32_t)bytes)) return -1;
    bw_tracked *tracked = &engine->book[book];
    tracked->book = bw_shm_writer_book(engine->shm, book);
    if (tracked->book->price_exponent > BW_DECIMALS_MAX ||
        tracked->book->quantity_exponent > BW_DECIMALS_MAX) {
        tracked->book = NULL;
        return -1;
    }
    tracked->index = book;
    tracked->quantity_ceiling = BW_DECIMALS_MAX;
    tracked->connection = tracked->heir = BW_NO_CONNECTION;
    tracked->book->connection = BW_NO_CONNECTION;
    bw_pending_queue_init(&tracked->held);
    if (tracked->checksum) tracked->book->verifier_state = BW_VERIFIER_NOT_SENT;
    bw_name_book(engine, tracked, symbol, (uint32_t)bytes);
    return 0;
}

void bw_engine_set_scale(bw_engine *engine, uint32_t book, uint32_t price_decimals,
                         uint32_t quantity_decimals) {
    if (book >= engine->book_capacity) return;
    if (price_decimals > BW_DECIMALS_MAX || quantity_decimals > BW_DECIMALS_MAX) return;
    engine->book[book].scale[0] = price_decimals;
    engine->book[book].scale[1] = quantity_decimals;
}
