#include "pipe.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

bool bw_pipe_init(bw_pipe *pipe, uint64_t capacity) {
    memset(pipe, 0, sizeof *pipe);
    pipe->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pipe->data = malloc(capacity);
    pipe->capacity = capacity;
    return pipe->data && pipe->wake_fd >= 0;
}

void bw_pipe_close(bw_pipe *pipe) {
    if (pipe->wake_fd >= 0) close(pipe->wake_fd);
    free(pipe->data);
    pipe->data = NULL;
    pipe->wake_fd = -1;
}

uint64_t bw_pipe_room(const bw_pipe *pipe) {
    return pipe->capacity - (atomic_load_explicit(&pipe->head, memory_order_relaxed) -
                             atomic_load_explicit(&pipe->tail, memory_order_acquire));
}

static void ring_write(bw_pipe *pipe, uint64_t at, const void *from, uint32_t bytes) {
    if (bytes == 0) return;
    uint64_t start = at & (pipe->capacity - 1), straight = pipe->capacity - start;
    uint32_t first = bytes < straight ? bytes : (uint32_t)straight;
    memcpy(pipe->data + start, from, first);
    memcpy(pipe->data, (const uint8_t *)from + first, bytes - first);
}

static void ring_read(const bw_pipe *pipe, uint64_t at, void *to, uint32_t bytes) {
    uint64_t start = at & (pipe->capacity - 1), straight = pipe->capacity - start;
    uint32_t first = bytes < straight ? bytes : (uint32_t)straight;
    memcpy(to, pipe->data + start, first);
    memcpy((uint8_t *)to + first, pipe->data, bytes - first);
}

bool bw_pipe_put(bw_pipe *pipe, bw_pipe_message message, const void *first, uint32_t first_bytes,
                 const void *second, uint32_t second_bytes, bool wake) {
    message.body_bytes = first_bytes + second_bytes;
    message.bytes = (uint32_t)((sizeof message + message.body_bytes + 7) & ~(size_t)7);
    if (bw_pipe_room(pipe) < message.bytes) return false;
    uint64_t head = atomic_load_explicit(&pipe->head, memory_order_relaxed);
    ring_write(pipe, head, &message, sizeof message);
    ring_write(pipe, head + sizeof message, first, first_bytes);
    ring_write(pipe, head + sizeof message + first_bytes, second, second_bytes);
    atomic_store_explicit(&pipe->head, head + message.bytes, memory_order_seq_cst);
    if (wake && atomic_load_explicit(&pipe->tail, memory_order_seq_cst) == head) {
        uint64_t one = 1;
        ssize_t written = write(pipe->wake_fd, &one, sizeof one);
        (void)written; /* EAGAIN: the counter is full, so the consumer is awake already */
    }
    return true;
}

bool bw_pipe_waiting(const bw_pipe *pipe) {
    return atomic_load_explicit(&pipe->tail, memory_order_relaxed) <
           atomic_load_explicit(&pipe->head, memory_order_acquire);
}

uint32_t bw_pipe_take(bw_pipe *pipe, uint8_t *out, uint32_t room, uint32_t enough) {
    uint64_t tail = atomic_load_explicit(&pipe->tail, memory_order_relaxed);
    uint32_t taken = 0;
    while (taken < enough && tail < atomic_load_explicit(&pipe->head, memory_order_seq_cst)) {
        uint32_t bytes;
        ring_read(pipe, tail, &bytes, sizeof bytes);
        if (bytes > room - taken) break;
        ring_read(pipe, tail, out + taken, bytes);
        taken += bytes;
        tail += bytes;
        atomic_store_explicit(&pipe->tail, tail, memory_order_seq_cst);
    }
    return taken;
}
