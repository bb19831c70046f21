/* What the reader keeps privately; shared by shm_reader.c and shm_copy.c only. */
#ifndef BW_SHM_READER_PARTS_H
#define BW_SHM_READER_PARTS_H

#include "shm_reader.h"

#include <sys/types.h>

/* What reading writes to; why a segment is for one thread. */
typedef struct bw_reader_scratch {
    uint64_t record[BW_RECORD_BYTES_MAX / 8]; /* the record last read, untorn */
    /* for deep copies; made at the first, room for `levels` a side */
    uint32_t levels;
    bw_book_store *store; /* one book */
    bw_level *seen[BW_SIDES];
} bw_reader_scratch;

struct bw_segment {
    const uint8_t *base;
    uint64_t bytes;
    uint64_t generation;
    uint64_t directory_offset;
    uint64_t ring_bytes;
    uint32_t book_capacity;
    uint32_t chunk_capacity;
    const bw_symbol *symbol;
    const bw_book *book;
    const bw_chunk *chunk;
    const uint8_t *ring;
    const bw_stats *stats;
    const bw_timing *timing; /* or NULL */
    bw_reader_scratch *scratch;
    char *path;
    int fd;
    dev_t device;
    ino_t inode;
};

bool bw_segment_has_book(const bw_segment *segment, uint32_t book);
bool bw_segment_writer_gone(const bw_segment *segment); /* one system call */

#endif
