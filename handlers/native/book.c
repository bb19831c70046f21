/* The book but for its hot function, which is in book_set.c: locks, tops, chunks that split, empty and
 * merge, full books and pools, many levels at once. See book.h for the rules.
 */
#include "book_parts.h"

#define BW_MERGED_MAX (BW_CHUNK_LEVELS / 8u * 5u) /* two chunks merge up to this, far from the next split */
#define BW_SPLIT_TOP (BW_CHUNK_LEVELS / 4u * 3u)  /* the best chunk splits high: most changes are there */

#define BW_RARE __attribute__((noinline, cold))

void bw_book_begin(bw_book *book) {
    uint64_t version = atomic_load_explicit(&book->version, memory_order_relaxed);
    atomic_store_explicit(&book->version, version + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
}

static void refresh_top(const bw_book_store *store, bw_book *book, uint32_t side_index) {
    book->top_count[side_index] =
        bw_book_copy(store, book, side_index, BW_TOP_LEVELS, book->top[side_index]);
}

void bw_book_end(bw_book_store *store, bw_book *book) {
    for (uint32_t side = 0; side < BW_SIDES; side++)
        if (book->top_stale >> side & 1) refresh_top(store, book, side);
    book->top_stale = 0;
    uint64_t version = atomic_load_explicit(&book->version, memory_order_relaxed);
    atomic_store_explicit(&book->version, version + 1, memory_order_release);
}

uint32_t bw_book_copy(const bw_book_store *store, const bw_book *book, uint32_t side_index, uint32_t depth,
                      bw_level *out) {
    const bw_side *side = &book->side[side_index];
    const bw_directory_entry *entry = bw_directory_of(store, side);
    uint32_t copied = 0;
    for (uint32_t i = side->directory_count; i-- && copied < depth;) {
        const bw_chunk *chunk = &store->chunk[entry[i].chunk];
        for (uint32_t at = entry[i].count; at-- && copied < depth; copied++)
            out[copied] = (bw_level){.price = bw_key_of(side_index, chunk->key[at]),
                                     .quantity = chunk->quantity[at], .orders = chunk->orders[at]};
    }
    return copied;
}

uint32_t bw_book_copy_behind(const bw_book_store *store, const bw_book *book, uint32_t side_index,
                             uint32_t skip, uint32_t count, bw_level *out) {
    const bw_side *side = &book->side[side_index];
    const bw_directory_entry *entry = bw_directory_of(store, side);
    uint32_t copied = 0, i = side->directory_count;
    while (i > 0 && entry[i - 1].count <= skip) skip -= entry[--i].count;
    for (; i-- && copied < count; skip = 0) {
        const bw_chunk *chunk = &store->chunk[entry[i].chunk];
        for (uint32_t at = entry[i].count - skip; at-- && copied < count; copied++)
            out[copied] = (bw_level){.price = bw_key_of(side_index, chunk->key[at]),
                                     .quantity = chunk->quantity[at], .orders = chunk->orders[at]};
    }
    return copied;
}

/* -- chunks ------------------------------------------------------------------------------------ */

static void free_chunk(bw_book_store *store, uint32_t index) {
    store->free_chunk[store->free_count++] = index;
}

/* Puts an empty chunk into the directory at `at`; the caller knows that there is one and room. */
static bw_chunk *open_entry(bw_book_store *store, bw_side *side, uint32_t at) {
    bw_directory_entry *entry = bw_directory_of(store, side);
    memmove(entry + at + 1, entry + at, (side->directory_count - at) * sizeof *entry);
    entry[side->directory_count + 1].low_key = BW_KEY_NONE;
    if (side->directory_count++ == 0) store->reserved_chunks--;
    entry[at].chunk = store->free_chunk[--store->free_count];
    entry[at].count = 0;
    bw_chunk *chunk = &store->chunk[entry[at].chunk];
    for (uint32_t i = 0; i < BW_CHUNK_LEVELS; i++) chunk->key[i] = BW_KEY_NONE;
    return chunk;
}

static void close_entry(bw_book_store *store, bw_side *side, uint32_t at) {
    bw_directory_entry *entry = bw_directory_of(store, side);
    free_chunk(store, entry[at].chunk);
    side->directory_count--;
    if (side->directory_count == 0) store->reserved_chunks++;
    memmove(entry + at, entry + at + 1, (side->directory_count - at) * sizeof *entry);
    entry[side->directory_count].low_key = BW_KEY_NONE;
}

/* Moves `count` levels from one chunk's place to the end of another's levels. */
static void move_levels(bw_chunk *to, uint32_t to_at, bw_chunk *from, uint32_t from_at, uint32_t count) {
    memcpy(to->key + to_at, from->key + from_at, count * sizeof *to->key);
    memcpy(to->quantity + to_at, from->quantity + from_at, count * sizeof *to->quantity);
    memcpy(to->orders + to_at, from->orders + from_at, count * sizeof *to->orders);
    for (uint32_t i = 0; i < count; i++) from->key[from_at + i] = BW_KEY_NONE;
}

static void merge_up(bw_book_store *store, bw_side *side, uint32_t at) {
    bw_directory_entry *entry = bw_directory_of(store, side);
    move_levels(&store->chunk[entry[at].chunk], entry[at].count, &store->chunk[entry[at + 1].chunk], 0,
                entry[at + 1].count);
    entry[at].count += entry[at + 1].count;
    close_entry(store, side, at + 1);
}

/* Merges wherever two neighbours fit one chunk: no two do afterwards. */
static void compact(bw_book_store *store, bw_side *side) {
    const bw_directory_entry *entry = bw_directory_of(store, side);
    for (uint32_t at = 0; at + 1 < side->directory_count;)
        if (entry[at].count + entry[at + 1].count <= BW_CHUNK_LEVELS) merge_up(store, side, at);
        else at++;
}

BW_RARE void bw_side_shrink(bw_book_store *store, bw_side *side, uint32_t at) {
    const bw_directory_entry *entry = bw_directory_of(store, side);
    uint32_t count = entry[at].count;
    if (count == 0) close_entry(store, side, at);
    else if (at && entry[at - 1].count + count <= BW_MERGED_MAX) merge_up(store, side, at - 1);
    else if (at + 1 < side->directory_count && entry[at + 1].count + count <= BW_MERGED_MAX)
        merge_up(store, side, at);
}

/* -- one level --------------------------------------------------------------------------------- */

/* The worst level leaves because there is no room for a better one. */
static int64_t evict(bw_book_store *store, bw_book *book, uint32_t side_index) {
    bw_side *side = &book->side[side_index];
    bw_directory_entry *entry = bw_directory_of(store, side);
    int64_t price = bw_key_of(side_index, entry->low_key);
    bw_take_out(store, side, entry, 0);
    book->evicted++;
    book->top_stale |= 1u << side_index;
    return price;
}

/* Makes room in a full chunk without another chunk: its worst level moves down a chunk, and so on
 * until one has room. False when all below are full: the worst level of all has to leave. */
static bool spill(bw_book_store *store, bw_side *side, uint32_t at) {
    bw_directory_entry *entry = bw_directory_of(store, side);
    uint32_t room = at;
    while (room && entry[room].count == BW_CHUNK_LEVELS) room--;
    if (entry[room].count == BW_CHUNK_LEVELS) return false;
    for (; room < at; room++) {
        bw_chunk *from = &store->chunk[entry[room + 1].chunk];
        move_levels(&store->chunk[entry[room].chunk], entry[room].count++, from, 0, 1);
        uint32_t rest = --entry[room + 1].count;
        memmove(from->key, from->key + 1, rest * sizeof *from->key);
        memmove(from->quantity, from->quantity + 1, rest * sizeof *from->quantity);
        memmove(from->orders, from->orders + 1, rest * sizeof *from->orders);
        from->key[rest] = BW_KEY_NONE;
        entry[room + 1].low_key = from->key[0];
    }
    return true;
}

static bool can_open(const bw_book_store *store, const bw_side *side) {
    return side->directory_count + 1 < side->directory_capacity && store->free_count > store->reserved_chunks;
}

/* Splits the full chunk `at` where the key shall go to place `place` of it. */
static void split(bw_book_store *store, bw_side *side, uint32_t at, uint32_t place) {
    bw_directory_entry *entry = bw_directory_of(store, side);
    uint32_t keep = BW_CHUNK_LEVELS / 2;
    if (at + 1 == side->directory_count && place >= BW_SPLIT_TOP) keep = BW_SPLIT_TOP;
    if (at == 0 && place == 0) keep = 0; /* a side filled from the best level down stays dense */
    bw_chunk *upper = open_entry(store, side, at + 1);
    move_levels(upper, 0, &store->chunk[entry[at].chunk], keep, BW_CHUNK_LEVELS - keep);
    entry[at].count = keep;
    entry[at + 1].count = BW_CHUNK_LEVELS - keep;
    entry[at + 1].low_key = upper->key[0];
}

/* What is worse than the worst level held is no longer known to be right. */
static void draw_in(const bw_book_store *store, bw_side *side, uint32_t side_index) {
    if (side->directory_count == 0) return;
    int64_t worst = bw_directory_of(store, side)->low_key;
    if (side->verified_price == 0 || bw_key_of(side_index, side->verified_price) < worst)
        side->verified_price = bw_key_of(side_index, worst);
}

/* The entry the key goes into, with room made in it; NULL if a level must leave first. */
static bw_directory_entry *make_room(bw_book_store *store, bw_book *book, uint32_t side_index, int64_t key) {
    bw_side *side = &book->side[side_index];
    bw_directory_entry *entry = bw_directory_of(store, side);
    uint32_t at = bw_directory_find(entry, side->directory_count, key);
    if (entry[at].count < BW_CHUNK_LEVELS) return entry + at;
    if (!can_open(store, side)) {
        for (uint32_t each = 0; each < BW_SIDES; each++) compact(store, &book->side[each]);
        at = bw_directory_find(entry, side->directory_count, key);
    }
    if (!can_open(store, side)) return spill(store, side, at) ? entry + at : NULL;
    split(store, side, at, bw_chunk_below(store->chunk[entry[at].chunk].key, key));
    return entry + bw_directory_find(entry, side->directory_count, key);
}

/* An insertion that found its chunk or the book full. */
BW_RARE enum bw_set bw_side_set_full(bw_book_store *store, bw_book *book, uint32_t side_index,
                                    const bw_level *level, int64_t *evicted) {
    bw_side *side = &book->side[side_index];
    int64_t key = bw_key_of(side_index, level->price);
    bool full = side->level_count >= side->level_capacity;
    bw_directory_entry *entry = full ? NULL : make_room(store, book, side_index, key);
    enum bw_set result = entry ? BW_SET_INSERTED : BW_SET_EVICTED;
    if (!entry) {
        if (key < bw_directory_of(store, side)->low_key) {
            draw_in(store, side, side_index);
            return BW_SET_BEYOND;
        }
        *evicted = evict(store, book, side_index);
        if (side->directory_count == 0) open_entry(store, side, 0);
        entry = make_room(store, book, side_index, key);
    }
    bw_put_in(store, side, entry, bw_chunk_below(store->chunk[entry->chunk].key, key), level, key);
    if (result == BW_SET_EVICTED) draw_in(store, side, side_index);
    return result;
}

BW_RARE enum bw_set bw_side_set_first(bw_book_store *store, bw_book *book, uint32_t side_index,
                                     const bw_level *level) {
    if (level->quantity == 0) {
        book->absent_deletes++;
        return BW_SET_ABSENT;
    }
    bw_side *side = &book->side[side_index];
    open_entry(store, side, 0);
    bw_put_in(store, side, bw_directory_of(store, side), 0, level, bw_key_of(side_index, level->price));
    book->top_stale |= 1u << side_index;
    return BW_SET_INSERTED;
}

enum bw_book_variant bw_book_variant;

__attribute__((constructor)) static void choose_variant(void) {
    bw_book_variant = bw_book_variant_best();
}

enum bw_book_variant bw_book_variant_best(void) {
#if defined(BW_BOOK_VARIANTS)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512bw")) return BW_BOOK_AVX512;
    if (__builtin_cpu_supports("avx2")) return BW_BOOK_AVX2;
#endif
    return BW_BOOK_PLAIN;
}

enum bw_set bw_book_set(bw_book_store *store, bw_book *book, uint32_t side, int64_t price,
                        int64_t quantity, uint32_t orders, int64_t *evicted) {
#if defined(BW_BOOK_VARIANTS)
    if (bw_book_variant == BW_BOOK_AVX512)
        return bw_book_set_avx512(store, book, side, price, quantity, orders, evicted);
    if (bw_book_variant == BW_BOOK_AVX2)
        return bw_book_set_avx2(store, book, side, price, quantity, orders, evicted);
#endif
    return bw_book_set_plain(store, book, side, price, quantity, orders, evicted);
}

uint32_t bw_book_set_many(bw_book_store *store, bw_book *book, uint32_t side, const bw_level *level,
                          uint32_t count, bw_level *out) {
#if defined(BW_BOOK_VARIANTS)
    if (bw_book_variant == BW_BOOK_AVX512)
        return bw_book_set_many_avx512(store, book, side, level, count, out);
    if (bw_book_variant == BW_BOOK_AVX2) return bw_book_set_many_avx2(store, book, side, level, count, out);
#endif
    return bw_book_set_many_plain(store, book, side, level, count, out);
}

/* -- many levels ------------------------------------------------------------------------------- */

void bw_book_clear(bw_book_store *store, bw_book *book) {
    for (uint32_t each = 0; each < BW_SIDES; each++) {
        bw_side *side = &book->side[each];
        const bw_directory_entry *entry = bw_directory_of(store, side);
        if (side->directory_count) store->reserved_chunks++;
        for (uint32_t i = side->directory_count; i--;) free_chunk(store, entry[i].chunk);
        side->directory_count = 0;
        side->level_count = 0;
        side->verified_price = 0;
    }
    book->top_stale = 3;
}

uint32_t bw_book_load(bw_book_store *store, bw_book *book, uint32_t side_index, const bw_level *best_first,
                      uint32_t count) {
    bw_side *side = &book->side[side_index];
    uint64_t chunks = store->free_count - store->reserved_chunks + 1; /* + 1: this side's own */
    if (chunks >= side->directory_capacity) chunks = side->directory_capacity - 1;
    uint32_t each = BW_SPLIT_TOP; /* room in every chunk, unless that would lose levels */
    if (count > side->level_capacity) count = side->level_capacity;
    if (count > chunks * each) each = BW_CHUNK_LEVELS;
    if (count > chunks * each) count = (uint32_t)chunks * each;
    for (uint32_t left = count; left;) {
        uint32_t take = left < each ? left : each, at = side->directory_count;
        bw_chunk *chunk = open_entry(store, side, at);
        for (uint32_t i = 0; i < take; i++) {
            const bw_level *level = &best_first[--left];
            chunk->key[i] = bw_key_of(side_index, level->price);
            chunk->quantity[i] = level->quantity;
            chunk->orders[i] = level->orders;
            store->orders_seen |= level->orders;
        }
        bw_directory_of(store, side)[at].count = take;
        bw_directory_of(store, side)[at].low_key = chunk->key[0];
    }
    side->level_count = count;
    book->top_stale |= 1u << side_index;
    return count;
}

uint32_t bw_book_cut(bw_book_store *store, bw_book *book, uint32_t side_index, uint32_t depth,
                     int64_t *left, uint32_t capacity) {
    bw_side *side = &book->side[side_index];
    uint32_t gone = 0;
    for (; side->level_count > depth; gone++) {
        bw_directory_entry *entry = bw_directory_of(store, side);
        if (gone < capacity) left[gone] = bw_key_of(side_index, entry->low_key);
        bw_take_out(store, side, entry, 0);
    }
    if (gone && depth < BW_TOP_LEVELS) book->top_stale |= 1u << side_index;
    return gone;
}

static bool scale_of(uint32_t digits, int64_t *scale) {
    *scale = 1;
    for (uint32_t i = 0; i < digits; i++)
        if (__builtin_mul_overflow(*scale, 10, scale)) return false;
    return true;
}

BW_INLINE bool side_rescale(bw_book_store *store, bw_side *side, int64_t price_scale, int64_t quantity_scale,
                            bool write) {
    bw_directory_entry *entry = bw_directory_of(store, side);
    bool fits = !__builtin_mul_overflow(side->verified_price, price_scale, &(int64_t){0});
    for (uint32_t i = 0; i < side->directory_count; i++) {
        bw_chunk *chunk = &store->chunk[entry[i].chunk];
        for (uint32_t at = 0; at < entry[i].count; at++) {
            int64_t key, quantity;
            fits &= !__builtin_mul_overflow(chunk->key[at], price_scale, &key);
            fits &= !__builtin_mul_overflow(chunk->quantity[at], quantity_scale, &quantity);
            if (!write) continue;
            chunk->key[at] = key;
            chunk->quantity[at] = quantity;
        }
        if (write) entry[i].low_key = chunk->key[0];
    }
    if (write) side->verified_price *= price_scale;
    return fits;
}

bool bw_book_rescale(bw_book_store *store, bw_book *book, uint32_t price_up, uint32_t quantity_up) {
    int64_t price_scale, quantity_scale;
    if (!scale_of(price_up, &price_scale) || !scale_of(quantity_up, &quantity_scale)) return false;
    for (uint32_t side = 0; side < BW_SIDES; side++)
        if (!side_rescale(store, &book->side[side], price_scale, quantity_scale, false)) return false;
    for (uint32_t side = 0; side < BW_SIDES; side++)
        side_rescale(store, &book->side[side], price_scale, quantity_scale, true);
    book->price_exponent = (uint8_t)(book->price_exponent + price_up);
    book->quantity_exponent = (uint8_t)(book->quantity_exponent + quantity_up);
    book->top_stale = 3;
    return true;
}
