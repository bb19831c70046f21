#include "sync.h"

/* The first update after a snapshot that stood apart from the updates, or that one may straddle. */
static enum bw_sync_verdict joins(const bw_sync *sync, uint32_t rule, uint32_t continuity,
                                  const bw_sync_ids *ids) {
    if (sync->last == -1) return BW_SYNC_APPLY; /* not opened when the snapshot was taken */
    if (ids->last <= sync->last) return BW_SYNC_OLD;
    switch (continuity) {
    case BW_CONTINUITY_LINK:
        if (ids->previous == 0) return BW_SYNC_GAP; /* the venue started its ids anew */
        if (rule == BW_SYNC_REQUESTED_SNAPSHOT && ids->previous != sync->last) return BW_SYNC_GAP;
        return ids->previous <= sync->last ? BW_SYNC_APPLY : BW_SYNC_GAP;
    case BW_CONTINUITY_NEXT: return ids->last == sync->last + 1 ? BW_SYNC_APPLY : BW_SYNC_GAP;
    default: return ids->first <= sync->last + 1 ? BW_SYNC_APPLY : BW_SYNC_GAP;
    }
}

/* A step larger than one is taken; what it leaves out must not come later. */
static enum bw_sync_verdict jumps(bw_sync *sync, const bw_sync_ids *ids) {
    if (ids->last <= sync->last) {
        return ids->last > sync->hole_from && ids->last < sync->hole_to ? BW_SYNC_GAP : BW_SYNC_OLD;
    }
    if (ids->last == sync->last + 1) return BW_SYNC_APPLY;
    sync->hole_from = sync->last;
    sync->hole_to = ids->last;
    sync->jumps++;
    return BW_SYNC_APPLY;
}

static enum bw_sync_verdict follows(bw_sync *sync, uint32_t continuity, const bw_sync_ids *ids) {
    switch (continuity) {
    case BW_CONTINUITY_LINK:
        if (ids->previous != sync->last) return BW_SYNC_GAP;
        return ids->last == ids->previous ? BW_SYNC_KEEP_ALIVE : BW_SYNC_APPLY;
    case BW_CONTINUITY_NEXT:
        if (ids->last <= sync->last) return BW_SYNC_OLD;
        return ids->last == sync->last + 1 ? BW_SYNC_APPLY : BW_SYNC_GAP;
    case BW_CONTINUITY_RANGE:
        if (ids->last <= sync->last) return BW_SYNC_OLD;
        return ids->first == sync->last + 1 ? BW_SYNC_APPLY : BW_SYNC_GAP;
    case BW_CONTINUITY_OVERLAP:
    case BW_CONTINUITY_COVERS: {
        int64_t exactly = sync->last + (continuity == BW_CONTINUITY_COVERS);
        if (ids->last <= sync->last) return BW_SYNC_OLD;
        if (ids->first > exactly) return BW_SYNC_GAP;
        sync->jumps += ids->first != exactly;
        return BW_SYNC_APPLY;
    }
    case BW_CONTINUITY_RISES:
        if (ids->last == sync->last) return BW_SYNC_OLD;
        return ids->last > sync->last ? BW_SYNC_APPLY : BW_SYNC_GAP;
    case BW_CONTINUITY_JUMPS: return jumps(sync, ids);
    default: return BW_SYNC_APPLY;
    }
}

bool bw_sync_holds(uint32_t rule) {
    return rule == BW_SYNC_REST_SNAPSHOT || rule == BW_SYNC_REQUESTED_SNAPSHOT;
}

enum bw_sync_verdict bw_sync_update(bw_sync *sync, uint32_t rule, uint32_t continuity,
                                    const bw_sync_ids *ids) {
    enum bw_sync_verdict verdict;
    switch (sync->phase) {
    case BW_SYNC_WAITING: return bw_sync_holds(rule) ? BW_SYNC_HOLD : BW_SYNC_DROP;
    case BW_SYNC_JOINING: verdict = joins(sync, rule, continuity, ids); break;
    case BW_SYNC_FOLLOWING: verdict = follows(sync, continuity, ids); break;
    default: return BW_SYNC_DROP;
    }
    if (verdict == BW_SYNC_APPLY || verdict == BW_SYNC_KEEP_ALIVE) {
        sync->phase = BW_SYNC_FOLLOWING;
        sync->last = ids->last;
    }
    return verdict;
}

int64_t bw_sync_expected(const bw_sync *sync, uint32_t continuity) {
    return sync->last + (continuity != BW_CONTINUITY_LINK && continuity != BW_CONTINUITY_OVERLAP);
}

int64_t bw_sync_got(uint32_t continuity, const bw_sync_ids *ids) {
    switch (continuity) {
    case BW_CONTINUITY_LINK: return ids->previous;
    case BW_CONTINUITY_RANGE:
    case BW_CONTINUITY_OVERLAP:
    case BW_CONTINUITY_COVERS: return ids->first;
    default: return ids->last;
    }
}

void bw_sync_snapshot(bw_sync *sync, int64_t last, bool straddle) {
    sync->phase = straddle ? BW_SYNC_JOINING : BW_SYNC_FOLLOWING;
    sync->last = sync->hole_from = sync->hole_to = last;
}

enum bw_sync_verdict bw_sync_replaces(const bw_sync *sync, uint32_t continuity, const bw_sync_ids *ids) {
    bool follows_one = continuity != BW_CONTINUITY_NONE && sync->phase == BW_SYNC_FOLLOWING;
    bool in_order = !follows_one || ids->last >= sync->last;
    return in_order ? BW_SYNC_APPLY : BW_SYNC_OLD;
}

bool bw_sync_reaches(uint32_t continuity, int64_t last, const bw_sync_ids *first_held) {
    if (last == -1) return true;
    switch (continuity) {
    case BW_CONTINUITY_LINK: return first_held->previous <= last;
    case BW_CONTINUITY_NEXT: return first_held->last <= last + 1;
    default: return first_held->first <= last + 1;
    }
}

void bw_sync_joined_snapshot(bw_sync *sync, int64_t last) {
    bw_sync_snapshot(sync, last, true);
}

enum bw_sync_verdict bw_sync_count(bw_sync_counter *counter, int64_t number) {
    enum bw_sync_verdict verdict = !counter->started || number == counter->last + 1 ? BW_SYNC_APPLY
                                   : number == counter->last                        ? BW_SYNC_OLD
                                                                                    : BW_SYNC_GAP;
    counter->started = true;
    counter->last = number;
    return verdict;
}
