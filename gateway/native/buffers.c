#include "buffers.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define QUEUE_START_BYTES 1024u
#define QUEUE_KEEP_BYTES (16u << 10) /* a larger empty queue is given back */

bool bw_log_init(bw_log *log, uint64_t capacity) {
    *log = (bw_log){0};
    int memory = memfd_create("bookwire-log", MFD_CLOEXEC);
    if (memory < 0) return false;
    if (ftruncate(memory, (off_t)capacity) < 0) {
        close(memory);
        return false;
    }
    uint8_t *base = mmap(NULL, 2 * capacity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool mapped = base != MAP_FAILED;
    for (int half = 0; mapped && half < 2; half++) {
        mapped = mmap(base + (uint64_t)half * capacity, capacity, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_FIXED, memory, 0) != MAP_FAILED;
    }
    close(memory);
    if (!mapped) {
        if (base != MAP_FAILED) munmap(base, 2 * capacity);
        return false;
    }
    log->base = base;
    log->capacity = capacity;
    return true;
}

void bw_log_free(bw_log *log) {
    if (log->base) munmap(log->base, 2 * log->capacity);
    *log = (bw_log){0};
}

void bw_log_append(bw_log *log, const void *frame, size_t bytes) {
    memcpy(bw_log_at(log, log->head), frame, bytes);
    log->head += bytes;
}

size_t bw_frame_header_bytes(const uint8_t *frame) {
    size_t length = frame[1] & 0x7f;
    return length < 126 ? 2 : length == 126 ? 4 : 10;
}

size_t bw_frame_bytes(const uint8_t *frame) {
    size_t length = frame[1] & 0x7f;
    if (length < 126) return 2 + length;
    if (length == 126) return 4 + ((size_t)frame[2] << 8 | frame[3]);
    length = 0;
    for (int i = 2; i < 10; i++) length = length << 8 | frame[i];
    return 10 + length;
}

uint8_t *bw_queue_reserve(bw_queue *queue, size_t bytes) {
    if (queue->start == queue->end) queue->start = queue->end = 0;
    if (queue->room - queue->end >= bytes) return queue->data + queue->end;
    size_t held = bw_queue_bytes(queue);
    if (queue->start > 0) {
        memmove(queue->data, queue->data + queue->start, held);
        queue->start = 0;
        queue->end = held;
    }
    if (queue->room - queue->end < bytes) {
        size_t room = queue->room ? queue->room : QUEUE_START_BYTES;
        while (room - held < bytes) room *= 2;
        uint8_t *data = realloc(queue->data, room);
        if (!data) return NULL;
        queue->data = data;
        queue->room = room;
    }
    return queue->data + queue->end;
}

bool bw_queue_put(bw_queue *queue, const void *data, size_t bytes) {
    uint8_t *at = bw_queue_reserve(queue, bytes);
    if (!at) return false;
    memcpy(at, data, bytes);
    queue->end += bytes;
    return true;
}

void bw_queue_drop(bw_queue *queue, size_t bytes) {
    queue->start += bytes;
    if (queue->start < queue->end) return;
    queue->start = queue->end = 0;
    if (queue->room > QUEUE_KEEP_BYTES) bw_queue_free(queue);
}

void bw_queue_free(bw_queue *queue) {
    free(queue->data);
    *queue = (bw_queue){0};
}
