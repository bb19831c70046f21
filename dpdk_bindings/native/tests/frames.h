/* Frames for tests of the receive path: headers filled in, lengths and checksums right. */
#ifndef BW_TEST_FRAMES_H
#define BW_TEST_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Who sends to whom. IPv4 addresses are in the first 4 bytes. */
typedef struct frame_path {
    uint8_t from_mac[6], to_mac[6];
    uint8_t from[16], to[16];
    uint16_t from_port, to_port;
    bool six;
} frame_path;

typedef struct frame_tcp {
    uint32_t sequence, acknowledged;
    uint8_t flags;
    uint16_t window;
    const void *options;
    size_t option_bytes; /* a multiple of 4 */
    const void *data;
    size_t bytes;
} frame_tcp;

enum { FRAME_FIN = 1, FRAME_SYN = 2, FRAME_RST = 4, FRAME_PSH = 8, FRAME_ACK = 16 };

size_t frame_make_tcp(const frame_path *path, const frame_tcp *tcp, uint8_t *out);
/* `icmp`: the whole message, its checksum is put in. */
size_t frame_make_icmp(const frame_path *path, const void *icmp, size_t bytes, uint8_t hop_limit,
                       uint8_t *out);
size_t frame_make_arp(unsigned operation, const uint8_t *sender_mac, const uint8_t *sender,
                      const uint8_t *target_mac, const uint8_t *target, uint8_t *out);
/* Checksums anew, after a test bent something. */
void frame_sum(uint8_t *frame, size_t bytes);
uint16_t frame_get16(const uint8_t *at);
uint32_t frame_get32(const uint8_t *at);
void frame_put16(uint8_t *at, unsigned value);
void frame_put32(uint8_t *at, uint32_t value);

#endif
