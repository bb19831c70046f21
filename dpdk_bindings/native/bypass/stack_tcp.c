/* Streams over lwIP's raw TCP: the transport face of transport.h. */
#include "stack_parts.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include <lwip/priv/tcp_priv.h>

#define MS INT64_C(1000000)
#define USER_TIMEOUT_NS (20000 * MS) /* sent and not acknowledged for so long: the peer is gone */
#define KEEPALIVE_IDLE_MS 15000u
#define KEEPALIVE_INTERVAL_MS 5000u
#define KEEPALIVE_PROBES 3u
#define RTO_TICKS_MIN (200 / TCP_SLOW_INTERVAL) /* as Linux: below it a peer's delayed ACK counts as a loss */
#define SYN_RTO_TICKS (LWIP_TCP_RTO_TIME / TCP_SLOW_INTERVAL) /* RFC 6298 2.1; 5.5: lwIP never doubles it */
#define DOUBT_RETRANSMITS 2
#define PORT_FIRST 32768u
#define PORT_COUNT 28232u
#define PORT_TRIES 64

static bw_stream *of(bw_transport *transport) {
    return (bw_stream *)transport;
}

static void drop_received(bw_stream *stream) {
    while (stream->head) {
        struct pbuf *p = stream->head;
        stream->head = p->next;
        p->next = NULL;
        p->tot_len = p->len;
        pbuf_free(p);
    }
    stream->tail = NULL;
    stream->offset = 0;
}

static err_t on_receive(void *argument, struct tcp_pcb *pcb, struct pbuf *p, err_t error) {
    bw_stream *stream = argument;
    (void)pcb;
    (void)error;
    if (!p) {
        stream->ended = true;
        return ERR_OK;
    }
    if (stream->tail) {
        stream->tail->next = p;
    } else {
        stream->head = p;
    }
    for (stream->tail = p; stream->tail->next; stream->tail = stream->tail->next) {}
    return ERR_OK;
}

static err_t on_sent(void *argument, struct tcp_pcb *pcb, u16_t bytes) {
    bw_stream *stream = argument;
    (void)pcb;
    (void)bytes;
    stream->progress_ns = stream->stack->now_ns;
    return ERR_OK;
}

static err_t on_connected(void *argument, struct tcp_pcb *pcb, err_t error) {
    bw_stream *stream = argument;
    (void)pcb;
    (void)error;
    stream->connected = true;
    return ERR_OK;
}

/* lwIP has freed the pcb. */
static void on_error(void *argument, err_t error) {
    bw_stream *stream = argument;
    stream->pcb = NULL;
    switch (error) {
    case ERR_RST: stream->error = stream->connected ? -ECONNRESET : -ECONNREFUSED; break;
    case ERR_CLSD: stream->ended = true; break;
    case ERR_MEM: stream->error = -ENOMEM; break;
    default: stream->error = -ETIMEDOUT;
    }
}

static ssize_t stream_read(bw_transport *transport, void *out, size_t room, int64_t *receive_ns) {
    bw_stream *stream = of(transport);
    size_t done = 0;
    *receive_ns = 0;
    while (stream->head && done < room) {
        struct pbuf *p = stream->head;
        size_t piece = p->len - stream->offset;
        if (piece > room - done) piece = room - done;
        memcpy((uint8_t *)out + done, (uint8_t *)p->payload + stream->offset, piece);
        *receive_ns = ((bw_held *)p)->receive_ns;
        done += piece;
        stream->offset += (uint32_t)piece;
        if (stream->offset < p->len) break;
        stream->offset = 0;
        stream->head = p->next;
        if (!stream->head) stream->tail = NULL;
        p->next = NULL;
        p->tot_len = p->len;
        pbuf_free(p);
    }
    if (!done)
        return stream->head || !room ? 0
               : stream->error       ? stream->error
               : stream->ended       ? BW_TRANSPORT_EOF
                                     : 0;
    stream->stack->counters.bytes += done;
    for (size_t left = done; left && stream->pcb;) {
        u16_t step = (u16_t)(left > 0xffff ? 0xffff : left);
        tcp_recved(stream->pcb, step);
        left -= step;
    }
    return (ssize_t)done;
}

static ssize_t stream_write(bw_transport *transport, const void *data, size_t bytes) {
    bw_stream *stream = of(transport);
    struct tcp_pcb *pcb = stream->pcb;
    if (!pcb) return stream->error ? stream->error : -EPIPE;
    if (!stream->connected) return 0;
    size_t room = tcp_sndbuf(pcb);
    if (bytes > room) bytes = room;
    if (bytes > 0xffff) bytes = 0xffff;
    if (!bytes) return 0;
    if (!pcb->unacked && !pcb->unsent) stream->progress_ns = stream->stack->now_ns;
    err_t error = tcp_write(pcb, data, (u16_t)bytes, TCP_WRITE_FLAG_COPY);
    if (error == ERR_MEM) return 0; /* queue full: later */
    if (error != ERR_OK) return -EPIPE;
    tcp_output(pcb);
    return (ssize_t)bytes;
}

static int stream_connected(bw_transport *transport) {
    bw_stream *stream = of(transport);
    return stream->error ? stream->error : stream->connected;
}

static int stream_poll_fd(const bw_transport *transport) {
    (void)transport;
    return -1;
}

static void forget(struct tcp_pcb *pcb) {
    tcp_arg(pcb, NULL);
    tcp_recv(pcb, NULL);
    tcp_sent(pcb, NULL);
    tcp_err(pcb, NULL);
}

/* Unread bytes make it a reset, as with a kernel socket; what was written is still sent. */
static void stream_close(bw_transport *transport) {
    bw_stream *stream = of(transport);
    struct tcp_pcb *pcb = stream->pcb;
    if (pcb) {
        forget(pcb);
        if (tcp_close(pcb) != ERR_OK) tcp_abort(pcb);
    }
    drop_received(stream);
    memset(stream, 0, sizeof *stream);
}

void bw_stream_abort(bw_stream *stream) {
    if (!stream->used) return;
    if (stream->pcb) {
        forget(stream->pcb);
        tcp_abort(stream->pcb);
    }
    stream->pcb = NULL;
    stream->error = -ECONNABORTED;
    drop_received(stream);
}

static const bw_transport_ops stream_ops = {
    .read = stream_read,
    .write = stream_write,
    .connected = stream_connected,
    .poll_fd = stream_poll_fd,
    .close = stream_close,
};

static u16_t from_socket_address(const struct sockaddr *address, ip_addr_t *out) {
    memset(out, 0, sizeof *out);
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 six;
        memcpy(&six, address, sizeof six);
        IP_SET_TYPE_VAL(*out, IPADDR_TYPE_V6);
        memcpy(ip_2_ip6(out)->addr, &six.sin6_addr, 16);
        return lwip_ntohs(six.sin6_port);
    }
    struct sockaddr_in four;
    memcpy(&four, address, sizeof four);
    memcpy(&ip_2_ip4(out)->addr, &four.sin_addr, 4);
    return lwip_ntohs(four.sin_port);
}

static bool is_ours(const bw_stack *stack, const ip_addr_t *address) {
    if (!IP_IS_V6(address)) {
        return stack->identity.four_count && stack->identity.four[0] == ip_2_ip4(address)->addr;
    }
    for (unsigned i = 0; i < stack->identity.six_count; i++) {
        if (memcmp(stack->identity.six[i], ip_2_ip6(address)->addr, 16) == 0) return true;
    }
    return false;
}

/* RFC 6056 3.3.1: any free port, unpredictably. 0 or an errno. */
static int bind_port(struct tcp_pcb *pcb, const ip_addr_t *source, u16_t port) {
    if (port) return tcp_bind(pcb, source, port) == ERR_OK ? 0 : EADDRINUSE;
    for (int tries = 0; tries < PORT_TRIES; tries++) {
        port = (u16_t)(PORT_FIRST + bw_lwip_random() % PORT_COUNT);
        if (tcp_bind(pcb, source, port) == ERR_OK) return 0;
    }
    return EADDRNOTAVAIL;
}

static int start(bw_stream *stream, const ip_addr_t *remote, u16_t port, const ip_addr_t *source,
                 u16_t source_port) {
    const ip_addr_t *any = IP_IS_V6(remote) ? IP6_ADDR_ANY : IP4_ADDR_ANY;
    struct tcp_pcb *pcb = tcp_new_ip_type(IP_GET_TYPE(remote));
    if (!pcb) return ENOMEM;
    int error = bind_port(pcb, source ? source : any, source_port);
    tcp_arg(pcb, stream);
    tcp_recv(pcb, on_receive);
    tcp_sent(pcb, on_sent);
    tcp_err(pcb, on_error);
    tcp_nagle_disable(pcb);
    ip_set_option(pcb, SOF_KEEPALIVE);
    pcb->keep_idle = KEEPALIVE_IDLE_MS;
    pcb->keep_intvl = KEEPALIVE_INTERVAL_MS;
    pcb->keep_cnt = KEEPALIVE_PROBES;
    stream->pcb = pcb;
    if (!error) {
        err_t result = tcp_connect(pcb, remote, port, on_connected);
        error = result == ERR_OK    ? 0
                : result == ERR_RTE ? ENETUNREACH
                : result == ERR_MEM ? ENOMEM
                                    : EADDRNOTAVAIL;
    }
    if (!error) return 0;
    forget(pcb);
    tcp_abort(pcb);
    return error;
}

bw_transport *bw_stack_connect(bw_stack *stack, const struct sockaddr *address, const struct sockaddr *source,
                               int *error) {
    ip_addr_t remote, local;
    u16_t port = from_socket_address(address, &remote);
    u16_t source_port = source ? from_socket_address(source, &local) : 0;
    bw_stream *stream = stack->stream;
    while (stream < stack->stream + BW_STACK_CONNECTIONS_MAX && stream->used) stream++;
    bool six = IP_IS_V6(&remote);
    *error = 0;
    if (stream == stack->stream + BW_STACK_CONNECTIONS_MAX) {
        *error = EMFILE;
    } else if (!six && !stack->identity.four_count) {
        *error = EAFNOSUPPORT;
    } else if (source && (IP_IS_V6(&local) != six || !is_ours(stack, &local))) {
        *error = EADDRNOTAVAIL;
    } else if (six ? !bw_lwip_gateway6(&stack->netif, ip_2_ip6(&remote))
                   : !bw_lwip_gateway4(&stack->netif, ip_2_ip4(&remote))) {
        *error = ENETUNREACH;
    }
    if (*error) return NULL;
    memset(stream, 0, sizeof *stream);
    stream->transport.ops = &stream_ops;
    stream->stack = stack;
    stream->used = true;
    stream->progress_ns = stack->now_ns;
    *error = start(stream, &remote, port, source ? &local : NULL, source_port);
    if (!*error) return &stream->transport;
    memset(stream, 0, sizeof *stream);
    return NULL;
}

void bw_stack_tend(bw_stack *stack) {
    for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next) {
        int estimate = (pcb->sa >> 3) + pcb->sv;
        if (estimate < RTO_TICKS_MIN) pcb->sv = (s16_t)(RTO_TICKS_MIN - (pcb->sa >> 3));
        if (pcb->rto < RTO_TICKS_MIN) pcb->rto = RTO_TICKS_MIN;
        if (pcb->state == SYN_SENT) pcb->rto = (s16_t)(SYN_RTO_TICKS << pcb->nrtx);
        if (pcb->nrtx >= DOUBT_RETRANSMITS) bw_stack_doubt(stack, &pcb->remote_ip);
    }
    for (bw_stream *stream = stack->stream; stream < stack->stream + BW_STACK_CONNECTIONS_MAX; stream++) {
        struct tcp_pcb *pcb = stream->pcb;
        if (!pcb || !stream->connected || (!pcb->unacked && !pcb->unsent)) continue;
        if (stack->now_ns - stream->progress_ns > USER_TIMEOUT_NS) tcp_abort(pcb); /* on_error() tells */
    }
}
