#include "control.h"

#include <unistd.h>

static void wake(const bw_event_ring *ring) {
    if (ring->wake_fd >= 0) {
        uint64_t one = 1;
        ssize_t written = write(ring->wake_fd, &one, sizeof one);
        (void)written; /* EAGAIN: the counter is full, so the consumer is awake already */
    }
}

void bw_event_publish(bw_event_ring *ring) {
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    wake(ring);
}

void bw_event_set_text(bw_event *event, const char *text, size_t bytes) {
    size_t kept = bytes < BW_EVENT_TEXT_BYTES ? bytes : BW_EVENT_TEXT_BYTES;
    memcpy(event->text, text, kept);
    event->text_bytes = (uint32_t)kept;
    event->text_cut = (uint32_t)(bytes - kept);
}

void bw_event_control(bw_event_ring *ring, uint32_t connection, const char *text, size_t bytes,
                      int64_t now_ns) {
    size_t kept = bytes < BW_CONTROL_BYTES_MAX ? bytes : BW_CONTROL_BYTES_MAX;
    uint64_t pieces = kept ? (kept + BW_EVENT_TEXT_BYTES - 1) / BW_EVENT_TEXT_BYTES : 1;
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    if (head - tail + pieces > BW_EVENT_SLOTS) {
        atomic_fetch_add_explicit(&ring->dropped, 1, memory_order_relaxed);
        return;
    }
    size_t offset = 0;
    for (uint64_t piece = 0; piece < pieces; piece++) {
        bw_event *event = &ring->slot[(head + piece) & (BW_EVENT_SLOTS - 1)];
        size_t rest = kept - offset;
        memset(event, 0, offsetof(bw_event, text));
        event->type = BW_EVENT_CONTROL;
        event->book = BW_NO_BOOK;
        event->connection = connection;
        event->a = (int64_t)offset;
        event->b = (int64_t)bytes;
        event->time_ns = now_ns;
        bw_event_set_text(event, text + offset, rest < BW_EVENT_TEXT_BYTES ? rest : BW_EVENT_TEXT_BYTES);
        event->text_cut = piece + 1 == pieces ? (uint32_t)(bytes - kept) : 0;
        offset += event->text_bytes;
    }
    atomic_store_explicit(&ring->head, head + pieces, memory_order_release);
    wake(ring);
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
