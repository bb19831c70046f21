/* Maps a segment read-only, checks it once, follows its ring. Deep copies are in shm_copy.c.
 *
 * Nothing in the mapping is believed: offsets and capacities are checked against the file's size when
 * it is opened and kept privately, everything that can change later is read once, bounded, then used.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* F_OFD_GETLK */
#endif
#include "shm_reader_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BW_AHEAD_BYTES 512u
#define BW_LOCK_CHECK_NS 250000000 /* a heartbeat older than this is worth a system call */

/* Room for `count` items of `size` bytes at a 64-byte aligned offset, inside the file? */
static bool fits(uint64_t offset, uint64_t count, uint64_t size, uint64_t file_bytes) {
    return offset % 64 == 0 && offset <= file_bytes && count <= (file_bytes - offset) / size;
}

static const char *what_is_wrong(const bw_shm_header *header, uint64_t file_bytes) {
    if (file_bytes < BW_SHM_HEADER_BYTES) return "too short to be a segment";
    if (memcmp(header->magic, BW_SHM_MAGIC, sizeof header->magic) != 0) return "not a Bookwire segment";
    if (header->layout_version != BW_SHM_LAYOUT_VERSION)
        return "made by another version of Bookwire: restart it";
    if (header->header_bytes != BW_SHM_HEADER_BYTES || header->chunk_levels != BW_CHUNK_LEVELS)
        return "damaged: unknown layout";
    if (header->segment_bytes != file_bytes) return "damaged: not as long as it says";
    uint64_t sides = (uint64_t)header->book_capacity * BW_SIDES;
    if (!fits(header->symbol_offset, header->book_capacity, sizeof(bw_symbol), file_bytes) ||
        !fits(header->book_offset, header->book_capacity, sizeof(bw_book), file_bytes) ||
        !fits(header->directory_offset, sides, sizeof(bw_directory_entry), file_bytes) ||
        !fits(header->chunk_offset, header->chunk_capacity, sizeof(bw_chunk), file_bytes) ||
        !fits(header->ring_offset, header->ring_bytes, 1, file_bytes) ||
        !fits(header->stats_offset, 1, sizeof(bw_stats), file_bytes) ||
        (header->timing_offset && !fits(header->timing_offset, 1, sizeof(bw_timing), file_bytes)))
        return "damaged: parts lie outside of it";
    if (header->ring_bytes < BW_RECORD_BYTES_MAX || header->ring_bytes & (header->ring_bytes - 1))
        return "damaged: impossible ring";
    return NULL;
}

/* Takes over the checked numbers; the mapping may change, these do not. */
static void take_layout(bw_segment *segment, const bw_shm_header *header) {
    segment->generation = header->generation;
    segment->book_capacity = header->book_capacity;
    segment->chunk_capacity = header->chunk_capacity;
    segment->directory_offset = header->directory_offset;
    segment->ring_bytes = header->ring_bytes;
    segment->symbol = (const void *)(segment->base + header->symbol_offset);
    segment->book = (const void *)(segment->base + header->book_offset);
    segment->chunk = (const void *)(segment->base + header->chunk_offset);
    segment->ring = segment->base + header->ring_offset;
    segment->stats = (const void *)(segment->base + header->stats_offset);
    if (header->timing_offset) segment->timing = (const void *)(segment->base + header->timing_offset);
}

static bw_segment *free_segment(bw_segment *segment) {
    if (segment->base) munmap((void *)(uintptr_t)segment->base, segment->bytes);
    if (segment->scratch) {
        bw_book_store_free(segment->scratch->store);
        for (uint32_t side = 0; side < BW_SIDES; side++) free(segment->scratch->seen[side]);
    }
    if (segment->fd >= 0) close(segment->fd);
    free(segment->scratch);
    free(segment->path);
    free(segment);
    return NULL;
}

bw_segment *bw_segment_open(const char *path, char *error, uint32_t error_bytes) {
    bw_segment *segment = calloc(1, sizeof *segment);
    if (!segment) return NULL;
    segment->path = strdup(path);
    segment->scratch = calloc(1, sizeof *segment->scratch);
    segment->fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat file;
    if (!segment->path || !segment->scratch || segment->fd < 0 || fstat(segment->fd, &file)) {
        snprintf(error, error_bytes, "%s: cannot open: %s", path, strerror(errno));
        return free_segment(segment);
    }
    bw_shm_header header;
    memset(&header, 0, sizeof header);
    const char *wrong = "cannot be read";
    if (pread(segment->fd, &header, sizeof header, 0) >= 0)
        wrong = what_is_wrong(&header, (uint64_t)file.st_size);
    if (wrong) {
        snprintf(error, error_bytes, "%s: %s", path, wrong);
        errno = EINVAL;
        return free_segment(segment);
    }
    segment->bytes = (uint64_t)file.st_size;
    void *base = mmap(NULL, segment->bytes, PROT_READ, MAP_SHARED, segment->fd, 0);
    if (base == MAP_FAILED) {
        snprintf(error, error_bytes, "%s: cannot map: %s", path, strerror(errno));
        return free_segment(segment);
    }
    segment->base = base;
    segment->device = file.st_dev;
    segment->inode = file.st_ino;
    take_layout(segment, &header);
    return segment;
}

void bw_segment_close(bw_segment *segment) {
    if (segment) free_segment(segment);
}

const bw_shm_header *bw_segment_header(const bw_segment *segment) {
    return (const void *)segment->base;
}

bool bw_segment_has_book(const bw_segment *segment, uint32_t book) {
    return book < segment->book_capacity &&
           book < atomic_load_explicit(&bw_segment_header(segment)->book_count, memory_order_acquire);
}

const bw_symbol *bw_segment_symbol(const bw_segment *segment, uint32_t book) {
    return bw_segment_has_book(segment, book) ? segment->symbol + book : NULL;
}

const bw_book *bw_segment_book(const bw_segment *segment, uint32_t book) {
    return bw_segment_has_book(segment, book) ? segment->book + book : NULL;
}

const bw_stats *bw_segment_stats(const bw_segment *segment) {
    return segment->stats;
}

const bw_timing *bw_segment_timing(const bw_segment *segment) {
    return segment->timing;
}

/* -- life -------------------------------------------------------------------------------------- */

bool bw_segment_writer_gone(const bw_segment *segment) {
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    return fcntl(segment->fd, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
}

bool bw_segment_alive(bw_segment *segment, int64_t now_ns, int64_t patience_ns) {
    const bw_shm_header *header = bw_segment_header(segment);
    if (atomic_load_explicit(&header->state, memory_order_relaxed) == BW_SEGMENT_CLOSED) return false;
    int64_t beat_ns = (int64_t)atomic_load_explicit(&header->heartbeat_ns, memory_order_relaxed);
    if (now_ns < beat_ns) return true;
    uint64_t age_ns = (uint64_t)now_ns - (uint64_t)beat_ns;
    if (age_ns > (uint64_t)patience_ns) return false;
    return age_ns < BW_LOCK_CHECK_NS || !bw_segment_writer_gone(segment);
}

bool bw_segment_replaced(const bw_segment *segment) {
    struct stat named;
    return stat(segment->path, &named) == 0 &&
           (named.st_dev != segment->device || named.st_ino != segment->inode);
}

/* -- ring -------------------------------------------------------------------------------------- */

void bw_ring_seek_head(const bw_segment *segment, bw_ring_cursor *cursor) {
    cursor->position = atomic_load_explicit(&bw_segment_header(segment)->ring_head, memory_order_acquire);
}

static int overrun(const bw_segment *segment, bw_ring_cursor *cursor) {
    cursor->overruns++;
    bw_ring_seek_head(segment, cursor);
    return BW_READ_OVERRUN;
}

/* Has the writer claimed the place again that was just read? */
static bool lapped(const bw_segment *segment, uint64_t position) {
    atomic_thread_fence(memory_order_acquire);
    uint64_t claimed = atomic_load_explicit(&bw_segment_header(segment)->ring_reserved, memory_order_relaxed);
    return claimed - position > segment->ring_bytes;
}

int bw_ring_next(const bw_segment *segment, bw_ring_cursor *cursor, const bw_record **record) {
    uint64_t head = atomic_load_explicit(&bw_segment_header(segment)->ring_head, memory_order_acquire);
    for (uint32_t pads = 0; cursor->position != head; pads++) {
        if (head - cursor->position > segment->ring_bytes || cursor->position % 8 || pads > 1)
            return overrun(segment, cursor);
        uint64_t at = cursor->position & (segment->ring_bytes - 1);
        const bw_record *shared = (const void *)(segment->ring + at);
        /* all lines at once, not the next after the first has said how many there are */
        for (uint64_t line = 0; line < BW_AHEAD_BYTES && line < head - cursor->position; line += 64)
            __builtin_prefetch((const uint8_t *)shared + line);
        uint32_t bytes = *(const volatile uint32_t *)&shared->bytes;
        uint8_t type = *(const volatile uint8_t *)&shared->type;
        if (bytes % 8 || bytes == 0 || bytes > segment->ring_bytes - at || bytes > head - cursor->position)
            return overrun(segment, cursor);
        if (type == BW_RECORD_PAD) {
            if (lapped(segment, cursor->position)) return overrun(segment, cursor);
            cursor->position += bytes;
            continue;
        }
        if (bytes < sizeof *shared || bytes > BW_RECORD_BYTES_MAX) return overrun(segment, cursor);
        bw_record *copy = (void *)segment->scratch->record;
        memcpy(copy, shared, bytes);
        uint64_t changes = (uint64_t)copy->bid_count + copy->ask_count;
        if (lapped(segment, cursor->position) || copy->bytes != bytes ||
            bytes != sizeof *copy + changes * sizeof(bw_level))
            return overrun(segment, cursor);
        *record = copy;
        return BW_READ_OK;
    }
    return BW_READ_EMPTY;
}

int bw_ring_done(const bw_segment *segment, bw_ring_cursor *cursor, const bw_record *record) {
    (void)segment;
    cursor->position += record->bytes;
    return BW_READ_OK;
}
