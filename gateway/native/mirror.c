/* A private copy of one book: deep copy at first use or after a break, then records one by one. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define BW_APPLY_LEVELS 64u /* of a record at once */

bw_mirror *bw_mirror_want(bw_gateway *gateway, bw_source *source, const char *symbol, uint32_t instrument) {
    for (bw_mirror *mirror = source->mirrors; mirror; mirror = mirror->next) {
        if (mirror->instrument == instrument && strcmp(mirror->symbol, symbol) == 0) return mirror;
    }
    bw_mirror *mirror = calloc(1, sizeof *mirror);
    if (!mirror) return NULL;
    mirror->source = source;
    mirror->instrument = instrument;
    mirror->book = UINT32_MAX;
    strncpy(mirror->symbol, symbol, sizeof mirror->symbol - 1);
    mirror->next = source->mirrors;
    source->mirrors = mirror;
    BW_COUNT(gateway->stats, mirrors, 1);
    bw_mirror_attach(gateway, mirror);
    return mirror;
}

static void mirror_free_store(bw_mirror *mirror) {
    if (mirror->store) bw_book_store_free(mirror->store);
    mirror->store = NULL;
    mirror->copy = NULL;
    mirror->level_capacity = 0;
}

/* Only when nothing shows it any more. */
void bw_mirror_drop(bw_gateway *gateway, bw_mirror *mirror) {
    if (mirror->single || mirror->merged) return;
    bw_source *source = mirror->source;
    bw_mirror **link = &source->mirrors;
    while (*link != mirror) link = &(*link)->next;
    *link = mirror->next;
    if (mirror->book != UINT32_MAX) source->by_book[mirror->book] = NULL;
    mirror_free_store(mirror);
    for (uint32_t side = 0; side < BW_SIDES; side++) free(mirror->level[side]);
    free(mirror);
    BW_COUNT(gateway->stats, mirrors, -1);
}

bool bw_mirror_deepen(bw_mirror *mirror, uint32_t depth) {
    if (depth <= mirror->depth_wanted) return true;
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        bw_level *level = realloc(mirror->level[side], depth * sizeof *level);
        if (!level) return false;
        mirror->level[side] = level;
    }
    mirror->depth_wanted = depth;
    mirror->fresh = false;
    return true;
}

/* A book that is no longer LIVE leaves at once, whatever the interval: the next showing is urgent. */
static void mirror_set_live(bw_mirror *mirror, bool live) {
    if (mirror->live && !live) mirror->lost = true;
    mirror->live = live;
    mirror->stamps.state = mirror->state;
}

/* Tells the markets that the book moved. `emit`: let those that want every change have this one. */
void bw_mirror_show(bw_gateway *gateway, bw_mirror *mirror, bool emit) {
    enum bw_touch how = mirror->lost ? BW_TOUCH_ALL_NOW : emit ? BW_TOUCH_NOW : BW_TOUCH_LATER;
    if (mirror->single) {
        mirror->single->stamps = mirror->stamps;
        if (mirror->lost)
            mirror->single->stamps.receive_ns = mirror->single->stamps.published_ns = gateway->wall_ns;
        bw_market_touch(gateway, mirror->single, how);
    }
    if (mirror->merged) {
        bw_stamps before = mirror->merged->stamps;
        mirror->merged->stamps = mirror->stamps;
        mirror->merged->stamps.sequence = before.sequence + 1;
        if (mirror->lost)
            mirror->merged->stamps.receive_ns = mirror->merged->stamps.published_ns = gateway->wall_ns;
        if (mirror->merged->stamps.receive_ns < before.receive_ns) { /* several clocks, one stream */
            mirror->merged->stamps.receive_ns = before.receive_ns;
        }
        bw_market_touch(gateway, mirror->merged, how);
    }
    mirror->lost = false;
    gateway->moved = NULL;
}

static bool copy_room(bw_gateway *gateway, uint32_t levels) {
    if (levels <= gateway->copy_room) return true;
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        bw_level *room = realloc(gateway->copy[side], levels * sizeof *room);
        if (!room) return false;
        gateway->copy[side] = room;
    }
    gateway->copy_room = levels;
    return true;
}

void bw_mirror_attach(bw_gateway *gateway, bw_mirror *mirror) {
    bw_source *source = mirror->source;
    if (!source->alive || mirror->book != UINT32_MAX) return;
    uint32_t book = bw_source_find(source, mirror->symbol, mirror->instrument);
    if (book == UINT32_MAX) return;
    mirror->book = book;
    source->by_book[book] = mirror;
    mirror->loaded = false;
    bw_mirror_load(gateway, mirror);
}

void bw_mirror_detach(bw_gateway *gateway, bw_mirror *mirror) {
    if (mirror->book != UINT32_MAX) mirror->source->by_book[mirror->book] = NULL;
    mirror->book = UINT32_MAX;
    mirror->loaded = mirror->fresh = false;
    mirror->state = BW_BOOK_DOWN;
    mirror_set_live(mirror, false);
    bw_mirror_show(gateway, mirror, true);
}

/* The store has the segment's own capacity, so that a full book evicts here what it evicts there. */
static bool mirror_size_store(bw_gateway *gateway, bw_mirror *mirror) {
    const bw_book *book = bw_segment_book(mirror->source->segment, mirror->book);
    uint32_t capacity = book->side[0].level_capacity;
    if (book->side[1].level_capacity > capacity) capacity = book->side[1].level_capacity;
    if (!copy_room(gateway, capacity)) return false;
    if (mirror->store && mirror->level_capacity == capacity) return true;
    mirror_free_store(mirror);
    mirror->store = bw_book_store_new(1, capacity, 0);
    if (!mirror->store) return false;
    mirror->copy = bw_book_store_at(mirror->store, 0);
    mirror->level_capacity = capacity;
    return true;
}

static void mirror_fill(bw_mirror *mirror, bw_level *const level[BW_SIDES], const uint32_t count[BW_SIDES]) {
    bw_book_begin(mirror->copy);
    bw_book_clear(mirror->store, mirror->copy);
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        for (uint32_t i = count[side]; i-- > 0;) { /* worst first: each goes to the end of its array */
            int64_t evicted;
            const bw_level *from = &level[side][i];
            bw_book_set(mirror->store, mirror->copy, side, from->price, from->quantity, from->orders,
                        &evicted);
        }
    }
    bw_book_end(mirror->store, mirror->copy);
}

/* Copies the whole book. What cannot be copied now is not shown and tried again in the next turn. */
void bw_mirror_load(bw_gateway *gateway, bw_mirror *mirror) {
    bw_source *source = mirror->source;
    mirror->loaded = mirror->fresh = false;
    bw_book header;
    int result = BW_READ_BUSY;
    uint32_t count[BW_SIDES] = {0, 0};
    if (mirror_size_store(gateway, mirror)) {
        count[0] = count[1] = gateway->copy_room;
        result = bw_book_read(source->segment, mirror->book, 0, &header, gateway->copy[0], &count[0],
                              gateway->copy[1], &count[1], NULL);
    }
    if (result != BW_READ_OK) {
        source->reload_wanted = true;
        mirror->state = BW_BOOK_RESYNC;
        mirror_set_live(mirror, false);
        return;
    }
    BW_COUNT(gateway->stats, books_copied, 1);
    mirror_fill(mirror, gateway->copy, count);
    mirror->loaded = true;
    mirror->sequence = header.sequence;
    mirror->epoch = header.epoch;
    mirror->price_exponent = header.price_exponent;
    mirror->quantity_exponent = header.quantity_exponent;
    mirror->bound[0] = header.side[0].verified_price;
    mirror->bound[1] = header.side[1].verified_price;
    mirror->state = header.state;
    mirror->stamps = (bw_stamps){header.sequence, header.exchange_ns, header.receive_ns,
                                 header.published_ns, header.state};
    mirror_set_live(mirror, header.state == BW_BOOK_LIVE);
}

/* Nobody reads a mirror's best levels or its sequence lock: they are left alone. */
static void apply_side(bw_mirror *mirror, uint32_t side, const bw_level *change, uint32_t count) {
    const bw_side *of = &mirror->copy->side[side];
    if (of->level_count + count >= of->level_capacity) { /* which level leaves depends on the order */
        for (uint32_t i = 0; i < count; i++) {
            int64_t evicted;
            bw_book_set(mirror->store, mirror->copy, side, change[i].price, change[i].quantity,
                        change[i].orders, &evicted);
        }
        return;
    }
    bw_level set[2 * BW_APPLY_LEVELS];
    for (uint32_t some; count > 0; change += some, count -= some) {
        some = count < BW_APPLY_LEVELS ? count : BW_APPLY_LEVELS;
        bw_book_set_many(mirror->store, mirror->copy, side, change, some, set);
    }
}

static void apply_changes(bw_gateway *gateway, bw_mirror *mirror, const bw_record *header,
                          const bw_record *record) {
    const bw_level *change = (const bw_level *)(const void *)(record + 1);
    uint32_t count[BW_SIDES] = {header->bid_count, header->ask_count};
    const bw_book *book = bw_segment_book(mirror->source->segment, mirror->book);
    gateway->moved = mirror->single ? mirror : NULL;
    for (uint32_t side = 0; side < BW_SIDES; change += count[side++]) {
        apply_side(mirror, side, change, count[side]);
        mirror->bound[side] = *(const volatile int64_t *)&book->side[side].verified_price;
        if (gateway->moved && !bw_step_take(&gateway->step, side, change, count[side])) gateway->moved = NULL;
    }
}

/* Takes a record in (`header` is a copy of its own: a reload overwrites the record). False when
 * there is nothing to show. */
bool bw_mirror_apply(bw_gateway *gateway, bw_mirror *mirror, const bw_record *header,
                     const bw_record *record) {
    if (mirror->loaded && header->sequence <= mirror->sequence) return false; /* the copy was newer */
    bool broken = !mirror->loaded || header->type == BW_RECORD_RESET || header->epoch != mirror->epoch ||
                  header->sequence != mirror->sequence + 1 ||
                  header->price_exponent != mirror->price_exponent ||
                  header->quantity_exponent != mirror->quantity_exponent;
    BW_COUNT(gateway->stats, records_applied, 1);
    if (broken) {
        bw_mirror_load(gateway, mirror);
        return true;
    }
    if (header->type == BW_RECORD_DELTA) apply_changes(gateway, mirror, header, record);
    mirror->fresh = false;
    mirror->sequence = header->sequence;
    mirror->state = header->state;
    mirror->stamps = (bw_stamps){header->sequence, header->exchange_ns, header->receive_ns,
                                 header->published_ns, header->state};
    mirror_set_live(mirror, header->state == BW_BOOK_LIVE);
    return true;
}

/* Levels behind the best `skip`, as far as they are known to be right. */
uint32_t bw_mirror_behind(const bw_mirror *mirror, uint32_t side, uint32_t skip, uint32_t count,
                          bw_level *level) {
    count = bw_book_copy_behind(mirror->store, mirror->copy, side, skip, count, level);
    return bw_view_known(level, count, side, mirror->bound[side]);
}

/* The best levels, or false when the book counts as empty. */
bool bw_mirror_input(bw_mirror *mirror, bw_view_input *input) {
    if (!mirror->live || !mirror->loaded) return false;
    if (!mirror->fresh) {
        for (uint32_t side = 0; side < BW_SIDES; side++) {
            uint32_t count =
                bw_book_copy(mirror->store, mirror->copy, side, mirror->depth_wanted, mirror->level[side]);
            mirror->level_count[side] = bw_view_known(mirror->level[side], count, side, mirror->bound[side]);
        }
        mirror->fresh = true;
    }
    *input = (bw_view_input){{mirror->level[0], mirror->level[1]},
                             {mirror->level_count[0], mirror->level_count[1]},
                             mirror->price_exponent, mirror->quantity_exponent, mirror->source->number,
                             mirror->stamps.receive_ns};
    return true;
}
