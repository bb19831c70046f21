/* Where books live: in memory of their own (mirrors) or in a segment someone else laid out. */
#include "book.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Two neighbours that fit one chunk are merged before the directory is said to be full, so any two
 * hold more than a chunk together: entries never exceed two a full chunk, and one; and one stands behind
 * the last. */
uint32_t bw_book_directory_capacity(uint32_t level_capacity) {
    uint32_t full = (level_capacity + BW_CHUNK_LEVELS - 1) / BW_CHUNK_LEVELS;
    return 2 * full + 3;
}

void bw_book_store_init(bw_book_store *store, const bw_book_area *area, uint32_t *free_chunk) {
    *store = (bw_book_store){
        .base = area->base,
        .chunk = (bw_chunk *)(void *)(area->base + area->chunk_offset),
        .free_chunk = free_chunk,
        .free_count = area->chunk_capacity,
        .chunk_capacity = area->chunk_capacity,
        .reserved_chunks = area->books * BW_SIDES,
        .book_capacity = area->books,
        .book = (bw_book *)(void *)(area->base + area->book_offset),
    };
    for (uint32_t i = 0; i < area->chunk_capacity; i++) free_chunk[i] = area->chunk_capacity - 1 - i;
    uint32_t entries = bw_book_directory_capacity(area->level_capacity);
    for (uint32_t book = 0; book < area->books; book++)
        for (uint32_t side = 0; side < BW_SIDES; side++)
            store->book[book].side[side] = (bw_side){
                .directory_offset = area->directory_offset +
                                    (uint64_t)(book * BW_SIDES + side) * entries * sizeof(bw_directory_entry),
                .directory_capacity = entries,
                .level_capacity = area->level_capacity,
            };
}

static uint64_t line_up(uint64_t bytes) {
    return (bytes + 63) & ~UINT64_C(63);
}

bw_book_store *bw_book_store_new(uint32_t books, uint32_t level_capacity, uint32_t chunk_capacity) {
    uint64_t sides = (uint64_t)books * BW_SIDES;
    uint32_t entries = bw_book_directory_capacity(level_capacity);
    uint64_t chunks = chunk_capacity ? chunk_capacity : sides * entries;
    if (level_capacity == 0 || chunks > UINT32_MAX) return NULL;
    if (chunks < sides) chunks = sides;
    bw_book_area area = {.books = books, .level_capacity = level_capacity,
                         .chunk_capacity = (uint32_t)chunks};
    area.book_offset = line_up(sizeof(bw_book_store));
    area.directory_offset = area.book_offset + (uint64_t)books * sizeof(bw_book);
    area.chunk_offset = line_up(area.directory_offset + sides * entries * sizeof(bw_directory_entry));
    uint64_t free_offset = area.chunk_offset + chunks * sizeof(bw_chunk);
    uint64_t bytes = free_offset + chunks * sizeof(uint32_t);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED) return NULL;
    area.base = memory;
    bw_book_store *store = memory;
    bw_book_store_init(store, &area, (uint32_t *)(void *)(area.base + free_offset));
    store->mapped_bytes = bytes;
    return store;
}

void bw_book_store_free(bw_book_store *store) {
    if (store) munmap(store, store->mapped_bytes);
}

bw_book *bw_book_store_at(bw_book_store *store, uint32_t book) {
    return &store->book[book];
}
