/* What the writer keeps privately; shared by shm_create.c and shm_writer.c only. */
#ifndef BW_SHM_WRITER_PARTS_H
#define BW_SHM_WRITER_PARTS_H

#include "shm_writer.h"

#include <sys/types.h>

#define BW_BELLS_MAX 8u

typedef struct bw_ringer {
    char *bell_path;
    _Atomic uint32_t *flag; /* NULL: slot free */
    int fifo_fd;
    dev_t device;
    ino_t bell_inode, fifo_inode;
} bw_ringer;

struct bw_shm_writer {
    bw_book_store store;
    bw_shm_header *header;
    bw_stats *stats;
    bw_timing *timing;
    bw_symbol *symbol;
    uint8_t *ring;
    uint64_t ring_mask;
    uint64_t claimed_at; /* of the reserved record */
    uint32_t bell_count;
    bw_ringer bell[BW_BELLS_MAX];
    uint64_t bytes;
    char *path;
    int fd;
};

void bw_ringer_drop(bw_ringer *bell);

#endif
