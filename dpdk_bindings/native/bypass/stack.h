/* TCP/IP in user space: lwIP behind our own checks, above any device that moves Ethernet frames.
 *
 * One stack per process (lwIP keeps its state in globals), one thread, no locks, no clock of its own: every
 * turn is told the time. It makes transports for the loop, answers ARP, neighbour discovery and pings, and
 * drops everything else, counted by reason. It never listens.
 */
#ifndef BW_STACK_H
#define BW_STACK_H

#include "frame.h"
#include "packet_check.h"
#include "transport.h"

#define BW_STACK_ROUTES_MAX 64u
#define BW_STACK_NEIGHBOURS_MAX 64u
#define BW_STACK_CONNECTIONS_MAX 64u /* as many as a loop has */

typedef struct bw_stack_address {
    uint8_t address[16]; /* IPv4: the first 4 */
    uint8_t six;
    uint8_t prefix;
} bw_stack_address;

typedef struct bw_stack_route {
    uint8_t destination[16];
    uint8_t gateway[16]; /* all zero: on the link */
    uint8_t six;
    uint8_t prefix;
} bw_stack_route;

typedef struct bw_stack_neighbour {
    uint8_t address[16];
    uint8_t six;
    uint8_t mac[6];
} bw_stack_neighbour;

typedef struct bw_stack_spec {
    uint8_t mac[6];
    uint16_t mtu;
    uint32_t address_count, route_count, neighbour_count;
    bw_stack_address address[BW_LOCAL_ADDRESSES_MAX];
    bw_stack_route route[BW_STACK_ROUTES_MAX]; /* the longest prefix wins, then the first */
    bw_stack_neighbour
        neighbour[BW_STACK_NEIGHBOURS_MAX]; /* IPv4; known at the start, refreshed as any other */
    uint64_t secret[2];                     /* random; keys sequence numbers, ports and timestamps */
} bw_stack_spec;

/* Counters; only grow, except where it says now. */
typedef struct bw_stack_counters {
    uint64_t frames;   /* received */
    uint64_t segments; /* of TCP, that passed the checks */
    uint64_t bytes;    /* handed to connections */
    uint64_t frames_sent;
    uint64_t acks_merged; /* not sent: a later one of the same burst said it too */
    uint64_t send_no_buffer; /* the device had no room */
    uint64_t retransmits;    /* segments of ours with data, sent again */
    uint64_t resets_sent;
    uint64_t resets_limited; /* not sent: too many in a second */
    uint64_t challenges;     /* acknowledgements sent by RFC 5961 */
    uint64_t questions;      /* a neighbour asked for, or probed, anew because of a doubt */
    uint64_t answers;        /* to our questions who has an address (ARP, neighbour discovery) */
    uint64_t path_mtu_lowered;
    uint64_t no_memory;   /* lwIP's pools were empty */
    uint64_t stack_drops; /* inside lwIP, of all its layers */
    uint64_t link_downs;
    uint64_t waiting_bytes; /* now: received, not read */
    uint64_t connections;   /* now: open or closing, without TIME-WAIT */
    uint64_t time_waits;    /* now */
    uint64_t link_up;       /* now */
    uint64_t drop[BW_DROP_COUNT];
} bw_stack_counters;

typedef struct bw_stack bw_stack;

/* NULL with the reason in error; a second stack in a process is refused. The device outlives it. */
bw_stack *bw_stack_new(const bw_stack_spec *spec, bw_device *device, int64_t steady_ns, char *error,
                       uint32_t error_bytes);
/* Aborts what is open; transports that were not closed are dead and must still be closed before. */
void bw_stack_free(bw_stack *stack);

/* Receives up to a burst and runs the timers. Returns the frames received. */
uint32_t bw_stack_turn(bw_stack *stack, int64_t steady_ns);
void bw_stack_flush(bw_stack *stack);
/* Before a down link is up again nothing is sent; connections live on. */
void bw_stack_set_link(bw_stack *stack, bool up);
/* Replaces all routes. -EINVAL if there are too many. */
int bw_stack_set_routes(bw_stack *stack, const bw_stack_route *routes, uint32_t count);

/* As bw_socket_connect(). The source's port is ours to choose where it is 0. */
bw_transport *bw_stack_connect(bw_stack *stack, const struct sockaddr *address, const struct sockaddr *source,
                               int *error);
void bw_stack_read_counters(const bw_stack *stack, bw_stack_counters *out);

#endif
