/* Inside of the engine, shared by engine.c, engine_apply.c and engine_repair.c; nobody else's. */
#ifndef BW_ENGINE_STATE_H
#define BW_ENGINE_STATE_H

#include "checksum.h"
#include "decode_state.h"
#include "engine.h"
#include "pending.h"

#define BW_SYMBOL_BYTES_MAX 64u
#define BW_SYMBOL_WORDS (BW_SYMBOL_BYTES_MAX / 8)
#define BW_VERIFIER_WRONG_MAX 3u  /* repairs in a row that a checksum refutes: the recipe is what is wrong */
#define BW_VERIFIER_FRESH 16u     /* so few right ones since the snapshot count as "right after it" */

/* What messages call a book by. */
typedef struct bw_name {
    uint32_t bytes;
    uint64_t word[BW_SYMBOL_WORDS]; /* zero-padded */
} bw_name;

/* One book as the engine sees it. */
typedef struct bw_tracked {
    bw_book *book;
    bw_checksum_cache *checksum; /* NULL: the venue has none */
    bw_sync sync;
    bw_pending_queue held;
    uint32_t index;
    uint32_t connection;
    uint32_t heir;            /* connection that takes over with its first snapshot, or BW_NO_CONNECTION */
    uint32_t repair_reason;   /* enum bw_reason of the repair under way */
    bool repair_due;          /* an event is to ask for a snapshot, at the latest with the next update */
    bool repair_told;         /* it has been asked for */
    uint32_t requests;        /* snapshots asked for so far */
    uint32_t crossed_run;
    uint32_t verified_run;    /* right checksums since the snapshot */
    uint32_t wrong_run;       /* repairs refuted by a checksum, without a time of quiet between */
    int64_t left_live_ns;     /* 0: it is LIVE, or never was */
    int64_t crossed_since_ns; /* 0: it is not crossed */
    uint32_t quantity_ceiling; /* the book's quantities never get more decimals than these */
    bool unpadded;            /* its numbers have no zeros to fill them up: no use looking for that again */
    uint32_t scale[2];        /* decimals of the integers that stand for prices and quantities, 0: plain */
    bw_name symbol;
} bw_tracked;

typedef struct bw_bindings bw_bindings;

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
    uint8_t fewest_decimals[2]; /* see bw_item */
    uint32_t rounded;
    bool has_checksum;
    int64_t checksum;
    int64_t exchange_ns, receive_ns, decoded_ns;
} bw_update;

typedef struct bw_rehearsal bw_rehearsal;

/* The stamps of the message that is measured; see enum bw_budget. */
typedef struct bw_measured {
    bool on;        /* this message, and nothing of it was published yet */
    uint32_t until; /* messages, this one included */
    int64_t receive_ns, read_ns, plaintext_ns, message_ns;
} bw_measured;

struct bw_engine {
    const bw_plan *plan;
    bw_shm_writer *shm;
    bw_event_ring *events;
    bw_stats *stats;
    bw_timing *timing;
    bw_measured measured;
    int64_t read_ns; /* when the bytes that are now read were in order, 0: when they were received */
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
    bw_rehearsal *rehearsal;  /* NULL: none was asked for */
    bw_bindings *bindings;    /* NULL: the venue names books by their symbols alone */
    bool bound;               /* this frame bound an id */
    bw_wire_level *joined[2]; /* scratch for updates that were held back */
    bw_level *audited;        /* scratch: a side of a book that is compared with a snapshot, or NULL */
    int64_t left[BW_RECORD_CHANGES_MAX]; /* prices that a cut removed */
};

/* engine.c: what a decoded item says. */

/* The book that an item is about, if the slot of its symbol was seen and names one of ours. */
bw_tracked *bw_book_of(const bw_engine *engine, uint32_t connection, const bw_item *item, uint32_t slot);
/* NULL or why it is no update; levels stay the decoder's. */
const char *bw_take_update(const bw_engine *engine, bw_item *item, const bw_message_plan *message,
                           bw_update *update);
int64_t bw_exchange_ns(const bw_engine *engine, const bw_item *item, const bw_message_plan *message);

static inline void bw_count(_Atomic uint64_t *counter, uint64_t more) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

/* engine_names.c: books by the names messages have for them. */

bw_tracked *bw_find_symbol(const bw_engine *engine, const char *text, uint32_t bytes);
/* Makes the book known by a symbol that fits and is not taken. */
void bw_name_book(bw_engine *engine, bw_tracked *tracked, const char *symbol, uint32_t bytes);

bw_bindings *bw_bindings_new(uint32_t books);
void bw_bindings_free(bw_bindings *bindings);
bw_tracked *bw_find_bound(const bw_engine *engine, uint32_t connection, const char *text, uint32_t bytes);
/* The id means the book on this connection from now on; false when it is too long. */
bool bw_bind_id(bw_engine *engine, uint32_t connection, const bw_tracked *tracked, const char *text,
                uint32_t bytes);
/* A connection's ids mean nothing any more. */
void bw_forget_ids(bw_engine *engine, uint32_t connection);
/* Keeps a frame whose id is not bound yet; false when it cannot be kept. */
bool bw_keep_early(bw_engine *engine, uint32_t connection, const char *id, uint32_t id_bytes,
                   const char *text, size_t bytes, int64_t receive_ns);
/* A kept frame whose id is bound by now, the oldest first, taken out; NULL: no more. *cursor starts at 0. */
const char *bw_next_early(bw_engine *engine, uint32_t *cursor, uint32_t *connection, size_t *bytes,
                          int64_t *receive_ns);

/* engine_fit.c: numbers into the book's exponents. */

/* Brings the levels to the book's exponents, or to those it must grow to; `replaces`: the book will be empty
 * then and its exponents may be those of the ceiling. NULL or why they do not fit. */
const char *bw_fit_levels(const bw_engine *engine, bw_tracked *tracked, bw_update *update, bool replaces,
                          uint32_t *price_up, uint32_t *quantity_up);
/* Integers to the decimals that the instrument gives them. */
void bw_unscale(bw_update *update, const bw_tracked *tracked);

/* engine_prove.c */

/* Compares a book that follows with a snapshot, counts, and says whether they are equal. */
bool bw_audit(bw_engine *engine, bw_tracked *tracked, const bw_update *update);
/* A checksum that came by itself, for the book as it stands. */
void bw_apply_checksum(bw_engine *engine, bw_tracked *tracked, const bw_update *update);

/* engine_rehearse.c */

void bw_rehearsal_free(bw_rehearsal *stage);

/* engine_apply.c: books and records. */

/* The checksum after an update (or `fresh`: a snapshot). BW_REASON_CHECKSUM if it refutes the book. */
uint32_t bw_check_sum(bw_engine *engine, bw_tracked *tracked, const bw_update *update, bool fresh);

/* Applies an update that follows, or says why it cannot be (the book is then untouched). */
const char *bw_apply_update(bw_engine *engine, bw_tracked *tracked, bw_update *update);
/* Replaces the book by a snapshot of the feed. */
const char *bw_apply_snapshot(bw_engine *engine, bw_tracked *tracked, bw_update *update);
/* A snapshot from elsewhere and what was held back for it, in one step. BW_SYNC_GAP in *verdict: the held
 * updates do not follow each other. */
const char *bw_apply_joined_snapshot(bw_engine *engine, bw_tracked *tracked, bw_update *update,
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
/* A snapshot of a connection that does not carry the book: whether it carries it from now on. */
bool bw_takes_over(bw_engine *engine, bw_tracked *tracked, uint32_t connection);
/* Takes a snapshot from elsewhere, if it is not too old for what was held back. NULL or what is wrong. */
const char *bw_repair_snapshot(bw_engine *engine, bw_tracked *tracked, bw_update *update);
/* Keeps an update until the snapshot is there. */
void bw_repair_hold(bw_engine *engine, bw_tracked *tracked, const bw_update *update);
void bw_line_gap(bw_engine *engine, uint32_t connection, int64_t expected, int64_t got, int64_t now_ns);
/* Event with the four common fields set, or NULL (counted by the ring). Publish with bw_event_publish. */
bw_event *bw_claim_event(bw_engine *engine, uint32_t type, const bw_tracked *tracked, uint32_t code,
                         int64_t now_ns);
void bw_tell(bw_engine *engine, uint32_t type, const bw_tracked *tracked, uint32_t code, int64_t a, int64_t b,
             int64_t now_ns);

#endif
