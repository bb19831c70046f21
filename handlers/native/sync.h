/* Whether an update follows: the venues' sequence rules as one small state machine a book.
 *
 * Pure: it looks at ids and says what to do; buffering, events and levels are the engine's. Rules are
 * section 7 of the venues' sheets; plan.h names them.
 */
#ifndef BW_SYNC_H
#define BW_SYNC_H

#include "plan.h"

enum bw_sync_phase {
    BW_SYNC_OFF,       /* no connection carries the book */
    BW_SYNC_WAITING,   /* for a snapshot */
    BW_SYNC_JOINING,   /* a snapshot stands that the first update must join */
    BW_SYNC_FOLLOWING,
};

typedef struct bw_sync {
    uint32_t phase;
    int64_t last; /* id of the update or snapshot the book stands at */
    int64_t hole_from, hole_to; /* ids between them were jumped over last (JUMPS) */
    uint64_t jumps; /* updates taken so far that followed by the rule, but not exactly */
} bw_sync;

typedef struct bw_sync_ids {
    int64_t first, last, previous;
} bw_sync_ids;

enum bw_sync_verdict {
    BW_SYNC_APPLY,
    BW_SYNC_OLD,        /* already contained: ignore, count */
    BW_SYNC_KEEP_ALIVE, /* nothing changed, the book lives */
    BW_SYNC_HOLD,       /* keep it until the snapshot from elsewhere is there */
    BW_SYNC_DROP,       /* a snapshot is awaited, which will contain it */
    BW_SYNC_GAP,        /* something is missing before it */
};

/* What to do with an update; on APPLY and KEEP_ALIVE the state has moved on. */
enum bw_sync_verdict bw_sync_update(bw_sync *sync, uint32_t rule, uint32_t continuity,
                                    const bw_sync_ids *ids);

/* What the update after the state must not be beyond: the id expected next, for gap reports. */
int64_t bw_sync_expected(const bw_sync *sync, uint32_t continuity);

/* What came instead, of the same kind of id. */
int64_t bw_sync_got(uint32_t continuity, const bw_sync_ids *ids);

/* Whether updates wait for a snapshot from elsewhere, rather than being dropped before the feed's. */
bool bw_sync_holds(uint32_t rule);

/* A snapshot of the feed stands; `straddle`: the first update may begin before it. */
void bw_sync_snapshot(bw_sync *sync, int64_t last, bool straddle);

/* Where every message replaces the book: APPLY, or OLD when its id is smaller than that of the last. */
enum bw_sync_verdict bw_sync_replaces(const bw_sync *sync, uint32_t continuity, const bw_sync_ids *ids);

/* Whether a snapshot from elsewhere with id `last` reaches the first update held back. Ids are consecutive,
 * so a snapshot just before the update joins it. */
bool bw_sync_reaches(uint32_t continuity, int64_t last, const bw_sync_ids *first_held);
void bw_sync_joined_snapshot(bw_sync *sync, int64_t last);

/* Count of all messages of a connection (BW_CONTINUITY_CONNECTION). */
typedef struct bw_sync_counter {
    bool started;
    int64_t last;
} bw_sync_counter;

/* APPLY: the next. OLD: the last one once more. GAP: any other number; counting goes on from it, as a
 * counter that fell back would otherwise hide all that follows. */
enum bw_sync_verdict bw_sync_count(bw_sync_counter *counter, int64_t number);

#endif
