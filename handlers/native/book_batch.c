/* Many levels of one side at once: the way a message changes a book.
 *
 * One level by itself waits for its own search: directory, then chunk, then a branch nobody can foresee.
 * Levels of a message mostly come best first. Then no change moves what a later one looks for, so all
 * places are found beforehand, in loops without such branches that overlap; only then levels are written,
 * and what makes chunks split, merge or overflow goes by bw_book_set().
 */
#include "book_search.h"

#include <string.h>

#define BW_BATCH 32u
#define BW_SHRINKS_AT 17u /* a removal that leaves fewer may merge chunks (see book.c) */

#if defined(__x86_64__)

typedef struct bw_batch {
    uint32_t entry[BW_BATCH];
    uint32_t place[BW_BATCH];
    int64_t key[BW_BATCH];
    uint8_t absent[BW_BATCH];   /* levels that the side does not hold and that are not set */
    uint8_t removed[BW_BATCH];  /* indexes of levels to take out, and to put in */
    uint8_t inserted[BW_BATCH];
    uint32_t removed_count, inserted_count;
} bw_batch;

BW_INLINE bw_directory_entry *directory_of(const bw_book_store *store, const bw_side *side) {
    return (bw_directory_entry *)(void *)(store->base + side->directory_offset);
}

/* Keys of up to BW_BATCH levels; returns how many of them go from best to worse, each once. */
BW_INLINE uint32_t take_keys(bw_batch *batch, const bw_level *level, uint32_t count, uint32_t side) {
    if (count > BW_BATCH) count = BW_BATCH;
    for (uint32_t i = 0; i < count; i++) batch->key[i] = side ? -level[i].price : level[i].price;
    uint32_t ordered = 1;
    while (ordered < count && batch->key[ordered] < batch->key[ordered - 1]) ordered++;
    return ordered;
}

/* One step of a search by halves, held free of branches: compilers like to make some. */
#define HALVE(at, half, condition, memory, wanted) \
    do { \
        size_t next_ = (at) + (half); \
        __asm__("cmpq %2, %3\n\tcmov" condition " %1, %0" : "+r"(at) : "r"(next_), "r"(wanted), "m"(memory) : "cc"); \
    } while (0)

BW_INLINE uint32_t place_of(const int64_t *key, int64_t wanted) {
    size_t at = 0;
    HALVE(at, 32, "l", key[at + 31], wanted);
    HALVE(at, 16, "l", key[at + 15], wanted);
    HALVE(at, 8, "l", key[at + 7], wanted);
    HALVE(at, 4, "l", key[at + 3], wanted);
    HALVE(at, 2, "l", key[at + 1], wanted);
    HALVE(at, 1, "l", key[at], wanted);
    return (uint32_t)(at + (key[at] < wanted));
}

/* As bw_directory_find(). */
BW_INLINE uint32_t entry_of(const bw_directory_entry *entry, uint32_t count, int64_t wanted) {
    size_t at = 0;
    for (uint32_t rest = count; rest > 1;) {
        uint32_t half = rest / 2;
        HALVE(at, half, "le", entry[at + half].low_key, wanted);
        rest -= half;
    }
    return (uint32_t)at;
}

/* Place of each key, and what is to be done there. Changes of quantity are done at once. */
BW_INLINE BW_AVX2 void find_all(bw_book_store *store, const bw_side *side, bw_batch *batch, const bw_level *level,
                                uint32_t count) {
    const bw_directory_entry *directory = directory_of(store, side);
    const uint32_t entries = side->directory_count;
    for (uint32_t i = 0; i < count; i++) {
        batch->entry[i] = entry_of(directory, entries, batch->key[i]);
    }
    uint32_t removed = 0, inserted = 0;
    for (uint32_t i = 0; i < count; i++) {
        bw_chunk *chunk = &store->chunk[directory[batch->entry[i]].chunk];
        uint32_t place = place_of(chunk->key, batch->key[i]);
        uint32_t at = place & (BW_CHUNK_LEVELS - 1); /* a full chunk may have it behind its end */
        bool found = place == at && chunk->key[at] == batch->key[i], set = level[i].quantity != 0;
        int64_t unused[2];
        int64_t *quantity = found & set ? &chunk->quantity[at] : unused;
        uint32_t *orders = found & set ? &chunk->orders[at] : (uint32_t *)(void *)(unused + 1);
        *quantity = level[i].quantity;
        *orders = level[i].orders;
        batch->place[i] = place;
        batch->absent[i] = !found & !set;
        batch->removed[removed] = (uint8_t)i;
        removed += found & !set;
        batch->inserted[inserted] = (uint8_t)i;
        inserted += !found & set;
    }
    batch->removed_count = removed;
    batch->inserted_count = inserted;
}

/* a[place] leaves; what is above moves down. */
BW_INLINE BW_AVX2 void close_gap(int64_t *a, uint32_t place, uint32_t count) {
    const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
    uint32_t j = place & ~3u;
    __m256i old = _mm256_loadu_si256((const __m256i *)(const void *)(a + j));
    __m256i next = _mm256_loadu_si256((const __m256i *)(const void *)(a + j + 1));
    __m256i above = _mm256_cmpgt_epi64(lane, _mm256_set1_epi64x((int64_t)(place & 3u) - 1));
    _mm256_storeu_si256((__m256i *)(void *)(a + j), _mm256_blendv_epi8(old, next, above));
    for (j += 4; j < count; j += 4) {
        _mm256_storeu_si256((__m256i *)(void *)(a + j), _mm256_loadu_si256((const __m256i *)(const void *)(a + j + 1)));
    }
}

/* a[place] becomes free; what stands there and above moves up. count < BW_CHUNK_LEVELS. */
BW_INLINE BW_AVX2 void open_gap(int64_t *a, uint32_t place, uint32_t count) {
    const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
    uint32_t low = place & ~3u, j = count & ~3u;
    for (; j > low; j -= 4) {
        _mm256_storeu_si256((__m256i *)(void *)(a + j), _mm256_loadu_si256((const __m256i *)(const void *)(a + j - 1)));
    }
    __m256i old = _mm256_loadu_si256((const __m256i *)(const void *)(a + low));
    __m256i above = _mm256_cmpgt_epi64(lane, _mm256_set1_epi64x((int64_t)(place & 3u)));
    __m256i up = _mm256_permute4x64_epi64(old, _MM_SHUFFLE(2, 1, 0, 0));
    _mm256_storeu_si256((__m256i *)(void *)(a + low), _mm256_blendv_epi8(old, up, above));
}

BW_INLINE BW_AVX2 void take_out_fast(bw_book_store *store, bw_side *side, bw_directory_entry *entry, uint32_t place) {
    bw_chunk *chunk = &store->chunk[entry->chunk];
    uint32_t count = entry->count--;
    close_gap(chunk->key, place, count);
    close_gap(chunk->quantity, place, count);
    if (store->orders_seen) {
        memmove(chunk->orders + place, chunk->orders + place + 1, (count - 1 - place) * sizeof *chunk->orders);
    }
    chunk->key[BW_CHUNK_LEVELS - 1] = BW_KEY_NONE; /* the last lines move in what stands behind the array */
    chunk->key[count - 1] = BW_KEY_NONE;
    entry->low_key = chunk->key[0];
    side->level_count--;
}

BW_INLINE BW_AVX2 void put_in_fast(bw_book_store *store, bw_side *side, bw_directory_entry *entry, uint32_t place,
                                   const bw_level *level, int64_t key) {
    bw_chunk *chunk = &store->chunk[entry->chunk];
    uint32_t count = entry->count++;
    open_gap(chunk->key, place, count);
    open_gap(chunk->quantity, place, count);
    if (store->orders_seen) {
        memmove(chunk->orders + place + 1, chunk->orders + place, (count - place) * sizeof *chunk->orders);
    }
    chunk->key[place] = key;
    chunk->quantity[place] = level->quantity;
    chunk->orders[place] = level->orders;
    entry->low_key = chunk->key[0];
    side->level_count++;
}

/* Whether a change at the worst of the places found may show among the top levels. */
BW_INLINE bool touches_top(const bw_side *side, const bw_directory_entry *directory, uint32_t entry, uint32_t place) {
    uint32_t better = directory[entry].count - place, last = side->directory_count - 1;
    if (entry < last) better += directory[last].count;
    return better <= BW_TOP_LEVELS;
}

/* Removals, best first: none moves the place of a later one. */
BW_INLINE BW_AVX2 void remove_all(bw_book_store *store, bw_book *book, uint32_t side_index, const bw_batch *batch,
                                  const bw_level *level) {
    bw_side *side = &book->side[side_index];
    bw_directory_entry *directory = directory_of(store, side);
    uint32_t entries = side->directory_count;
    for (uint32_t k = 0; k < batch->removed_count; k++) {
        uint32_t i = batch->removed[k];
        bw_directory_entry *entry = directory + batch->entry[i];
        if (__builtin_expect(side->directory_count == entries && entry->count > BW_SHRINKS_AT, 1)) {
            take_out_fast(store, side, entry, batch->place[i]);
        } else {
            int64_t evicted;
            bw_book_set(store, book, side_index, level[i].price, 0, 0, &evicted);
        }
    }
}

/* Insertions, best first. Their places are looked up again where removals may have moved them. */
BW_INLINE BW_AVX2 bw_level *insert_all(bw_book_store *store, bw_book *book, uint32_t side_index, bw_batch *batch,
                                       const bw_level *level, uint32_t entries_found, bw_level *out, bw_level *first) {
    bw_side *side = &book->side[side_index];
    bw_directory_entry *directory = directory_of(store, side);
    bool moved = side->directory_count != entries_found;
    for (uint32_t k = 0; k < batch->inserted_count; k++) {
        uint32_t i = batch->inserted[k];
        int64_t key = batch->key[i];
        uint32_t at = __builtin_expect(moved, 0) ? bw_directory_find(directory, side->directory_count, key)
                                                 : batch->entry[i];
        bw_directory_entry *entry = directory + at;
        if (__builtin_expect(side->directory_count && entry->count < BW_CHUNK_LEVELS &&
                             side->level_count < side->level_capacity, 1)) {
            uint32_t place = batch->place[i];
            if (moved || batch->removed_count) place = bw_chunk_below_avx2(store->chunk[entry->chunk].key, key);
            put_in_fast(store, side, entry, place, &level[i], key);
            continue;
        }
        int64_t evicted;
        enum bw_set done = bw_book_set(store, book, side_index, level[i].price, level[i].quantity, level[i].orders,
                                       &evicted);
        moved = true;
        if (done == BW_SET_EVICTED) *out++ = (bw_level){.price = evicted};
        if (done == BW_SET_BEYOND) {
            for (bw_level *at_out = first; at_out < out; at_out++) {
                if (at_out->price != level[i].price) continue;
                memmove(at_out, at_out + 1, (size_t)(out - at_out - 1) * sizeof *out);
                out--;
                break;
            }
        }
    }
    return out;
}

static BW_AVX2 bw_level *set_ordered(bw_book_store *store, bw_book *book, uint32_t side_index, bw_batch *batch,
                                     const bw_level *level, uint32_t count, bw_level *out) {
    bw_side *side = &book->side[side_index];
    uint32_t entries = side->directory_count, absent = 0, orders = 0;
    for (uint32_t i = 0; i < count; i++) orders |= level[i].orders;
    store->orders_seen |= orders;
    find_all(store, side, batch, level, count);
    if (touches_top(side, directory_of(store, side), batch->entry[0], batch->place[0])) {
        book->top_stale |= 1u << side_index;
    }
    bw_level *first = out;
    for (uint32_t i = 0; i < count; i++) {
        *out = (bw_level){.price = level[i].price, .quantity = level[i].quantity, .orders = level[i].orders};
        out += !batch->absent[i];
        absent += batch->absent[i];
    }
    book->absent_deletes += absent;
    remove_all(store, book, side_index, batch, level);
    return insert_all(store, book, side_index, batch, level, entries, out, first);
}
#endif

/* One after the other, in any order. */
static bw_level *set_each(bw_book_store *store, bw_book *book, uint32_t side, const bw_level *level, uint32_t count,
                          bw_level *out) {
    for (const bw_level *end = level + count; level < end; level++) {
        int64_t evicted;
        enum bw_set done = bw_book_set(store, book, side, level->price, level->quantity, level->orders, &evicted);
        if (done == BW_SET_ABSENT || done == BW_SET_BEYOND) continue;
        *out++ = (bw_level){.price = level->price, .quantity = level->quantity, .orders = level->orders};
        if (done == BW_SET_EVICTED) *out++ = (bw_level){.price = evicted};
    }
    return out;
}

uint32_t bw_book_set_many(bw_book_store *store, bw_book *book, uint32_t side, const bw_level *level, uint32_t count,
                          bw_level *out) {
    const bw_level *end = level + count;
    bw_level *first = out;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        bw_batch batch;
        while (level < end && book->side[side].directory_count) {
            uint32_t ordered = take_keys(&batch, level, (uint32_t)(end - level), side);
            if (ordered < 3) break;
            out = set_ordered(store, book, side, &batch, level, ordered, out);
            level += ordered;
        }
    }
#endif
    return (uint32_t)(set_each(store, book, side, level, (uint32_t)(end - level), out) - first);
}
