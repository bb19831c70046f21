#include "control.h"

#include <unistd.h>

void bw_event_publish(bw_event_ring *ring) {
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    if (ring->wake_fd >= 0) {
        uint64_t one = 1;
        ssize_t written = write(ring->wake_fd, &one, sizeof one);
        (void)written; /* EAGAIN: the counter is full, so the consumer is awake already */
    }
}

uint32_t bw_event_drain(bw_event_ring *ring, bw_event *out, uint32_t capacity) {
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    uint32_t count = 0;
    for (; tail < head && count < capacity; tail++, count++) {
        out[count] = ring->slot[tail & (BW_EVENT_SLOTS - 1)];
    }
    atomic_store_explicit(&ring->tail, tail, memory_order_release);
    return count;
}
