/* Ethernet frames between a device and the stack. The device owns the buffers, the stack borrows them. */
#ifndef BW_FRAME_H
#define BW_FRAME_H

#include <stdint.h>

#define BW_FRAME_PRIVATE_BYTES 64u /* in every received buffer, for the stack's own use */
#define BW_FRAME_BYTES_MAX 2048u
#define BW_BURST_MAX 32u

enum bw_frame_flag { /* what the device says of checksums; none: it did not look */
                     BW_FRAME_IP_SUM_GOOD = 1u << 0,
                     BW_FRAME_IP_SUM_BAD = 1u << 1,
                     BW_FRAME_L4_SUM_GOOD = 1u << 2,
                     BW_FRAME_L4_SUM_BAD = 1u << 3,
                     BW_FRAME_SEGMENTED = 1u << 4, /* goes on in another buffer: we ask for none of these */
};

typedef struct bw_frame {
    void *buffer; /* BW_FRAME_PRIVATE_BYTES of room, aligned to 8; what release() is given */
    uint8_t *data;
    uint32_t bytes;
    uint32_t flags;
    int64_t receive_ns; /* the NIC's stamp, or when the burst was taken */
} bw_frame;

typedef struct bw_device bw_device;
typedef struct bw_device_ops {
    uint32_t (*receive)(bw_device *device, bw_frame *out, uint32_t room);
    void (*release)(bw_device *device, void *buffer);
    /* Room for one frame of `bytes`, queued to be sent once it is filled; NULL when there is none. */
    uint8_t *(*claim)(bw_device *device, uint32_t bytes);
    void (*flush)(bw_device *device);
} bw_device_ops;
struct bw_device {
    const bw_device_ops *ops;
};

#endif
