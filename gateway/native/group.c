/* A market at one depth in one encoding: built, compared and encoded once for all its subscribers. */
#include "internal.h"

#include "compose.h"

#include <stdlib.h>
#include <string.h>

#define LOG_BYTES_MIN (64u << 10)
#define LOG_BYTES_MIN_EVERY_CHANGE (256u << 10)
#define LOG_BYTES_MAX (4u << 20)
#define GROUPS_MAX 16384u /* two mappings each, of the 65,530 a process may have by default */
#define LOG_SNAPSHOTS 4u /* whole views a log has room for */

static uint64_t log_bytes(const bw_group *group) {
    uint64_t view = group->arb ? (BW_ARB_ROWS_MAX + 1) * BW_ARB_ROW_BYTES : 512 + 2ull * group->depth * 40;
    uint64_t wanted = LOG_SNAPSHOTS * view;
    uint64_t bytes = group->interval_ms == 0 ? LOG_BYTES_MIN_EVERY_CHANGE : LOG_BYTES_MIN;
    while (bytes < wanted && bytes < LOG_BYTES_MAX) bytes *= 2;
    return bytes;
}

static bool view_init(bw_view *view, uint32_t depth, bool steps) {
    view->depth = depth;
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        view->level[side] = malloc((depth + (steps ? BW_STEP_LEVELS : 0)) * sizeof *view->level[side]);
        if (!view->level[side]) return false;
    }
    return true;
}

/* Room that all groups share, for the deepest of them: a delta can hold both views whole. */
static bool scratch_bytes(bw_gateway *gateway, size_t bytes) {
    if (bytes <= gateway->scratch_bytes) return true;
    uint8_t *scratch = realloc(gateway->scratch, bytes);
    if (!scratch) return false;
    gateway->scratch = scratch;
    gateway->scratch_bytes = bytes;
    return true;
}

static bool scratch_room(bw_gateway *gateway, uint32_t depth) {
    uint32_t room = 2 * (depth + BW_STEP_LEVELS);
    if (room <= gateway->change_room) return true;
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        bw_view_level *change = realloc(gateway->change[side], room * sizeof *change);
        if (!change) return false;
        gateway->change[side] = change;
    }
    if (!scratch_bytes(gateway, BW_WS_HEADER_MAX + bw_encode_bound(4 * depth))) return false;
    gateway->change_room = room;
    return true;
}

static bw_encoding encoding_of(const bw_gateway *gateway, const bw_subscription *subscription) {
    bw_encoding encoding = {.kind = subscription->kind, .format = subscription->format,
                            .strings = subscription->strings != 0, .stamps = subscription->stamps != 0,
                            .exchange_id = gateway->exchange_id};
    memcpy(encoding.channel, subscription->channel, sizeof encoding.channel);
    memcpy(encoding.native, subscription->native, sizeof encoding.native);
    if (subscription->kind == BW_VIEW_SINGLE) {
        memcpy(encoding.exchange, gateway->exchange_id[subscription->exchange % BW_EXCHANGES_MAX],
               sizeof encoding.exchange);
    }
    return encoding;
}

static bool group_fits(const bw_group *group, const bw_subscription *wanted, const bw_encoding *encoding) {
    return group->depth == wanted->depth && group->interval_ms == wanted->interval_ms &&
           group->deltas == (wanted->deltas != 0) && group->encoding.kind == encoding->kind &&
           group->encoding.format == encoding->format && group->encoding.strings == encoding->strings &&
           group->encoding.stamps == encoding->stamps &&
           (!group->arb || memcmp(&group->terms, &wanted->arb, sizeof wanted->arb) == 0) &&
           strcmp(group->encoding.channel, encoding->channel) == 0;
}

static void group_free(bw_group *group) {
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        free(group->view.level[side]);
        free(group->fresh.level[side]);
    }
    free(group->arb);
    free(group->fresh_arb);
    bw_log_free(&group->log);
    free(group->history.entry);
    free(group->sub);
    free(group);
}

static uint32_t group_inputs(const bw_group *group, bw_view_input *input) {
    uint32_t inputs = 0;
    for (uint32_t i = 0; i < group->market->member_count; i++) {
        inputs += bw_mirror_input(group->market->member[i], &input[inputs]);
    }
    return inputs;
}

/* The view, or what was just found to equal it, is what its inputs are now. */
static void group_shows(bw_group *group, uint32_t inputs) {
    group->shown_live = inputs > 0;
    group->exact = group->steps && inputs > 0;
    if (group->exact) group->sequence = group->market->member[0]->sequence;
}

static void group_first_view(bw_gateway *gateway, bw_group *group) {
    bw_view_input input[BW_EXCHANGES_MAX];
    uint32_t inputs = group_inputs(group, input);
    if (group->arb) {
        bw_arb_find(group->arb, &group->terms, group->depth, input, inputs);
    } else {
        bw_view_build(&group->view, group->encoding.kind, input, inputs);
    }
    group_shows(group, inputs);
    group->stamps = group->market->stamps;
    group->emitted_ns = gateway->now_ns;
}

static bool arb_init(bw_gateway *gateway, bw_group *group, const bw_subscription *wanted) {
    if (wanted->kind != BW_VIEW_ARB) return true;
    group->terms = wanted->arb;
    group->arb = calloc(1, sizeof *group->arb);
    group->fresh_arb = calloc(1, sizeof *group->fresh_arb);
    return group->arb && group->fresh_arb &&
           scratch_bytes(gateway, BW_WS_HEADER_MAX + (size_t)(BW_ARB_ROWS_MAX + 1) * BW_ARB_ROW_BYTES);
}

static bw_group *group_new(bw_gateway *gateway, bw_market *market, const bw_subscription *wanted,
                           const bw_encoding *encoding) {
    bw_group *group = calloc(1, sizeof *group);
    if (!group) return NULL;
    group->market = market;
    group->encoding = *encoding;
    group->depth = wanted->depth;
    group->interval_ms = wanted->interval_ms;
    group->deltas = wanted->deltas != 0;
    group->steps = encoding->kind == BW_VIEW_SINGLE && group->deltas && group->interval_ms == 0;
    bool made = arb_init(gateway, group, wanted) && view_init(&group->view, group->depth, group->steps) &&
                view_init(&group->fresh, group->depth, group->steps) &&
                bw_log_init(&group->log, log_bytes(group)) && scratch_room(gateway, group->depth);
    for (uint32_t i = 0; made && i < market->member_count; i++) {
        made = bw_mirror_deepen(market->member[i], group->depth);
    }
    if (!made) {
        group_free(group);
        return NULL;
    }
    group->next = market->groups;
    market->groups = group;
    BW_COUNT(gateway->stats, groups, 1);
    group_first_view(gateway, group);
    if (encoding->kind == BW_VIEW_STATUS) gateway->status = group;
    return group;
}

bw_group *bw_group_want(bw_gateway *gateway, const bw_subscription *subscription) {
    bw_market *market = bw_market_want(gateway, subscription);
    if (!market) return NULL;
    bw_encoding encoding = encoding_of(gateway, subscription);
    for (bw_group *group = market->groups; group; group = group->next) {
        if (group_fits(group, subscription, &encoding)) return group;
    }
    bool room = atomic_load_explicit(&gateway->stats->groups, memory_order_relaxed) < GROUPS_MAX;
    bw_group *group = room ? group_new(gateway, market, subscription, &encoding) : NULL;
    BW_COUNT(gateway->stats, refused_groups, !group);
    if (!group) bw_market_drop(gateway, market);
    return group;
}

/* --- timers: a heap by due time ------------------------------------------------------------- */

static void heap_put(bw_gateway *gateway, uint32_t at, bw_group *group) {
    gateway->heap[at] = group;
    group->heap_at = at + 1;
}

static void heap_sift(bw_gateway *gateway, uint32_t at) {
    bw_group *group = gateway->heap[at];
    while (at > 0 && gateway->heap[(at - 1) / 2]->due_ns > group->due_ns) {
        heap_put(gateway, at, gateway->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= gateway->heap_count) break;
        if (child + 1 < gateway->heap_count &&
            gateway->heap[child + 1]->due_ns < gateway->heap[child]->due_ns) {
            child++;
        }
        if (gateway->heap[child]->due_ns >= group->due_ns) break;
        heap_put(gateway, at, gateway->heap[child]);
        at = child;
    }
    heap_put(gateway, at, group);
}

static void heap_remove(bw_gateway *gateway, bw_group *group) {
    if (group->heap_at == 0) return;
    uint32_t at = group->heap_at - 1;
    group->heap_at = 0;
    bw_group *last = gateway->heap[--gateway->heap_count];
    if (last == group) return;
    heap_put(gateway, at, last);
    heap_sift(gateway, at);
}

static void heap_add(bw_gateway *gateway, bw_group *group) {
    if (gateway->heap_count == gateway->heap_room) {
        uint32_t room = gateway->heap_room ? 2 * gateway->heap_room : 256;
        bw_group **heap = realloc(gateway->heap, room * sizeof *heap);
        if (!heap) { /* no memory for a timer: send now rather than never */
            bw_group_emit(gateway, group);
            return;
        }
        gateway->heap = heap;
        gateway->heap_room = room;
    }
    heap_put(gateway, gateway->heap_count++, group);
    heap_sift(gateway, gateway->heap_count - 1);
}

int64_t bw_groups_next_due(const bw_gateway *gateway) {
    return gateway->heap_count > 0 ? gateway->heap[0]->due_ns : INT64_MAX;
}

void bw_groups_due(bw_gateway *gateway) {
    while (gateway->heap_count > 0 && gateway->heap[0]->due_ns <= gateway->now_ns) {
        bw_group_emit(gateway, gateway->heap[0]);
    }
}

void bw_group_touch(bw_gateway *gateway, bw_group *group, enum bw_touch how) {
    group->touched = true;
    if (how == BW_TOUCH_ALL_NOW || (how == BW_TOUCH_NOW && group->interval_ms == 0)) {
        bw_group_emit(gateway, group);
    } else if (group->heap_at == 0) {
        int64_t due = group->emitted_ns + (int64_t)group->interval_ms * 1000000;
        group->due_ns = due > gateway->now_ns ? due : gateway->now_ns;
        heap_add(gateway, group);
    }
}

void bw_group_drop(bw_gateway *gateway, bw_group *group) {
    bw_market *market = group->market;
    heap_remove(gateway, group);
    for (uint32_t i = 0; group->flush_due && i < gateway->flush_count; i++) {
        if (gateway->flush[i] == group) gateway->flush[i] = gateway->flush[--gateway->flush_count];
    }
    bw_group **link = &market->groups;
    while (*link != group) link = &(*link)->next;
    *link = group->next;
    if (gateway->status == group) gateway->status = NULL;
    group_free(group);
    BW_COUNT(gateway->stats, groups, -1);
    bw_market_drop(gateway, market);
}

/* --- emission --------------------------------------------------------------------------------- */

/* One whole frame in the scratch space, valid until the next call. */
size_t bw_group_encode(bw_gateway *gateway, bw_group *group, const bw_message *message, uint8_t **frame) {
    uint8_t *payload = gateway->scratch + BW_WS_HEADER_MAX, header[BW_WS_HEADER_MAX];
    size_t bytes = group->arb ? bw_arb_encode((char *)payload, group->arb, &group->encoding,
                                              group->terms.capital, message, gateway->wall_ns)
                              : bw_encode(&group->encoding, message, payload);
    enum bw_ws_opcode opcode = group->encoding.format == BW_FORMAT_BINARY ? BW_WS_OP_BINARY : BW_WS_OP_TEXT;
    size_t header_bytes = bw_ws_header(header, opcode, bytes, NULL);
    *frame = payload - header_bytes;
    memcpy(*frame, header, header_bytes);
    return header_bytes + bytes;
}

void bw_group_schedule_flush(bw_gateway *gateway, bw_group *group) {
    if (group->flush_due) return;
    if (gateway->flush_count == gateway->flush_room) {
        uint32_t room = gateway->flush_room ? 2 * gateway->flush_room : 256;
        bw_group **flush = realloc(gateway->flush, room * sizeof *flush);
        if (!flush) {
            bw_group_flush(gateway, group);
            return;
        }
        gateway->flush = flush;
        gateway->flush_room = room;
    }
    group->flush_due = true;
    gateway->flush[gateway->flush_count++] = group;
}

/* Appends a frame for all subscribers. Those too far back leave the log before it is overwritten. */
void bw_group_push(bw_gateway *gateway, bw_group *group, const uint8_t *frame, size_t bytes) {
    bw_log *log = &group->log;
    uint64_t window = log->capacity;
    if (window > gateway->limits.queue_bytes_max) window = gateway->limits.queue_bytes_max;
    if (log->head + bytes - group->flushed_head > log->capacity) bw_group_flush(gateway, group);
    bool whole = bytes <= log->capacity;
    for (uint32_t i = 0; i < (whole ? group->lagging : group->sub_count); i++) {
        bw_sub *sub = group->sub[i];
        if (whole && log->head + bytes - sub->position <= window) continue;
        if (!sub->lagging && !sub->behind) sub->emission = group->emission;
        bw_sub_leave_behind(gateway, sub, !whole);
    }
    group->emission++;
    BW_COUNT(gateway->stats, emissions, 1);
    if (whole) bw_log_append(log, frame, bytes);
    bw_group_schedule_flush(gateway, group);
}

static void group_swap_views(bw_group *group) {
    bw_view view = group->view;
    group->view = group->fresh;
    group->fresh = view;
}

static void group_sent(bw_gateway *gateway, bw_group *group, const bw_stamps *stamps) {
    group->stamps = *stamps;
    group->emitted_ns = gateway->now_ns;
    if (group->interval_ms == 0 && group->unsent.published_ns == 0) group->unsent = *stamps;
}

/* As bw_group_emit() for pairs of crossed books: whole, when anything but ages changed. */
static void emit_arb(bw_gateway *gateway, bw_group *group, const bw_view_input *input, uint32_t inputs) {
    bw_arb *fresh = group->fresh_arb;
    bw_arb_find(fresh, &group->terms, group->depth, input, inputs);
    if (bw_arb_equal(group->arb, fresh)) return;
    group->fresh_arb = group->arb;
    group->arb = fresh;
    bw_message message = {.kind = BW_PUSH_SNAPSHOT, .stamps = group->market->stamps};
    uint8_t *frame;
    size_t bytes = bw_group_encode(gateway, group, &message, &frame);
    group_sent(gateway, group, &message.stamps);
    bw_group_push(gateway, group, frame, bytes);
}

static void group_tell(bw_gateway *gateway, bw_group *group, const bw_message *message) {
    for (uint32_t side = 0; message->kind == BW_PUSH_DELTA && side < BW_SIDES; side++) {
        bw_history_add(group, side, message->level[side], message->count[side]);
    }
    uint8_t *frame;
    size_t bytes = bw_group_encode(gateway, group, message, &frame);
    group_sent(gateway, group, &message->stamps);
    bw_group_push(gateway, group, frame, bytes);
}

/* Its one book is a single record, which is at hand, ahead of what the view shows. */
static bool group_can_step(const bw_gateway *gateway, const bw_group *group) {
    const bw_mirror *mirror = gateway->moved;
    return mirror && group->exact && mirror == group->market->member[0] && mirror->live &&
           mirror->sequence == group->sequence + 1 && mirror->price_exponent == group->view.price_exponent &&
           mirror->quantity_exponent == group->view.quantity_exponent;
}

/* As bw_group_emit(): the usual case of one exchange's book, cheaper. */
static void emit_step(bw_gateway *gateway, bw_group *group) {
    const bw_mirror *mirror = gateway->moved;
    bw_view *view = &group->view;
    bw_message message = {.kind = BW_PUSH_DELTA, .stamps = group->market->stamps,
                          .price_exponent = view->price_exponent,
                          .quantity_exponent = view->quantity_exponent};
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        bw_view_level *change = gateway->change[side];
        message.level[side] = change;
        message.count[side] = bw_step_view(view, &gateway->step, side, mirror->bound[side], change);
        if (view->count[side] == view->depth) continue;
        bw_level *level = gateway->copy[side];
        uint32_t shown = view->count[side];
        uint32_t count = bw_mirror_behind(mirror, side, shown, view->depth - shown, level);
        bw_step_behind(view, side, level, count, change + message.count[side]);
        message.count[side] += count;
    }
    group->sequence++;
    if (message.count[0] + message.count[1] > 0) group_tell(gateway, group, &message);
}

/* Builds the view as it is now and sends what changed since the last message, if anything did. */
void bw_group_emit(bw_gateway *gateway, bw_group *group) {
    heap_remove(gateway, group);
    group->touched = false;
    if (group_can_step(gateway, group)) return emit_step(gateway, group);
    bw_view_input input[BW_EXCHANGES_MAX];
    uint32_t inputs = group_inputs(group, input);
    if (group->arb) return emit_arb(gateway, group, input, inputs);
    bw_composition step = {.encoding = &group->encoding, .view = &group->view, .fresh = &group->fresh,
                           .change = gateway->change, .deltas = group->deltas,
                           .turned = group->encoding.kind == BW_VIEW_SINGLE &&
                                     group->shown_live != (inputs > 0)};
    bw_message message = {.stamps = group->market->stamps};
    bool changed = bw_compose(&step, input, inputs, &message);
    if (step.restarts) bw_history_restart(group);
    group_shows(group, inputs);
    if (!changed) return;
    group_swap_views(group);
    group_tell(gateway, group, &message);
}
