#include "strands.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct bw_strands {
    bw_book_store *store; /* NULL: headers only */
    bw_book *headers;     /* of a survey */
    bw_strand *strand;
    uint32_t books;
    uint32_t levels;
};

/* Zeros that cost memory only where they are touched: most of a survey's never are. */
static void *zeros(size_t bytes) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

bw_strands *bw_strands_new(uint32_t books, uint32_t level_capacity) {
    bw_strands *strands = calloc(1, sizeof *strands);
    if (!strands) return NULL;
    strands->books = books;
    strands->levels = level_capacity;
    strands->strand = zeros(books * sizeof(bw_strand));
    if (level_capacity) strands->store = bw_book_store_new(books, level_capacity, 0);
    else strands->headers = zeros(books * sizeof(bw_book));
    if (strands->strand && (strands->store || strands->headers)) return strands;
    bw_strands_free(strands);
    return NULL;
}

void bw_strands_free(bw_strands *strands) {
    if (!strands) return;
    bw_book_store_free(strands->store);
    if (strands->headers) munmap(strands->headers, strands->books * sizeof(bw_book));
    if (strands->strand) munmap(strands->strand, strands->books * sizeof(bw_strand));
    free(strands);
}

bw_strand *bw_strands_at(bw_strands *strands, uint32_t book) {
    if (book >= strands->books) return NULL;
    bw_strand *strand = &strands->strand[book];
    if (strand->book) return strand;
    strand->book = strands->store ? bw_book_store_at(strands->store, book) : &strands->headers[book];
    return strand;
}

static void take_copied(bw_book *book, const bw_book *header) {
    book->sequence = header->sequence;
    book->venue_sequence = header->venue_sequence;
    book->epoch = header->epoch;
    book->state = header->state;
    book->reason = header->reason;
    book->price_exponent = header->price_exponent;
    book->quantity_exponent = header->quantity_exponent;
    book->verified_by = header->verified_by;
    book->verifier_state = header->verifier_state;
    book->exchange_ns = header->exchange_ns;
    book->receive_ns = header->receive_ns;
    book->decoded_ns = header->decoded_ns;
    book->published_ns = header->published_ns;
}

bool bw_strands_load(bw_strands *strands, uint32_t book, const bw_book *header, const bw_level *bids,
                     uint32_t bid_count, const bw_level *asks, uint32_t ask_count) {
    bw_strand *strand = bw_strands_at(strands, book);
    if (!strand || header->sequence < strand->book->sequence) return false;
    if (strands->store) {
        if (bid_count > strands->levels || ask_count > strands->levels) return false;
        bw_book_begin(strand->book);
        bw_book_clear(strands->store, strand->book);
        bw_book_load(strands->store, strand->book, 0, bids, bid_count);
        bw_book_load(strands->store, strand->book, 1, asks, ask_count);
        for (uint32_t side = 0; side < BW_SIDES; side++)
            strand->book->side[side].verified_price = header->side[side].verified_price;
    }
    take_copied(strand->book, header);
    if (strands->store) bw_book_end(strands->store, strand->book);
    strand->known = true;
    return true;
}

void bw_strand_begin(bw_strand *strand) {
    const bw_book *book = strand->book;
    strand->covered = true;
    strand->reached = book->sequence;
    strand->last = (bw_record){.bytes = sizeof strand->last, .type = BW_RECORD_RESET,
                               .verified_by = book->verified_by, .price_exponent = book->price_exponent,
                               .quantity_exponent = book->quantity_exponent, .epoch = book->epoch,
                               .sequence = book->sequence, .venue_sequence = book->venue_sequence,
                               .exchange_ns = book->exchange_ns, .receive_ns = book->receive_ns,
                               .decoded_ns = book->decoded_ns, .published_ns = book->published_ns,
                               .state = book->state, .reason = book->reason};
}

static void take(bw_strands *strands, bw_strand *strand, const bw_record *record) {
    if (record->sequence > strand->book->sequence || !strand->known)
        strand->known = bw_played_record(strands->store, strand->book, record, strand->known);
    strand->last = *record;
    strand->reached = record->sequence;
}

void bw_strands_take(bw_strands *strands, const bw_record *record) {
    bw_strand *strand = bw_strands_at(strands, record->book);
    if (strand && record->sequence > strand->reached) take(strands, strand, record);
}

/* The record at a byte; NULL where there is none. */
static const bw_record *record_at(const uint8_t *span, uint32_t bytes, uint32_t at) {
    if (bytes - at < sizeof(bw_record)) return NULL;
    const bw_record *record = (const void *)(span + at);
    uint64_t changes = (uint64_t)record->bid_count + record->ask_count;
    bool sound = record->bytes == sizeof *record + changes * sizeof(bw_level) && record->bytes <= bytes - at;
    return sound ? record : NULL;
}

/* -- survey -------------------------------------------------------------------------------------- */

static enum bw_strand_event survey_one(bw_strands *strands, bw_strand *strand, const bw_record *record) {
    if (record->sequence <= strand->reached) return BW_STRANDS_DONE;
    bool live = record->state == BW_BOOK_LIVE;
    if (strand->covered && (record->sequence != strand->reached + 1 || !live)) {
        strand->covered = false;
        strand->whole = strand->known && record->sequence == strand->reached + 1;
        return BW_STRANDS_BROKE;
    }
    /* a copy that was made before, and stands right before this record */
    if (!strand->covered && strand->known && strand->book->state == BW_BOOK_LIVE &&
        record->sequence == strand->book->sequence + 1 && strand->book->sequence > strand->reached) {
        bw_strand_begin(strand);
        return BW_STRANDS_BEGAN;
    }
    bool follows = record->sequence == strand->reached + 1;
    take(strands, strand, record);
    strand->whole = strand->whole && follows && strand->known;
    if (strand->covered || !strand->known || !live || strand->book->sequence != record->sequence)
        return BW_STRANDS_DONE;
    strand->covered = true;
    return BW_STRANDS_BEGAN;
}

enum bw_strand_event bw_strands_survey(bw_strands *strands, const uint8_t *span, uint32_t bytes, uint32_t *at,
                                       uint32_t *book) {
    while (*at < bytes) {
        const bw_record *record = record_at(span, bytes, *at);
        if (!record) return BW_STRANDS_BAD;
        bw_strand *strand = bw_strands_at(strands, record->book);
        if (strand) {
            enum bw_strand_event event = survey_one(strands, strand, record);
            *book = record->book;
            if (event != BW_STRANDS_DONE) return event; /* the same record comes again: it was seen, or not */
        }
        *at += record->bytes;
    }
    return BW_STRANDS_DONE;
}

/* -- splice -------------------------------------------------------------------------------------- */

int64_t bw_strand_key_of(const bw_record *record, uint32_t key) {
    switch (key) {
    case BW_KEY_VENUE_SEQUENCE: return (int64_t)record->venue_sequence;
    case BW_KEY_EXCHANGE_NS: return record->exchange_ns;
    default: return record->receive_ns;
    }
}

bool bw_strand_emit(bw_strand *strand, const bw_record *record, bw_strands_out *out) {
    if (out->room - out->used < record->bytes) return false;
    bw_record *put = (void *)(out->data + out->used);
    memcpy(put, record, record->bytes);
    put->book = strand->out_book;
    put->sequence += strand->sequence_up;
    put->epoch = (uint32_t)((int64_t)put->epoch + strand->epoch_up);
    out->used += record->bytes;
    out->records++;
    if (record->type == BW_RECORD_RESET) {
        out->resets++;
        strand->owes = true;
    }
    return true;
}

/* What becomes of a record that is not seen yet. Except for START, ROOM and an END or EMPTY before it, it
 * is seen afterwards. */
static enum bw_strand_event splice_one(bw_strands *strands, bw_strand *strand, const bw_record *record,
                                       bw_strands_out *out) {
    int64_t key = bw_strand_key_of(record, strand->key);
    switch (strand->phase) {
    case BW_STRAND_ANCHOR:
        if (record->sequence > strand->from_sequence) return BW_STRANDS_START;
        take(strands, strand, record);
        if (record->sequence != strand->from_sequence || !strand->known) return BW_STRANDS_DONE;
        return strand->book->sequence == record->sequence ? BW_STRANDS_ANCHOR : BW_STRANDS_DONE;
    case BW_STRAND_WAIT:
        if (record->sequence > strand->until_sequence) return BW_STRANDS_EMPTY;
        if (record->sequence > strand->from_sequence && key > strand->after_key)
            return key > strand->until_key ? BW_STRANDS_EMPTY : BW_STRANDS_START;
        take(strands, strand, record);
        return record->sequence == strand->until_sequence ? BW_STRANDS_EMPTY : BW_STRANDS_DONE;
    case BW_STRAND_EMIT:
    case BW_STRAND_HELD:
        if (key > strand->until_key || record->sequence > strand->until_sequence) return BW_STRANDS_END;
        if (strand->phase == BW_STRAND_EMIT && !bw_strand_emit(strand, record, out)) return BW_STRANDS_ROOM;
        take(strands, strand, record);
        if (strand->phase == BW_STRAND_HELD) return BW_STRANDS_HELD;
        return record->sequence == strand->until_sequence ? BW_STRANDS_END : BW_STRANDS_DONE;
    default: take(strands, strand, record); return BW_STRANDS_DONE;
    }
}

enum bw_strand_event bw_strands_splice(bw_strands *strands, const uint8_t *span, uint32_t bytes, uint32_t *at,
                                       uint32_t *book, bw_strands_out *out) {
    while (*at < bytes) {
        const bw_record *record = record_at(span, bytes, *at);
        if (!record) return BW_STRANDS_BAD;
        bw_strand *strand = bw_strands_at(strands, record->book);
        if (strand && record->sequence > strand->reached) {
            enum bw_strand_event event = splice_one(strands, strand, record, out);
            *book = record->book;
            if (event != BW_STRANDS_DONE) return event; /* read again: skipped, if it was seen */
        }
        *at += record->bytes;
    }
    return BW_STRANDS_DONE;
}

uint32_t bw_strands_owing(const bw_strands *strands, uint32_t *books, uint32_t room, uint32_t *waiting) {
    uint32_t found = 0;
    *waiting = 0;
    for (uint32_t i = 0; i < strands->books; i++) {
        const bw_strand *strand = &strands->strand[i];
        if (!strand->owes || strand->phase != BW_STRAND_EMIT) continue;
        bool stands = strand->known && strand->book->sequence == strand->reached;
        if (stands && found < room) books[found++] = i;
        else ++*waiting;
    }
    return found;
}

uint32_t bw_strands_copy(const bw_strands *strands, uint32_t book, uint8_t *out, uint32_t room) {
    const bw_book *held = strands->strand[book].book;
    uint64_t levels = (uint64_t)held->side[0].level_count + held->side[1].level_count;
    uint64_t bytes = sizeof *held + levels * sizeof(bw_level);
    if (!strands->store || bytes > room) return 0;
    memcpy(out, held, sizeof *held);
    bw_level *level = (void *)(out + sizeof *held);
    level += bw_book_copy(strands->store, held, 0, UINT32_MAX, level);
    bw_book_copy(strands->store, held, 1, UINT32_MAX, level);
    return (uint32_t)bytes;
}

uint32_t bw_strands_best(const bw_strands *strands, uint32_t book, uint32_t side, uint32_t depth,
                         bw_level *out) {
    return bw_book_copy(strands->store, strands->strand[book].book, side, depth, out);
}
