#include "pending.h"

#include <stdlib.h>
#include <string.h>

typedef struct pending_block {
    uint32_t next;
    uint32_t begins; /* 1: an update starts here */
    bw_pending_update update;
    bw_wire_level level[];
} pending_block;

#define LEVELS_PER_BLOCK ((BW_PENDING_BLOCK_BYTES - sizeof(pending_block)) / sizeof(bw_wire_level))

struct bw_pending {
    uint8_t *block;
    uint32_t *free_block; /* stack */
    uint32_t block_count;
    uint32_t free_count;
    uint32_t free_least;
};

static pending_block *block_at(const bw_pending *pending, uint32_t index) {
    return (pending_block *)(void *)(pending->block + (size_t)index * BW_PENDING_BLOCK_BYTES);
}

bw_pending *bw_pending_new(uint64_t bytes) {
    uint64_t blocks = bytes / BW_PENDING_BLOCK_BYTES;
    bw_pending *pending = calloc(1, sizeof *pending);
    if (!pending || blocks >= BW_PENDING_NONE) {
        free(pending);
        return NULL;
    }
    pending->block_count = pending->free_count = pending->free_least = (uint32_t)blocks;
    pending->block = malloc(blocks * BW_PENDING_BLOCK_BYTES + 1);
    pending->free_block = malloc((blocks + 1) * sizeof *pending->free_block);
    if (!pending->block || !pending->free_block) {
        bw_pending_free(pending);
        return NULL;
    }
    for (uint32_t i = 0; i < pending->block_count; i++) pending->free_block[i] = pending->block_count - 1 - i;
    return pending;
}

void bw_pending_free(bw_pending *pending) {
    if (!pending) return;
    free(pending->block);
    free(pending->free_block);
    free(pending);
}

void bw_pending_queue_init(bw_pending_queue *queue) {
    *queue = (bw_pending_queue){.head = BW_PENDING_NONE, .tail = BW_PENDING_NONE};
}

static pending_block *append_block(bw_pending *pending, bw_pending_queue *queue) {
    uint32_t index = pending->free_block[--pending->free_count];
    if (queue->tail == BW_PENDING_NONE) queue->head = index;
    else block_at(pending, queue->tail)->next = index;
    queue->tail = index;
    pending_block *block = block_at(pending, index);
    block->next = BW_PENDING_NONE;
    block->begins = 0;
    return block;
}

bool bw_pending_push(bw_pending *pending, bw_pending_queue *queue, const bw_pending_update *update,
                     const bw_wire_level *bids, const bw_wire_level *asks) {
    uint64_t levels = (uint64_t)update->level_count[0] + update->level_count[1];
    uint64_t blocks = levels ? (levels + LEVELS_PER_BLOCK - 1) / LEVELS_PER_BLOCK : 1;
    if (blocks > pending->free_count) return false;
    pending_block *block = append_block(pending, queue);
    block->begins = 1;
    block->update = *update;
    uint32_t used = 0;
    const bw_wire_level *from[2] = {bids, asks};
    for (uint32_t side = 0; side < 2; side++) {
        for (uint32_t i = 0; i < update->level_count[side]; i++) {
            if (used == LEVELS_PER_BLOCK) {
                block = append_block(pending, queue);
                used = 0;
            }
            block->level[used++] = from[side][i];
        }
    }
    if (queue->count++ == 0) queue->first = update->ids;
    queue->last = update->ids.last;
    if (pending->free_count < pending->free_least) pending->free_least = pending->free_count;
    return true;
}

bool bw_pending_peek(const bw_pending *pending, const bw_pending_queue *queue, bw_pending_update *update) {
    if (queue->count == 0) return false;
    *update = block_at(pending, queue->head)->update;
    return true;
}

void bw_pending_levels(const bw_pending *pending, const bw_pending_queue *queue, bw_wire_level *bids,
                       bw_wire_level *asks) {
    const pending_block *block = block_at(pending, queue->head);
    const bw_pending_update *update = &block->update;
    uint32_t used = 0;
    bw_wire_level *to[2] = {bids, asks};
    for (uint32_t side = 0; side < 2; side++) {
        for (uint32_t i = 0; i < update->level_count[side]; i++) {
            if (used == LEVELS_PER_BLOCK) {
                block = block_at(pending, block->next);
                used = 0;
            }
            to[side][i] = block->level[used++];
        }
    }
}

void bw_pending_pop(bw_pending *pending, bw_pending_queue *queue) {
    do {
        uint32_t index = queue->head;
        queue->head = block_at(pending, index)->next;
        pending->free_block[pending->free_count++] = index;
    } while (queue->head != BW_PENDING_NONE && !block_at(pending, queue->head)->begins);
    if (--queue->count == 0) bw_pending_queue_init(queue);
    else queue->first = block_at(pending, queue->head)->update.ids;
}

void bw_pending_clear(bw_pending *pending, bw_pending_queue *queue) {
    while (queue->count) bw_pending_pop(pending, queue);
}

uint64_t bw_pending_bytes_peak(const bw_pending *pending) {
    return (uint64_t)(pending->block_count - pending->free_least) * BW_PENDING_BLOCK_BYTES;
}
