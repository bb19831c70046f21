/* Publishes into a segment: books are added, records go into the ring, bells are rung. */
#include "shm_writer_parts.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

bw_shm_header *bw_shm_writer_header(bw_shm_writer *writer) {
    return writer->header;
}

bw_stats *bw_shm_writer_stats(bw_shm_writer *writer) {
    return writer->stats;
}

bw_timing *bw_shm_writer_timing(bw_shm_writer *writer) {
    return writer->timing;
}

bw_book_store *bw_shm_writer_store(bw_shm_writer *writer) {
    return &writer->store;
}

bw_book *bw_shm_writer_book(bw_shm_writer *writer, uint32_t book) {
    return &writer->store.book[book];
}

int bw_shm_writer_add_book(bw_shm_writer *writer, const bw_symbol *symbol, uint8_t price_exponent,
                           uint8_t quantity_exponent, int64_t now_ns) {
    uint32_t index = atomic_load_explicit(&writer->header->book_count, memory_order_relaxed);
    if (index >= writer->header->book_capacity) return -1;
    writer->symbol[index] = *symbol;
    bw_book *book = &writer->store.book[index];
    book->state = BW_BOOK_SYNCING;
    book->reason = BW_REASON_START;
    book->price_exponent = price_exponent;
    book->quantity_exponent = quantity_exponent;
    book->state_since_ns = now_ns;
    atomic_store_explicit(&writer->header->book_count, index + 1, memory_order_release);
    return (int)index;
}

/* -- ring -------------------------------------------------------------------------------------- */

bw_record *bw_record_reserve(bw_shm_writer *writer, uint32_t changes) {
    assert(changes <= BW_RECORD_CHANGES_MAX);
    bw_shm_header *header = writer->header;
    uint64_t need = sizeof(bw_record) + (uint64_t)changes * sizeof(bw_level);
    uint64_t at = atomic_load_explicit(&header->ring_head, memory_order_relaxed);
    uint64_t to_end = writer->ring_mask + 1 - (at & writer->ring_mask);
    uint64_t pad = to_end < need ? to_end : 0;
    /* readers judge by ring_reserved whether what they read may have been overwritten: it goes first */
    if (at + pad + need > atomic_load_explicit(&header->ring_reserved, memory_order_relaxed))
        atomic_store_explicit(&header->ring_reserved, at + pad + need, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    if (pad) {
        bw_record *rest = (void *)(writer->ring + (at & writer->ring_mask));
        rest->bytes = (uint32_t)pad;
        rest->type = BW_RECORD_PAD;
    }
    writer->claimed_at = at + pad;
    return (void *)(writer->ring + (writer->claimed_at & writer->ring_mask));
}

void bw_record_commit(bw_shm_writer *writer, bw_record *record, uint32_t bids, uint32_t asks,
                      int64_t published_ns) {
    uint64_t bytes = sizeof *record + ((uint64_t)bids + asks) * sizeof(bw_level);
    record->bytes = (uint32_t)bytes;
    record->bid_count = bids;
    record->ask_count = asks;
    record->published_ns = published_ns;
    uint64_t head = writer->claimed_at + bytes;
    atomic_store_explicit(&writer->header->ring_head, head, memory_order_release);
    /* the next record's lines were last touched a lap ago: fetch them while nobody waits */
    const uint8_t *next = writer->ring + (head & writer->ring_mask);
    for (uint32_t line = 0; line < 6; line++) __builtin_prefetch(next + line * 64u, 1);
}

/* -- bells ------------------------------------------------------------------------------------- */

void bw_ringer_drop(bw_ringer *bell) {
    if (bell->flag) munmap((void *)bell->flag, sizeof *bell->flag);
    if (bell->flag) close(bell->fifo_fd);
    free(bell->bell_path);
    *bell = (bw_ringer){0};
}

/* Opened for reading too: then a FIFO nobody else reads only fills up, it neither blocks nor raises
 * SIGPIPE. Returns -1 with errno when there is no such bell. */
static int open_bell(bw_ringer *bell, const char *bell_path, const char *fifo_path) {
    int flag_fd = open(bell_path, O_RDWR | O_CLOEXEC);
    if (flag_fd < 0) return -1;
    int fifo_fd = open(fifo_path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct stat flag, fifo;
    void *mapped = MAP_FAILED;
    errno = EINVAL;
    if (fifo_fd >= 0 && fstat(flag_fd, &flag) == 0 && fstat(fifo_fd, &fifo) == 0 && S_ISREG(flag.st_mode) &&
        S_ISFIFO(fifo.st_mode) && flag.st_size >= (off_t)sizeof *bell->flag)
        mapped = mmap(NULL, sizeof *bell->flag, PROT_READ | PROT_WRITE, MAP_SHARED, flag_fd, 0);
    close(flag_fd);
    if (mapped == MAP_FAILED) {
        if (fifo_fd >= 0) close(fifo_fd);
        return -1;
    }
    *bell = (bw_ringer){.bell_path = strdup(bell_path), .flag = mapped, .fifo_fd = fifo_fd,
                        .device = flag.st_dev, .bell_inode = flag.st_ino, .fifo_inode = fifo.st_ino};
    if (bell->bell_path) return 0;
    bw_ringer_drop(bell);
    return -1;
}

static bool still_there(const bw_ringer *bell, const char *bell_path, const char *fifo_path) {
    struct stat flag, fifo;
    return stat(bell_path, &flag) == 0 && stat(fifo_path, &fifo) == 0 && flag.st_dev == bell->device &&
           flag.st_ino == bell->bell_inode && fifo.st_ino == bell->fifo_inode;
}

int bw_shm_writer_add_bell(bw_shm_writer *writer, const char *bell_path, const char *fifo_path) {
    uint32_t at = 0;
    while (at < writer->bell_count && strcmp(writer->bell[at].bell_path, bell_path) != 0) at++;
    bool known = at < writer->bell_count;
    if (known && still_there(&writer->bell[at], bell_path, fifo_path)) return (int)at;
    if (at == BW_BELLS_MAX) {
        errno = ENOSPC;
        return -1;
    }
    bw_ringer fresh;
    if (open_bell(&fresh, bell_path, fifo_path)) return -1;
    if (known) bw_ringer_drop(&writer->bell[at]);
    else writer->bell_count++;
    writer->bell[at] = fresh;
    return (int)at;
}

void bw_shm_writer_ring_bells(bw_shm_writer *writer) {
    if (writer->bell_count == 0) return;
    /* pairs with the fence in bw_bell_sleep(): either we see the flag or the sleeper sees the record */
    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t i = 0; i < writer->bell_count; i++) {
        bw_ringer *bell = &writer->bell[i];
        if (atomic_load_explicit(bell->flag, memory_order_relaxed) == 0) continue;
        if (atomic_exchange(bell->flag, 0) == 0) continue;
        ssize_t written = write(bell->fifo_fd, "", 1);
        (void)written; /* full: the reader has plenty to wake up from */
    }
}
