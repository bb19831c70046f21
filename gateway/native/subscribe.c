/* Subscriptions: a client's place in a group, made and given back. */
#include "internal.h"

#include <stdlib.h>

static void count_kind(bw_gateway *gateway, enum bw_view_kind kind, int by) {
    switch (kind) {
    case BW_VIEW_SINGLE: BW_COUNT(gateway->stats, subscriptions_single, by); break;
    case BW_VIEW_TOP: BW_COUNT(gateway->stats, subscriptions_top, by); break;
    case BW_VIEW_SUM: BW_COUNT(gateway->stats, subscriptions_consbook, by); break;
    case BW_VIEW_FULL: BW_COUNT(gateway->stats, subscriptions_fullbook, by); break;
    case BW_VIEW_STATUS: BW_COUNT(gateway->stats, subscriptions_status, by); break;
    case BW_VIEW_ARB: BW_COUNT(gateway->stats, subscriptions_arb, by); break;
    }
}

static bool group_room(bw_group *group) {
    if (group->sub_count < group->sub_room) return true;
    uint32_t room = group->sub_room ? 2 * group->sub_room : 8;
    bw_sub **sub = realloc(group->sub, room * sizeof(bw_sub *));
    if (!sub) return false;
    group->sub = sub;
    group->sub_room = room;
    return true;
}

/* The first snapshot is a catching up like any other: it is written when the socket has room for it. */
bool bw_sub_add(bw_gateway *gateway, bw_client *client, const bw_subscription *subscription) {
    bw_group *group = bw_group_want(gateway, subscription);
    if (!group) return false;
    bw_sub *sub = group_room(group) ? calloc(1, sizeof *sub) : NULL;
    if (!sub) {
        if (group->sub_count == 0) bw_group_drop(gateway, group);
        return false;
    }
    sub->client = client;
    sub->group = group;
    sub->tag = subscription->tag;
    sub->slow = subscription->slow;
    sub->behind = sub->fresh = sub->snapshot_wanted = true;
    sub->position = group->log.head;
    sub->emission = group->emission;
    sub->heartbeat_ns = (int64_t)subscription->heartbeat_ms * 1000000;
    sub->sent_ns = gateway->now_ns;
    gateway->heartbeats += sub->heartbeat_ns > 0;
    sub->at = group->sub_count;
    group->sub[group->sub_count++] = sub;
    bw_sub **end = &client->subs; /* in the order asked for: the first snapshots come in it */
    while (*end) end = &(*end)->next;
    *end = sub;
    client->sub_count++;
    count_kind(gateway, group->encoding.kind, 1);
    bw_client_schedule_flush(gateway, client); /* when blocked, the socket's next room does it */
    return true;
}

static void group_place(bw_group *group, uint32_t at, bw_sub *sub) {
    group->sub[at] = sub;
    sub->at = at;
}

void bw_sub_free(bw_gateway *gateway, bw_sub *sub) {
    bw_group *group = sub->group;
    bw_client *client = sub->client;
    uint32_t hole = sub->at;
    if (sub->lagging) { /* lagging ones stand first: close that part, then the whole */
        group_place(group, hole, group->sub[--group->lagging]);
        hole = group->lagging;
    }
    group_place(group, hole, group->sub[--group->sub_count]);
    bw_sub **link = &client->subs;
    while (*link != sub) link = &(*link)->next;
    *link = sub->next;
    client->sub_count--;
    gateway->heartbeats -= sub->heartbeat_ns > 0;
    count_kind(gateway, group->encoding.kind, -1);
    free(sub);
    if (group->sub_count == 0) bw_group_drop(gateway, group);
}

bool bw_sub_remove(bw_gateway *gateway, bw_client *client, uint64_t tag) {
    for (bw_sub *sub = client->subs; sub; sub = sub->next) {
        if (sub->tag != tag) continue;
        bw_sub_free(gateway, sub);
        return true;
    }
    return false;
}
