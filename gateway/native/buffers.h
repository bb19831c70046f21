/* The two byte stores of the sending side: a log all subscribers of a group read from, each at its
 * own position, and a queue of what one client alone gets.
 *
 * The log's memory is mapped twice in a row, so that any range of up to `capacity` bytes is one
 * straight piece: a subscriber's pending frames are always one send().
 */
#ifndef BW_BUFFERS_H
#define BW_BUFFERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bw_log {
    uint8_t *base;
    uint64_t capacity; /* a power of two, a multiple of the page */
    uint64_t head;     /* bytes ever appended */
} bw_log;

bool bw_log_init(bw_log *log, uint64_t capacity);
void bw_log_free(bw_log *log);
static inline uint8_t *bw_log_at(const bw_log *log, uint64_t position) {
    return log->base + (position & (log->capacity - 1));
}
/* `bytes` <= capacity. */
void bw_log_append(bw_log *log, const void *frame, size_t bytes);

/* Bytes of the unmasked WebSocket frame at `frame`, header included. */
size_t bw_frame_bytes(const uint8_t *frame);
size_t bw_frame_header_bytes(const uint8_t *frame);

typedef struct bw_queue {
    uint8_t *data;
    size_t start, end, room;
} bw_queue;

static inline size_t bw_queue_bytes(const bw_queue *queue) {
    return queue->end - queue->start;
}
/* Room for `bytes` at the end, grown as needed; NULL when memory is short. Then say how many. */
uint8_t *bw_queue_reserve(bw_queue *queue, size_t bytes);
static inline void bw_queue_filled(bw_queue *queue, size_t bytes) {
    queue->end += bytes;
}
bool bw_queue_put(bw_queue *queue, const void *data, size_t bytes);
/* Forgets what was sent; gives large memory back when empty. */
void bw_queue_drop(bw_queue *queue, size_t bytes);
void bw_queue_free(bw_queue *queue);

#endif
