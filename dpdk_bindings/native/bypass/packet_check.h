/* Every received frame passes here before the TCP/IP stack sees it: lengths, headers, options, checksums.
 *
 * Sans-I/O: bytes in, a verdict out. A frame that is accepted has headers that lie whole inside it,
 * options that are well formed, right checksums, one of our addresses as its destination, and a kind that
 * a client has use for. Each reason to drop has a name and a counter; RFC sections stand beside the rules
 * in packet_check.c.
 */
#ifndef BW_PACKET_CHECK_H
#define BW_PACKET_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* name, what it means for a person */
#define BW_DROPS(X) \
    X(frame_short, "shorter than an Ethernet header") \
    X(frame_segmented, "in several buffers, which no device of ours is asked for") \
    X(frame_not_ours, "another station's MAC address") \
    X(frame_source, "a group address as the source MAC") \
    X(frame_type, "neither ARP, IPv4 nor IPv6") \
    X(arp_bad, "malformed ARP") \
    X(arp_not_ours, "ARP about other stations") \
    X(arp_conflict, "another station claims our IP address") \
    X(arp_unasked, "an ARP answer that nobody asked for") \
    X(ip_bad, "IP header that contradicts itself or the frame's length") \
    X(ip_checksum, "wrong IPv4 header checksum") \
    X(ip_options, "IPv4 options or IPv6 extension headers") \
    X(ip_fragment, "a fragment: we take none") \
    X(ip_source, "a source address that cannot be one") \
    X(ip_not_ours, "another host's IP address") \
    X(ip_protocol, "neither TCP nor ICMP") \
    X(icmp_bad, "malformed ICMP") \
    X(icmp_checksum, "wrong ICMP checksum") \
    X(icmp_type, "an ICMP message we have no use for") \
    X(icmp_error, "an ICMP error: TCP's own timers decide (RFC 5927)") \
    X(icmp_redirect, "an ICMP redirect: routes are configured") \
    X(icmp_limit, "more pings than we answer") \
    X(icmp_mtu_unproven, "a path MTU message that quotes nothing we have in flight") \
    X(nd_bad, "malformed neighbour discovery") \
    X(nd_router, "router discovery: routes are configured") \
    X(nd_unasked, "a neighbour advertisement that nobody asked for") \
    X(tcp_bad, "TCP header that contradicts itself or the packet's length") \
    X(tcp_checksum, "wrong TCP checksum") \
    X(tcp_options, "malformed TCP options") \
    X(tcp_flags, "TCP flags that exclude each other") \
    X(tcp_mss, "a maximum segment size below 48") \
    X(tcp_syn_unasked, "a connection attempt: we are a client only") \
    X(tcp_unknown, "a segment of no connection") \
    X(tcp_old_timestamp, "an old duplicate by its timestamp (RFC 7323 5)") \
    X(tcp_bad_ack, "acknowledges what was never or long ago sent (RFC 5961 5)") \
    X(tcp_bad_reset, "a reset that is not exactly at the next byte (RFC 5961 3)") \
    X(tcp_bad_syn, "a SYN inside a connection (RFC 5961 4)") \
    X(tcp_duplicate, "came already, or waits for what comes before it (reported, RFC 2883)") \
    X(tcp_pieces, "more pieces out of order than a window has segments") \
    X(tcp_limit, "more empty segments outside of the window than we answer (RFC 5961 7)")

enum bw_drop {
    BW_DROP_NONE,
#define BW_DROP_ENUM(name, meaning) BW_DROP_##name,
    BW_DROPS(BW_DROP_ENUM)
#undef BW_DROP_ENUM
        BW_DROP_COUNT
};

#define BW_LOCAL_ADDRESSES_MAX 8u
#define BW_TCP_MSS_MIN 48u

/* Who we are. */
typedef struct bw_identity {
    uint8_t mac[6];
    uint8_t four_count, six_count;
    uint32_t four[BW_LOCAL_ADDRESSES_MAX];   /* network byte order */
    uint8_t six[BW_LOCAL_ADDRESSES_MAX][16]; /* link-local included */
} bw_identity;

enum bw_packet_kind {
    BW_PACKET_ARP,
    BW_PACKET_TCP,
    BW_PACKET_ECHO,      /* request */
    BW_PACKET_MTU,       /* fragmentation needed (RFC 1191), packet too big (RFC 8201) */
    BW_PACKET_NEIGHBOUR, /* solicitation or advertisement */
    BW_PACKET_LISTENER,  /* multicast listener query */
};

typedef struct bw_packet {
    enum bw_packet_kind kind;
    bool six;
    uint16_t network;     /* where the ARP or IP header begins, */
    uint16_t transport;   /* the TCP or ICMP header, */
    uint16_t payload;     /* what follows it, */
    uint16_t end;         /* and where the packet ends: padding is cut */
} bw_packet;

/* BW_DROP_NONE and *out, or the reason. `flags`: enum bw_frame_flag. Options that belong into a SYN only
 * are blanked in other segments (RFC 9293 3.7.1), so is a maximum segment size of 0: the writes to `data`. */
enum bw_drop bw_packet_check(const bw_identity *identity, uint8_t *data, size_t bytes, uint32_t flags,
                             bw_packet *out);
const char *bw_drop_name(enum bw_drop drop);    /* NULL beyond the last */
const char *bw_drop_meaning(enum bw_drop drop);

static inline uint16_t bw_be16(const uint8_t *at) {
    return (uint16_t)(at[0] << 8 | at[1]);
}
static inline uint32_t bw_be32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

#endif
