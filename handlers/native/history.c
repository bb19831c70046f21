#include "history.h"

#include <stdlib.h>
#include <string.h>

typedef struct kept_book {
    bw_row last; /* of the copy; sequence 0: none yet */
    uint64_t seen; /* sequence of the last record */
    bool known;
} kept_book;

struct bw_history {
    bw_book_store *store;
    kept_book *kept;
    uint32_t books;
    uint32_t levels;
};

bw_history *bw_history_new(uint32_t books, uint32_t level_capacity) {
    bw_history *history = calloc(1, sizeof *history);
    if (!history) return NULL;
    uint32_t chunks = BW_SIDES * books * (level_capacity / (BW_CHUNK_LEVELS / 2) + 2);
    history->books = books;
    history->levels = level_capacity;
    history->kept = calloc(books, sizeof *history->kept);
    history->store = bw_book_store_new(books, level_capacity, chunks);
    if (history->kept && history->store) return history;
    bw_history_free(history);
    return NULL;
}

void bw_history_free(bw_history *history) {
    if (!history) return;
    bw_book_store_free(history->store);
    free(history->kept);
    free(history);
}

static void tops(const bw_history *history, uint32_t book, bw_row *row) {
    const kept_book *kept = &history->kept[book];
    bw_level best;
    row->top_sides = 0;
    if (!kept->known) return;
    bw_book *held = bw_book_store_at(history->store, book);
    if (bw_book_copy(history->store, held, 0, 1, &best)) {
        row->top_sides |= 1;
        row->bid_price = best.price;
        row->bid_quantity = best.quantity;
    }
    if (bw_book_copy(history->store, held, 1, 1, &best)) {
        row->top_sides |= 2;
        row->ask_price = best.price;
        row->ask_quantity = best.quantity;
    }
}

bool bw_history_load(bw_history *history, uint32_t book, const bw_book *header, const bw_level *bids,
                     uint32_t bid_count, const bw_level *asks, uint32_t ask_count) {
    if (book >= history->books || bid_count > history->levels || ask_count > history->levels) return false;
    kept_book *kept = &history->kept[book];
    if (kept->known && header->sequence < kept->last.sequence) return false;
    bw_book *held = bw_book_store_at(history->store, book);
    bw_book_begin(held);
    bw_book_clear(history->store, held);
    bw_book_load(history->store, held, 0, bids, bid_count);
    bw_book_load(history->store, held, 1, asks, ask_count);
    bw_book_end(history->store, held);
    kept->known = true;
    kept->last = (bw_row){.sequence = header->sequence, .venue_sequence = header->venue_sequence,
                          .exchange_ns = header->exchange_ns, .receive_ns = header->receive_ns,
                          .published_ns = header->published_ns, .book = book, .epoch = header->epoch,
                          .type = BW_RECORD_RESET, .state = (uint8_t)header->state,
                          .reason = (uint8_t)header->reason, .verified_by = header->verified_by,
                          .price_exponent = header->price_exponent,
                          .quantity_exponent = header->quantity_exponent};
    return true;
}

static bw_row row_of(const bw_record *record) {
    return (bw_row){.sequence = record->sequence, .venue_sequence = record->venue_sequence,
                    .exchange_ns = record->exchange_ns, .receive_ns = record->receive_ns,
                    .published_ns = record->published_ns, .book = record->book, .epoch = record->epoch,
                    .bid_count = record->bid_count, .ask_count = record->ask_count, .type = record->type,
                    .state = (uint8_t)record->state, .reason = (uint8_t)record->reason,
                    .verified_by = record->verified_by, .price_exponent = record->price_exponent,
                    .quantity_exponent = record->quantity_exponent};
}

/* Moves the book's copy on by one record; false when the copy says nothing of the moment after it. */
static bool move(bw_history *history, const bw_record *record, const bw_row *row) {
    kept_book *kept = &history->kept[record->book];
    if (kept->known && record->sequence <= kept->last.sequence)
        return record->sequence == kept->last.sequence;
    if (kept->known && (record->sequence != kept->last.sequence + 1 || record->type == BW_RECORD_RESET ||
                        record->price_exponent != kept->last.price_exponent ||
                        record->quantity_exponent != kept->last.quantity_exponent))
        kept->known = false;
    if (!kept->known) return false;
    bw_book *held = bw_book_store_at(history->store, record->book);
    const bw_level *change = (const void *)(record + 1);
    int64_t evicted;
    bw_book_begin(held);
    for (uint32_t i = 0; i < record->bid_count + record->ask_count; i++) {
        bw_book_set(history->store, held, i >= record->bid_count, change[i].price, change[i].quantity,
                    change[i].orders, &evicted);
    }
    bw_book_end(history->store, held);
    kept->last = *row;
    return true;
}

uint32_t bw_history_rows(bw_history *history, const uint8_t *records, uint64_t bytes, bw_row *rows,
                         uint32_t row_room, bw_level *levels, uint32_t level_room, uint64_t *consumed) {
    uint32_t made = 0, used = 0;
    *consumed = 0;
    while (made < row_room && bytes - *consumed >= sizeof(bw_record)) {
        const bw_record *record = (const void *)(records + *consumed);
        uint64_t changes = (uint64_t)record->bid_count + record->ask_count;
        if (record->bytes != sizeof *record + changes * sizeof(bw_level) ||
            record->bytes > bytes - *consumed || record->book >= history->books ||
            changes > level_room - used)
            break;
        bw_row *row = &rows[made++];
        kept_book *kept = &history->kept[record->book];
        *row = row_of(record);
        row->hole = kept->seen && record->sequence != kept->seen + 1;
        kept->seen = record->sequence;
        memcpy(levels + used, record + 1, changes * sizeof *levels);
        used += (uint32_t)changes;
        if (move(history, record, row)) tops(history, record->book, row);
        *consumed += record->bytes;
    }
    return made;
}

bool bw_history_copy(bw_history *history, uint32_t book, bw_row *row, bw_level *levels, uint32_t level_room) {
    if (book >= history->books || !history->kept[book].known) return false;
    const bw_book *held = bw_book_store_at(history->store, book);
    if (held->side[0].level_count + held->side[1].level_count > level_room) return false;
    *row = history->kept[book].last;
    row->type = BW_RECORD_RESET;
    row->bid_count = bw_book_copy(history->store, held, 0, UINT32_MAX, levels);
    row->ask_count = bw_book_copy(history->store, held, 1, UINT32_MAX, levels + row->bid_count);
    tops(history, book, row);
    return true;
}
