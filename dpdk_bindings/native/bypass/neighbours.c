#include "neighbours.h"

#include "inet_sum.h"

#define ASKED_NS INT64_C(3000000000)
#define ARP_FRAME 42u
#define ADVERTISEMENT 86u /* Ethernet, IPv6, 24 bytes, one option of 8 */

static void note(bw_asked *asked, const uint8_t *address, bool six, int64_t steady_ns) {
    uint8_t whole[16] = {0};
    memcpy(whole, address, six ? 16 : 4);
    for (uint32_t i = 0; i < BW_ASKED_MAX; i++) {
        if (asked->slot[i].six == six && memcmp(asked->slot[i].address, whole, 16) == 0) {
            asked->slot[i].until_ns = steady_ns + ASKED_NS;
            return;
        }
    }
    uint32_t at = asked->next++ % BW_ASKED_MAX;
    memcpy(asked->slot[at].address, whole, 16);
    asked->slot[at].six = six;
    asked->slot[at].until_ns = steady_ns + ASKED_NS;
}

void bw_asked_note_frame(bw_asked *asked, const uint8_t *frame, size_t bytes, int64_t steady_ns) {
    if (bytes < ARP_FRAME) return;
    unsigned type = bw_be16(frame + 12);
    if (type == 0x0806 && bw_be16(frame + 20) == 1) note(asked, frame + 38, false, steady_ns);
    if (type == 0x86dd && bytes >= 78 && frame[20] == 58 && frame[54] == 135) {
        note(asked, frame + 62, true, steady_ns);
    }
}

bool bw_asked_take(bw_asked *asked, const uint8_t *address, bool six, int64_t steady_ns) {
    uint8_t whole[16] = {0};
    memcpy(whole, address, six ? 16 : 4);
    for (uint32_t i = 0; i < BW_ASKED_MAX; i++) {
        if (asked->slot[i].six != six || memcmp(asked->slot[i].address, whole, 16) != 0) continue;
        bool fresh = steady_ns < asked->slot[i].until_ns;
        asked->slot[i].until_ns = 0;
        return fresh;
    }
    return false;
}

static void put_be16(uint8_t *at, unsigned value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static size_t answer_arp(const bw_identity *identity, const uint8_t *frame, uint8_t *out) {
    const uint8_t *arp = frame + 14;
    if (bw_be16(arp + 6) != 1 || memcmp(arp + 14, arp + 24, 4) == 0) return 0;
    memcpy(out, arp + 8, 6);
    memcpy(out + 6, identity->mac, 6);
    memcpy(out + 12, frame + 12, 8); /* type, hardware and protocol as asked */
    put_be16(out + 20, 2);
    memcpy(out + 22, identity->mac, 6);
    memcpy(out + 28, arp + 24, 4);
    memcpy(out + 32, arp + 8, 10);
    return ARP_FRAME;
}

/* RFC 4861 4.4 and 7.2.4: to an unspecified source (it looks for duplicates) the answer goes to all nodes. */
static size_t answer_solicitation(const bw_identity *identity, const uint8_t *frame, const bw_packet *packet,
                                  uint8_t *out) {
    static const uint8_t nobody[16], all[16] = {0xff, 2, [15] = 1}, all_mac[6] = {0x33, 0x33, 0, 0, 0, 1};
    const uint8_t *ip = frame + packet->network, *target = frame + packet->transport + 8;
    bool unspecified = memcmp(ip + 8, nobody, 16) == 0, ours = false;
    for (unsigned i = 0; i < identity->six_count; i++) ours |= memcmp(identity->six[i], target, 16) == 0;
    if (!ours || frame[packet->transport] != 135) return 0;
    memcpy(out, unspecified ? all_mac : frame + 6, 6);
    memcpy(out + 6, identity->mac, 6);
    put_be16(out + 12, 0x86dd);
    uint8_t *six = out + 14, *icmp = out + 54;
    memset(six, 0, ADVERTISEMENT - 14);
    six[0] = 0x60;
    put_be16(six + 4, 32);
    six[6] = 58;
    six[7] = 255;
    memcpy(six + 8, target, 16);
    memcpy(six + 24, unspecified ? all : ip + 8, 16);
    icmp[0] = 136;
    icmp[4] = unspecified ? 0x20 : 0x60; /* override; solicited */
    memcpy(icmp + 8, target, 16);
    icmp[24] = 2;
    icmp[25] = 1;
    memcpy(icmp + 26, identity->mac, 6);
    uint16_t sum = (uint16_t)~bw_inet_fold(bw_inet_pseudo(six + 8, 32, 58, 32) + bw_inet_sum(icmp, 32));
    memcpy(icmp + 2, &sum, 2);
    return ADVERTISEMENT;
}

size_t bw_neighbour_answer(const bw_identity *identity, const uint8_t *frame, const bw_packet *packet,
                           uint8_t *out) {
    return packet->kind == BW_PACKET_ARP ? answer_arp(identity, frame, out)
                                         : answer_solicitation(identity, frame, packet, out);
}
