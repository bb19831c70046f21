/* The writing side of an exchange's segment: creates it, publishes records. One thread.
 *
 * The file is made under a temporary name, filled to its size (posix_fallocate: short space is an
 * error here, never a bus error later) and renamed into place, so that a reader sees either the old
 * writer's segment or a complete new one. Books below header->book_count never move.
 */
#ifndef BW_SHM_WRITER_H
#define BW_SHM_WRITER_H

#include "book.h"

typedef struct bw_shm_writer bw_shm_writer;

typedef struct bw_shm_spec {
    const char *path;
    const char *exchange;
    uint32_t exchange_number;
    uint32_t book_capacity;
    uint32_t level_capacity;  /* a side of one book */
    uint32_t chunk_capacity;  /* of the pool all books share */
    uint64_t ring_bytes;      /* a power of two, >= 4 * the largest record */
} bw_shm_spec;

/* NULL with the reason (what, where, how many bytes are missing) in error. errno is kept. */
bw_shm_writer *bw_shm_writer_new(const bw_shm_spec *spec, char *error, uint32_t error_bytes);
/* Marks the segment CLOSED, unmaps, unlinks the file if it is still this writer's. */
void bw_shm_writer_close(bw_shm_writer *writer);
uint64_t bw_shm_bytes_needed(const bw_shm_spec *spec);

bw_shm_header *bw_shm_writer_header(bw_shm_writer *writer);
bw_stats *bw_shm_writer_stats(bw_shm_writer *writer);
bw_timing *bw_shm_writer_timing(bw_shm_writer *writer);
bw_book_store *bw_shm_writer_store(bw_shm_writer *writer);
bw_book *bw_shm_writer_book(bw_shm_writer *writer, uint32_t book);

/* Index of the new book, or -1 when all slots are taken. State SYNCING, exponents set. */
int bw_shm_writer_add_book(bw_shm_writer *writer, const bw_symbol *symbol, uint8_t price_exponent,
                           uint8_t quantity_exponent, int64_t now_ns);

/* Room for a record with up to `changes` changes; fill header and changes in place, then commit.
 * bw_record_commit() takes the counts actually used, sets bytes and published_ns, moves the head. */
bw_record *bw_record_reserve(bw_shm_writer *writer, uint32_t changes);
void bw_record_commit(bw_shm_writer *writer, bw_record *record, uint32_t bids, uint32_t asks,
                      int64_t published_ns);

/* Doorbells: readers that sleep are rung after a burst. A bell is a mapped file with one flag (the
 * reader sets it before it sleeps) and a FIFO beside it; ringing costs a load unless the flag is set. */
int bw_shm_writer_add_bell(bw_shm_writer *writer, const char *bell_path, const char *fifo_path);
void bw_shm_writer_ring_bells(bw_shm_writer *writer);

static inline uint32_t bw_histogram_bucket(uint64_t ns) {
    if (ns < 8) return (uint32_t)ns;
    uint32_t octave = 63u - (uint32_t)__builtin_clzll(ns);
    uint32_t bucket = (octave - 2u) * 8u + (uint32_t)((ns >> (octave - 3u)) & 7u);
    return bucket < BW_HISTOGRAM_BUCKETS ? bucket : BW_HISTOGRAM_BUCKETS - 1u;
}

#endif
