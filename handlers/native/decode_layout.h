/* The layout of a whole frame, learned from one and laid over the next. Included by decode_walk.c only,
 * AVX2 only.
 *
 * What a venue sends about one thing differs from frame to frame in the digits of its numbers, in names of
 * the same length, and in its lists of levels. So a frame is pieces with lists between them: a comparison of
 * a piece says that every key stands where it stood and every value is as long as it was, and then the
 * values are where they were. Frames that differ in more are walked, and learned in turn.
 */
#ifndef BW_DECODE_LAYOUT_H
#define BW_DECODE_LAYOUT_H

#include "decode_forms.h"

#if BW_SIMD_AVX2

#define LAYOUT_CREDIT_MAX 64
#define LAYOUT_COST 8 /* of learning, in frames that one may save: many kinds of frames are better walked */

/* A byte may be from `low` to `low` + `more`. */
static inline void allow(bw_layout *layout, uint32_t piece, size_t at, uint8_t low, uint8_t more) {
    layout->low[piece][at] = low;
    layout->more[piece][at] = more;
}

/* A name or time may have other characters, but none that end a string or escape. */
static void allow_string(bw_layout *layout, uint32_t piece, size_t at, const char *text, size_t bytes) {
    for (size_t i = 1; i + 1 < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c > '"' && c < '\\') allow(layout, piece, at + i, '"' + 1, '\\' - '"' - 2);
        else if (c > '\\' && c < 0x7f) allow(layout, piece, at + i, '\\' + 1, 0x7e - '\\' - 1);
    }
}

/* A number may have other digits; of several before the point the first is not to become 0. */
static void allow_number(bw_layout *layout, uint32_t piece, size_t at, const char *text, size_t bytes) {
    bool first = true;
    for (size_t i = 0; i < bytes; i++) {
        bool digit = is_digit(text[i]), more = i + 1 < bytes && is_digit(text[i + 1]);
        if (digit && (!first || !more)) allow(layout, piece, at + i, '0', 9);
        else if (digit && text[i] != '0') allow(layout, piece, at + i, '1', 8);
        if (digit) first = false;
    }
}

/* Whether what kind of message it is may depend on the slot's value. */
static bool is_judged_by(const bw_plan *plan, uint32_t slot) {
    for (uint32_t i = 0; i < plan->message_count; i++) {
        const bw_condition *condition = plan->message[i].condition;
        for (uint32_t c = 0; c < plan->message[i].condition_count; c++)
            if (condition[c].slot == slot && condition[c].bytes) return true;
    }
    return false;
}

/* One value outside of lists. False: it is none whose like can be foretold. */
static bool learn_value(const bw_decoder *d, bw_layout *layout, const bw_mark *mark, uint32_t piece,
                        uint32_t piece_at) {
    const char *text = d->text + mark->at;
    const size_t at = mark->at - piece_at, bytes = mark->behind - mark->at;
    const bool string = *text == '"', slot = mark->what == BW_MARK_SLOT;
    if (slot) {
        const bw_item *item = mark->of_item ? &d->item[0] : &d->frame;
        const bw_value *value = &item->slot[mark->target];
        if (layout->slot_count == BW_SLOT_COUNT || value->escaped || value->kind == BW_VALUE_NESTED)
            return false;
        layout->slot[layout->slot_count++] =
            (bw_layout_slot){.at = (uint8_t)(at + string), .bytes = (uint8_t)(bytes - 2 * string),
                             .piece = (uint8_t)piece, .slot = mark->target, .of_item = mark->of_item,
                             .kind = string ? BW_VALUE_STRING : BW_VALUE_BARE};
        layout->slots[mark->of_item] |= 1u << mark->target;
        if (is_judged_by(d->plan, mark->target)) return true;
    }
    if (string && !memchr(text, '\\', bytes)) allow_string(layout, piece, at, text, bytes);
    else if (is_digit(*text) || *text == '-') allow_number(layout, piece, at, text, bytes);
    return true;
}

/* Learns a piece of the frame and the values in it, from *mark on. */
static bool learn_piece(const bw_decoder *d, bw_layout *layout, uint32_t at, uint32_t behind,
                        const bw_mark **mark) {
    const uint32_t piece = layout->pieces++, bytes = behind - at;
    if (bytes == 0 || bytes > BW_LAYOUT_BYTES) return false;
    layout->bytes[piece] = (uint8_t)bytes;
    memset(layout->low[piece], 0, sizeof layout->low[piece]);
    memset(layout->more[piece], 0xff, sizeof layout->more[piece]);
    memcpy(layout->low[piece], d->text + at, bytes);
    memset(layout->more[piece], 0, bytes);
    const bw_mark *end = d->mark + d->mark_count;
    for (; *mark < end && (*mark)->at < behind; ++*mark)
        if (!learn_value(d, layout, *mark, piece, at)) return false;
    return true;
}

static bool learn_pieces(const bw_decoder *d, bw_layout *layout) {
    uint32_t at = 0, levels[2] = {0, 0}, lists = 0;
    const bw_mark *mark = d->mark, *end = mark + d->mark_count;
    const bw_item *item = d->item_count ? &d->item[0] : &d->frame;
    for (const bw_mark *list = mark; list < end; list++) {
        if (list->what != BW_MARK_LIST) continue;
        if (lists == BW_LAYOUT_LISTS || d->text[list->at] != '[' || list->of_item != d->item_count)
            return false;
        if (!learn_piece(d, layout, at, list->at, &mark) || mark != list) return false;
        layout->list[lists++] = list->target;
        mark = list + 1;
        at = list->behind;
    }
    const uint32_t all = (uint32_t)(d->end - d->text);
    if (!lists || !learn_piece(d, layout, at, all, &mark) || mark != end) return false;
    /* nothing else of what was read may have been left out */
    uint32_t seen = 0;
    for (uint32_t i = 0; i < lists; i++) seen |= 1u << layout->list[i];
    for (uint32_t side = 0; side < 2; side++) levels[side] = item->level_count[side];
    return seen == item->levels_seen && levels[0] == d->level_used[0] && levels[1] == d->level_used[1] &&
           layout->slots[0] == d->frame.slots && (!d->item_count || layout->slots[1] == item->slots);
}

/* After a frame that had to be walked. */
static void learn_layout(bw_decoder *d) {
    if (d->layout_credit < LAYOUT_COST) {
        d->layout_credit++;
        return;
    }
    const bw_item *item = d->item_count ? &d->item[0] : &d->frame;
    if (d->item_count > 1 || d->mark_count >= BW_MARKS_MAX) return;
    if (d->frame.fault || item->fault || !item->levels_seen) return;
    d->layout_credit -= LAYOUT_COST;
    bw_layout *layout = &d->layout[d->layout_next];
    memset(layout, 0, offsetof(bw_layout, low));
    layout->item = (uint8_t)d->item_count;
    if (!learn_pieces(d, layout)) {
        layout->pieces = 0;
        return;
    }
    d->layout_last = d->layout_next;
    d->layout_next = (d->layout_next + 1) % BW_LAYOUTS;
}

static inline bool piece_fits(const bw_layout *layout, uint32_t piece, const char *p, const char *end) {
    const uint32_t bytes = layout->bytes[piece];
    if (end - p < (ptrdiff_t)bytes) return false;
    __m256i fits = _mm256_set1_epi8(-1);
    for (uint32_t at = 0; at < bytes; at += 32) {
        __m256i above = _mm256_sub_epi8(load_32(p + at), load_32(layout->low[piece] + at));
        __m256i within = _mm256_min_epu8(above, load_32(layout->more[piece] + at));
        fits = _mm256_and_si256(fits, _mm256_cmpeq_epi8(within, above));
    }
    return _mm256_movemask_epi8(fits) == -1;
}

static inline void place_slots(bw_decoder *d, const bw_layout *layout, const uint32_t piece_at[]) {
    d->frame.slots = layout->slots[0];
    if (layout->item) d->item[0].slots = layout->slots[1];
    for (const bw_layout_slot *slot = layout->slot, *last = slot + layout->slot_count; slot < last; slot++) {
        bw_value *value = slot->of_item ? &d->item[0].slot[slot->slot] : &d->frame.slot[slot->slot];
        value->at = piece_at[slot->piece] + slot->at;
        value->bytes = slot->bytes;
        value->kind = slot->kind;
        value->escaped = 0;
    }
}

/* A layout with the same lists that fits up to piece `last`, where this one does not (a number may be longer
 * or shorter); NULL if none does. */
static __attribute__((noinline)) bw_layout *other_that_fits(bw_decoder *d, const bw_layout *layout,
                                                            uint32_t last, const uint32_t piece_at[]) {
    for (bw_layout *other = d->layout; other < d->layout + BW_LAYOUTS; other++) {
        if (other->pieces != layout->pieces || other->item != layout->item ||
            memcmp(other->list, layout->list, sizeof other->list) != 0)
            continue;
        bool fits = true;
        for (uint32_t i = 0; fits && i <= last; i++)
            fits = (i == last || other->bytes[i] == layout->bytes[i]) &&
                   piece_fits(other, i, d->text + piece_at[i], d->end);
        if (fits) return other;
    }
    return NULL;
}

/* The frame by a layout whose first piece fits, or one like it; NULL: it goes on differently. */
static bw_layout *read_by(bw_decoder *d, bw_layout *layout) {
    uint32_t piece_at[BW_LAYOUT_LISTS + 1] = {0};
    const char *p = d->text + layout->bytes[0];
    bw_item *item = layout->item ? &d->item[0] : &d->frame;
    d->item_count = layout->item;
    bw_item_reset(d, &d->frame);
    if (layout->item) bw_item_reset(d, item);
    for (uint32_t i = 0; i + 1 < layout->pieces; i++) {
        level_run run = level_run_of(d, layout->list[i], item);
        item->levels_seen |= 1u << layout->list[i];
        if (*p != '[') return NULL;
        p = take_levels(&run, p);
        if (!p || p > d->end) return NULL;
        piece_at[i + 1] = (uint32_t)(p - d->text);
        if (__builtin_expect(!piece_fits(layout, i + 1, p, d->end), 0)) {
            layout = other_that_fits(d, layout, i + 1, piece_at);
            if (!layout) return NULL;
        }
        p += layout->bytes[i + 1];
    }
    if (p != d->end) return NULL;
    place_slots(d, layout, piece_at);
    return layout;
}

/* The frame by one of the layouts, that of the last frame first. */
static bool read_by_layout(bw_decoder *d) {
    for (uint32_t i = 0; i < BW_LAYOUTS; i++) {
        const uint32_t which = (d->layout_last + i) % BW_LAYOUTS;
        bw_layout *layout = &d->layout[which];
        if (!layout->pieces || !piece_fits(layout, 0, d->text, d->end)) continue;
        layout = read_by(d, layout);
        if (layout) {
            d->layout_last = (uint32_t)(layout - d->layout);
            d->layout_used = layout;
            d->layout_credit += d->layout_credit < LAYOUT_CREDIT_MAX;
            return true;
        }
        d->failure = NULL;
        d->item_count = 0;
        d->level_used[0] = d->level_used[1] = 0;
        return false;
    }
    return false;
}

#endif
#endif
