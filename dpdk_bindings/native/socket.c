/* The kernel's TCP as a transport. The receive stamp is taken when recv() has returned: with
 * SO_TIMESTAMPNS every read would be a recvmsg() with control data, and a
 * TCP stream has only one stamp per read anyway, that of the last segment. */
#include "transport.h"

#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#define USER_TIMEOUT_MS 20000 /* sent and not acknowledged for so long: the peer is gone */
#define KEEPALIVE_IDLE_S 15
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_PROBES 3

typedef struct socket_transport {
    bw_transport transport; /* first: the callers' view */
    int descriptor;
    bool connected;
} socket_transport;

static socket_transport *of(bw_transport *transport) {
    return (socket_transport *)transport;
}

static ssize_t socket_read(bw_transport *transport, void *out, size_t room, int64_t *receive_ns) {
    ssize_t bytes = recv(of(transport)->descriptor, out, room, MSG_DONTWAIT);
    *receive_ns = bw_wall_ns();
    if (bytes > 0) return bytes;
    if (bytes == 0) return room ? BW_TRANSPORT_EOF : 0;
    return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

static ssize_t socket_write(bw_transport *transport, const void *data, size_t bytes) {
    ssize_t sent = send(of(transport)->descriptor, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) return sent;
    return errno == EAGAIN || errno == EINTR || errno == ENOBUFS ? 0 : -errno;
}

static int socket_connected(bw_transport *transport) {
    socket_transport *self = of(transport);
    int error = 0;
    socklen_t bytes = sizeof error;
    struct sockaddr_storage peer;
    socklen_t peer_bytes = sizeof peer;
    if (self->connected) return 1;
    if (getsockopt(self->descriptor, SOL_SOCKET, SO_ERROR, &error, &bytes) < 0) return -errno;
    if (error) return -error;
    if (getpeername(self->descriptor, (struct sockaddr *)&peer, &peer_bytes) < 0) {
        return errno == ENOTCONN ? 0 : -errno;
    }
    self->connected = true;
    return 1;
}

static int socket_poll_fd(const bw_transport *transport) {
    return ((const socket_transport *)transport)->descriptor;
}

static void socket_close(bw_transport *transport) {
    close(of(transport)->descriptor);
    free(transport);
}

static const bw_transport_ops socket_ops = {
    .read = socket_read,
    .write = socket_write,
    .connected = socket_connected,
    .poll_fd = socket_poll_fd,
    .close = socket_close,
};

static void set(int descriptor, int level, int name, int value) {
    /* an option the kernel lacks or does not allow us costs speed or patience, not correctness */
    int result = setsockopt(descriptor, level, name, &value, sizeof value);
    (void)result;
}

static void set_options(int descriptor, uint32_t busy_poll_us) {
    set(descriptor, IPPROTO_TCP, TCP_NODELAY, 1);
    set(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
    set(descriptor, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set(descriptor, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES);
    if (busy_poll_us) set(descriptor, SOL_SOCKET, SO_BUSY_POLL, (int)busy_poll_us);
}

static bw_transport *transport_new(int descriptor, bool connected) {
    socket_transport *self = calloc(1, sizeof *self);
    if (!self) return NULL;
    self->transport.ops = &socket_ops;
    self->descriptor = descriptor;
    self->connected = connected;
    return &self->transport;
}

bw_transport *bw_socket_connect(const struct sockaddr *address, socklen_t address_bytes,
                                const struct sockaddr *source, socklen_t source_bytes, uint32_t busy_poll_us,
                                int *error) {
    int descriptor = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) {
        *error = errno;
        return NULL;
    }
    set_options(descriptor, busy_poll_us);
    if (source && bind(descriptor, source, source_bytes) < 0) goto failed;
    if (connect(descriptor, address, address_bytes) < 0 && errno != EINPROGRESS) goto failed;
    bw_transport *transport = transport_new(descriptor, false);
    if (transport) return transport;
    errno = ENOMEM;
failed:
    *error = errno;
    close(descriptor);
    return NULL;
}

bw_transport *bw_socket_adopt(int descriptor) {
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0 || fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0) return NULL;
    set_options(descriptor, 0);
    return transport_new(descriptor, true);
}
