/* One byte stream, two makers: kernel sockets here, DPDK and a user-space TCP later.
 *
 * A transport is non-blocking. The loop asks bw_transport_read()/write() and gets bytes, 0 for "not
 * now", or a negative errno-like code for the end. Nobody above knows which kind it is.
 */
#ifndef BW_TRANSPORT_H
#define BW_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#define BW_TRANSPORT_EOF (-4096) /* orderly end of stream; other negatives are -errno */

typedef struct bw_transport bw_transport;
typedef struct bw_transport_ops {
    /* > 0 bytes, 0 not now, < 0 ended. *receive_ns: when the kernel or NIC had them, 0 if unknown. */
    ssize_t (*read)(bw_transport *transport, void *out, size_t room, int64_t *receive_ns);
    ssize_t (*write)(bw_transport *transport, const void *data, size_t bytes);
    /* 1 connected, 0 still connecting, < 0 -errno. */
    int (*connected)(bw_transport *transport);
    int (*poll_fd)(const bw_transport *transport); /* for epoll, or -1: must be polled */
    void (*close)(bw_transport *transport);
} bw_transport_ops;
struct bw_transport {
    const bw_transport_ops *ops;
};

/* Starts a non-blocking kernel connect. `source` NULL: the kernel chooses. `busy_poll_us` > 0 asks for
 * SO_BUSY_POLL where allowed. NULL with an errno in *error. */
bw_transport *bw_socket_connect(const struct sockaddr *address, socklen_t address_bytes,
                                const struct sockaddr *source, socklen_t source_bytes, uint32_t busy_poll_us,
                                int *error);
/* Takes over an accepted descriptor (made non-blocking, closed by ops->close). NULL: it is still the
 * caller's. */
bw_transport *bw_socket_adopt(int descriptor);

#endif
