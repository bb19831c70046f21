/* Rehearsal: a busy loop with nothing to do runs its last message once more, into a book that nobody sees.
 *
 * A tick that comes after a millisecond of silence finds the code, the branch history and the book's lines
 * gone from the nearest caches, and costs twice what it costs in a burst. So the same code runs on a stage:
 * the decoder itself, a small book and a ring of the rehearsal's own, and the lines of the real book are
 * looked at. Nothing that a reader, Python or the next real update can see is written.
 */
#include "engine_state.h"

#include "reserve.h"
#include "shm_writer_parts.h"

#define STAGE_LEVELS 256u           /* of the book on the stage, a side */
#define STAGE_RING_BYTES (1u << 17) /* a power of two that holds the largest record */
#define REHEARSED_CHANGES_MAX 256u  /* larger updates are not what a quiet market sends */

struct bw_rehearsal {
    bw_engine engine;
    bw_tracked tracked;
    bw_shm_writer writer;
    bw_shm_header header;
    bw_stats stats;
    bw_book_store *store;
    uint8_t ring[STAGE_RING_BYTES];
};
_Static_assert(STAGE_RING_BYTES >= BW_RECORD_BYTES_MAX, "a record fits the ring");

bool bw_engine_prepare_rehearsal(bw_engine *engine) {
    bw_rehearsal *stage = (bw_rehearsal *)(void *)bw_reserve(sizeof *stage);
    if (!stage) return false;
    stage->store = bw_book_store_new(1, STAGE_LEVELS, 0);
    if (!stage->store) {
        bw_unreserve((uint8_t *)stage, sizeof *stage);
        return false;
    }
    stage->writer = (bw_shm_writer){.header = &stage->header, .stats = &stage->stats, .ring = stage->ring,
                                    .ring_mask = STAGE_RING_BYTES - 1};
    stage->engine = (bw_engine){.plan = engine->plan, .shm = &stage->writer, .stats = &stage->stats,
                                .store = stage->store, .crossed_max = UINT32_MAX};
    stage->tracked.book = bw_book_store_at(stage->store, 0);
    stage->tracked.book->state = BW_BOOK_LIVE; /* it never changes, so nothing is told */
    engine->rehearsal = stage;
    return true;
}

void bw_rehearsal_free(bw_rehearsal *stage) {
    if (!stage) return;
    bw_book_store_free(stage->store);
    bw_unreserve((uint8_t *)stage, sizeof *stage);
}

static void look_at(const void *at, size_t bytes) {
    for (const uint8_t *line = at, *end = line + bytes; line < end; line += 64) __builtin_prefetch(line, 1);
}

/* The lines of the real book that the next update is going to need, and where its record will stand. */
static void look_at_book(const bw_engine *engine, const bw_tracked *tracked) {
    const bw_book *book = tracked->book;
    look_at(tracked, sizeof *tracked);
    look_at(book, sizeof *book);
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        const bw_side *of = &book->side[side];
        if (of->directory_count == 0) continue;
        const bw_directory_entry *best =
            (const bw_directory_entry *)(const void *)(engine->store->base + of->directory_offset) +
            of->directory_count - 1;
        look_at(best, sizeof *best);
        look_at(&engine->store->chunk[best->chunk], sizeof(bw_chunk));
    }
    uint64_t head = atomic_load_explicit(&engine->shm->header->ring_head, memory_order_relaxed);
    look_at(engine->shm->ring + (head & engine->shm->ring_mask), 512);
}

/* A stage whose levels no longer fit what comes starts empty again. */
static void tidy(bw_rehearsal *stage, const bw_book *like) {
    bw_book *book = stage->tracked.book;
    bool rescaled =
        book->price_exponent != like->price_exponent || book->quantity_exponent != like->quantity_exponent;
    if (rescaled || stage->tracked.crossed_run) {
        bw_book_begin(book);
        bw_book_clear(stage->store, book);
        book->price_exponent = like->price_exponent;
        book->quantity_exponent = like->quantity_exponent;
        bw_book_end(stage->store, book);
    }
    stage->tracked.crossed_run = 0;
    atomic_store_explicit(&stage->header.ring_head, 0, memory_order_relaxed); /* the same lines each time */
    atomic_store_explicit(&stage->header.ring_reserved, 0, memory_order_relaxed);
}

void bw_engine_rehearse(bw_engine *engine, uint32_t connection, const char *text, size_t bytes) {
    bw_rehearsal *stage = engine->rehearsal;
    if (!stage || !bw_decode(engine->decoder, text, bytes)) return;
    bw_item *item = engine->decoder->item_count ? engine->decoder->item : &engine->decoder->frame;
    const bw_message_plan *message = bw_decoder_classify(engine->decoder, item, false);
    bw_tracked *tracked = NULL;
    if (message && message->kind == BW_MESSAGE_DELTA)
        tracked = bw_book_of(engine, connection, item, message->role[BW_SLOT_SYMBOL]);
    if (!tracked || tracked->connection != connection) return;
    bw_update update = {.receive_ns = tracked->book->receive_ns, .decoded_ns = tracked->book->decoded_ns};
    if (bw_take_update(engine, item, message, &update)) return;
    if (update.count[0] + update.count[1] > REHEARSED_CHANGES_MAX) return;
    if (update.has_checksum && tracked->checksum) /* of the real book: what it computes is as it was */
        bw_checksum_compute(tracked->checksum, &engine->plan->checksum, engine->store, tracked->book);
    update.has_checksum = false;
    if (tracked->scale[0] | tracked->scale[1]) bw_unscale(&update, tracked);
    stage->tracked.quantity_ceiling = tracked->quantity_ceiling;
    tidy(stage, tracked->book);
    bw_apply_update(&stage->engine, &stage->tracked, &update);
    look_at_book(engine, tracked);
}
