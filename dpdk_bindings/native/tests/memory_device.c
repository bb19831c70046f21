#include "memory_device.h"

#include <stdlib.h>
#include <string.h>

#define SENT 1024u

typedef struct buffer {
    uint8_t private_area[BW_FRAME_PRIVATE_BYTES]; /* first: what release() gets */
    struct buffer *next;
    uint32_t bytes;
    int64_t receive_ns;
    uint8_t data[BW_FRAME_BYTES_MAX];
} buffer;

struct memory_device {
    bw_device face;
    uint32_t buffers, held;
    uint64_t lost;
    buffer *free, *first, *last;
    buffer *pool;
    uint32_t sent_begin, sent_end;
    uint32_t sent_bytes[SENT];
    uint8_t sent[SENT][BW_FRAME_BYTES_MAX];
};

static memory_device *of(bw_device *face) {
    return (memory_device *)face;
}

static uint32_t receive(bw_device *face, bw_frame *out, uint32_t room) {
    memory_device *device = of(face);
    uint32_t count = 0;
    for (; count < room && device->first; count++) {
        buffer *b = device->first;
        device->first = b->next;
        if (!device->first) device->last = NULL;
        out[count] = (bw_frame){.buffer = b, .data = b->data, .bytes = b->bytes, .receive_ns = b->receive_ns};
    }
    return count;
}

static void release(bw_device *face, void *given) {
    memory_device *device = of(face);
    buffer *b = given;
    memset(b->data, 0xdd, b->bytes); /* whoever still reads it sees that */
    b->next = device->free;
    device->free = b;
    device->held--;
}

static uint8_t *claim(bw_device *face, uint32_t bytes) {
    memory_device *device = of(face);
    if (device->sent_end - device->sent_begin == SENT || bytes > BW_FRAME_BYTES_MAX) return NULL;
    uint32_t at = device->sent_end++ % SENT;
    device->sent_bytes[at] = bytes;
    return device->sent[at];
}

static void flush(bw_device *face) {
    (void)face;
}

static const bw_device_ops ops = {.receive = receive, .release = release, .claim = claim, .flush = flush};

memory_device *memory_device_new(uint32_t buffers) {
    memory_device *device = calloc(1, sizeof *device);
    device->face.ops = &ops;
    device->buffers = buffers;
    device->pool = calloc(buffers, sizeof *device->pool);
    for (uint32_t i = 0; i < buffers; i++) {
        device->pool[i].next = device->free;
        device->free = &device->pool[i];
    }
    return device;
}

void memory_device_free(memory_device *device) {
    free(device->pool);
    free(device);
}

bw_device *memory_device_face(memory_device *device) {
    return &device->face;
}

bool memory_device_put(memory_device *device, const void *frame, size_t bytes, int64_t receive_ns) {
    buffer *b = device->free;
    if (!b || bytes > BW_FRAME_BYTES_MAX) {
        device->lost++;
        return false;
    }
    device->free = b->next;
    device->held++;
    memcpy(b->data, frame, bytes);
    b->bytes = (uint32_t)bytes;
    b->receive_ns = receive_ns;
    b->next = NULL;
    if (device->last) {
        device->last->next = b;
    } else {
        device->first = b;
    }
    device->last = b;
    return true;
}

size_t memory_device_take(memory_device *device, void *out) {
    if (device->sent_begin == device->sent_end) return 0;
    uint32_t at = device->sent_begin++ % SENT;
    memcpy(out, device->sent[at], device->sent_bytes[at]);
    return device->sent_bytes[at];
}

uint32_t memory_device_held(const memory_device *device) {
    return device->held;
}

uint64_t memory_device_lost(const memory_device *device) {
    return device->lost;
}
