/* One slow client brought up to now with the least bytes: the keys that changed since it fell behind
 * with their present values, or a snapshot when that is smaller or the history does not reach back. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

bool bw_history_start(bw_group *group) {
    bw_history *history = &group->history;
    if (history->entry || !group->deltas) return true;
    history->entry = malloc(BW_HISTORY_ENTRIES * sizeof *history->entry);
    history->head = 0;
    history->complete_from = group->emission;
    return history->entry != NULL;
}

/* What came before cannot be told in changes: whoever is behind it gets a snapshot. */
void bw_history_restart(bw_group *group) {
    group->history.head = 0;
    group->history.complete_from = group->emission + 1;
}

/* Called before the message is counted in group->emission. */
void bw_history_add(bw_group *group, uint32_t side, const bw_view_level *changes, uint32_t count) {
    bw_history *history = &group->history;
    if (!history->entry) return;
    for (uint32_t i = 0; i < count; i++) {
        bw_change *entry = &history->entry[history->head % BW_HISTORY_ENTRIES];
        if (history->head >= BW_HISTORY_ENTRIES) history->complete_from = entry->emission;
        *entry = (bw_change){group->emission + 1, changes[i].price, changes[i].exchange, side};
        history->head++;
    }
}

static bool change_before(const bw_change *a, const bw_change *b) {
    if (a->side != b->side) return a->side < b->side;
    if (a->price != b->price) return bw_price_before(a->side, a->price, b->price);
    return a->exchange < b->exchange;
}

/* Shell sort: in place and without the heap qsort() may take. */
static void sort_changes(bw_change *change, uint32_t count) {
    static const uint32_t gaps[] = {1750, 701, 301, 132, 57, 23, 10, 4, 1};
    for (uint32_t g = 0; g < sizeof gaps / sizeof *gaps; g++) {
        for (uint32_t i = gaps[g]; i < count; i++) {
            bw_change moving = change[i];
            uint32_t at = i;
            for (; at >= gaps[g] && change_before(&moving, &change[at - gaps[g]]); at -= gaps[g]) {
                change[at] = change[at - gaps[g]];
            }
            change[at] = moving;
        }
    }
}

/* Fills `message` with the present values of the keys changed since `emission`. False when a
 * snapshot is shorter. */
static bool changes_since(bw_gateway *gateway, bw_group *group, uint64_t emission, bw_message *message) {
    const bw_history *history = &group->history;
    if (!history->entry || emission < history->complete_from) return false;
    uint32_t levels = group->view.count[0] + group->view.count[1], found = 0;
    uint64_t oldest = history->head > BW_HISTORY_ENTRIES ? history->head - BW_HISTORY_ENTRIES : 0;
    for (uint64_t at = history->head; at > oldest; at--) {
        const bw_change *entry = &history->entry[(at - 1) % BW_HISTORY_ENTRIES];
        if (entry->emission <= emission) break;
        gateway->pending_change[found++] = *entry;
    }
    sort_changes(gateway->pending_change, found);
    uint32_t count[BW_SIDES] = {0, 0};
    for (uint32_t i = 0; i < found; i++) {
        const bw_change *key = &gateway->pending_change[i];
        if (i > 0 && !change_before(key - 1, key)) continue; /* the same key again */
        if (count[0] + count[1] == levels) return false;
        const bw_view_level *now =
            bw_view_find(&group->view, group->encoding.kind, key->side, key->price, key->exchange);
        gateway->change[key->side][count[key->side]++] =
            now ? *now : (bw_view_level){key->price, 0, 0, key->exchange};
    }
    message->kind = BW_PUSH_DELTA;
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        message->level[side] = gateway->change[side];
        message->count[side] = count[side];
    }
    return true;
}

/* A snapshot in pages: the first replaces the book, the others add to it. */
static bool put_pages(bw_gateway *gateway, bw_sub *sub, const bw_message *whole, uint32_t pages) {
    for (uint32_t page = 0; page < pages; page++) {
        bw_message part = *whole;
        part.kind = page == 0 ? BW_PUSH_SNAPSHOT : BW_PUSH_DELTA;
        part.more = page + 1 < pages;
        for (uint32_t side = 0; side < BW_SIDES; side++) {
            uint64_t count = whole->count[side];
            uint32_t from = (uint32_t)(count * page / pages), to = (uint32_t)(count * (page + 1) / pages);
            part.level[side] = whole->level[side] + from;
            part.count[side] = to - from;
        }
        if (page > 0) part.conflated = 0;
        uint8_t *frame;
        size_t bytes = bw_group_encode(gateway, sub->group, &part, &frame);
        if (!bw_client_put_frames(sub->client, frame, bytes)) return false;
        BW_COUNT(gateway->stats, messages_sent, 1);
    }
    return true;
}

static bool put_book(bw_gateway *gateway, bw_sub *sub, uint64_t missed) {
    bw_group *group = sub->group;
    bw_message message = {.kind = BW_PUSH_SNAPSHOT,
                          .level = {group->view.level[0], group->view.level[1]},
                          .count = {group->view.count[0], group->view.count[1]},
                          .price_exponent = group->view.price_exponent,
                          .quantity_exponent = group->view.quantity_exponent,
                          .conflated = missed,
                          .stamps = group->stamps};
    bool delta = !sub->snapshot_wanted && group->deltas && sub->slow != BW_SLOW_RESNAPSHOT &&
                 changes_since(gateway, group, sub->emission, &message);
    if (delta && message.count[0] + message.count[1] == 0) return true; /* it all came back to what it was */
    uint8_t *frame;
    size_t bytes = bw_group_encode(gateway, group, &message, &frame);
    if (!delta && group->deltas && bytes > gateway->limits.frame_bytes_max) {
        return put_pages(gateway, sub, &message,
                         (uint32_t)(bytes * 5 / 4 / gateway->limits.frame_bytes_max) + 1);
    }
    BW_COUNT(gateway->stats, messages_sent, 1);
    return bw_client_put_frames(sub->client, frame, bytes);
}

bool bw_sub_catch_up(bw_gateway *gateway, bw_sub *sub) {
    bw_group *group = sub->group;
    uint64_t missed = sub->fresh ? 0 : group->emission - sub->emission;
    bool put = true;
    if (missed > 0 || sub->snapshot_wanted) {
        put = group->encoding.kind == BW_VIEW_STATUS ? bw_status_snapshot(gateway, sub->client, missed)
                                                     : put_book(gateway, sub, missed);
        if (missed > 0) BW_COUNT(gateway->stats, conflations, 1);
    }
    sub->behind = sub->snapshot_wanted = sub->fresh = false;
    sub->position = group->log.head;
    sub->emission = group->emission;
    return put;
}
