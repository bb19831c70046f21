/* Inside of the engine, shared by engine.c, engine_apply.c and engine_repair.c; nobody else's. */
#ifndef BW_ENGINE_STATE_H
#define BW_ENGINE_STATE_H

#include "checksum.h"
#include "decode_state.h"
#include "engine.h"
#include "pending.h"

#define BW_SYMBOL_BYTES_MAX 40u
#define BW_VERIFIER_WRONG_MAX 3u  /* repairs in a row that a checksum refutes: the recipe is what is wrong */
#define BW_VERIFIER_FRESH 16u     /* so few right ones since the snapshot count as "right after it" */

/* One book as the engine sees it. */
typedef struct bw_tracked {
    bw_book *book;
    bw_checksum_cache *checksum; /* NULL: the venue has none */
    bw_sync sync;
    bw_pending_queue held;
    uint32_t index;
    uint32_t connection;
    uint32_t repair_reason;   /* enum bw_reason of the repair under way */
    bool repair_due;          /* an event is to ask for a snapshot, at the latest with the next update */
    bool repair_told;         /* it has been asked for */
    uint32_t requests;        /* snapshots asked for so far */
    uint32_t crossed_run;
    uint32_t verified_run;    /* right checksums since the snapshot */
    uint32_t wrong_run;       /* repairs refuted by a checksum, without a time of quiet between */
    uint32_t symbol_bytes;
    uint64_t symbol[BW_SYMBOL_BYTES_MAX / 8]; /* zero-padded */
} bw_tracked;

typedef struct bw_line {
    bool up;
    bw_sync_counter counter;
} bw_line;

/* One update on its way: decoded, or out of the arena. Levels are scaled in place. */
typedef struct bw_update {
    bw_wire_level *level[2];
    uint32_t count[2];
    uint32_t price_decimals, quantity_decimals;
    bw_sync_ids ids;
    bool has_checksum;
    int64_t checksum;
    int64_t exchange_ns, receive_ns, decoded_ns;
} bw_update;

struct bw_engine {
    const bw_plan *plan;
    bw_shm_writer *shm;
    bw_event_ring *events;
    bw_stats *stats;
    bw_book_store *store;
    bw_decoder *decoder;
    bw_pending *pending;
    bw_tracked *book; /* by index; book->book NULL: not added */
    uint32_t book_capacity;
    uint32_t *table; /* symbol hash -> index + 1; 0 = free */
    uint32_t table_mask;
    bw_line *line;
    uint32_t connections_max;
    uint32_t crossed_max;
    uint64_t published; /* updates published so far */
    uint8_t *checksum_area;
    int64_t left[BW_RECORD_CHANGES_MAX]; /* prices that a cut removed */
};

static inline void bw_count(_Atomic uint64_t *counter, uint64_t more) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

/* engine_apply.c: books and records. */

/* Applies an update that follows, or says why it cannot be (the book is then untouched). */
const char *bw_apply_update(bw_engine *engine, bw_tracked *tracked, bw_update *update);
/* Replaces the book by a snapshot of the feed. */
const char *bw_apply_snapshot(bw_engine *engine, bw_tracked *tracked, bw_update *update);
/* A REST snapshot and what was held back for it, in one step. BW_SYNC_GAP in *verdict: the held updates
 * do not follow each other. */
const char *bw_apply_rest_snapshot(bw_engine *engine, bw_tracked *tracked, bw_update *update,
                                   enum bw_sync_verdict *verdict);
/* State and reason, with record and event, if they change. */
void bw_publish_state(bw_engine *engine, bw_tracked *tracked, uint32_t state, uint32_t reason,
                      int64_t now_ns);
void bw_note_liveness(bw_tracked *tracked, int64_t receive_ns);

/* engine_repair.c: what is wrong and what mends it. */

/* Takes the book out of service; its snapshot is asked for now or with the next update held back. */
void bw_repair_begin(bw_engine *engine, bw_tracked *tracked, uint32_t reason, int64_t now_ns);
/* The same without touching the book's state: whoever calls has published it. */
void bw_repair_plan(bw_engine *engine, bw_tracked *tracked, uint32_t reason, int64_t now_ns);
/* Asks for what mends the book if that is due and was not told yet (a full event ring). */
void bw_repair_ask(bw_engine *engine, bw_tracked *tracked, int64_t now_ns);
void bw_repair_done(bw_tracked *tracked);
/* Keeps an update until the REST snapshot is there. */
void bw_repair_hold(bw_engine *engine, bw_tracked *tracked, const bw_update *update);
void bw_line_gap(bw_engine *engine, uint32_t connection, int64_t expected, int64_t got, int64_t now_ns);
/* Event with the four common fields set, or NULL (counted by the ring). Publish with bw_event_publish. */
bw_event *bw_claim_event(bw_engine *engine, uint32_t type, const bw_tracked *tracked, uint32_t code,
                         int64_t now_ns);
void bw_tell(bw_engine *engine, uint32_t type, const bw_tracked *tracked, uint32_t code, int64_t a, int64_t b,
             int64_t now_ns);

#endif
