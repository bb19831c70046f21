/* The journal of a recording: one append-only file of checksummed blocks, and the copying of ring spans
 * into it.
 *
 * A file is made new (never opened again for writing), so what stands in it is never overwritten. A
 * block is written by one write(); one that does not fit the disk is taken back. Every block proves
 * itself: a reader needs nothing but the bytes. docs/recording.md has the layout.
 *
 * Following a ring copies what was published since in one piece, checks that the writer was not a lap
 * ahead, and cuts it at a record's end; it never looks at records one by one in Python.
 */
#ifndef BW_JOURNAL_H
#define BW_JOURNAL_H

#include "raw_ring.h"

#define BW_JOURNAL_MAGIC "BWJ1"
#define BW_JOURNAL_SPAN_BYTES (9u << 20) /* copied at once; more than the longest raw record */
#define BW_JOURNAL_PAYLOAD_MAX (1u << 30)
#define BW_JOURNAL_RESETS_MAX 65536u

enum bw_journal_type {
    BW_JOURNAL_FILE = 1,    /* JSON: what the file is; the first block */
    BW_JOURNAL_SYMBOLS = 2, /* bw_symbol[items]; `book` is the first's index */
    BW_JOURNAL_RECORDS = 3, /* records of the update ring, as they stood there, without PADs */
    BW_JOURNAL_BOOK = 4,    /* bw_book, then its bids and asks (bw_level), best first */
    BW_JOURNAL_RAW = 5,     /* records of the raw ring, as they stood there, without PADs */
    BW_JOURNAL_GAP = 6,     /* JSON: what is missing here, and why */
    BW_JOURNAL_END = 7,     /* JSON: the file was ended on purpose; the last block */
    BW_JOURNAL_SEAM = 8,    /* JSON: from here on `book` is taken from another recording */
};

typedef struct bw_journal_block {
    char magic[4];
    uint32_t header_crc;  /* CRC-32C of bytes 8 to 63 */
    uint32_t payload_crc; /* CRC-32C of the payload without its padding */
    uint32_t payload_bytes; /* zeros follow up to a multiple of 8 */
    uint16_t type;
    uint16_t reserved0;
    uint32_t book;
    uint64_t number;     /* blocks before it in this file */
    uint64_t generation; /* of the segment, 0 where none is meant */
    uint64_t position;   /* in the ring, of the first byte */
    int64_t time_ns;     /* when it was written */
    uint64_t items;      /* records, symbols or levels in it */
} bw_journal_block;

_Static_assert(sizeof(bw_journal_block) == 64, "layout");

typedef struct bw_journal bw_journal;

enum bw_follow { BW_FOLLOW_OVERRUN = -1, BW_FOLLOW_DISK = -2 };
enum bw_block { BW_BLOCK_OK = 0, BW_BLOCK_END = 1, BW_BLOCK_TORN = -1, BW_BLOCK_DAMAGED = -2 };

/* NULL with the reason in error; errno is EEXIST for a file that is there. */
bw_journal *bw_journal_new(const char *path, char *error, uint32_t error_bytes);
void bw_journal_free(bw_journal *journal); /* closes; does not sync */
int bw_journal_sync(bw_journal *journal);  /* fdatasync(): 0 or -errno; any thread */
uint64_t bw_journal_bytes(const bw_journal *journal);

/* Appends one block. 0, or -errno; then the file is as it was. */
int bw_journal_append(bw_journal *journal, const bw_journal_block *head, const void *payload, uint32_t bytes);

/* Appends what the ring published since the cursor, at most a span. Bytes copied, 0 when there is
 * nothing, BW_FOLLOW_OVERRUN (counted, the cursor is at the head: what lay between is lost) or
 * BW_FOLLOW_DISK (the cursor stays; bw_journal_errno() says why). */
int64_t bw_journal_follow(bw_journal *journal, const bw_segment *segment, bw_ring_cursor *cursor,
                          int64_t now_ns);
int64_t bw_journal_follow_raw(bw_journal *journal, const bw_raw_reader *raw, bw_ring_cursor *cursor,
                              int64_t now_ns);
int bw_journal_errno(const bw_journal *journal);
/* Records of the last follow; and the books it saw a RESET of, in order, each time it saw one. Returns
 * their number, above `capacity` when there were more. */
uint32_t bw_journal_records(const bw_journal *journal);
uint32_t bw_journal_resets(const bw_journal *journal, uint32_t *books, uint32_t capacity);

/* Is there a sound block at `at`? Fills `out` where the header is (OK, DAMAGED: only the payload is bad). */
int bw_journal_look(const uint8_t *file, uint64_t bytes, uint64_t at, bw_journal_block *out);
/* Where the next sound header stands, from `at` on; `bytes` if nowhere. */
uint64_t bw_journal_find(const uint8_t *file, uint64_t bytes, uint64_t at);

#endif
