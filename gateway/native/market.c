/* What one channel merges: one mirror, or the mirrors of one symbol on every exchange. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

static enum bw_view_kind market_kind(const bw_subscription *subscription) {
    if (subscription->kind == BW_VIEW_SINGLE || subscription->kind == BW_VIEW_STATUS)
        return subscription->kind;
    return BW_VIEW_SUM; /* top, consbook, fullbook and arb look at the same books */
}

static bool market_join(bw_gateway *gateway, bw_market *market, bw_source *source) {
    bw_mirror *mirror = bw_mirror_want(gateway, source, market->symbol, market->instrument);
    if (!mirror) return false;
    if (market->kind == BW_VIEW_SINGLE) {
        mirror->single = market;
    } else {
        mirror->merged = market;
    }
    market->member[market->member_count++] = mirror;
    if (!mirror->loaded) return true;
    uint64_t sequence = market->stamps.sequence;
    bool merged = market->kind != BW_VIEW_SINGLE;
    if (!merged || mirror->stamps.receive_ns > market->stamps.receive_ns) market->stamps = mirror->stamps;
    if (merged) market->stamps.sequence = sequence + 1;
    return true;
}

bw_market *bw_market_want(bw_gateway *gateway, const bw_subscription *subscription) {
    enum bw_view_kind kind = market_kind(subscription);
    uint32_t exchange = kind == BW_VIEW_SINGLE ? subscription->exchange : 0;
    for (bw_market *market = gateway->markets; market; market = market->next) {
        if (market->kind == kind && market->instrument == subscription->instrument &&
            market->exchange == exchange && strcmp(market->symbol, subscription->symbol) == 0) {
            return market;
        }
    }
    bw_market *market = calloc(1, sizeof *market);
    if (!market) return NULL;
    market->kind = kind;
    market->instrument = subscription->instrument;
    market->exchange = exchange;
    market->stamps.state = BW_BOOK_DOWN;
    market->stamps.receive_ns = gateway->wall_ns;
    memcpy(market->symbol, subscription->symbol, sizeof market->symbol);
    market->next = gateway->markets;
    gateway->markets = market;
    for (uint32_t i = 0; i < gateway->source_count; i++) { /* one may have come since the last tick */
        if (!gateway->source[i].segment) bw_source_check(gateway, &gateway->source[i]);
    }
    if (kind == BW_VIEW_STATUS) return market;
    if (kind == BW_VIEW_SUM) market->stamps.receive_ns = 0; /* the newest of its books */
    for (uint32_t i = 0; i < gateway->source_count; i++) {
        bw_source *source = &gateway->source[i];
        if (kind == BW_VIEW_SINGLE && source->number != exchange) continue;
        if (!market_join(gateway, market, source)) {
            bw_market_drop(gateway, market);
            return NULL;
        }
    }
    if (market->stamps.receive_ns == 0) market->stamps.receive_ns = gateway->wall_ns;
    return market;
}

/* Only when no group shows it any more. */
void bw_market_drop(bw_gateway *gateway, bw_market *market) {
    if (market->groups) return;
    bw_market **link = &gateway->markets;
    while (*link != market) link = &(*link)->next;
    *link = market->next;
    for (uint32_t i = 0; i < market->member_count; i++) {
        bw_mirror *mirror = market->member[i];
        if (market->kind == BW_VIEW_SINGLE) {
            mirror->single = NULL;
        } else {
            mirror->merged = NULL;
        }
        bw_mirror_drop(gateway, mirror);
    }
    free(market);
}

void bw_market_touch(bw_gateway *gateway, bw_market *market, enum bw_touch how) {
    for (bw_group *group = market->groups; group; group = group->next) bw_group_touch(gateway, group, how);
}
