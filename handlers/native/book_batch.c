/* Many levels of one side at once: the way a message changes a book. Compiled as book_set.c is.
 *
 * One level by itself waits for its own search: directory, then chunk, then a branch nobody can foresee.
 * Levels of a message mostly come best first. Then no change moves what a later one looks for, so all
 * places are found beforehand, in loops without such branches that overlap; only then levels are written,
 * and what makes chunks split, merge or overflow goes by bw_book_set(). With AVX-512 a chunk is held in
 * registers while the levels of a message that fall into it, in any order, change it (book_held.h).
 */
#include "book_parts.h"

#ifndef BW_BOOK_SET_MANY
#define BW_BOOK_SET_MANY bw_book_set_many_plain
#endif

#define BW_BATCH 32u
#define BW_BATCH_LEAST 4u /* fewer are set one by one */

typedef struct bw_batch {
    int64_t key[BW_BATCH];
    uint32_t entry[BW_BATCH];
    uint8_t place[BW_BATCH];
    uint8_t absent[BW_BATCH];  /* levels that are to go but are not held */
    uint8_t removed[BW_BATCH]; /* indexes of levels to take out, and to put in */
    uint8_t inserted[BW_BATCH];
    uint8_t changed[BW_BATCH]; /* levels whose quantity is another */
    uint32_t removed_count, inserted_count;
} bw_batch;

/* Keys of up to BW_BATCH levels; returns how many of them go from best to worse, each once. */
BW_INLINE uint32_t take_keys(bw_batch *batch, const bw_level *level, uint32_t count, uint32_t side) {
    uint32_t ordered = 0;
    int64_t last = INT64_MAX;
    for (; ordered < count && ordered < BW_BATCH; ordered++) {
        int64_t key = bw_key_of(side, level[ordered].price);
        if (key >= last) break;
        batch->key[ordered] = last = key;
    }
    return ordered;
}

/* One step of a search by halves, held free of branches where compilers like to make some. */
#if defined(__x86_64__)
#define STEP(at, next, value, condition, wanted) \
    __asm__("cmpq %2, %3\n\tcmov" condition " %1, %0" : "+r"(at) : "r"(next), "r"(wanted), "m"(value) : "cc")
#endif

/* As bw_directory_find(). */
BW_INLINE uint32_t entry_of(const bw_directory_entry *entry, uint32_t count, int64_t wanted) {
    size_t at = 0;
    for (uint32_t rest = count; rest > 1;) {
        uint32_t half = rest / 2;
        size_t next = at + half;
#if defined(STEP)
        STEP(at, next, entry[next].low_key, "le", wanted);
#else
        at = entry[next].low_key <= wanted ? next : at;
#endif
        rest -= half;
    }
    return (uint32_t)at;
}

/* As bw_chunk_below(). By halves to a line of 8 keys, then all of them: longer for one key, but less work,
 * and where the work for many keys overlaps that is what counts. */
BW_INLINE uint32_t place_of(const int64_t *key, int64_t wanted) {
#if defined(STEP) && defined(__AVX512F__)
    size_t at = 0;
    for (size_t half = BW_CHUNK_LEVELS / 2; half >= 8; half /= 2) {
        size_t next = at + half;
        STEP(at, next, key[next - 1], "l", wanted);
    }
    __mmask8 below = _mm512_cmpgt_epi64_mask(_mm512_set1_epi64(wanted), _mm512_load_si512(key + at));
    return (uint32_t)at + (uint32_t)__builtin_popcount(below);
#else
    return bw_chunk_below(key, wanted);
#endif
}

/* Place of each key and what is to be done there; then the changes of quantity. A store among the searches
 * would hold up those behind it. */
BW_INLINE void find_all(bw_book_store *store, const bw_side *side, bw_batch *batch, const bw_level *level,
                        uint32_t count) {
    const bw_directory_entry *directory = bw_directory_of(store, side);
    uint32_t removed = 0, inserted = 0, changed = 0, entries = side->directory_count;
    for (uint32_t i = 0; i < count; i++) batch->entry[i] = entry_of(directory, entries, batch->key[i]);
    for (uint32_t i = 0; i < count; i++) {
        const bw_chunk *chunk = &store->chunk[directory[batch->entry[i]].chunk];
        uint32_t place = place_of(chunk->key, batch->key[i]);
        uint32_t at = place & (BW_CHUNK_LEVELS - 1); /* a full chunk may have it behind its end */
        bool found = (place == at) & (chunk->key[at] == batch->key[i]), set = level[i].quantity != 0;
        batch->place[i] = (uint8_t)place;
        batch->absent[i] = !found & !set;
        batch->removed[removed] = (uint8_t)i;
        removed += found & !set;
        batch->inserted[inserted] = (uint8_t)i;
        inserted += !found & set;
        batch->changed[changed] = (uint8_t)i;
        changed += found & set;
    }
    for (uint32_t k = 0; k < changed; k++) {
        uint32_t i = batch->changed[k];
        bw_chunk *chunk = &store->chunk[directory[batch->entry[i]].chunk];
        chunk->quantity[batch->place[i]] = level[i].quantity;
        chunk->orders[batch->place[i]] = level[i].orders;
    }
    batch->removed_count = removed;
    batch->inserted_count = inserted;
}

/* Removals, best first: none moves the place of a later one. */
BW_INLINE void remove_all(bw_book_store *store, bw_book *book, uint32_t side_index, const bw_batch *batch,
                          const bw_level *level) {
    bw_side *side = &book->side[side_index];
    bw_directory_entry *directory = bw_directory_of(store, side);
    uint32_t entries = side->directory_count;
    for (uint32_t k = 0; k < batch->removed_count; k++) {
        uint32_t i = batch->removed[k];
        int64_t evicted;
        if (__builtin_expect(side->directory_count == entries, 1)) {
            bw_take_out(store, side, directory + batch->entry[i], batch->place[i]);
        } else {
            bw_book_set(store, book, side_index, level[i].price, 0, 0, &evicted);
        }
    }
}

/* A level that found no room did not change the book: it is taken out of the record again. */
static bw_level *forget(bw_level *first, bw_level *end, int64_t price) {
    for (bw_level *at = first; at < end; at++) {
        if (at->price != price) continue;
        memmove(at, at + 1, (size_t)(end - at - 1) * sizeof *at);
        return end - 1;
    }
    return end;
}

/* Insertions, best first. Their places are looked up again where removals or splits may have moved them.
 * Returns the end of the record: levels that were pushed out are added to it. */
BW_INLINE bw_level *insert_all(bw_book_store *store, bw_book *book, uint32_t side_index,
                               const bw_batch *batch,
                               const bw_level *level, uint32_t entries_found, bw_level *first,
                               bw_level *end) {
    bw_side *side = &book->side[side_index];
    bw_directory_entry *directory = bw_directory_of(store, side);
    bool moved = side->directory_count != entries_found;
    for (uint32_t k = 0; k < batch->inserted_count; k++) {
        uint32_t i = batch->inserted[k], at = batch->entry[i], place = batch->place[i];
        int64_t key = batch->key[i], evicted;
        if (__builtin_expect(moved, 0)) at = bw_directory_find(directory, side->directory_count, key);
        bw_directory_entry *entry = directory + at;
        if (__builtin_expect(side->directory_count && entry->count < BW_CHUNK_LEVELS &&
                             side->level_count < side->level_capacity, 1)) {
            if (moved || batch->removed_count) place = bw_chunk_below(store->chunk[entry->chunk].key, key);
            bw_put_in(store, side, entry, place, &level[i], key);
            continue;
        }
        enum bw_set done = bw_book_set(store, book, side_index, level[i].price, level[i].quantity,
                                       level[i].orders, &evicted);
        moved = true;
        if (done == BW_SET_EVICTED) *end++ = (bw_level){.price = evicted};
        if (done == BW_SET_BEYOND) end = forget(first, end, level[i].price);
    }
    return end;
}

/* Levels that go from best to worse; the side is not empty. */
BW_INLINE bw_level *set_ordered(bw_book_store *store, bw_book *book, uint32_t side_index, bw_batch *batch,
                                const bw_level *level, uint32_t count, bw_level *out) {
    bw_side *side = &book->side[side_index];
    const bw_directory_entry *directory = bw_directory_of(store, side);
    uint32_t entries = side->directory_count, absent = 0, orders = 0;
    for (uint32_t i = 0; i < count; i++) orders |= level[i].orders;
    store->orders_seen |= orders;
    find_all(store, side, batch, level, count);
    uint32_t better = directory[batch->entry[0]].count - batch->place[0];
    if (batch->entry[0] + 1 < entries) better += directory[entries - 1].count;
    book->top_stale |= (uint32_t)(better <= BW_TOP_LEVELS) << side_index;
    bw_level *first = out;
    for (uint32_t i = 0; i < count; i++) {
        *out = (bw_level){.price = level[i].price, .quantity = level[i].quantity, .orders = level[i].orders};
        out += !batch->absent[i];
        absent += batch->absent[i];
    }
    book->absent_deletes += absent;
    remove_all(store, book, side_index, batch, level);
    return insert_all(store, book, side_index, batch, level, entries, first, out);
}

/* One level; returns the end of the record. */
BW_INLINE bw_level *set_one(bw_book_store *store, bw_book *book, uint32_t side, const bw_level *level,
                            bw_level *out) {
    int64_t evicted;
    enum bw_set done =
        bw_book_set(store, book, side, level->price, level->quantity, level->orders, &evicted);
    if (done != BW_SET_ABSENT && done != BW_SET_BEYOND) {
        *out++ = (bw_level){.price = level->price, .quantity = level->quantity, .orders = level->orders};
    }
    if (done == BW_SET_EVICTED) *out++ = (bw_level){.price = evicted};
    return out;
}

#if defined(__AVX512F__) && defined(__AVX512BW__)
#include "book_held.h"

#define BW_SEEN_BITS 11u

/* How many of the keys stand there once, from the first on: a key that comes again ends them. *sorted: they
 * all go one way. */
BW_INLINE uint32_t distinct_keys(const int64_t *key, uint32_t count, bool *sorted) {
    uint64_t seen[1u << (BW_SEEN_BITS - 6)], again = 0;
    uint32_t ascending = 1, descending = 1;
    for (uint32_t i = 1; i < count; i++) {
        ascending &= key[i] > key[i - 1];
        descending &= key[i] < key[i - 1];
    }
    *sorted = ascending | descending;
    if (*sorted) return count;
    for (uint32_t i = 0; i < sizeof seen / sizeof *seen; i += BW_LANES)
        _mm512_storeu_si512(seen + i, _mm512_setzero_si512());
    for (uint32_t i = 0; i < count; i++) {
        uint64_t hash = (uint64_t)key[i] * 0x9e3779b97f4a7c15u >> (64 - BW_SEEN_BITS);
        uint64_t bit = UINT64_C(1) << (hash & 63);
        again |= seen[hash >> 6] & bit;
        seen[hash >> 6] |= bit;
    }
    if (__builtin_expect(again == 0, 1)) return count;
    for (uint32_t i = 1; i < count; i++)
        for (uint32_t k = 0; k < i; k++)
            if (key[k] == key[i]) return i;
    return count;
}

/* What the levels of one run do to the chunk they all belong to. */
typedef struct bw_run {
    uint8_t in[BW_BATCH], out[BW_BATCH]; /* indexes of levels to put in, and to take out */
    uint32_t inserted, removed, absent;
    uint32_t left; /* levels it did not come to, by their bits */
    bool full;     /* because there was no room for the first of them */
} bw_run;

/* Levels of the chunk of entry `at`, up to one that is not or finds no room. First what does not move:
 * quantities. Notes what does, in order. */
BW_INLINE bw_level *change_run(bw_run *run, bw_held *held, const bw_batch *batch, const bw_level *level,
                               uint32_t which, uint32_t at, uint32_t room, bool with_orders,
                               bw_level *record) {
    uint32_t inserted = 0, removed = 0, absent = 0;
    uint32_t i = _tzcnt_u32(which);
    run->full = false;
    do {
        const int64_t key = batch->key[i], price = level[i].price, quantity = level[i].quantity;
        const uint32_t orders = level[i].orders;
        const uint32_t found = bw_held_change(held, key, quantity, orders, with_orders);
        const uint32_t set = quantity != 0, in = set & !found, out = found & !set, none = !found & !set;
        if (__builtin_expect(in & (inserted >= room + removed), 0)) {
            run->full = true;
            break;
        }
        run->in[inserted] = (uint8_t)i;
        inserted += in;
        run->out[removed] = (uint8_t)i;
        removed += out;
        absent += none;
        *record = (bw_level){.price = price, .quantity = quantity, .orders = orders};
        record += !none;
        which = _blsr_u32(which);
        i = _tzcnt_u32(which);
    } while (which && batch->entry[i] == at);
    run->left = which;
    run->inserted = inserted;
    run->removed = removed;
    run->absent = absent;
    return record;
}

/* Those of the levels *which that belong to the chunk of the first of them. Leaves the others there;
 * false: the first of those finds no room. */
BW_INLINE bool set_run(bw_book_store *store, bw_book *book, uint32_t side_index, const bw_batch *batch,
                       const bw_level *level, uint32_t *which, bw_level **out, bool with_orders) {
    bw_side *side = &book->side[side_index];
    /* cppcheck-suppress ctuuninitvar ; the bits of *which are those of entries that were set */
    const uint32_t at = batch->entry[_tzcnt_u32(*which)];
    bw_directory_entry *directory = bw_directory_of(store, side), *entry = directory + at;
    bw_chunk *chunk = &store->chunk[entry->chunk];
    const uint32_t before = entry->count, of_book = side->level_capacity - side->level_count;
    const uint32_t room = BW_CHUNK_LEVELS - before < of_book ? BW_CHUNK_LEVELS - before : of_book;
    bw_held held;
    bw_run run;
    bw_held_load(&held, chunk, with_orders);
    *out = change_run(&run, &held, batch, level, *which, at, room, with_orders, *out);
    for (uint32_t k = 0; k < run.removed; k++) bw_held_take_out(&held, batch->key[run.out[k]], with_orders);
    for (uint32_t k = 0; k < run.inserted; k++) {
        const uint32_t i = run.in[k];
        bw_held_put_in(&held, batch->key[i], level[i].quantity, level[i].orders, with_orders);
    }
    bw_held_store(&held, chunk, with_orders);
    entry->count = before + run.inserted - run.removed;
    entry->low_key = _mm_cvtsi128_si64(_mm512_castsi512_si128(held.key[0]));
    side->level_count += run.inserted - run.removed;
    book->absent_deletes += run.absent;
    if (__builtin_expect(entry->count < before && entry->count <= BW_MERGE_BELOW, 0))
        bw_side_shrink(store, side, at);
    *which = run.left;
    return !run.full;
}

/* Levels by themselves, as bw_book_set() does it: where chunks split, merge or overflow. */
static __attribute__((noinline)) bw_level *set_singly(bw_book_store *store, bw_book *book, uint32_t side,
                                                      const bw_level *level, uint32_t which, bw_level *out) {
    for (; which; which = _blsr_u32(which)) out = set_one(store, book, side, level + _tzcnt_u32(which), out);
    return out;
}

/* As entry_of(), quicker for the best four chunks. Behind the last entry stands one of BW_KEY_NONE. */
BW_INLINE uint32_t entry_near_top(const bw_directory_entry *entry, uint32_t count, int64_t wanted) {
    if (count >= 4 && entry[count - 4].low_key <= wanted) {
        __m512i best = _mm512_loadu_si512(entry + count - 4);
        uint32_t reached = _mm512_mask_cmple_epi64_mask(0x55, best, _mm512_set1_epi64(wanted));
        return count - 5 + (uint32_t)__builtin_popcount(reached);
    }
    return entry_of(entry, count, wanted);
}

/* Levels of any order, first those of the best chunk (by their bits), then run by run; returns how many.
 * Which levels leave a full book may depend on the order. */
BW_INLINE uint32_t set_held(bw_book_store *store, bw_book *book, uint32_t side_index, const bw_batch *batch,
                            const bw_level *level, uint32_t count, uint32_t best, bw_level **out,
                            bool with_orders) {
    const bw_side *side = &book->side[side_index];
    const uint32_t entries = side->directory_count;
    bool sorted;
    count = distinct_keys(batch->key, count, &sorted);
    uint32_t left = _bzhi_u32(~0u, count), next = sorted || !(best & left) ? left : best & left;
    do {
        uint32_t rest = next;
        bool room = set_run(store, book, side_index, batch, level, &rest, out, with_orders);
        left &= ~next | rest;
        next = left;
        if (!room) break;
    } while (left && side->directory_count == entries);
    if (__builtin_expect(left != 0, 0)) *out = set_singly(store, book, side_index, level, left, *out);
    return count;
}

/* As set_held(), for a side that may be empty. */
BW_INLINE uint32_t set_some(bw_book_store *store, bw_book *book, uint32_t side_index, const bw_level *level,
                            uint32_t count, bw_level **out) {
    bw_batch batch;
    const bw_side *side = &book->side[side_index];
    const bw_directory_entry *directory = bw_directory_of(store, side);
    const uint32_t entries = side->directory_count, some = count < BW_BATCH ? count : BW_BATCH;
    uint32_t orders = store->orders_seen, best = 0;
    if (entries == 0) return 0;
    for (uint32_t i = 0; i < some; i++) {
        batch.key[i] = bw_key_of(side_index, level[i].price);
        batch.entry[i] = entry_near_top(directory, entries, batch.key[i]);
        best |= (uint32_t)(batch.entry[i] == entries - 1) << i;
        orders |= level[i].orders;
    }
    store->orders_seen = orders;
    book->top_stale |= 1u << side_index; /* most messages change the top: no use looking */
    if (orders) return set_held(store, book, side_index, &batch, level, some, best, out, true);
    return set_held(store, book, side_index, &batch, level, some, best, out, false);
}
#else
/* Levels that go from best to worse; returns how many were set. */
BW_INLINE uint32_t set_some(bw_book_store *store, bw_book *book, uint32_t side, const bw_level *level,
                            uint32_t count, bw_level **out) {
    bw_batch batch;
    uint32_t ordered = take_keys(&batch, level, count, side);
    if (ordered < BW_BATCH_LEAST || book->side[side].directory_count == 0) return 0;
    *out = set_ordered(store, book, side, &batch, level, ordered, *out);
    return ordered;
}
#endif

uint32_t BW_BOOK_SET_MANY(bw_book_store *store, bw_book *book, uint32_t side, const bw_level *level,
                          uint32_t count, bw_level *out) {
    const bw_level *end = level + count;
    bw_level *first = out;
    while (level < end) {
        uint32_t some = set_some(store, book, side, level, (uint32_t)(end - level), &out);
        level += some;
        if (some) continue;
        out = set_one(store, book, side, level++, out);
    }
    return (uint32_t)(out - first);
}
