/* The reading side: maps a segment read-only, copies books, follows the ring. C API for any process.
 *
 * A deep copy is made in three steps that never block the writer and never retry as a whole while it
 * writes: (1) note ring_head; (2) copy level by level with a cursor that goes from best to worst by
 * price, each piece under the book's sequence lock; levels only move between chunks in price order,
 * so one that stood throughout is never missed; (3) replay the ring from the noted head until the
 * book's own sequence is reached. Changes are absolute, so the result is the book at exactly that
 * sequence. A RESET on the way, or an overrun, starts over. What the writer must do for this to hold:
 * all changes of a sequence, and `sequence` itself, inside one bw_book_begin()/bw_book_end(); its record
 * committed after that; one record for each sequence.
 *
 * A writer that was killed, wherever, never makes a reader hang: waits end after at most 20 ms. A
 * bw_segment belongs to one thread (it holds the memory that copies are made in). Nothing in the file is
 * believed: a torn or hostile segment gives errors, not crashes.
 */
#ifndef BW_SHM_READER_H
#define BW_SHM_READER_H

#include "book.h"

typedef struct bw_segment bw_segment;

enum bw_read { BW_READ_OK = 0, BW_READ_EMPTY = 1, BW_READ_OVERRUN = -1, BW_READ_DEAD = -2,
               BW_READ_BUSY = -3 /* bounded tries used up; try later */, BW_READ_NO_BOOK = -4 };

/* Maps the file and checks magic, layout version and size. NULL with the reason in error. */
bw_segment *bw_segment_open(const char *path, char *error, uint32_t error_bytes);
void bw_segment_close(bw_segment *segment);
const bw_shm_header *bw_segment_header(const bw_segment *segment);
const bw_symbol *bw_segment_symbol(const bw_segment *segment, uint32_t book);
const bw_book *bw_segment_book(const bw_segment *segment, uint32_t book);
const bw_stats *bw_segment_stats(const bw_segment *segment);
const bw_timing *bw_segment_timing(const bw_segment *segment); /* NULL: an older writer's */

/* False when the writer closed the segment, its process is gone, or its loop has not turned for
 * `patience_ns`. Costs a load while the heartbeat is fresh. */
bool bw_segment_alive(bw_segment *segment, int64_t now_ns, int64_t patience_ns);
/* True when the path now names another segment (a restarted writer). One stat(). */
bool bw_segment_replaced(const bw_segment *segment);

/* State, stamps and best levels: an untorn copy of the book's header. */
int bw_book_read_header(const bw_segment *segment, uint32_t book, bw_book *out);

/* The whole book (or its best `depth`, 0 = all) at one sequence. *bids and *asks come in as room and
 * go out as counts; `header` gets the state that belongs to the copy; *ring_position (may be NULL) is
 * where to go on reading so that nothing is missed or applied twice for this book (skip records
 * whose sequence is not above header->sequence). */
int bw_book_read(const bw_segment *segment, uint32_t book, uint32_t depth, bw_book *header,
                 bw_level *bids, uint32_t *bid_count, bw_level *asks, uint32_t *ask_count,
                 uint64_t *ring_position);

typedef struct bw_ring_cursor {
    uint64_t position; /* bytes */
    uint64_t overruns;
} bw_ring_cursor;

void bw_ring_seek_head(const bw_segment *segment, bw_ring_cursor *cursor);
/* The next record, an untorn copy that stays valid until the segment's next bw_ring_next() or deep
 * copy; bw_ring_done() then moves on. BW_READ_OVERRUN: the writer was a lap ahead, what lay between
 * is lost and counted, the cursor is at the head: copy the books anew. */
int bw_ring_next(const bw_segment *segment, bw_ring_cursor *cursor, const bw_record **record);
int bw_ring_done(const bw_segment *segment, bw_ring_cursor *cursor, const bw_record *record);

/* Reader's end of a doorbell (see shm_writer.h): creates flag file and FIFO. */
typedef struct bw_bell bw_bell;
bw_bell *bw_bell_new(const char *bell_path, const char *fifo_path, char *error, uint32_t error_bytes);
void bw_bell_free(bw_bell *bell);
int bw_bell_fd(const bw_bell *bell);           /* for epoll */
void bw_bell_sleep(bw_bell *bell);             /* before sleeping; then look at the rings once more */
void bw_bell_awake(bw_bell *bell);             /* after waking: clears flag, empties the FIFO */

#endif
