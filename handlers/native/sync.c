#include "sync.h"

static enum bw_sync_verdict joins(bw_sync *sync, uint32_t continuity, const bw_sync_ids *ids) {
    if (continuity == BW_CONTINUITY_LINK) {
        if (ids->last <= sync->last) return BW_SYNC_OLD;
        return ids->previous <= sync->last ? BW_SYNC_APPLY : BW_SYNC_GAP;
    }
    if (sync->last == -1) return BW_SYNC_APPLY; /* not opened when the snapshot was taken */
    if (ids->last <= sync->last) return BW_SYNC_OLD;
    return ids->first <= sync->last + 1 ? BW_SYNC_APPLY : BW_SYNC_GAP;
}

static enum bw_sync_verdict follows(const bw_sync *sync, uint32_t continuity, const bw_sync_ids *ids) {
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
    default: return BW_SYNC_APPLY;
    }
}

enum bw_sync_verdict bw_sync_update(bw_sync *sync, uint32_t rule, uint32_t continuity,
                                    const bw_sync_ids *ids) {
    enum bw_sync_verdict verdict;
    switch (sync->phase) {
    case BW_SYNC_WAITING: return rule == BW_SYNC_REST_SNAPSHOT ? BW_SYNC_HOLD : BW_SYNC_DROP;
    case BW_SYNC_JOINING: verdict = joins(sync, continuity, ids); break;
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
    return continuity == BW_CONTINUITY_LINK ? sync->last : sync->last + 1;
}

void bw_sync_snapshot(bw_sync *sync, int64_t last) {
    sync->phase = BW_SYNC_FOLLOWING;
    sync->last = last;
}

bool bw_sync_reaches(uint32_t continuity, int64_t last, const bw_sync_ids *first_held) {
    if (last == -1) return true;
    return continuity == BW_CONTINUITY_LINK ? first_held->previous <= last : first_held->first <= last + 1;
}

void bw_sync_rest_snapshot(bw_sync *sync, int64_t last) {
    sync->phase = BW_SYNC_JOINING;
    sync->last = last;
}

enum bw_sync_verdict bw_sync_count(bw_sync_counter *counter, int64_t number) {
    enum bw_sync_verdict verdict = !counter->started || number == counter->last + 1 ? BW_SYNC_APPLY
                                   : number == counter->last                        ? BW_SYNC_OLD
                                                                                    : BW_SYNC_GAP;
    counter->started = true;
    counter->last = number;
    return verdict;
}
