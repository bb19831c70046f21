/* Many levels of one side at once: the way a message changes a book. Compiled as book_set.c is.
 *
 * One level by itself waits for its own search: directory, then chunk, then a branch nobody can foresee.
 * Levels of a message mostly come best first. Then no change moves what a later one looks for, so all
 * places are found beforehand, in loops without such branches that overlap; only then levels are written,
 * and what makes chunks split, merge or overflow goes by bw_book_set(). With AVX-512 the best chunks, where
 * several levels of a message mostly fall into one, are written anew in one pass instead.
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

#if defined(__AVX512F__) && defined(__AVX512BW__)
#define BW_MERGE_LEAST 3u /* fewer changes of a chunk are cheaper one by one */

_Static_assert(BW_CHUNK_LEVELS == 32 && BW_BATCH == 32, "masks of places have 32 bits, of new ones 64");

/* What a chunk's levels become: those that stay, and those written in between at the places `fresh`. */
typedef struct bw_merge {
    int64_t key[BW_BATCH + BW_LANES]; /* ascending, as the chunk's */
    int64_t quantity[BW_BATCH + BW_LANES];
    uint64_t fresh;  /* places in the chunk as it will be */
    uint32_t gone;   /* places in the chunk as it is */
    uint32_t absent; /* levels that are to go but are not held */
    uint32_t written, removed, best_place;
} bw_merge;

/* What `count` levels, best first, do to a chunk. Worst first, each knows by how much it is moved; a level
 * whose quantity changes is one that goes and comes back. */
BW_INLINE void plan_merge(bw_merge *merge, const bw_chunk *chunk, const int64_t *key, const bw_level *level,
                          uint32_t count) {
    uint64_t fresh = 0;
    uint32_t gone = 0, absent = 0, written = 0, removed = 0, place = 0;
    for (uint32_t i = count; i--;) {
        place = place_of(chunk->key, key[i]);
        uint32_t at = place & (BW_CHUNK_LEVELS - 1);
        bool found = (place == at) & (chunk->key[at] == key[i]), set = level[i].quantity != 0;
        merge->key[written] = key[i];
        merge->quantity[written] = level[i].quantity;
        fresh |= (uint64_t)set << ((place + written - removed) & 63);
        gone |= (uint32_t)found << at;
        absent |= (uint32_t)(!found & !set) << i;
        written += set;
        removed += found;
    }
    merge->fresh = fresh;
    merge->gone = gone;
    merge->absent = absent;
    merge->written = written;
    merge->removed = removed;
    merge->best_place = place;
}

/* Writes the chunk anew, with `count` levels, in one pass. */
BW_INLINE void write_merged(bw_chunk *chunk, const bw_merge *merge, uint32_t count) {
    int64_t stay_key[BW_CHUNK_LEVELS + BW_LANES], stay_quantity[BW_CHUNK_LEVELS + BW_LANES];
    uint32_t fresh = (uint32_t)merge->fresh, stay = ~fresh & (uint32_t)((UINT64_C(1) << count) - 1), end = 0;
    for (uint32_t i = 0; i < BW_CHUNK_LEVELS; i += BW_LANES) {
        __mmask8 lanes = (__mmask8)(~merge->gone >> i);
        __m512i keys = _mm512_load_si512(chunk->key + i), quantities = _mm512_load_si512(chunk->quantity + i);
        _mm512_storeu_si512(stay_key + end, _mm512_maskz_compress_epi64(lanes, keys));
        _mm512_storeu_si512(stay_quantity + end, _mm512_maskz_compress_epi64(lanes, quantities));
        end += (uint32_t)__builtin_popcount(lanes);
    }
    for (uint32_t i = 0; i < BW_CHUNK_LEVELS; i += BW_LANES) {
        __mmask8 old = (__mmask8)(stay >> i), new = (__mmask8)(fresh >> i);
        uint32_t old_at = (uint32_t)__builtin_popcount(stay & ((1u << i) - 1)), new_at = i - old_at;
        __m512i keys = _mm512_set1_epi64(BW_KEY_NONE), quantities = _mm512_setzero_si512();
        keys = _mm512_mask_expandloadu_epi64(keys, old, stay_key + old_at);
        quantities = _mm512_mask_expandloadu_epi64(quantities, old, stay_quantity + old_at);
        keys = _mm512_mask_expandloadu_epi64(keys, new, merge->key + new_at);
        quantities = _mm512_mask_expandloadu_epi64(quantities, new, merge->quantity + new_at);
        _mm512_store_si512(chunk->key + i, keys);
        _mm512_store_si512(chunk->quantity + i, quantities);
    }
}

/* Levels that all belong to one chunk; NULL, and nothing done, where it or the book has no room for them. */
static __attribute__((noinline)) bw_level *merge_chunk(bw_book_store *store, bw_book *book,
                                                       uint32_t side_index, uint32_t at, const int64_t *key,
                                                       const bw_level *level, uint32_t count, bw_level *out) {
    bw_side *side = &book->side[side_index];
    bw_directory_entry *directory = bw_directory_of(store, side), *entry = directory + at;
    bw_chunk *chunk = &store->chunk[entry->chunk];
    bw_merge merge;
    plan_merge(&merge, chunk, key, level, count);
    uint32_t held = entry->count, holds = held + merge.written - merge.removed;
    if (holds > BW_CHUNK_LEVELS || side->level_count + merge.written > side->level_capacity + merge.removed)
        return NULL;
    uint32_t better = held - merge.best_place;
    if (at + 1 < side->directory_count) better += directory[side->directory_count - 1].count;
    book->top_stale |= (uint32_t)(better <= BW_TOP_LEVELS) << side_index;
    book->absent_deletes += (uint32_t)__builtin_popcount(merge.absent);
    write_merged(chunk, &merge, holds);
    entry->count = holds;
    entry->low_key = chunk->key[0];
    side->level_count += merge.written - merge.removed;
    for (uint32_t i = 0; i < count; i++) {
        *out = (bw_level){.price = level[i].price, .quantity = level[i].quantity};
        out += ~merge.absent >> i & 1;
    }
    if (holds < held && holds <= BW_MERGE_BELOW) bw_side_shrink(store, side, at);
    return out;
}

/* Merges levels, best first, into the best chunks, as far as each gets enough of them. Returns how many. */
BW_INLINE uint32_t merge_best(bw_book_store *store, bw_book *book, uint32_t side_index, const int64_t *key,
                              const bw_level *level, uint32_t count, bw_level **out) {
    const bw_side *side = &book->side[side_index];
    uint32_t done = 0, orders = store->orders_seen;
    for (uint32_t i = 0; i < count; i++) orders |= level[i].orders;
    if (orders) return 0; /* orders of levels would have to move along */
    for (uint32_t at = side->directory_count; at-- && done < count;) {
        int64_t low = at ? bw_directory_of(store, side)[at].low_key : INT64_MIN;
        uint32_t end = done;
        while (end < count && key[end] >= low) end++;
        if (end - done < BW_MERGE_LEAST) break;
        bw_level *after =
            merge_chunk(store, book, side_index, at, key + done, level + done, end - done, *out);
        if (!after) break;
        *out = after;
        done = end;
    }
    return done;
}
#else
BW_INLINE uint32_t merge_best(bw_book_store *store, bw_book *book, uint32_t side_index, const int64_t *key,
                              const bw_level *level, uint32_t count, bw_level **out) {
    (void)store, (void)book, (void)side_index, (void)key, (void)level, (void)count, (void)out;
    return 0;
}
#endif

uint32_t BW_BOOK_SET_MANY(bw_book_store *store, bw_book *book, uint32_t side, const bw_level *level,
                          uint32_t count, bw_level *out) {
    const bw_level *end = level + count;
    bw_level *first = out;
    while (level < end) {
        bw_batch batch;
        uint32_t ordered = take_keys(&batch, level, (uint32_t)(end - level), side);
        if (ordered >= BW_BATCH_LEAST && book->side[side].directory_count) {
            uint32_t merged = merge_best(store, book, side, batch.key, level, ordered, &out);
            level += merged;
            if (merged) continue;
            out = set_ordered(store, book, side, &batch, level, ordered, out);
            level += ordered;
            continue;
        }
        int64_t evicted;
        enum bw_set done =
            bw_book_set(store, book, side, level->price, level->quantity, level->orders, &evicted);
        if (done != BW_SET_ABSENT && done != BW_SET_BEYOND) {
            *out++ = (bw_level){.price = level->price, .quantity = level->quantity, .orders = level->orders};
        }
        if (done == BW_SET_EVICTED) *out++ = (bw_level){.price = evicted};
        level++;
    }
    return (uint32_t)(out - first);
}
