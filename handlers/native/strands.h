/* Books of one recording, followed record by record to be spliced with the same books of another.
 *
 * A book is covered while its sequence goes on without a hole and each record leaves it LIVE: a survey finds
 * where that begins and breaks. A splice then copies what a plan takes of each book into a new recording,
 * and stops wherever somebody must decide. Nothing here allocates per record.
 */
#ifndef BW_STRANDS_H
#define BW_STRANDS_H

#include "played.h"

enum bw_strand_key { BW_KEY_VENUE_SEQUENCE, BW_KEY_EXCHANGE_NS, BW_KEY_RECEIVE_NS };

enum bw_strand_phase {
    BW_STRAND_IDLE,   /* nothing more is taken of it */
    BW_STRAND_ANCHOR, /* taken from its state at `from_sequence` on */
    BW_STRAND_WAIT,   /* taken from the first record behind `from_sequence` and `after_key` on */
    BW_STRAND_EMIT,
    BW_STRAND_HELD, /* its turn has come, but the one before it is not done */
};

enum bw_strand_event {
    BW_STRANDS_DONE,   /* the span is read */
    BW_STRANDS_BEGAN,  /* survey: covered from `last` on */
    BW_STRANDS_BROKE,  /* survey: covered up to `last`; the record at `at` broke it */
    BW_STRANDS_START,  /* splice: the record at `at` is the first that is taken */
    BW_STRANDS_ANCHOR, /* splice: the book stands at `from_sequence` */
    BW_STRANDS_END,    /* splice: what was to be taken is taken */
    BW_STRANDS_EMPTY,  /* splice: nothing was to be taken */
    BW_STRANDS_HELD,   /* splice: `held` is to be kept for later */
    BW_STRANDS_ROOM,   /* splice: the output is full */
    BW_STRANDS_BAD,    /* what stands at `at` is no record */
};

typedef struct bw_strand {
    bw_book *book;    /* moved by the records */
    bw_record last;   /* head of the record before, or of the copy it began with */
    uint64_t reached; /* sequence: what is not above it was seen */
    uint64_t from_sequence, until_sequence;
    int64_t after_key, until_key;
    int64_t epoch_up;
    uint64_t sequence_up; /* mod 2^64 */
    uint32_t out_book;
    uint8_t key;
    uint8_t phase;
    bool known;   /* the book's levels are those of its sequence */
    bool covered; /* survey */
    bool whole;   /* survey: since it broke, each record followed and the levels stayed known */
    bool owes;    /* a whole copy, since a RESET was taken */
} bw_strand;

typedef struct bw_strands_out {
    uint8_t *data;
    uint32_t room, used, records;
    uint32_t resets; /* taken, ever */
} bw_strands_out;

typedef struct bw_strands bw_strands;

/* `level_capacity` 0: headers only, for a survey. NULL without memory. */
bw_strands *bw_strands_new(uint32_t books, uint32_t level_capacity);
void bw_strands_free(bw_strands *strands);
bw_strand *bw_strands_at(bw_strands *strands, uint32_t book);

/* A whole copy; taken unless the book is beyond it. */
bool bw_strands_load(bw_strands *strands, uint32_t book, const bw_book *header, const bw_level *bids,
                     uint32_t bid_count, const bw_level *asks, uint32_t ask_count);
/* The book is covered from where it stands. */
void bw_strand_begin(bw_strand *strand);
/* Moves the book by one record, whatever the plan says. */
void bw_strands_take(bw_strands *strands, const bw_record *record);

/* Both read a span of records from *at on to the next event; *book is whose it is. */
enum bw_strand_event bw_strands_survey(bw_strands *strands, const uint8_t *span, uint32_t bytes, uint32_t *at,
                                       uint32_t *book);
enum bw_strand_event bw_strands_splice(bw_strands *strands, const uint8_t *span, uint32_t bytes, uint32_t *at,
                                       uint32_t *book, bw_strands_out *out);
/* Appends a record as the strand's numbers say; false without room. */
bool bw_strand_emit(bw_strand *strand, const bw_record *record, bw_strands_out *out);
int64_t bw_strand_key_of(const bw_record *record, uint32_t key);

/* Books that owe a whole copy and stand where their records were taken to, at most `room`; *waiting are those
 * that owe one and do not stand there yet. */
uint32_t bw_strands_owing(const bw_strands *strands, uint32_t *books, uint32_t room, uint32_t *waiting);
/* bw_book, bids, asks, best first. Bytes written, 0 where they have no room. */
uint32_t bw_strands_copy(const bw_strands *strands, uint32_t book, uint8_t *out, uint32_t room);
/* The best levels of a side. */
uint32_t bw_strands_best(const bw_strands *strands, uint32_t book, uint32_t side, uint32_t depth,
                         bw_level *out);

#endif
