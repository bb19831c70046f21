#include "played.h"

uint32_t bw_span_find(const uint8_t *span, uint32_t bytes, uint32_t at, uint32_t book) {
    while (at < bytes && bytes - at >= sizeof(bw_record)) {
        const bw_record *record = (const void *)(span + at);
        if (record->bytes < sizeof *record || record->bytes > bytes - at) return bytes;
        if (record->book == book) return at;
        at += record->bytes;
    }
    return bytes;
}

static void take_header(bw_book *book, const bw_record *record) {
    book->sequence = record->sequence;
    book->venue_sequence = record->venue_sequence;
    book->epoch = record->epoch;
    book->reason = record->reason;
    book->price_exponent = record->price_exponent;
    book->quantity_exponent = record->quantity_exponent;
    book->verified_by = record->verified_by;
    book->exchange_ns = record->exchange_ns;
    book->receive_ns = record->receive_ns;
    book->decoded_ns = record->decoded_ns;
    book->published_ns = record->published_ns;
}

bool bw_played_record(bw_book_store *store, bw_book *book, const bw_record *record, bool known) {
    known = known && record->sequence == book->sequence + 1 && record->epoch == book->epoch &&
            record->type != BW_RECORD_RESET && record->price_exponent == book->price_exponent &&
            record->quantity_exponent == book->quantity_exponent;
    const bw_level *change = (const void *)(record + 1);
    uint32_t bids = record->bid_count, all = known && store ? bids + record->ask_count : 0;
    if (store) bw_book_begin(book);
    for (uint32_t i = 0; i < all; i++) {
        int64_t evicted;
        bw_book_set(store, book, i >= bids, change[i].price, change[i].quantity, change[i].orders, &evicted);
    }
    take_header(book, record);
    book->state = known ? record->state : BW_BOOK_RESYNC;
    if (store) bw_book_end(store, book);
    return known;
}
