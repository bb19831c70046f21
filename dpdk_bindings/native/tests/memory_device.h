/* A device's twin in memory: frames put in are received by the stack, frames it sends are taken out. */
#ifndef BW_TEST_MEMORY_DEVICE_H
#define BW_TEST_MEMORY_DEVICE_H

#include "frame.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct memory_device memory_device;

/* `buffers` for received frames; `queue` of them may wait. */
memory_device *memory_device_new(uint32_t buffers);
void memory_device_free(memory_device *device);
bw_device *memory_device_face(memory_device *device);
/* False: no buffer is free, the frame is lost (as a NIC without descriptors). */
bool memory_device_put(memory_device *device, const void *frame, size_t bytes, int64_t receive_ns);
/* The next frame that was sent; 0: none. */
size_t memory_device_take(memory_device *device, void *out);
uint32_t memory_device_held(const memory_device *device); /* buffers that somebody holds */
uint64_t memory_device_lost(const memory_device *device);

#endif
