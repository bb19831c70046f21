#include "packet_check.h"

#include "frame.h"
#include "inet_sum.h"

#define ETHERNET 14u
#define TYPE_FOUR 0x0800
#define TYPE_ARP 0x0806
#define TYPE_SIX 0x86dd
#define ARP_BYTES 28u
#define FOUR_BYTES 20u
#define SIX_BYTES 40u
#define TCP_BYTES 20u
#define PROTOCOL_HOP_BY_HOP 0
#define PROTOCOL_ICMP 1
#define PROTOCOL_TCP 6
#define PROTOCOL_FRAGMENT 44
#define PROTOCOL_ICMP6 58

enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };

static const char *const names[] = {
#define NAME(name, meaning) #name,
    "none", BW_DROPS(NAME)
#undef NAME
};
static const char *const meanings[] = {
#define MEANING(name, meaning) meaning,
    "", BW_DROPS(MEANING)
#undef MEANING
};

const char *bw_drop_name(enum bw_drop drop) {
    return drop < BW_DROP_COUNT ? names[drop] : NULL;
}

const char *bw_drop_meaning(enum bw_drop drop) {
    return drop < BW_DROP_COUNT ? meanings[drop] : NULL;
}

static bool four_is_ours(const bw_identity *identity, const uint8_t *address) {
    uint32_t word;
    memcpy(&word, address, sizeof word);
    for (unsigned i = 0; i < identity->four_count; i++) {
        if (identity->four[i] == word) return true;
    }
    return false;
}

/* Also the solicited-node group of each address (RFC 4291 2.7.1) and all-nodes. */
static bool six_is_ours(const bw_identity *identity, const uint8_t *address, bool *group) {
    static const uint8_t solicited[13] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
    static const uint8_t all[16] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    *group = address[0] == 0xff;
    if (*group && memcmp(address, all, sizeof all) == 0) return true;
    for (unsigned i = 0; i < identity->six_count; i++) {
        const uint8_t *ours = identity->six[i];
        if (*group
                ? memcmp(address, solicited, sizeof solicited) == 0 && memcmp(address + 13, ours + 13, 3) == 0
                : memcmp(address, ours, 16) == 0) {
            return true;
        }
    }
    return false;
}

/* RFC 826; an ARP probe (RFC 5227) has 0.0.0.0 as its sender. */
static enum bw_drop check_arp(const bw_identity *identity, const uint8_t *arp, size_t bytes, bw_packet *out) {
    static const uint8_t head[6] = {0, 1, 8, 0, 6, 4};
    if (bytes < ARP_BYTES || memcmp(arp, head, sizeof head) != 0) return BW_DROP_arp_bad;
    unsigned operation = bw_be16(arp + 6);
    const uint8_t *sender = arp + 14, *target = arp + 24;
    if (operation != 1 && operation != 2) return BW_DROP_arp_bad;
    if (arp[8] & 1 || sender[0] >= 224 || sender[0] == 127) return BW_DROP_arp_bad;
    if (four_is_ours(identity, sender)) return BW_DROP_arp_conflict;
    if (!four_is_ours(identity, target) && memcmp(sender, target, 4) != 0) return BW_DROP_arp_not_ours;
    out->kind = BW_PACKET_ARP;
    out->end = (uint16_t)(out->network + ARP_BYTES);
    return BW_DROP_NONE;
}

static enum bw_drop check_tcp_options(uint8_t *at, const uint8_t *end, bool syn) {
    while (at < end &&
           *at != 0) { /* RFC 9293 3.2: kind 0 ends the list, 1 is one byte, others have lengths */
        static const uint8_t wanted[9] = {[2] = 4, [3] = 3, [4] = 2, [8] = 10};
        unsigned kind = *at;
        if (kind == 1) {
            at++;
            continue;
        }
        if (end - at < 2 || at[1] < 2 || at[1] > end - at) return BW_DROP_tcp_options;
        unsigned bytes = at[1];
        if (kind < sizeof wanted && wanted[kind] && bytes != wanted[kind]) return BW_DROP_tcp_options;
        if (kind == 5 && (bytes < 10 || (bytes - 2) % 8)) return BW_DROP_tcp_options; /* RFC 2018 3 */
        if (kind == 2 && syn && bw_be16(at + 2) && bw_be16(at + 2) < BW_TCP_MSS_MIN) return BW_DROP_tcp_mss;
        if (syn ? kind == 2 && !bw_be16(at + 2) : kind >= 2 && kind <= 4) memset(at, 1, bytes);
        at += bytes;
    }
    return BW_DROP_NONE;
}

/* What TCP and ICMP have in common: the checksum, by the device's word or by our own count. */
static bool sum_is_right(uint64_t pseudo, const uint8_t *segment, size_t bytes, uint32_t flags) {
    if (flags & BW_FRAME_L4_SUM_BAD) return false;
    return (flags & BW_FRAME_L4_SUM_GOOD) || bw_inet_fold(pseudo + bw_inet_sum(segment, bytes)) == 0xffff;
}

static enum bw_drop check_tcp(uint8_t *tcp, size_t bytes, uint64_t pseudo, uint32_t frame_flags,
                              bw_packet *out) {
    if (bytes < TCP_BYTES) return BW_DROP_tcp_bad;
    unsigned header = (tcp[12] >> 4) * 4u, flags = tcp[13];
    if (header < TCP_BYTES || header > bytes || !bw_be16(tcp) || !bw_be16(tcp + 2)) return BW_DROP_tcp_bad;
    if (!sum_is_right(pseudo, tcp, bytes, frame_flags)) return BW_DROP_tcp_checksum;
    if (!(flags & (SYN | RST | ACK)) || ((flags & SYN) && (flags & (FIN | RST)))) return BW_DROP_tcp_flags;
    if ((flags & (SYN | ACK)) == SYN) return BW_DROP_tcp_syn_unasked;
    out->kind = BW_PACKET_TCP;
    out->payload = (uint16_t)(out->transport + header);
    return check_tcp_options(tcp + TCP_BYTES, tcp + header, flags & SYN);
}

static enum bw_drop check_icmp(const uint8_t *icmp, bw_packet *out) {
    unsigned type = icmp[0], code = icmp[1];
    out->payload = (uint16_t)(out->transport + 8);
    if (type == 8 && code == 0) {
        out->kind = BW_PACKET_ECHO;
        return BW_DROP_NONE;
    }
    if (type == 3 && code == 4) {
        out->kind = BW_PACKET_MTU;
        return BW_DROP_NONE;
    }
    if (type == 5) return BW_DROP_icmp_redirect;
    return type == 3 || type == 4 || type == 11 || type == 12 ? BW_DROP_icmp_error : BW_DROP_icmp_type;
}

/* RFC 4861 7.1: hop limit 255, code 0, no group as the target, options whole and of no zero length. The
 * stack takes the first option for the link-layer address: it must be that (1: source, 2: target). */
static enum bw_drop check_neighbour(const uint8_t *ip, const uint8_t *icmp, size_t bytes) {
    bool solicitation = icmp[0] == 135;
    if (ip[7] != 255 || icmp[1] != 0 || bytes < 24 || icmp[8] == 0xff) return BW_DROP_nd_bad;
    if (bytes >= 32 && (icmp[24] != (solicitation ? 1 : 2) || icmp[25] != 1)) return BW_DROP_nd_bad;
    for (size_t at = 24; at < bytes;) {
        if (bytes - at < 8 || icmp[at + 1] == 0 || icmp[at + 1] * 8u > bytes - at) return BW_DROP_nd_bad;
        at += icmp[at + 1] * 8u;
    }
    return BW_DROP_NONE;
}

static enum bw_drop check_icmp6(const uint8_t *ip, const uint8_t *icmp, size_t bytes, bool group, bool hopped,
                                bw_packet *out) {
    unsigned type = icmp[0];
    out->payload = (uint16_t)(out->transport + 8);
    if (type == 130) { /* RFC 3810 5.1: always behind a hop-by-hop header */
        out->kind = BW_PACKET_LISTENER;
        return hopped && bytes >= 24 ? BW_DROP_NONE : BW_DROP_icmp_bad;
    }
    if (hopped) return BW_DROP_ip_options;
    if (type == 135 || type == 136) {
        out->kind = BW_PACKET_NEIGHBOUR;
        return check_neighbour(ip, icmp, bytes);
    }
    if (type == 133 || type == 134) return BW_DROP_nd_router;
    if (type == 137) return BW_DROP_icmp_redirect;
    if (group) return BW_DROP_icmp_type;
    if (type == 128 && icmp[1] == 0) {
        out->kind = BW_PACKET_ECHO;
        return BW_DROP_NONE;
    }
    if (type == 2) {
        out->kind = BW_PACKET_MTU;
        return BW_DROP_NONE;
    }
    return type < 128 ? BW_DROP_icmp_error : BW_DROP_icmp_type;
}

/* RFC 791 3.1, RFC 1122 3.2.1; sources: RFC 1122 3.2.1.3, and never ourselves (the LAND attack). */
static enum bw_drop check_four(const bw_identity *identity, uint8_t *ip, size_t room, uint32_t flags,
                               bw_packet *out) {
    if (room < FOUR_BYTES || ip[0] >> 4 != 4) return BW_DROP_ip_bad;
    unsigned header = (ip[0] & 15) * 4u, bytes = bw_be16(ip + 2);
    if (header < FOUR_BYTES || bytes < header || bytes > room) return BW_DROP_ip_bad;
    if (flags & BW_FRAME_IP_SUM_BAD) return BW_DROP_ip_checksum;
    if (!(flags & BW_FRAME_IP_SUM_GOOD) && bw_inet_fold(bw_inet_sum(ip, header)) != 0xffff) {
        return BW_DROP_ip_checksum;
    }
    if (header > FOUR_BYTES) return BW_DROP_ip_options;
    if (bw_be16(ip + 6) & 0x3fff) return BW_DROP_ip_fragment;
    if (ip[12] == 0 || ip[12] == 127 || ip[12] >= 224 || four_is_ours(identity, ip + 12))
        return BW_DROP_ip_source;
    if (!four_is_ours(identity, ip + 16)) return BW_DROP_ip_not_ours;
    unsigned protocol = ip[9], inner = bytes - header;
    uint8_t *segment = ip + header;
    out->transport = (uint16_t)(out->network + header);
    out->end = (uint16_t)(out->network + bytes);
    if (protocol == PROTOCOL_TCP) {
        return check_tcp(segment, inner, bw_inet_pseudo(ip + 12, 8, PROTOCOL_TCP, inner), flags, out);
    }
    if (protocol != PROTOCOL_ICMP) return BW_DROP_ip_protocol;
    if (inner < 8) return BW_DROP_icmp_bad;
    /* devices speak of TCP's and UDP's sums */
    return sum_is_right(0, segment, inner, 0) ? check_icmp(segment, out) : BW_DROP_icmp_checksum;
}

/* RFC 4291 2.5.2, 2.5.3 and 2.5.5.2: nobody (but in a solicitation that looks for duplicates), the loopback,
 * and mapped IPv4 addresses come over no wire. */
static bool six_source_is_none(const uint8_t *address, bool solicitation) {
    static const uint8_t zeros[10], mapped[2] = {0xff, 0xff};
    if (memcmp(address, zeros, sizeof zeros) != 0) return false;
    if (memcmp(address + 10, mapped, sizeof mapped) == 0) return true;
    return memcmp(address + 10, zeros, 5) == 0 && (address[15] == 1 || (!address[15] && !solicitation));
}

/* RFC 8200 3; of extension headers only an 8-byte hop-by-hop before a listener query. */
static enum bw_drop check_six(const bw_identity *identity, uint8_t *ip, size_t room, uint32_t flags,
                              bw_packet *out) {
    bool group, source_group;
    if (room < SIX_BYTES || ip[0] >> 4 != 6) return BW_DROP_ip_bad;
    unsigned bytes = bw_be16(ip + 4), protocol = ip[6], header = SIX_BYTES;
    if (bytes > room - SIX_BYTES) return BW_DROP_ip_bad;
    if (ip[8] == 0xff || six_is_ours(identity, ip + 8, &source_group)) return BW_DROP_ip_source;
    if (!six_is_ours(identity, ip + 24, &group)) return BW_DROP_ip_not_ours;
    if (protocol == PROTOCOL_FRAGMENT) return BW_DROP_ip_fragment;
    bool hopped = protocol == PROTOCOL_HOP_BY_HOP && bytes >= 8 && ip[SIX_BYTES + 1] == 0;
    if (hopped) {
        protocol = ip[SIX_BYTES];
        header += 8;
    }
    unsigned inner = bytes - (header - SIX_BYTES);
    uint8_t *segment = ip + header;
    bool solicitation = protocol == PROTOCOL_ICMP6 && inner >= 8 && segment[0] == 135;
    if (six_source_is_none(ip + 8, solicitation)) return BW_DROP_ip_source;
    uint64_t pseudo = bw_inet_pseudo(ip + 8, 32, (uint8_t)protocol, inner);
    out->six = true;
    out->transport = (uint16_t)(out->network + header);
    out->end = (uint16_t)(out->network + SIX_BYTES + bytes);
    if (protocol == PROTOCOL_TCP && !hopped) {
        return group ? BW_DROP_ip_not_ours : check_tcp(segment, inner, pseudo, flags, out);
    }
    if (protocol != PROTOCOL_ICMP6)
        return hopped || protocol == PROTOCOL_HOP_BY_HOP || protocol == 43 || protocol == 60 || protocol == 51
                   ? BW_DROP_ip_options
                   : BW_DROP_ip_protocol;
    if (inner < 8) return BW_DROP_icmp_bad;
    if (!sum_is_right(pseudo, segment, inner, 0)) return BW_DROP_icmp_checksum;
    return check_icmp6(ip, segment, inner, group, hopped, out);
}

enum bw_drop bw_packet_check(const bw_identity *identity, uint8_t *data, size_t bytes, uint32_t flags,
                             bw_packet *out) {
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    memset(out, 0, sizeof *out);
    if (bytes < ETHERNET) return BW_DROP_frame_short;
    if (flags & BW_FRAME_SEGMENTED || bytes > BW_FRAME_BYTES_MAX) return BW_DROP_frame_segmented;
    unsigned type = bw_be16(data + 12);
    bool ours = memcmp(data, identity->mac, 6) == 0;
    bool all = !ours && memcmp(data, broadcast, 6) == 0;
    bool group = !ours && data[0] == 0x33 && data[1] == 0x33; /* RFC 2464 7 */
    if (data[6] & 1) return BW_DROP_frame_source;
    if (!ours && !(all && type == TYPE_ARP) && !(group && type == TYPE_SIX)) return BW_DROP_frame_not_ours;
    out->network = ETHERNET;
    switch (type) {
    case TYPE_ARP: return check_arp(identity, data + ETHERNET, bytes - ETHERNET, out);
    case TYPE_FOUR: return check_four(identity, data + ETHERNET, bytes - ETHERNET, flags, out);
    case TYPE_SIX: return check_six(identity, data + ETHERNET, bytes - ETHERNET, flags, out);
    default: return BW_DROP_frame_type;
    }
}
