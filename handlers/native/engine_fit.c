/* Numbers as they came into the exponents of their book, which grow with them.
 *
 * A price that does not fit 64 bits is refused. Quantities may have more decimals than their book can have
 * beside its largest one, be it by a venue's binary noise: these are rounded, half to even and never to 0,
 * and counted.
 */
#include "engine_state.h"

#include "number.h"

/* Takes zeros off that only pad, until the decimals fit or are needed. */
static void strip(int64_t *mantissa, uint8_t *decimals, uint32_t wanted) {
    for (; *decimals > wanted && *mantissa % 10 == 0; --*decimals) *mantissa /= 10;
}

/* The decoder may leave decimals that another symbol's numbers needed: then count anew. */
static void settle_decimals(bw_update *update, uint32_t price, uint32_t quantity) {
    update->price_decimals = update->quantity_decimals = 0;
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        bw_wire_level *level = update->level[side], *end = level + update->count[side];
        for (; level < end; level++) {
            strip(&level->price, &level->price_decimals, price);
            strip(&level->quantity, &level->quantity_decimals, quantity);
            if (level->price_decimals > update->price_decimals)
                update->price_decimals = level->price_decimals;
            if (level->quantity_decimals > update->quantity_decimals) {
                update->quantity_decimals = level->quantity_decimals;
            }
        }
    }
}

/* The most decimals with which all quantities of the update and (`keeps`) the book fit. */
static uint32_t quantity_room(const bw_engine *engine, const bw_book *book, const bw_update *update,
                              bool keeps) {
    int64_t whole = 0;
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        const bw_side *of = &book->side[side];
        const bw_directory_entry *entry =
            (const bw_directory_entry *)(const void *)(engine->store->base + of->directory_offset);
        for (uint32_t i = 0; keeps && i < of->directory_count; i++) {
            const bw_chunk *chunk = &engine->store->chunk[entry[i].chunk];
            for (uint32_t k = 0; k < entry[i].count; k++) {
                int64_t part = chunk->quantity[k] / bw_power_of_ten[book->quantity_exponent];
                if (part > whole) whole = part;
            }
        }
        for (uint32_t i = 0; i < update->count[side]; i++) {
            const bw_wire_level *level = &update->level[side][i];
            int64_t part = level->quantity / bw_power_of_ten[level->quantity_decimals];
            if (part > whole) whole = part;
        }
    }
    uint32_t room = BW_DECIMALS_MAX;
    while (room && whole > INT64_MAX / bw_power_of_ten[room] - 1) room--;
    return room;
}

static uint64_t round_quantities(bw_update *update, uint32_t decimals) {
    uint64_t rounded = 0;
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        bw_wire_level *level = update->level[side], *end = level + update->count[side];
        for (; level < end; level++) {
            if (level->quantity_decimals <= decimals) continue;
            level->quantity = bw_round(level->quantity, level->quantity_decimals - decimals);
            level->quantity_decimals = (uint8_t)decimals;
            rounded++;
        }
    }
    update->quantity_decimals = decimals;
    return rounded;
}

/* Whether all levels have just so many decimals: mostly so where a venue pads. */
static bool are_scaled(const bw_update *update, uint32_t price, uint32_t quantity) {
    uint32_t differs = 0;
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        const bw_wire_level *level = update->level[side], *end = level + update->count[side];
        for (; level < end; level++)
            differs |= (level->price_decimals ^ price) | (level->quantity_decimals ^ quantity);
    }
    return differs == 0;
}

const char *bw_fit_levels(const bw_engine *engine, bw_tracked *tracked, bw_update *update, bool replaces,
                          uint32_t *price_up, uint32_t *quantity_up) {
    bw_book *book = tracked->book;
    uint32_t price = book->price_exponent, quantity = book->quantity_exponent;
    if (replaces && quantity > tracked->quantity_ceiling) quantity = tracked->quantity_ceiling;
    if (update->price_decimals > price || update->quantity_decimals > quantity) {
        settle_decimals(update, price, quantity);
        if (update->price_decimals > BW_DECIMALS_MAX) return "a price has too many decimals";
    }
    if (update->quantity_decimals > quantity) {
        uint32_t room = quantity_room(engine, book, update, !replaces);
        if (room > tracked->quantity_ceiling) room = tracked->quantity_ceiling;
        if (room < quantity) room = quantity;
        if (update->quantity_decimals > room) {
            book->rounded += round_quantities(update, room);
            tracked->quantity_ceiling = room;
        }
    }
    *price_up = update->price_decimals > price ? update->price_decimals - price : 0;
    *quantity_up = update->quantity_decimals > quantity ? update->quantity_decimals - quantity : 0;
    price += *price_up;
    quantity += *quantity_up;
    if (!tracked->unpadded && update->price_decimals == price && update->quantity_decimals == quantity) {
        if (are_scaled(update, price, quantity)) return NULL;
        tracked->unpadded = true;
    }
    bool fits = true, quantities_fit = true;
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        bw_wire_level *level = update->level[side], *end = level + update->count[side];
        for (; level < end; level++) {
            fits &= bw_scale(level->price, price - level->price_decimals, &level->price);
            uint32_t up = quantity - level->quantity_decimals;
            quantities_fit &= bw_scale(level->quantity, up, &level->quantity);
        }
    }
    if (fits && quantities_fit) return NULL;
    if (!quantities_fit) tracked->quantity_ceiling = quantity > 4 ? quantity - 4 : 0; /* the next will fit */
    return "a number does not fit 64 bits at the book's exponent";
}

static void unscale(int64_t *mantissa, uint8_t *decimals, uint32_t scale, uint32_t exponent) {
    uint32_t have = *decimals + scale;
    if (have > exponent && have - exponent <= BW_DECIMALS_MAX) { /* mostly they fit the tick: one division */
        int64_t fewer = *mantissa / bw_power_of_ten[have - exponent];
        if (fewer * bw_power_of_ten[have - exponent] == *mantissa) {
            *mantissa = fewer;
            have = exponent;
        }
    }
    *decimals = (uint8_t)have;
}

void bw_unscale(bw_update *update, const bw_tracked *tracked) {
    const bw_book *book = tracked->book;
    update->price_decimals = update->quantity_decimals = 0;
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        bw_wire_level *level = update->level[side], *end = level + update->count[side];
        for (; level < end; level++) {
            unscale(&level->price, &level->price_decimals, tracked->scale[0], book->price_exponent);
            unscale(&level->quantity, &level->quantity_decimals, tracked->scale[1], book->quantity_exponent);
            if (level->price_decimals > update->price_decimals)
                update->price_decimals = level->price_decimals;
            if (level->quantity_decimals > update->quantity_decimals)
                update->quantity_decimals = level->quantity_decimals;
        }
    }
}
