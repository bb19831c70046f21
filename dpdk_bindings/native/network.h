/* Where an exchange process's connections come from when it is not the kernel's sockets.
 *
 * A network belongs to one loop. It makes transports (transport.h) and is polled once a turn, before
 * the connections are: it moves frames, they read bytes. A loop without one uses bw_socket_connect().
 */
#ifndef BW_NETWORK_H
#define BW_NETWORK_H

#include "transport.h"

typedef struct bw_network bw_network;
typedef struct bw_network_ops {
    /* On the loop's thread, once, before all else. 0, or -errno with the reason and the way out in error. */
    int (*start)(bw_network *network, char *error, uint32_t error_bytes);
    /* As bw_socket_connect(). */
    bw_transport *(*connect)(bw_network *network, const struct sockaddr *address,
                             const struct sockaddr *source, int *error);
    /* Receives a burst and runs the timers. Returns the number of frames. */
    uint32_t (*poll)(bw_network *network);
    /* After the connections had their turn: hands over what they and the burst gave to send. */
    void (*flush)(bw_network *network);
    /* Bytes received that no connection has read yet. */
    uint64_t (*waiting)(const bw_network *network);
    /* On the loop's thread, after the last transport was closed. */
    void (*stop)(bw_network *network);
} bw_network_ops;
struct bw_network {
    const bw_network_ops *ops;
};

#endif
