/* Copies of books out of a segment that is being written: headers, tops, and whole books at exactly
 * one sequence. shm_reader.h says how and why it is right. Every wait here has an end.
 */
#include "book_search.h"
#include "shm_reader_parts.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifndef BW_COPY_PATIENCE_NS
#define BW_COPY_PATIENCE_NS 20000000 /* of one call, all waits together */
#endif
#ifndef BW_GONE_CHECK_NS
#define BW_GONE_CHECK_NS 1000000 /* a wait so long asks whether the writer still lives */
#endif
#define BW_YIELD_NS 50000     /* and one so long lets others run, perhaps the writer */
#define BW_LOCKED_LEVELS 512u /* up to so many levels a side are copied under one lock first */
#define BW_LOCKED_TRIES 4u
#define BW_COPY_TRIES 8u
#define BW_PIECE_MIN 8u
#define BW_PIECE_MAX 256u

typedef struct patience {
    uint32_t spins;
    bool asked;
    int64_t since_ns;
} patience;

static int64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* One turn of waiting. BW_READ_OK: try again; otherwise the reason to give up. */
static int wait_turn(const bw_segment *segment, patience *p) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
    if (++p->spins % 64) return BW_READ_OK;
    int64_t now_ns = monotonic_ns();
    if (p->since_ns == 0) p->since_ns = now_ns;
    int64_t waited_ns = now_ns - p->since_ns;
    if (!p->asked && waited_ns > BW_GONE_CHECK_NS) {
        p->asked = true;
        if (bw_segment_writer_gone(segment)) return BW_READ_DEAD;
    }
    if (waited_ns > BW_YIELD_NS) sched_yield();
    return waited_ns > BW_COPY_PATIENCE_NS ? BW_READ_BUSY : BW_READ_OK;
}

static bool lock_look(const bw_book *book, uint64_t *version) {
    *version = atomic_load_explicit(&book->version, memory_order_acquire);
    return *version % 2 == 0;
}

static bool lock_held(const bw_book *book, uint64_t version) {
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&book->version, memory_order_relaxed) == version;
}

static int read_header(const bw_segment *segment, const bw_book *book, bw_book *out, patience *p) {
    for (;;) {
        uint64_t version;
        if (lock_look(book, &version)) {
            memcpy(out, book, sizeof *out);
            if (lock_held(book, version)) return BW_READ_OK;
        }
        int result = wait_turn(segment, p);
        if (result != BW_READ_OK) return result;
    }
}

int bw_book_read_header(const bw_segment *segment, uint32_t book, bw_book *out) {
    patience p = {0};
    const bw_book *shared = bw_segment_book(segment, book);
    return shared ? read_header(segment, shared, out, &p) : BW_READ_NO_BOOK;
}

/* -- levels as they stand in the mapping, under the caller's lock ------------------------------- */

/* Up to `room` levels of a side whose key is below `bound`, best first. What a half-written or hostile
 * directory says is bounded before use; the caller finds out from the lock that it was wrong. */
static uint32_t copy_below(const bw_segment *segment, const bw_book *book, uint32_t side, int64_t bound,
                           uint32_t room, bw_level *out) {
    const volatile bw_side *shared = &book->side[side];
    uint64_t offset = shared->directory_offset;
    uint32_t entries = shared->directory_count;
    if (bound == INT64_MIN || offset % sizeof(bw_directory_entry) || offset > segment->bytes ||
        entries > (segment->bytes - offset) / sizeof(bw_directory_entry) || entries == 0)
        return 0;
    const bw_directory_entry *directory = (const void *)(segment->base + offset);
    uint32_t at = bw_directory_find(directory, entries, bound - 1), copied = 0;
    for (bool first = true; copied < room; first = false) {
        const volatile bw_directory_entry *entry = &directory[at];
        uint32_t index = entry->chunk, count = entry->count;
        if (index >= segment->chunk_capacity || count > BW_CHUNK_LEVELS) return copied;
        const bw_chunk *chunk = &segment->chunk[index];
        uint32_t below = first ? bw_chunk_below(chunk->key, bound) : count;
        if (below > count) below = count;
        while (below-- && copied < room) {
            int64_t key = chunk->key[below];
            out[copied++] = (bw_level){.price = side ? (int64_t)(0 - (uint64_t)key) : key,
                                       .quantity = chunk->quantity[below], .orders = chunk->orders[below]};
        }
        if (at-- == 0) break;
    }
    return copied;
}

/* -- small copies: everything under one lock ---------------------------------------------------- */

static bool copy_locked(const bw_segment *segment, const bw_book *book, bw_book *header,
                        bw_level *const out[BW_SIDES], uint32_t count[BW_SIDES]) {
    uint64_t version;
    if (!lock_look(book, &version)) return false;
    memcpy(header, book, sizeof *header);
    uint32_t copied[BW_SIDES];
    for (uint32_t side = 0; side < BW_SIDES; side++)
        copied[side] = copy_below(segment, book, side, INT64_MAX, count[side], out[side]);
    if (!lock_held(book, version)) return false;
    memcpy(count, copied, sizeof copied);
    return true;
}

/* -- deep copies: piece by piece, then the ring -------------------------------------------------- */

static bool make_scratch(const bw_segment *segment, const bw_book *header) {
    bw_reader_scratch *scratch = segment->scratch;
    uint64_t most = header->side[0].level_capacity;
    if (most > (uint64_t)segment->chunk_capacity * BW_CHUNK_LEVELS)
        most = (uint64_t)segment->chunk_capacity * BW_CHUNK_LEVELS;
    /* what stood at some time during the scan is more than what stood at one time */
    most = 2 * most + BW_RECORD_CHANGES_MAX;
    if (scratch->store && scratch->levels >= most) return true;
    bw_book_store_free(scratch->store);
    scratch->store = bw_book_store_new(1, (uint32_t)most, 0);
    bool whole = scratch->store != NULL;
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        free(scratch->seen[side]);
        scratch->seen[side] = malloc(most * sizeof(bw_level));
        whole = whole && scratch->seen[side];
    }
    scratch->levels = whole ? (uint32_t)most : 0;
    return whole;
}

/* Every level that stands throughout the scan, and some that come or go during it. */
static int scan_side(const bw_segment *segment, const bw_book *book, uint32_t side, uint32_t *seen,
                     patience *p) {
    bw_level *out = segment->scratch->seen[side];
    uint32_t piece = BW_PIECE_MAX, count = 0;
    int64_t bound = INT64_MAX;
    for (;;) {
        uint64_t version;
        uint32_t room = segment->scratch->levels - count;
        if (room > piece) room = piece;
        bool even = lock_look(book, &version);
        uint32_t copied = even ? copy_below(segment, book, side, bound, room, out + count) : 0;
        if (!even || !lock_held(book, version)) {
            if (even && piece > BW_PIECE_MIN) piece /= 2;
            int result = wait_turn(segment, p);
            if (result != BW_READ_OK) return result;
            continue;
        }
        count += copied;
        if (copied < room || room == 0) break;
        int64_t price = out[count - 1].price;
        int64_t next = side ? (int64_t)(0 - (uint64_t)price) : price;
        if (next >= bound) return BW_READ_BUSY; /* not ascending: no book of ours */
        bound = next;
        if (piece < BW_PIECE_MAX) piece *= 2;
    }
    *seen = count;
    return count < segment->scratch->levels ? BW_READ_OK : BW_READ_OVERRUN;
}

static bool apply(bw_book_store *store, bw_book *book, const bw_record *record) {
    const bw_level *change = (const void *)(record + 1);
    int64_t evicted;
    for (uint64_t i = 0; i < (uint64_t)record->bid_count + record->ask_count; i++) {
        enum bw_set result = bw_book_set(store, book, i >= record->bid_count, change[i].price,
                                         change[i].quantity, change[i].orders, &evicted);
        if (result == BW_SET_EVICTED || result == BW_SET_BEYOND) return false;
    }
    return true;
}

/* Applies the book's records after `from` up to and with `to`. BW_READ_OVERRUN: start over. */
static int replay(const bw_segment *segment, uint32_t index, uint64_t from, uint64_t to,
                  bw_ring_cursor *cursor, patience *p) {
    bw_book_store *store = segment->scratch->store;
    for (;;) {
        const bw_record *record;
        int result = bw_ring_next(segment, cursor, &record);
        if (result == BW_READ_OVERRUN) return result;
        if (result == BW_READ_EMPTY) { /* the book is ahead of the ring for a moment */
            result = wait_turn(segment, p);
            if (result != BW_READ_OK) return result;
            continue;
        }
        uint64_t sequence = record->sequence;
        bool ours = record->book == index && sequence > from;
        if (ours && (sequence > to || record->type == BW_RECORD_RESET ||
                     !apply(store, bw_book_store_at(store, 0), record)))
            return BW_READ_OVERRUN;
        bw_ring_done(segment, cursor, record);
        if (ours && sequence == to) return BW_READ_OK;
    }
}

/* The book stood still during the scan: what was seen is the book. */
static int hand_over(const bw_segment *segment, const bw_book *header, const uint32_t seen[BW_SIDES],
                     bw_level *const out[BW_SIDES], uint32_t count[BW_SIDES]) {
    for (uint32_t side = 0; side < BW_SIDES; side++)
        if (seen[side] != header->side[side].level_count) return BW_READ_OVERRUN;
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        if (count[side] > seen[side]) count[side] = seen[side];
        memcpy(out[side], segment->scratch->seen[side], count[side] * sizeof(bw_level));
    }
    return BW_READ_OK;
}

/* One try. BW_READ_OVERRUN: start over. */
static int copy_deep(const bw_segment *segment, uint32_t index, bw_book *header,
                     bw_level *const out[BW_SIDES], uint32_t count[BW_SIDES], bw_ring_cursor *cursor,
                     patience *p) {
    const bw_book *book = &segment->book[index];
    bw_reader_scratch *scratch = segment->scratch;
    /* the head first: a record before it is in the book that is read after it */
    bw_ring_seek_head(segment, cursor);
    int result = read_header(segment, book, header, p);
    if (result != BW_READ_OK) return result;
    if (!make_scratch(segment, header)) return BW_READ_BUSY;
    uint64_t from = header->sequence;
    uint32_t epoch = header->epoch, seen[BW_SIDES];
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        result = scan_side(segment, book, side, &seen[side], p);
        if (result != BW_READ_OK) return result;
    }
    result = read_header(segment, book, header, p);
    if (result != BW_READ_OK) return result;
    if (header->epoch != epoch) return BW_READ_OVERRUN;
    if (header->sequence == from) return hand_over(segment, header, seen, out, count);
    bw_book *mirror = bw_book_store_at(scratch->store, 0);
    bw_book_clear(scratch->store, mirror);
    for (uint32_t side = 0; side < BW_SIDES; side++)
        bw_book_load(scratch->store, mirror, side, scratch->seen[side], seen[side]);
    result = replay(segment, index, from, header->sequence, cursor, p);
    if (result != BW_READ_OK) return result;
    for (uint32_t side = 0; side < BW_SIDES; side++)
        if (mirror->side[side].level_count != header->side[side].level_count) return BW_READ_OVERRUN;
    for (uint32_t side = 0; side < BW_SIDES; side++)
        count[side] = bw_book_copy(scratch->store, mirror, side, count[side], out[side]);
    return BW_READ_OK;
}

int bw_book_read(const bw_segment *segment, uint32_t index, uint32_t depth, bw_book *header, bw_level *bids,
                 uint32_t *bid_count, bw_level *asks, uint32_t *ask_count, uint64_t *ring_position) {
    const bw_book *book = bw_segment_book(segment, index);
    if (!book) return BW_READ_NO_BOOK;
    bw_level *const out[BW_SIDES] = {bids, asks};
    uint32_t count[BW_SIDES] = {*bid_count, *ask_count};
    uint32_t held = 0;
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        if (depth && count[side] > depth) count[side] = depth;
        uint32_t levels = *(const volatile uint32_t *)&book->side[side].level_count;
        if (levels > count[side]) levels = count[side];
        if (levels > held) held = levels;
    }
    patience p = {0};
    bw_ring_cursor cursor = {0};
    int result = BW_READ_OVERRUN;
    bool small = held <= BW_LOCKED_LEVELS;
    for (uint32_t tries = 0; small && tries < BW_LOCKED_TRIES && result != BW_READ_OK; tries++) {
        bw_ring_seek_head(segment, &cursor);
        if (copy_locked(segment, book, header, out, count)) result = BW_READ_OK;
    }
    for (uint32_t tries = 0; tries < BW_COPY_TRIES && result == BW_READ_OVERRUN; tries++)
        result = copy_deep(segment, index, header, out, count, &cursor, &p);
    if (result == BW_READ_OVERRUN) return BW_READ_BUSY;
    if (result != BW_READ_OK) return result;
    *bid_count = count[0];
    *ask_count = count[1];
    if (ring_position) *ring_position = cursor.position;
    return BW_READ_OK;
}
