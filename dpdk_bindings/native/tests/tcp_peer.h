/* A TCP server of its own for tests of the stack: small, slow, written from RFC 9293, sharing nothing with lwIP.
 *
 * It accepts one connection at a time on one port, sends `to_send` seeded bytes, keeps what it receives, and
 * closes when both sides did. Cumulative acknowledgements only; after three duplicates or a timeout it sends
 * again from the first unacknowledged byte. Frames in, frames out, the time as an argument.
 */
#ifndef BW_TEST_TCP_PEER_H
#define BW_TEST_TCP_PEER_H

#include "frames.h"

typedef struct tcp_peer {
    frame_path path; /* from the peer to us; to_port is the client's once one came */
    uint64_t seed;
    const uint8_t *source;     /* what it sends instead of seeded bytes, if not NULL */
    uint32_t step;             /* payload of a segment; 0: as large as the MSS allows */
    uint64_t to_send;          /* bytes, then FIN if `closes` */
    bool closes, echoes, mute; /* mute: takes no notice of anything */
    bool sack;                 /* offers it; takes no notice of blocks */
    uint32_t window;           /* announced */
    uint16_t mss;              /* announced */
    uint32_t flight;           /* bytes it has out at most */
    int64_t rto_ns;
    /* state */
    bool open, done; /* done: ended both ways; what comes late is still acknowledged */
    bool fin_received, fin_sent, acknowledge, synack;
    uint32_t iss, una, next, highest, receive_next; /* sequence numbers */
    uint64_t acknowledged;                          /* bytes of ours the client has */
    uint32_t client_window, client_mss;
    unsigned scale, duplicates;
    bool stamps;
    uint32_t stamp_recent;
    int64_t sent_ns;
    uint64_t received; /* bytes, in order */
    uint8_t *kept;     /* of what was received, if not NULL: kept_room bytes */
    size_t kept_room;
    uint32_t connections, resets;
    uint8_t reply[128]; /* ARP or neighbour advertisement waiting to be sent */
    size_t reply_bytes;
} tcp_peer;

void tcp_peer_input(tcp_peer *peer, const uint8_t *frame, size_t bytes, int64_t now_ns);
/* The next frame it wants to send now; 0: none. */
size_t tcp_peer_output(tcp_peer *peer, int64_t now_ns, uint8_t *out);
/* Byte `at` and following of the stream of a seed. */
void seeded_bytes(uint64_t seed, uint64_t at, void *out, size_t bytes);

#endif
