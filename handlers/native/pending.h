/* Updates held back until a REST snapshot joins them: one bounded arena, a queue per book.
 *
 * The arena is cut into blocks of one size; an update takes as many as its levels need, so queues of
 * any books can grow and be dropped in any order without moving anything.
 */
#ifndef BW_PENDING_H
#define BW_PENDING_H

#include "decode.h"
#include "sync.h"

#define BW_PENDING_BLOCK_BYTES 1024u
#define BW_PENDING_NONE UINT32_MAX

typedef struct bw_pending bw_pending;

typedef struct bw_pending_queue {
    uint32_t head, tail;  /* blocks; BW_PENDING_NONE: empty */
    uint32_t count;       /* updates */
    bw_sync_ids first;    /* of the oldest */
    int64_t last;         /* id of the newest */
} bw_pending_queue;

/* An update in the arena. Its levels stand in `blocks` blocks, bids first, see bw_pending_levels(). */
typedef struct bw_pending_update {
    bw_sync_ids ids;
    int64_t exchange_ns;
    int64_t receive_ns;
    uint32_t level_count[2];
    uint8_t price_decimals, quantity_decimals;
} bw_pending_update;

bw_pending *bw_pending_new(uint64_t bytes);
void bw_pending_free(bw_pending *pending);
void bw_pending_queue_init(bw_pending_queue *queue);

/* False when the arena is full; the queue is then as before. */
bool bw_pending_push(bw_pending *pending, bw_pending_queue *queue, const bw_pending_update *update,
                     const bw_wire_level *bids, const bw_wire_level *asks);
/* Oldest update; its levels are copied to bids and asks (room for level_count each). False if empty. */
bool bw_pending_peek(const bw_pending *pending, const bw_pending_queue *queue, bw_pending_update *update);
void bw_pending_levels(const bw_pending *pending, const bw_pending_queue *queue, bw_wire_level *bids,
                       bw_wire_level *asks);
void bw_pending_pop(bw_pending *pending, bw_pending_queue *queue);
void bw_pending_clear(bw_pending *pending, bw_pending_queue *queue);

uint64_t bw_pending_bytes_peak(const bw_pending *pending);

#endif
