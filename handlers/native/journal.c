#include "journal.h"

#include "crc32c.h"
#include "shm_reader_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CRC_FROM 8u /* of the header */

struct bw_journal {
    int fd;
    int error;
    uint64_t bytes; /* of the file: the end of its last whole block */
    uint64_t blocks;
    uint32_t records;
    uint32_t resets;
    uint32_t reset[BW_JOURNAL_RESETS_MAX];
    /* a block is made here, header and payload in one piece */
    uint8_t room[sizeof(bw_journal_block) + BW_JOURNAL_SPAN_BYTES + 8];
};

static uint64_t padded(uint64_t bytes) {
    return (bytes + 7) & ~UINT64_C(7);
}

bw_journal *bw_journal_new(const char *path, char *error, uint32_t error_bytes) {
    bw_journal *journal = calloc(1, sizeof *journal);
    if (!journal) {
        snprintf(error, error_bytes, "%s: out of memory", path);
        return NULL;
    }
    journal->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
    if (journal->fd >= 0) return journal;
    int saved = errno;
    snprintf(error, error_bytes, "%s: %s", path, strerror(saved));
    free(journal);
    errno = saved;
    return NULL;
}

void bw_journal_free(bw_journal *journal) {
    if (!journal) return;
    close(journal->fd);
    free(journal);
}

int bw_journal_sync(bw_journal *journal) {
    return fdatasync(journal->fd) ? -errno : 0;
}

uint64_t bw_journal_bytes(const bw_journal *journal) {
    return journal->bytes;
}

int bw_journal_errno(const bw_journal *journal) {
    return journal->error;
}

uint32_t bw_journal_records(const bw_journal *journal) {
    return journal->records;
}

uint32_t bw_journal_resets(const bw_journal *journal, uint32_t *books, uint32_t capacity) {
    uint32_t count = journal->resets < BW_JOURNAL_RESETS_MAX ? journal->resets : BW_JOURNAL_RESETS_MAX;
    if (count > capacity) count = capacity;
    memcpy(books, journal->reset, count * sizeof *books);
    return journal->resets;
}

static int write_all(bw_journal *journal, const uint8_t *data, uint64_t bytes) {
    while (bytes) {
        ssize_t written = write(journal->fd, data, bytes);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return -errno;
        data += written;
        bytes -= (uint64_t)written;
    }
    return 0;
}

/* Seals and writes a block; its payload stands behind the header in `block` already. */
static int put(bw_journal *journal, uint8_t *block, const bw_journal_block *given, uint32_t bytes) {
    bw_journal_block head = *given;
    memcpy(head.magic, BW_JOURNAL_MAGIC, sizeof head.magic);
    head.number = journal->blocks;
    head.payload_bytes = bytes;
    head.payload_crc = bw_crc32c(0, block + sizeof head, bytes);
    head.header_crc = bw_crc32c(0, (const uint8_t *)&head + CRC_FROM, sizeof head - CRC_FROM);
    memcpy(block, &head, sizeof head);
    memset(block + sizeof head + bytes, 0, padded(bytes) - bytes);
    uint64_t whole = sizeof head + padded(bytes);
    int result = write_all(journal, block, whole);
    if (result) {
        /* part of it may stand there: nothing may be appended behind half a block */
        if (ftruncate(journal->fd, (off_t)journal->bytes)) result = -EIO;
        journal->error = -result;
        return result;
    }
    journal->bytes += whole;
    journal->blocks++;
    return 0;
}

int bw_journal_append(bw_journal *journal, const bw_journal_block *head, const void *payload,
                      uint32_t bytes) {
    if (bytes <= BW_JOURNAL_SPAN_BYTES) {
        if (bytes) memcpy(journal->room + sizeof *head, payload, bytes);
        return put(journal, journal->room, head, bytes);
    }
    if (bytes > BW_JOURNAL_PAYLOAD_MAX) return -EFBIG;
    uint8_t *block = malloc(sizeof *head + padded(bytes));
    if (!block) return -ENOMEM;
    memcpy(block + sizeof *head, payload, bytes);
    int result = put(journal, block, head, bytes);
    free(block);
    return result;
}

/* -- following ----------------------------------------------------------------------------------- */

typedef struct span {
    uint64_t used; /* whole records, from the span's beginning */
    uint64_t skip; /* PAD behind them */
    bool sound;
} span;

/* Cuts a copied span behind its last whole record. Both rings begin a record with its length and type. */
static span cut(bw_journal *journal, const uint8_t *copied, uint64_t bytes, bool updates) {
    span found = {.sound = true};
    journal->records = journal->resets = 0;
    while (bytes - found.used >= 8) {
        const bw_record *record = (const void *)(copied + found.used);
        uint32_t length = record->bytes;
        if (length < 8 || length % 8) return (span){0};
        if (record->type == BW_RECORD_PAD) {
            found.skip = length;
            return found;
        }
        if (length > bytes - found.used) return found;
        if (updates && (length < sizeof *record || length > BW_RECORD_BYTES_MAX)) return (span){0};
        if (updates && record->type == BW_RECORD_RESET) {
            if (journal->resets < BW_JOURNAL_RESETS_MAX) journal->reset[journal->resets] = record->book;
            journal->resets++;
        }
        journal->records++;
        found.used += length;
    }
    return found;
}

static int64_t overrun(const bw_ring_view *ring, bw_ring_cursor *cursor) {
    cursor->overruns++;
    cursor->position = atomic_load_explicit(ring->head, memory_order_acquire);
    return BW_FOLLOW_OVERRUN;
}

static int64_t follow(bw_journal *journal, const bw_ring_view *ring, bw_ring_cursor *cursor,
                      bw_journal_block head) {
    uint64_t published = atomic_load_explicit(ring->head, memory_order_acquire);
    uint64_t bytes = published - cursor->position;
    bool updates = head.type == BW_JOURNAL_RECORDS;
    uint8_t *copied = journal->room + sizeof head;
    journal->records = journal->resets = 0;
    if (bytes == 0) return 0;
    if (bytes > ring->bytes || cursor->position % 8) return overrun(ring, cursor);
    uint64_t at = cursor->position & (ring->bytes - 1);
    if (bytes > ring->bytes - at) bytes = ring->bytes - at;
    if (bytes > BW_JOURNAL_SPAN_BYTES) bytes = BW_JOURNAL_SPAN_BYTES;
    memcpy(copied, ring->base + at, bytes);
    atomic_thread_fence(memory_order_acquire);
    uint64_t claimed = atomic_load_explicit(ring->reserved, memory_order_relaxed);
    span found = cut(journal, copied, bytes, updates);
    if (claimed - cursor->position > ring->bytes || !found.sound || found.used + found.skip == 0)
        return overrun(ring, cursor);
    if (found.used) {
        head.position = cursor->position;
        head.items = journal->records;
        if (put(journal, journal->room, &head, (uint32_t)found.used)) return BW_FOLLOW_DISK;
    }
    cursor->position += found.used + found.skip;
    return (int64_t)(found.used + found.skip);
}

int64_t bw_journal_follow(bw_journal *journal, const bw_segment *segment, bw_ring_cursor *cursor,
                          int64_t now_ns) {
    const bw_shm_header *header = bw_segment_header(segment);
    bw_ring_view ring = {.base = segment->ring, .bytes = segment->ring_bytes, .head = &header->ring_head,
                         .reserved = &header->ring_reserved};
    return follow(journal, &ring, cursor,
                  (bw_journal_block){.type = BW_JOURNAL_RECORDS, .generation = segment->generation,
                                     .time_ns = now_ns});
}

int64_t bw_journal_follow_raw(bw_journal *journal, const bw_raw_reader *raw, bw_ring_cursor *cursor,
                              int64_t now_ns) {
    bw_ring_view ring = bw_raw_reader_ring(raw);
    return follow(journal, &ring, cursor,
                  (bw_journal_block){.type = BW_JOURNAL_RAW, .time_ns = now_ns,
                                     .generation = bw_raw_reader_header(raw)->generation});
}

/* -- reading ------------------------------------------------------------------------------------- */

static bool is_header(const uint8_t *file, uint64_t bytes, uint64_t at, bw_journal_block *out) {
    if (at > bytes || bytes - at < sizeof *out) return false;
    memcpy(out, file + at, sizeof *out);
    return memcmp(out->magic, BW_JOURNAL_MAGIC, sizeof out->magic) == 0 &&
           out->header_crc == bw_crc32c(0, file + at + CRC_FROM, sizeof *out - CRC_FROM) &&
           out->payload_bytes <= BW_JOURNAL_PAYLOAD_MAX;
}

int bw_journal_look(const uint8_t *file, uint64_t bytes, uint64_t at, bw_journal_block *out) {
    if (at == bytes) return BW_BLOCK_END;
    if (!is_header(file, bytes, at, out)) return BW_BLOCK_TORN;
    uint64_t left = bytes - at - sizeof *out, whole = padded(out->payload_bytes);
    const uint8_t *payload = file + at + sizeof *out;
    if (whole > left) return BW_BLOCK_TORN;
    if (bw_crc32c(0, payload, out->payload_bytes) != out->payload_crc) return BW_BLOCK_DAMAGED;
    for (uint64_t i = out->payload_bytes; i < whole; i++)
        if (payload[i]) return BW_BLOCK_DAMAGED;
    return BW_BLOCK_OK;
}

uint64_t bw_journal_find(const uint8_t *file, uint64_t bytes, uint64_t at) {
    bw_journal_block head;
    for (at = padded(at); at < bytes && bytes - at >= sizeof head; at += 8)
        if (is_header(file, bytes, at, &head)) return at;
    return bytes;
}
