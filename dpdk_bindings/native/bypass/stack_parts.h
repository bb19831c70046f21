/* What stack.c (frames, routes, timers), stack_setup.c, stack_segment.c (each segment), stack_ack.c and
 * stack_tcp.c (streams) share. */
#ifndef BW_STACK_PARTS_H
#define BW_STACK_PARTS_H

#include "neighbours.h"
#include "stack.h"

#include <lwip/netif.h>
#include <lwip/tcp.h>
#include "lwip_hooks.h"

#define BW_ACK_BYTES_MAX 114u /* Ethernet, IPv6, TCP with all options */
#define BW_LIMITED_A_SECOND 100u /* resets, challenges, pings and probes, each */

/* So many events a second, by the time that is told. */
typedef struct bw_limit {
    int64_t window_ns;
    uint32_t used;
} bw_limit;

/* In the private area of each received buffer while lwIP or a stream holds it. */
typedef struct bw_held {
    struct pbuf_custom custom; /* first: what lwIP sees */
    int64_t receive_ns;
} bw_held;
_Static_assert(sizeof(bw_held) <= BW_FRAME_PRIVATE_BYTES, "a device's buffers have no room for it");

/* The last acknowledgement of a burst, without data: held until another has to go out, or the burst ends. */
typedef struct bw_ack {
    uint8_t frame[BW_ACK_BYTES_MAX];
    u16_t bytes; /* 0: none is held; the rest is then of the one before */
    u16_t tcp;   /* where its header begins */
    uint32_t duplicates; /* so many in a row acknowledged the same */
} bw_ack;

typedef struct bw_stream {
    bw_transport transport; /* first: the callers' view */
    bw_stack *stack;
    struct tcp_pcb *pcb; /* NULL: over */
    int error;           /* -errno once it ended by force */
    bool connected, ended;
    bool used;
    struct pbuf *head, *tail; /* received, linked by ->next without regard to tot_len */
    uint32_t offset;          /* read already of head */
    int64_t progress_ns;      /* the peer acknowledged something, or nothing was waiting */
} bw_stream;

struct bw_stack {
    bw_device *device;
    struct netif netif;
    bw_identity identity;
    bw_asked asked;
    bw_stack_route route[BW_STACK_ROUTES_MAX];
    uint32_t route_count;
    ip4_addr_t gateway4[BW_STACK_ROUTES_MAX]; /* the routes' gateways as lwIP wants them */
    ip6_addr_t gateway6[BW_STACK_ROUTES_MAX];
    uint64_t secret[2];
    uint64_t random_count;
    uint32_t clock_offset;
    int64_t now_ns, timers_ns, start_ns, asked_again_ns;
    bw_limit resets, challenges, pings, probes;
    bool in_use;
    bool in_burst; /* frames of one burst are being received */
    bw_ack ack;
    bool segment_matched; /* the segment lwIP has just had belongs to a connection */
    bw_stack_counters counters;
    bw_stream stream[BW_STACK_CONNECTIONS_MAX];
};

extern bw_stack bw_the_stack;

bool bw_limit_take(bw_limit *limit, int64_t now_ns);
static inline void bw_stack_drop(enum bw_drop reason) {
    bw_the_stack.counters.drop[reason]++;
}
/* As lwIP's linkoutput: resets are counted and limited before they cost a buffer. */
err_t bw_stack_output(struct netif *netif, struct pbuf *p);
/* Counted as sent, or as without a buffer. */
bool bw_stack_send(bw_stack *stack, const uint8_t *frame, size_t bytes);
/* Within a burst: keeps a frame that is an acknowledgement and nothing else; false: it is not. */
bool bw_ack_hold(bw_stack *stack, const uint8_t *frame, size_t bytes, const uint8_t *tcp);
/* Sends what is held. */
void bw_ack_release(bw_stack *stack);
/* Asks for the MAC address of the next hop to `remote` anew, at most once a second; IPv6: probes it first. */
void bw_stack_doubt(bw_stack *stack, const ip_addr_t *remote);
/* Frees what a stream holds and aborts its connection. */
void bw_stream_abort(bw_stream *stream);
/* Some times a second: floors of retransmission timers, streams that make no progress. */
void bw_stack_tend(bw_stack *stack);
/* A checked path MTU message. */
enum bw_drop bw_stack_path_mtu(bw_stack *stack, const uint8_t *frame, const bw_packet *packet);

#endif
