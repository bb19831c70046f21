/* The shared memory of one exchange, byte by byte.
 *
 * One file per exchange process, written by that process alone and mapped read-only by everybody
 * else. docs/shared-memory.md is the prose; the static asserts at the foot hold the two together.
 * All integers are little-endian and naturally aligned. Times are ns since the Unix epoch, prices
 * and quantities are integer mantissas: value = mantissa / 10^exponent, exponents per book.
 *
 *   header | symbols[book_capacity] | books[book_capacity] | directories | chunks | ring | stats | timing
 *
 * Reading a book: take `version`, wait while odd, copy, take it again; equal means untorn. Never wait
 * without looking at the writer (`heartbeat_ns`, `writer_pid`): a writer killed inside a write leaves
 * an odd version for ever, and such a book is DOWN. For deep copies and the ring see shm_reader.h.
 */
#ifndef BW_SHM_LAYOUT_H
#define BW_SHM_LAYOUT_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#define BW_SHM_MAGIC "BOOKWIRE"
#define BW_SHM_LAYOUT_VERSION 1u
#define BW_SHM_HEADER_BYTES 4096u
#define BW_CHUNK_LEVELS 32u
#define BW_TOP_LEVELS 4u
#define BW_SIDES 2u /* 0 bids, 1 asks, everywhere */
#define BW_RECORD_CHANGES_MAX 4096u /* a larger change is published as a RESET */

enum bw_segment_state { BW_SEGMENT_STARTING, BW_SEGMENT_RUNNING, BW_SEGMENT_CLOSED };
enum bw_book_state { BW_BOOK_SYNCING, BW_BOOK_LIVE, BW_BOOK_STALE, BW_BOOK_RESYNC, BW_BOOK_DOWN };
enum bw_instrument_kind { BW_KIND_SPOT, BW_KIND_PERPETUAL, BW_KIND_FUTURE };
enum bw_verified_by { /* bit set: how the last update was proved */
    BW_VERIFIED_NONE = 0,
    BW_VERIFIED_SEQUENCE = 1,
    BW_VERIFIED_CHECKSUM = 2,
};
enum bw_verifier_state { /* of the venue's checksum, per book */
    BW_VERIFIER_ABSENT,     /* the venue has none */
    BW_VERIFIER_OK,         /* the last one matched */
    BW_VERIFIER_NOT_SENT,   /* 0 or missing: nothing to verify */
    BW_VERIFIER_SUSPENDED,  /* wrong right after fresh snapshots: alarmed, feed carries on */
};
enum bw_reason { /* why a book is in its state; also the cause of a resync */
    BW_REASON_NONE,
    BW_REASON_START,
    BW_REASON_DISCONNECTED,
    BW_REASON_GAP,
    BW_REASON_CHECKSUM,
    BW_REASON_CROSSED,
    BW_REASON_SILENT,
    BW_REASON_DECODE,
    BW_REASON_BUFFER_FULL,
    BW_REASON_OPERATOR,
    BW_REASON_REFUSED, /* the venue refused the subscription */
    BW_REASON_COUNT
};

/* A level, and in a ring record a change of one (quantity 0: the level left). */
typedef struct bw_level {
    int64_t price;
    int64_t quantity;
    uint32_t orders; /* the venue's own count, 0 = not told */
    uint32_t reserved;
} bw_level;

/* Levels of one side in ascending key order, best last; key = price for bids, -price for asks. */
typedef struct bw_chunk {
    int64_t key[BW_CHUNK_LEVELS];
    int64_t quantity[BW_CHUNK_LEVELS];
    uint32_t orders[BW_CHUNK_LEVELS];
} bw_chunk;

/* Directory of one side: entries ascending by low_key, the best chunk last. */
typedef struct bw_directory_entry {
    int64_t low_key; /* chunk's key[0] */
    uint32_t chunk;  /* index into the chunk pool */
    uint32_t count;  /* levels in it, 1..BW_CHUNK_LEVELS */
} bw_directory_entry;

typedef struct bw_side {
    uint64_t directory_offset; /* bytes from the segment's start; fixed */
    uint32_t directory_capacity;
    uint32_t directory_count;
    uint32_t level_count;
    uint32_t level_capacity;
    int64_t verified_price; /* levels beyond it are not known to be right; 0 = no bound */
} bw_side;

typedef struct bw_book {
    /* line 0: what a reader of the state needs */
    alignas(64) _Atomic uint64_t version; /* sequence lock, odd while the writer is inside */
    uint64_t sequence;                    /* ours: +1 per ring record of this book */
    uint64_t venue_sequence;
    uint32_t epoch; /* +1 at each replacement of the whole book */
    uint32_t state; /* enum bw_book_state */
    uint32_t reason;
    uint8_t price_exponent;
    uint8_t quantity_exponent;
    uint8_t verified_by;
    uint8_t verifier_state;
    uint32_t top_count[BW_SIDES];
    uint32_t top_stale; /* the writer's own, inside a write: bit per side whose top[] must be redone */
    uint32_t reserved0;

    /* line 1: stamps of the last update */
    alignas(64) int64_t exchange_ns; /* 0 = the venue gave none */
    int64_t receive_ns;
    int64_t decoded_ns;
    int64_t published_ns;
    int64_t state_since_ns;
    int64_t last_data_ns; /* of this subscription; heartbeats do not count */
    int64_t cadence_ns;   /* decayed maximum of the pauses between updates */
    uint64_t reserved1;

    /* lines 2-4: best levels, best first */
    alignas(64) bw_level top[BW_SIDES][BW_TOP_LEVELS];

    /* lines 5-6 */
    alignas(64) bw_side side[BW_SIDES];

    /* lines 7-8: counters */
    alignas(64) uint64_t updates;
    uint64_t gaps;
    uint64_t resyncs;
    uint64_t checksums_ok;
    uint64_t checksums_bad;
    uint64_t absent_deletes; /* deletions of levels not held: normal, counted */
    uint64_t evicted;        /* levels that left because the book was full */
    uint64_t crossed;        /* updates after which best bid >= best ask */
    uint64_t duplicates;     /* old updates ignored */
    uint64_t quarantined;
    uint32_t resync_reason;
    uint32_t connection;
    uint64_t dropped; /* updates that came while a snapshot was awaited, or by another connection */
    uint64_t audits;  /* snapshots that came again and were compared with the book */
    uint64_t audit_mismatches; /* of these, those that differed: something was lost before */
    uint64_t jumps;   /* updates that followed by the venue's rule, but not exactly */
    uint64_t rounded; /* numbers cut to the decimals that fit a book */
} bw_book;

typedef struct bw_symbol {
    char canonical[32]; /* BASE-QUOTE */
    char native[40];
    char base[16];
    char quote[16];
    uint32_t kind; /* enum bw_instrument_kind */
    uint32_t reserved[5];
} bw_symbol;

enum bw_record_type {
    BW_RECORD_PAD = 0,   /* to the ring's end: go on at its start */
    BW_RECORD_DELTA = 1, /* changes follow */
    BW_RECORD_RESET = 2, /* replaced or rescaled: copy the book from the cache */
    BW_RECORD_STATE = 3, /* state or reason changed, no level did */
};

/* A ring record: header, then bid_count bid changes, then ask_count ask changes (bw_level each).
 * It never wraps; a PAD fills what is left before the ring's end. `bytes` is a multiple of 8. */
typedef struct bw_record {
    uint32_t bytes;
    uint8_t type;
    uint8_t verified_by;
    uint8_t price_exponent;
    uint8_t quantity_exponent;
    uint32_t book;
    uint32_t epoch;
    uint64_t sequence;
    uint64_t venue_sequence;
    int64_t exchange_ns;
    int64_t receive_ns;
    int64_t decoded_ns;
    int64_t published_ns;
    uint32_t bid_count;
    uint32_t ask_count;
    uint32_t state;
    uint32_t reason;
} bw_record;

#define BW_RECORD_BYTES_MAX (sizeof(bw_record) + BW_RECORD_CHANGES_MAX * sizeof(bw_level))

/* Stage latency histograms, ns: bucket = 8 steps an octave, see bw_histogram_bucket(). */
#define BW_HISTOGRAM_BUCKETS 256u
enum bw_stage {
    BW_STAGE_RECEIVE_TO_PLAINTEXT,
    BW_STAGE_PLAINTEXT_TO_DECODED,
    BW_STAGE_DECODED_TO_PUBLISHED,
    BW_STAGE_RECEIVE_TO_PUBLISHED,
    BW_STAGE_COUNT
};

/* Counters of the whole exchange process; names are the metric names. */
#define BW_COUNTERS(X)                                                                              \
    X(messages) X(bytes) X(frames_control) X(heartbeats) X(quarantined) X(unknown_symbols)          \
    X(decode_failures) X(connects) X(disconnects) X(connect_failures) X(tls_failures)               \
    X(websocket_errors) X(largest_frame_bytes) X(receive_queue_bytes) X(events_dropped)             \
    X(snapshots_loaded) X(snapshots_too_old) X(pending_bytes_peak) X(chunks_used)                   \
    X(connections_open) X(loop_turns)
typedef struct bw_stats {
#define BW_COUNTER_FIELD(name) _Atomic uint64_t name;
    BW_COUNTERS(BW_COUNTER_FIELD)
#undef BW_COUNTER_FIELD
    _Atomic uint64_t stage_ns[BW_STAGE_COUNT][BW_HISTOGRAM_BUCKETS];
} bw_stats;

/* Where a message's time goes, from border to border. One message in BW_BUDGET_EVERY is measured. */
#define BW_BUDGET_EVERY 8u
enum bw_budget {
    BW_BUDGET_TCP,       /* frame taken in a burst -> its bytes in order (past the kernel only) */
    BW_BUDGET_TLS,       /* bytes in order, or read() returned -> plaintext, copied to where it stays */
    BW_BUDGET_WEBSOCKET, /* plaintext -> whole message, inflated, its text checked */
    BW_BUDGET_DECODE,    /* message -> levels and ids */
    BW_BUDGET_BOOK,      /* levels and ids -> book changed and proved */
    BW_BUDGET_RING,      /* book changed -> record visible */
    BW_BUDGET_COUNT
};
typedef struct bw_timing {
    _Atomic uint64_t cycles_per_second; /* of the counter that stamps, as measured; 0: another clock stamps */
    uint64_t budget_every;
    _Atomic uint64_t busy_ns; /* of turns that received something: a loop that spins is at work only then */
    _Atomic uint64_t crossed_ns; /* summed over books: LIVE with best bid >= best ask, told when over */
    uint64_t reserved[4];
    _Atomic uint64_t budget_ns[BW_BUDGET_COUNT][BW_HISTOGRAM_BUCKETS]; /* buckets as of stage_ns */
    _Atomic uint64_t gap_us[BW_HISTOGRAM_BUCKETS]; /* how long a book that had been LIVE was not; as above */
} bw_timing;

typedef struct bw_shm_header {
    char magic[8];
    uint32_t layout_version;
    uint32_t header_bytes;
    uint64_t segment_bytes;
    uint64_t generation; /* ns since epoch at creation: another value is another writer */
    uint32_t exchange_number;
    uint32_t writer_pid;
    char exchange[16];
    uint32_t book_capacity;
    uint32_t chunk_capacity;
    uint32_t chunk_levels;
    uint32_t reserved0;
    uint64_t symbol_offset;
    uint64_t book_offset;
    uint64_t directory_offset;
    uint64_t chunk_offset;
    uint64_t ring_offset;
    uint64_t ring_bytes; /* a power of two */
    uint64_t stats_offset;

    /* touched by the loop at least every 100 ms */
    alignas(64) _Atomic uint64_t heartbeat_ns;
    _Atomic uint32_t state;      /* enum bw_segment_state */
    _Atomic uint32_t book_count; /* books below it are set up and stay */
    uint64_t timing_offset;      /* 0: the writer is older than bw_timing */

    alignas(64) _Atomic uint64_t ring_head; /* bytes ever published */
    _Atomic uint64_t ring_reserved;         /* bytes ever claimed by the writer, >= ring_head */
} bw_shm_header;

_Static_assert(sizeof(bw_level) == 24, "layout");
_Static_assert(sizeof(bw_chunk) == 640, "layout");
_Static_assert(sizeof(bw_directory_entry) == 16, "layout");
_Static_assert(sizeof(bw_symbol) == 128, "layout");
_Static_assert(sizeof(bw_record) == 80, "layout");
_Static_assert(sizeof(bw_book) % 64 == 0, "layout");
_Static_assert(sizeof(bw_timing) % 64 == 0, "layout");
_Static_assert(sizeof(bw_shm_header) <= BW_SHM_HEADER_BYTES, "layout");

#endif
