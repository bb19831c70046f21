/* What proves a book besides its sequence: checksums that come by themselves, snapshots that come again. */
#include "engine_state.h"

#include "number.h"

void bw_apply_checksum(bw_engine *engine, bw_tracked *tracked, const bw_update *update) {
    if (tracked->sync.phase != BW_SYNC_FOLLOWING) return; /* there is no book it could be of */
    bw_book_begin(tracked->book);
    uint32_t reason = bw_check_sum(engine, tracked, update, false);
    bw_book_end(engine->store, tracked->book);
    if (reason) bw_repair_begin(engine, tracked, reason, update->receive_ns);
}

/* Whether the side has a level of these numbers; `level` is the side, best first. */
static bool has_level(const bw_level *level, uint32_t count, uint32_t side, int64_t price, int64_t quantity) {
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        bool before = side ? level[middle].price < price : level[middle].price > price;
        if (before) low = middle + 1;
        else high = middle;
    }
    return low < count && level[low].price == price && level[low].quantity == quantity;
}

static bool side_equals(const bw_engine *engine, const bw_book *book, const bw_update *update,
                        uint32_t side) {
    uint32_t count = update->count[side];
    if (book->side[side].level_count != count) return false;
    bw_book_copy(engine->store, book, side, count, engine->audited);
    for (const bw_wire_level *level = update->level[side], *end = level + count; level < end; level++) {
        int64_t price, quantity;
        bool fits = level->price_decimals <= book->price_exponent &&
                    level->quantity_decimals <= book->quantity_exponent &&
                    bw_scale(level->price, book->price_exponent - level->price_decimals, &price) &&
                    bw_scale(level->quantity, book->quantity_exponent - level->quantity_decimals, &quantity);
        if (!fits || !has_level(engine->audited, count, side, price, quantity)) return false;
    }
    return true;
}

bool bw_audit(bw_engine *engine, bw_tracked *tracked, const bw_update *update) {
    bw_book *book = tracked->book;
    bool equal = side_equals(engine, book, update, 0) && side_equals(engine, book, update, 1);
    book->audits++;
    book->audit_mismatches += !equal;
    return equal;
}
