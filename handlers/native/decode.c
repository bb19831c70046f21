/* The decoder's life, its slow corners, and what a decoded item is. The walk is decode_walk.c. */
#include "decode_state.h"

#include <stdlib.h>
#include <string.h>

#define LAYOUT_CREDIT_FIRST 32 /* a few kinds of frames can be learned before any has paid */

#define STENCIL_CREDIT_FIRST 4096

#if defined(__x86_64__)
/* What the CPU can do beyond every CPU, as far as a variant of the walk is compiled for it. */
static bool cpu_has(const char *variant) {
    __builtin_cpu_init();
    /* a CPU with BMI2 has LZCNT too, for which compilers differ in the name */
    bool avx2 =
        __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    if (strcmp(variant, "avx2") == 0) return avx2;
    return avx2 && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vbmi");
}
#endif

static void choose_variant(bw_decoder *decoder) {
    decoder->walk = bw_decode_walk_portable;
    decoder->variant = "portable";
#if defined(__x86_64__)
    const char *most = getenv("BOOKWIRE_DECODER"); /* the most it may be, for tests and comparisons */
    if (!cpu_has("avx2") || (most && strcmp(most, "portable") == 0)) return;
    decoder->walk = bw_decode_walk_avx2;
    decoder->variant = "avx2";
    if (!cpu_has("avx512") || (most && strcmp(most, "avx2") == 0)) return;
    decoder->walk = bw_decode_walk_avx512;
    decoder->variant = "avx512";
#endif
}

bw_decoder *bw_decoder_new(const bw_plan *plan, uint32_t levels_max) {
    bw_decoder *decoder = aligned_alloc(64, (sizeof *decoder + 63) & ~(size_t)63);
    if (!decoder) return NULL;
    memset(decoder, 0, sizeof *decoder);
    for (uint32_t side = 0; side < 2; side++) {
        decoder->level[side] = malloc(((size_t)levels_max + 1) * sizeof(bw_wire_level));
    }
    if (!decoder->level[0] || !decoder->level[1]) {
        bw_decoder_free(decoder);
        return NULL;
    }
    decoder->plan = plan;
    decoder->levels_max = levels_max;
    for (uint32_t node = 0; node < BW_PLAN_NODES_MAX; node++) {
        const bw_trie_node *keys = &plan->node[node];
        decoder->key_first[node] = (uint8_t)keys->key_first;
        for (uint32_t i = 0; i < keys->key_count; i++) {
            decoder->key_next[keys->key_first + i] = (uint8_t)(keys->key_first + (i + 1) % keys->key_count);
        }
    }
    decoder->layout_credit = LAYOUT_CREDIT_FIRST;
    decoder->stencil_credit = STENCIL_CREDIT_FIRST;
    choose_variant(decoder);
    decoder->walk_json = decoder->walk;
    if (plan->has_numbers) decoder->walk = bw_decode_either;
    return decoder;
}

void bw_decoder_free(bw_decoder *decoder) {
    if (!decoder) return;
    free(decoder->level[0]);
    free(decoder->level[1]);
    free(decoder);
}

bool bw_decode(bw_decoder *decoder, const char *text, size_t bytes) {
    decoder->text = text;
    decoder->end = text + bytes;
    decoder->failure = NULL;
    decoder->failure_at = 0;
    decoder->item_count = 0;
    decoder->mark_count = 0;
    decoder->layout_used = NULL;
    decoder->level_used[0] = decoder->level_used[1] = 0;
    return decoder->walk(decoder);
}

const char *bw_decoder_failure(const bw_decoder *decoder, uint32_t *at) {
    *at = decoder->failure_at;
    return decoder->failure;
}

uint32_t bw_decoder_items(const bw_decoder *decoder) {
    return decoder->item_count ? decoder->item_count : 1;
}

const bw_item *bw_decoder_item(const bw_decoder *decoder, uint32_t item) {
    return decoder->item_count ? &decoder->item[item] : &decoder->frame;
}

const bw_item *bw_decoder_frame(const bw_decoder *decoder) {
    return &decoder->frame;
}

bw_wire_level *bw_decoder_levels(const bw_decoder *decoder, uint32_t side) {
    return decoder->level[side];
}

const char *bw_decoder_variant(const bw_decoder *decoder) {
    return decoder->variant;
}

const bw_value *bw_decoder_slot(const bw_decoder *decoder, const bw_item *item, uint32_t slot) {
    if (item->slots & 1u << slot) return &item->slot[slot];
    return decoder->frame.slots & 1u << slot ? &decoder->frame.slot[slot] : NULL;
}

/* Code point of the four hex digits at p, or -1. */
static int hex4(const char *p) {
    int value = 0;
    for (int i = 0; i < 4; i++) {
        int c = p[i] | 0x20;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

static uint32_t put_utf8(uint32_t point, char out[4]) {
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    uint32_t more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(lead[more] | point >> (6 * more));
    for (uint32_t i = 1; i <= more; i++) out[i] = (char)(0x80 | ((point >> (6 * (more - i))) & 0x3f));
    return more + 1;
}

/* Undoes the escape at *p (moved behind it); returns bytes written, 0 if malformed. A lone half of a
 * surrogate pair is malformed: it has no UTF-8. */
static uint32_t unescape_one(const char **p, const char *end, char out[4]) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *at = *p;
    if (end - at < 2) return 0;
    if (at[1] != 'u') {
        const char *found = at[1] ? strchr(from, at[1]) : NULL;
        if (!found) return 0;
        out[0] = to[found - from];
        *p = at + 2;
        return 1;
    }
    int high = end - at >= 6 ? hex4(at + 2) : -1;
    if (high < 0 || (high >= 0xdc00 && high < 0xe000)) return 0;
    *p = at + 6;
    if (high < 0xd800 || high >= 0xe000) return put_utf8((uint32_t)high, out);
    int low = end - at >= 12 && at[6] == '\\' && at[7] == 'u' ? hex4(at + 8) : -1;
    if (low < 0xdc00 || low >= 0xe000) return 0;
    *p = at + 12;
    return put_utf8(0x10000u + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00), out);
}

int bw_value_unescape(const char *text, const bw_value *value, char *out, size_t room) {
    const char *p = text + value->at, *end = p + value->bytes;
    size_t used = 0;
    while (p < end) {
        char piece[4];
        uint32_t bytes = 1;
        if (*p == '\\') {
            bytes = unescape_one(&p, end, piece);
            if (bytes == 0) return -1;
        } else {
            piece[0] = *p++;
        }
        if (used + bytes > room) return -1;
        memcpy(out + used, piece, bytes);
        used += bytes;
    }
    return (int)used;
}

bool bw_key_equals(const char *text, const bw_value *key, const char *wanted, uint32_t wanted_bytes) {
    if (!key->escaped) {
        return key->bytes == wanted_bytes && memcmp(text + key->at, wanted, wanted_bytes) == 0;
    }
    char plain[64];
    int bytes = bw_value_unescape(text, key, plain, sizeof plain);
    return bytes == (int)wanted_bytes && memcmp(plain, wanted, wanted_bytes) == 0;
}

bool bw_value_integer(const char *text, const bw_value *value, int64_t *number) {
    if (value->kind == BW_VALUE_NESTED) return false;
    if (value->kind != BW_VALUE_VARINT) return bw_integer_parse(text + value->at, value->bytes, number);
    uint64_t bits = 0;
    for (uint32_t i = 0; i < value->bytes; i++) bits |= (uint64_t)(text[value->at + i] & 0x7f) << (7 * i);
    *number = (int64_t)bits;
    return true;
}

/* What a value looks like. In a binary frame a message is an OBJECT. */
static enum bw_form form_of(const bw_decoder *decoder, const bw_value *value) {
    if (value->kind == BW_VALUE_STRING) return BW_FORM_TEXT;
    const char *p = decoder->text + value->at, *end = p + value->bytes;
    if (value->kind != BW_VALUE_NESTED) return BW_FORM_BARE;
    if (*p != '[') return BW_FORM_OBJECT;
    for (p++; p < end && (unsigned char)*p <= ' ';) p++;
    return *p == '[' || *p == '{' || *p == ']' ? BW_FORM_ROWS : BW_FORM_ROW;
}

static bool same_value(const bw_decoder *decoder, const bw_value *one, const bw_value *other) {
    return other && one->bytes == other->bytes &&
        memcmp(decoder->text + one->at, decoder->text + other->at, one->bytes) == 0;
}

static bool number_is(const bw_decoder *decoder, const bw_value *value, const bw_condition *condition) {
    int64_t number, wanted;
    return bw_value_integer(decoder->text, value, &number) &&
           bw_integer_parse(condition->equals, condition->bytes, &wanted) && number == wanted;
}

static bool holds(const bw_decoder *decoder, const bw_item *item, const bw_condition *condition) {
    const bw_value *value = bw_decoder_slot(decoder, item, condition->slot);
    if (!value) return false;
    if (condition->test == BW_TEST_FORM) return form_of(decoder, value) == (enum bw_form)condition->other;
    if (condition->test == BW_TEST_SAME) {
        return same_value(decoder, value, bw_decoder_slot(decoder, item, condition->other));
    }
    if (value->kind == BW_VALUE_VARINT && condition->bytes) return number_is(decoder, value, condition);
    return condition->bytes == 0 || bw_key_equals(decoder->text, value, condition->equals, condition->bytes);
}

static const bw_message_plan *judge(const bw_decoder *decoder, const bw_item *item, bool rest) {
    const bw_plan *plan = decoder->plan;
    uint32_t slots = item->slots | decoder->frame.slots;
    for (uint32_t i = 0; i < plan->message_count; i++) {
        const bw_message_plan *message = &plan->message[i];
        if ((message->slots_needed & ~slots) || (message->kind == BW_MESSAGE_REST_SNAPSHOT) != rest) continue;
        bool fits = true;
        for (uint32_t c = 0; fits && c < message->condition_count; c++) {
            fits = holds(decoder, item, &message->condition[c]);
        }
        if (fits) return message;
    }
    return NULL;
}

const bw_message_plan *bw_decoder_classify(const bw_decoder *decoder, const bw_item *item, bool rest) {
    bw_layout *layout = decoder->layout_used;
    if (!layout || rest || decoder->plan->compares_values) return judge(decoder, item, rest);
    if (!layout->judged) layout->message = judge(decoder, item, false);
    layout->judged = true;
    return layout->message;
}

/* Mantissa of a slot's number. */
static const char *slot_decimal(const bw_decoder *decoder, const bw_item *item, uint32_t slot,
                                int64_t *mantissa,
                                uint8_t *decimals) {
    const bw_value *value = bw_decoder_slot(decoder, item, slot);
    char plain[64];
    int bytes = bw_value_unescape(decoder->text, value, plain, sizeof plain);
    if (bytes < 0 || value->kind == BW_VALUE_NESTED) return "a number in a level is malformed";
    switch (bw_decimal_parse(plain, (size_t)bytes, mantissa, decimals)) {
    case BW_NUMBER_OK: return NULL;
    case BW_NUMBER_OVERFLOW: return "a number that does not fit 64 bits";
    default: return "a number in a level is malformed";
    }
}

const char *bw_decoder_level_from_slots(bw_decoder *decoder, bw_item *item, const bw_message_plan *message) {
    const bw_level_plan *plan = &decoder->plan->levels[message->slots_level];
    bw_wire_level level = {0};
    const char *bad = slot_decimal(decoder, item, BW_SLOT_PRICE, &level.price, &level.price_decimals);
    if (!bad) bad = slot_decimal(decoder, item, BW_SLOT_QUANTITY, &level.quantity, &level.quantity_decimals);
    if (bad) return bad;
    if (level.quantity < 0) return "a negative quantity";
    uint32_t side = plan->side == BW_LEVELS_ASKS;
    if (plan->side == BW_LEVELS_BY_FIELD) {
        const bw_value *value = bw_decoder_slot(decoder, item, BW_SLOT_SIDE);
        side = bw_key_equals(decoder->text, value, plan->ask_text, plan->ask_bytes);
        if (!side && !bw_key_equals(decoder->text, value, plan->bid_text, plan->bid_bytes)) {
            return "a level of neither side";
        }
    }
    if (decoder->level_used[0] + decoder->level_used[1] >= decoder->levels_max) {
        return "more levels than a frame may have";
    }
    /* An item's levels are adjacent, so this goes behind all others. */
    item->level_first[side] = decoder->level_used[side];
    item->level_count[side] = 1;
    decoder->level[side][decoder->level_used[side]++] = level;
    if (level.price_decimals > item->price_decimals) item->price_decimals = level.price_decimals;
    if (level.quantity_decimals > item->quantity_decimals) item->quantity_decimals = level.quantity_decimals;
    return NULL;
}
