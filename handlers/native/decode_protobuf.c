/* The second reader of a plan: protobuf messages, in place, in one pass, along the same trie.
 *
 * A repeated field stands for a JSON array: each occurrence of a LEVELS field is one level, of an ITEMS field
 * one item. Fields without a key are skipped whatever their order, groups (which proto3 has not) are refused.
 * The trie's children have higher numbers than their parents, so nesting ends.
 */
#include "decode_state.h"

typedef struct field {
    uint32_t number;
    uint32_t wire; /* 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes */
    const char *at; /* value without its length */
    const char *end;
} field;

static bool fail(bw_decoder *d, const char *p, const char *why) {
    if (!d->failure) {
        d->failure = why;
        d->failure_at = (uint32_t)(p - d->text);
    }
    return false;
}

static void note(bw_decoder *d, bw_item *item, const char *p, const char *why) {
    if (item->fault) return;
    item->fault = why;
    item->fault_at = (uint32_t)(p - d->text);
}

/* Behind the varint at p, or NULL when it has no end or more than 64 bits. */
static const char *take_varint(const char *p, const char *end, uint64_t *value) {
    uint64_t bits = 0;
    for (uint32_t shift = 0; p < end && shift < 70; shift += 7) {
        uint8_t byte = (uint8_t)*p++;
        if (shift == 63 && byte > 1) return NULL;
        bits |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = bits;
            return p;
        }
    }
    return NULL;
}

/* The field at p; returns behind it, or NULL when it is broken. */
static const char *take_tag(bw_decoder *d, const char *p, const char *end, field *of) {
    uint64_t tag, length = 0;
    const char *start = p;
    p = take_varint(p, end, &tag);
    if (!p || tag >> 3 == 0 || tag >> 3 > 536870911) {
        fail(d, start, "a malformed field tag");
        return NULL;
    }
    of->number = (uint32_t)(tag >> 3);
    of->wire = (uint32_t)tag & 7;
    of->at = p;
    switch (of->wire) {
    case 0: p = take_varint(p, end, &length); break;
    case 1: p = end - p >= 8 ? p + 8 : NULL; break;
    case 2:
        p = take_varint(p, end, &length);
        if (p && length > (uint64_t)(end - p)) p = NULL;
        of->at = p;
        if (p) p += length;
        break;
    case 5: p = end - p >= 4 ? p + 4 : NULL; break;
    default: p = NULL; break;
    }
    of->end = p;
    if (!p) fail(d, start, "a field that ends nowhere, or of an unknown type");
    return p;
}

static const char *level_number(const field *of, int64_t *mantissa, uint8_t *decimals) {
    bw_value value = {.bytes = (uint32_t)(of->end - of->at), .kind = BW_VALUE_VARINT};
    if (of->wire == 0) {
        *decimals = 0;
        bw_value_integer(of->at, &value, mantissa);
        return NULL;
    }
    if (of->wire != 2) return "a number in a level is of a type that is not read";
    switch (bw_decimal_parse(of->at, value.bytes, mantissa, decimals)) {
    case BW_NUMBER_OK: return NULL;
    case BW_NUMBER_OVERFLOW: return "a number that does not fit 64 bits";
    default: return "a number in a level is malformed";
    }
}

static const char *level_side(const bw_level_plan *plan, const field *of, uint32_t *side) {
    bw_value text = {.bytes = (uint32_t)(of->end - of->at)};
    bool is_text = of->wire == 2;
    *side = is_text && bw_key_equals(of->at, &text, plan->ask_text, plan->ask_bytes);
    if (*side || (is_text && bw_key_equals(of->at, &text, plan->bid_text, plan->bid_bytes))) return NULL;
    return "a level of neither side";
}

/* A field of a level, if the plan names it; NULL or what is wrong with it. */
static const char *take_level_field(const bw_level_plan *plan, const field *of, bw_item *item,
                                    bw_wire_level *level, uint32_t *side, uint32_t *found) {
    uint32_t name = BW_FIELD_PRICE;
    int64_t orders;
    uint8_t none;
    while (name <= BW_FIELD_SIDE && plan->number[name] != of->number) name++;
    if (name > BW_FIELD_SIDE) return NULL;
    *found |= 1u << name;
    switch (name) {
    case BW_FIELD_PRICE: return level_number(of, &level->price, &level->price_decimals);
    case BW_FIELD_SIDE: return level_side(plan, of, side);
    case BW_FIELD_ORDERS:
        if (level_number(of, &orders, &none) || none || orders < 0 || orders > UINT32_MAX) {
            return "a number of orders is malformed";
        }
        level->orders = (uint32_t)orders;
        return NULL;
    default: break;
    }
    const char *bad = level_number(of, &level->quantity, &level->quantity_decimals);
    uint32_t bytes = (uint32_t)(of->end - of->at);
    if (bad && of->wire == 2 &&
        bw_decimal_parse(of->at, bytes, &level->quantity, &level->quantity_decimals) == BW_NUMBER_OVERFLOW &&
        bw_decimal_round(of->at, bytes, &level->quantity, &level->quantity_decimals) == BW_NUMBER_OK) {
        item->rounded++;
        bad = NULL;
    }
    return bad;
}

static bool take_level(bw_decoder *d, const field *of, uint32_t target, bw_item *item) {
    const bw_level_plan *plan = &d->plan->levels[target];
    const uint32_t both = 1u << BW_FIELD_PRICE | 1u << BW_FIELD_QUANTITY;
    bw_wire_level level = {0};
    uint32_t side = plan->side == BW_LEVELS_ASKS, found = 0;
    item->levels_seen |= 1u << target;
    for (const char *p = of->at; p < of->end;) {
        field part;
        const char *start = p;
        p = take_tag(d, p, of->end, &part);
        if (!p) return false;
        const char *bad = take_level_field(plan, &part, item, &level, &side, &found);
        if (bad) note(d, item, start, bad);
    }
    uint32_t needed = plan->side == BW_LEVELS_BY_FIELD ? both | 1u << BW_FIELD_SIDE : both;
    if ((found & needed) != needed) note(d, item, of->at, "a level lacks price, quantity or side");
    if (level.quantity < 0) note(d, item, of->at, "a negative quantity");
    if (d->level_used[0] + d->level_used[1] >= d->levels_max) {
        note(d, item, of->at, "more levels than a frame may have");
    }
    if (item->fault) return true;
    d->level[side][d->level_used[side]++] = level;
    item->level_count[side]++;
    if (level.price_decimals > item->price_decimals) item->price_decimals = level.price_decimals;
    if (level.quantity_decimals > item->quantity_decimals) item->quantity_decimals = level.quantity_decimals;
    return true;
}

static void take_slot(bw_decoder *d, const field *of, uint32_t slot, bw_item *item) {
    if (of->wire == 1 || of->wire == 5) return; /* binary fractions: no fact can ask for them */
    item->slot[slot] = (bw_value){.at = (uint32_t)(of->at - d->text), .bytes = (uint32_t)(of->end - of->at),
                                  .kind = of->wire == 0 ? BW_VALUE_VARINT : BW_VALUE_STRING};
    item->slots |= 1u << slot;
}

static bool walk_message(bw_decoder *d, const char *p, const char *end, uint32_t node, bw_item *item);

static bool take_field(bw_decoder *d, const field *of, const bw_trie_key *key, bw_item *item) {
    if (key->way == BW_KEY_SLOT) take_slot(d, of, key->target, item);
    if (key->action == BW_KEY_TWICE) take_slot(d, of, key->also, item);
    if (key->way == BW_KEY_SLOT) return true;
    if (of->wire != 2) {
        note(d, item, of->at, "a message was expected");
        return true;
    }
    if (key->way == BW_KEY_LEVELS) return take_level(d, of, key->target, item);
    if (key->way == BW_KEY_OBJECT) return walk_message(d, of->at, of->end, key->target, item);
    if (d->item_count == BW_ITEMS_MAX) return fail(d, of->at, "more items than a frame may have");
    bw_item *new = &d->item[d->item_count++];
    bw_item_reset(d, new);
    return walk_message(d, of->at, of->end, key->target, new);
}

static bool walk_message(bw_decoder *d, const char *p, const char *end, uint32_t node, bw_item *item) {
    const bw_trie_node *keys = &d->plan->node[node];
    const bw_trie_key *first = &d->plan->key[keys->key_first], *last = first + keys->all_count;
    while (p < end) {
        field of;
        p = take_tag(d, p, end, &of);
        if (!p) return false;
        for (const bw_trie_key *key = first; key < last; key++) {
            if (key->number != of.number) continue;
            if (!take_field(d, &of, key, item)) return false;
            break;
        }
    }
    return true;
}

bool bw_decode_protobuf(bw_decoder *d) {
    bw_item_reset(d, &d->frame);
    if (!walk_message(d, d->text, d->end, 0, &d->frame)) return false;
    bool mixed = d->item_count && d->frame.levels_seen;
    return !mixed || fail(d, d->text, "levels both inside and outside of items");
}

/* No protobuf message begins with a brace or a bracket: they would start a group. */
bool bw_decode_either(bw_decoder *d) {
    bool is_json = d->text < d->end && (*d->text == '{' || *d->text == '[');
    return is_json ? d->walk_json(d) : bw_decode_protobuf(d);
}
