#include "frames.h"

#include <string.h>

uint16_t frame_get16(const uint8_t *at) {
    return (uint16_t)(at[0] << 8 | at[1]);
}
uint32_t frame_get32(const uint8_t *at) {
    return (uint32_t)frame_get16(at) << 16 | frame_get16(at + 2);
}
void frame_put16(uint8_t *at, unsigned value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}
void frame_put32(uint8_t *at, uint32_t value) {
    frame_put16(at, value >> 16);
    frame_put16(at + 2, value & 0xffff);
}

/* RFC 1071 as it is written there, a 16-bit word at a time: not the code under test. */
static uint32_t add(const uint8_t *at, size_t bytes, uint32_t sum) {
    for (; bytes > 1; bytes -= 2, at += 2) sum += frame_get16(at);
    if (bytes) sum += (uint32_t)*at << 8;
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

void frame_sum(uint8_t *frame, size_t bytes) {
    bool six = frame_get16(frame + 12) == 0x86dd;
    uint8_t *ip = frame + 14;
    size_t header = six ? 40 : (ip[0] & 15) * 4u;
    uint8_t protocol = six ? ip[6] : ip[9], *segment = ip + header;
    size_t inner = bytes - 14 - header;
    uint8_t *at = protocol == 6 ? segment + 16 : segment + 2;
    uint32_t sum = 0;
    if (!six) {
        frame_put16(ip + 10, 0);
        frame_put16(ip + 10, ~add(ip, header, 0));
    }
    if (protocol == 6 || six) {
        sum = add(six ? ip + 8 : ip + 12, six ? 32 : 8, (uint32_t)inner + protocol);
    }
    frame_put16(at, 0);
    frame_put16(at, ~add(segment, inner, sum));
}

static uint8_t *start(const frame_path *path, uint8_t protocol, size_t inner, uint8_t hop_limit,
                      uint8_t *out) {
    uint8_t *ip = out + 14;
    memcpy(out, path->to_mac, 6);
    memcpy(out + 6, path->from_mac, 6);
    frame_put16(out + 12, path->six ? 0x86dd : 0x0800);
    memset(ip, 0, path->six ? 40 : 20);
    if (path->six) {
        ip[0] = 0x60;
        frame_put16(ip + 4, (unsigned)inner);
        ip[6] = protocol;
        ip[7] = hop_limit;
        memcpy(ip + 8, path->from, 16);
        memcpy(ip + 24, path->to, 16);
        return ip + 40;
    }
    ip[0] = 0x45;
    frame_put16(ip + 2, (unsigned)(20 + inner));
    ip[8] = hop_limit;
    ip[9] = protocol;
    memcpy(ip + 12, path->from, 4);
    memcpy(ip + 16, path->to, 4);
    return ip + 20;
}

size_t frame_make_tcp(const frame_path *path, const frame_tcp *tcp, uint8_t *out) {
    uint8_t *at = start(path, 6, 20 + tcp->option_bytes + tcp->bytes, 64, out);
    memset(at, 0, 20);
    frame_put16(at, path->from_port);
    frame_put16(at + 2, path->to_port);
    frame_put32(at + 4, tcp->sequence);
    frame_put32(at + 8, tcp->acknowledged);
    at[12] = (uint8_t)((20 + tcp->option_bytes) / 4 << 4);
    at[13] = tcp->flags;
    frame_put16(at + 14, tcp->window);
    if (tcp->option_bytes) memcpy(at + 20, tcp->options, tcp->option_bytes);
    if (tcp->bytes) memcpy(at + 20 + tcp->option_bytes, tcp->data, tcp->bytes);
    size_t bytes = (size_t)(at - out) + 20 + tcp->option_bytes + tcp->bytes;
    frame_sum(out, bytes);
    return bytes;
}

size_t frame_make_icmp(const frame_path *path, const void *icmp, size_t bytes, uint8_t hop_limit,
                       uint8_t *out) {
    uint8_t *at = start(path, path->six ? 58 : 1, bytes, hop_limit, out);
    memcpy(at, icmp, bytes);
    frame_sum(out, (size_t)(at - out) + bytes);
    return (size_t)(at - out) + bytes;
}

size_t frame_make_arp(unsigned operation, const uint8_t *sender_mac, const uint8_t *sender,
                      const uint8_t *target_mac, const uint8_t *target, uint8_t *out) {
    static const uint8_t head[8] = {0x08, 0x06, 0, 1, 8, 0, 6, 4};
    memset(out, 0xff, 6);
    if (operation == 2) memcpy(out, target_mac, 6);
    memcpy(out + 6, sender_mac, 6);
    memcpy(out + 12, head, sizeof head);
    frame_put16(out + 20, operation);
    memcpy(out + 22, sender_mac, 6);
    memcpy(out + 28, sender, 4);
    memcpy(out + 32, target_mac, 6);
    memcpy(out + 38, target, 4);
    return 42;
}
