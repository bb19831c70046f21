/* Frames in and out, neighbours, routes, timers, counters. */
#include "stack_parts.h"

#include "inet_sum.h"
#include "siphash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <lwip/etharp.h>
#include <lwip/ip.h>
#include <lwip/nd6.h>
#include <lwip/priv/nd6_priv.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/stats.h>
#include <lwip/timeouts.h>

#define MS INT64_C(1000000)
#define SECOND (1000 * MS)
#define ETHERNET 14u

void bw_lwip_failed(const char *what, const char *file, int line) {
    fprintf(stderr, "bookwire: TCP stack: %s (%s:%d)\n", what, file, line);
    abort();
}

uint16_t bw_lwip_sum(const void *data, int bytes) {
    return bw_inet_fold(bw_inet_sum(data, (size_t)bytes));
}

uint32_t bw_lwip_random(void) {
    uint64_t words[2] = {++bw_the_stack.random_count, 1};
    return (uint32_t)bw_siphash(bw_the_stack.secret, words, 2);
}

/* Milliseconds from a secret beginning: it goes out in timestamps (RFC 7323 7.1). */
u32_t sys_now(void) {
    bw_stack *stack = &bw_the_stack;
    return (u32_t)((stack->now_ns - stack->start_ns) / MS) + stack->clock_offset;
}

bool bw_limit_take(bw_limit *limit, int64_t now_ns) {
    if (now_ns - limit->window_ns >= SECOND) {
        limit->window_ns = now_ns;
        limit->used = 0;
    }
    return limit->used++ < BW_LIMITED_A_SECOND;
}

/* RFC 6528: a clock of 4 us and a keyed hash of the connection. */
u32_t bw_lwip_isn(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote, u16_t remote_port) {
    uint64_t words[5] = {0};
    memcpy(words, &local->u_addr, IP_IS_V6(local) ? 16 : 4);
    memcpy(words + 2, &remote->u_addr, IP_IS_V6(remote) ? 16 : 4);
    words[4] = (uint64_t)local_port << 16 | remote_port;
    return (u32_t)bw_siphash(bw_the_stack.secret, words, 5) + (u32_t)(bw_the_stack.now_ns / 4000);
}

static bool matches(const uint8_t *a, const uint8_t *b, unsigned bits) {
    unsigned bytes = bits / 8, rest = bits % 8;
    if (memcmp(a, b, bytes) != 0) return false;
    return !rest || ((a[bytes] ^ b[bytes]) & (0xff00 >> rest) & 0xff) == 0;
}

static const bw_stack_route *find_route(const void *destination, bool six) {
    const bw_stack *stack = &bw_the_stack;
    const bw_stack_route *best = NULL;
    for (uint32_t i = 0; i < stack->route_count; i++) {
        const bw_stack_route *route = &stack->route[i];
        if (route->six == six && matches(route->destination, destination, route->prefix) &&
            (!best || route->prefix > best->prefix)) {
            best = route;
        }
    }
    return best;
}

const ip4_addr_t *bw_lwip_gateway4(struct netif *netif, const ip4_addr_t *destination) {
    const bw_stack_route *route = find_route(destination, false);
    (void)netif;
    if (!route) return NULL;
    const ip4_addr_t *gateway = &bw_the_stack.gateway4[route - bw_the_stack.route];
    return ip4_addr_isany_val(*gateway) ? destination : gateway;
}

const ip6_addr_t *bw_lwip_gateway6(struct netif *netif, const ip6_addr_t *destination) {
    const bw_stack_route *route = find_route(destination, true);
    (void)netif;
    if (!route) return NULL;
    const ip6_addr_t *gateway = &bw_the_stack.gateway6[route - bw_the_stack.route];
    return ip6_addr_isany_val(*gateway) ? destination : gateway;
}

int bw_stack_set_routes(bw_stack *stack, const bw_stack_route *routes, uint32_t count) {
    if (count > BW_STACK_ROUTES_MAX) return -EINVAL;
    for (uint32_t i = 0; i < count; i++) {
        if (routes[i].prefix > (routes[i].six ? 128 : 32)) return -EINVAL;
        stack->route[i] = routes[i];
        memcpy(&stack->gateway4[i], routes[i].gateway, sizeof stack->gateway4[i].addr);
        memcpy(stack->gateway6[i].addr, routes[i].gateway, sizeof stack->gateway6[i].addr);
    }
    stack->route_count = count;
    nd6_clear_destination_cache();
    return 0;
}

/* RFC 4861 7.3: lwIP believes a neighbour for 35 s; what goes unanswered is a reason to probe it now, and to
 * ask all when it does not answer either. */
static void probe_neighbour(bw_stack *stack, const ip6_addr_t *gateway) {
    for (unsigned i = 0; gateway && i < LWIP_ND6_NUM_NEIGHBORS; i++) {
        struct nd6_neighbor_cache_entry *entry = &neighbor_cache[i];
        if ((entry->state != ND6_REACHABLE && entry->state != ND6_STALE) ||
            !ip6_addr_zoneless_eq(&entry->next_hop_address, gateway)) {
            continue;
        }
        entry->state = ND6_DELAY;
        entry->counter.delay_time = 1;
        stack->counters.questions++;
    }
}

void bw_stack_doubt(bw_stack *stack, const ip_addr_t *remote) {
    if (stack->now_ns - stack->asked_again_ns < SECOND) return;
    if (IP_IS_V6(remote)) {
        stack->asked_again_ns = stack->now_ns;
        probe_neighbour(stack, bw_lwip_gateway6(&stack->netif, ip_2_ip6(remote)));
        return;
    }
    const ip4_addr_t *gateway = bw_lwip_gateway4(&stack->netif, ip_2_ip4(remote));
    if (!gateway) return;
    stack->asked_again_ns = stack->now_ns;
    stack->counters.questions++;
    etharp_request(&stack->netif, gateway);
}

/* The TCP header of a frame of ours, NULL if it has none; we send no IP options. */
static const uint8_t *tcp_of(const uint8_t *frame, size_t bytes) {
    bool four = frame[12] == 0x08 && frame[13] == 0x00, six = frame[12] == 0x86 && frame[13] == 0xdd;
    size_t tcp = ETHERNET + (six ? 40u : 20u);
    if ((!four && !six) || bytes < tcp + 20) return NULL;
    return frame[ETHERNET + (six ? 6 : 9)] == 6 ? frame + tcp : NULL;
}

/* A reset that answers somebody's segment, ours to hold back. */
static bool reset_held_back(bw_stack *stack, const uint8_t *tcp) {
    if (!(tcp[13] & TCP_RST)) return false;
    if (!bw_limit_take(&stack->resets, stack->now_ns)) {
        stack->counters.resets_limited++;
        return true;
    }
    stack->counters.resets_sent++;
    return false;
}

/* lwIP moves snd_nxt on after the frame was sent: what lies below it was sent before. */
static void count_again(bw_stack *stack, const uint8_t *tcp) {
    u16_t local = bw_be16(tcp), remote = bw_be16(tcp + 2);
    for (const struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next) {
        if (pcb->local_port != local || pcb->remote_port != remote) continue;
        if (TCP_SEQ_LT(bw_be32(tcp + 4), pcb->snd_nxt)) stack->counters.retransmits++;
        return;
    }
}

static err_t send_frame(struct netif *netif, struct pbuf *p) {
    bw_stack *stack = &bw_the_stack;
    (void)netif;
    if (!stack->counters.link_up) return ERR_IF;
    uint8_t *room = stack->device->ops->claim(stack->device, p->tot_len);
    if (!room) {
        stack->counters.send_no_buffer++;
        return ERR_MEM;
    }
    pbuf_copy_partial(p, room, p->tot_len, 0);
    bw_asked_note_frame(&stack->asked, room, p->tot_len, stack->now_ns);
    stack->counters.frames_sent++;
    return ERR_OK;
}

err_t bw_stack_output(struct netif *netif, struct pbuf *p) {
    bw_stack *stack = &bw_the_stack;
    uint8_t head[BW_ACK_BYTES_MAX];
    u16_t bytes = pbuf_copy_partial(p, head, sizeof head, 0);
    const uint8_t *tcp = tcp_of(head, bytes);
    if (tcp && reset_held_back(stack, tcp)) return ERR_OK;
    if (tcp && stack->in_burst && p->tot_len == bytes && bw_ack_hold(stack, head, bytes, tcp)) return ERR_OK;
    bw_ack_release(stack);
    if (tcp && p->tot_len > (size_t)(tcp - head) + (tcp[12] >> 4) * 4u) count_again(stack, tcp);
    return send_frame(netif, p);
}

static void free_held(struct pbuf *p) {
    bw_the_stack.device->ops->release(bw_the_stack.device, p);
}

/* A pbuf over the frame where it lies, from `begin` on. */
static struct pbuf *hold(const bw_frame *frame, uint16_t begin, uint16_t end) {
    bw_held *held = frame->buffer;
    held->custom.custom_free_function = free_held;
    held->receive_ns = frame->receive_ns;
    return pbuf_alloced_custom(PBUF_RAW, (u16_t)(end - begin), PBUF_REF, &held->custom, frame->data + begin,
                               (u16_t)(end - begin));
}

bool bw_stack_send(bw_stack *stack, const uint8_t *frame, size_t bytes) {
    if (!stack->counters.link_up) return false;
    uint8_t *room = stack->device->ops->claim(stack->device, (uint32_t)bytes);
    if (!room) {
        stack->counters.send_no_buffer++;
        return false;
    }
    memcpy(room, frame, bytes);
    stack->counters.frames_sent++;
    return true;
}

/* ARP that is no question about us: an answer we asked for, or a claim that makes us ask. */
static enum bw_drop learn_arp(bw_stack *stack, const bw_frame *frame, const bw_packet *packet) {
    const uint8_t *arp = frame->data + packet->network;
    struct eth_addr *known;
    const ip4_addr_t *found;
    ip4_addr_t sender;
    memcpy(&sender.addr, arp + 14, 4);
    if (bw_be16(arp + 6) == 2 && bw_asked_take(&stack->asked, arp + 14, false, stack->now_ns)) {
        stack->counters.answers++;
        etharp_input(hold(frame, packet->network, packet->end), &stack->netif);
        return BW_DROP_NONE;
    }
    if (etharp_find_addr(&stack->netif, &sender, &known, &found) >= 0 && memcmp(known, arp + 8, 6) != 0) {
        ip_addr_t claimed;
        ip_addr_copy_from_ip4(claimed, sender);
        bw_stack_doubt(stack, &claimed);
    }
    return BW_DROP_arp_unasked;
}

static enum bw_drop input_neighbour(bw_stack *stack, const bw_frame *frame, const bw_packet *packet) {
    uint8_t answer[BW_ANSWER_BYTES_MAX];
    size_t bytes = bw_neighbour_answer(&stack->identity, frame->data, packet, answer);
    bool advertisement = packet->kind == BW_PACKET_NEIGHBOUR && frame->data[packet->transport] == 136;
    if (bytes) {
        bw_stack_send(stack, answer, bytes);
        stack->device->ops->release(stack->device, frame->buffer);
        return BW_DROP_NONE;
    }
    if (packet->kind == BW_PACKET_ARP) return learn_arp(stack, frame, packet);
    if (!advertisement) return BW_DROP_ip_not_ours;
    if (!bw_asked_take(&stack->asked, frame->data + packet->transport + 8, true, stack->now_ns)) {
        return BW_DROP_nd_unasked;
    }
    stack->counters.answers++;
    ip6_input(hold(frame, packet->network, packet->end), &stack->netif);
    return BW_DROP_NONE;
}

static void input_ip(bw_stack *stack, const bw_frame *frame, const bw_packet *packet) {
    struct pbuf *p = hold(frame, packet->network, packet->end);
    if (packet->six) {
        ip6_input(p, &stack->netif);
    } else {
        ip4_input(p, &stack->netif);
    }
}

/* BW_DROP_NONE: the frame is used up. */
static enum bw_drop input_checked(bw_stack *stack, const bw_frame *frame, const bw_packet *packet) {
    switch (packet->kind) {
    case BW_PACKET_TCP:
        stack->counters.segments++;
        stack->segment_matched = false;
        input_ip(stack, frame, packet);
        if (!stack->segment_matched) bw_stack_drop(BW_DROP_tcp_unknown);
        return BW_DROP_NONE;
    case BW_PACKET_ECHO:
        if (!bw_limit_take(&stack->pings, stack->now_ns)) return BW_DROP_icmp_limit;
        input_ip(stack, frame, packet);
        return BW_DROP_NONE;
    case BW_PACKET_LISTENER: input_ip(stack, frame, packet); return BW_DROP_NONE;
    case BW_PACKET_MTU: {
        enum bw_drop drop = bw_stack_path_mtu(stack, frame->data, packet);
        if (!drop) stack->device->ops->release(stack->device, frame->buffer);
        return drop;
    }
    default: return input_neighbour(stack, frame, packet);
    }
}

uint32_t bw_stack_turn(bw_stack *stack, int64_t steady_ns) {
    bw_frame frame[BW_BURST_MAX];
    bw_packet packet;
    stack->now_ns = steady_ns;
    uint32_t count = stack->device->ops->receive(stack->device, frame, BW_BURST_MAX);
    stack->in_burst = true;
    for (uint32_t i = 0; i < count; i++) {
        if (i + 1 < count) __builtin_prefetch(frame[i + 1].data);
        enum bw_drop drop =
            bw_packet_check(&stack->identity, frame[i].data, frame[i].bytes, frame[i].flags, &packet);
        if (!drop) drop = input_checked(stack, &frame[i], &packet);
        if (drop) {
            bw_stack_drop(drop);
            stack->device->ops->release(stack->device, frame[i].buffer);
        }
    }
    stack->in_burst = false;
    bw_ack_release(stack);
    stack->counters.frames += count;
    if (steady_ns - stack->timers_ns >= MS) {
        stack->timers_ns = steady_ns;
        bw_stack_tend(stack);
        sys_check_timeouts();
    }
    return count;
}

void bw_stack_flush(bw_stack *stack) {
    stack->device->ops->flush(stack->device);
}

void bw_stack_set_link(bw_stack *stack, bool up) {
    if (up == (bool)stack->counters.link_up) return;
    stack->counters.link_up = up;
    if (up) {
        netif_set_link_up(&stack->netif);
    } else {
        stack->counters.link_downs++;
        netif_set_link_down(&stack->netif);
    }
}

void bw_stack_read_counters(const bw_stack *stack, bw_stack_counters *out) {
    *out = stack->counters;
    out->connections = out->time_waits = out->waiting_bytes = 0;
    for (const struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next) {
        out->connections++;
        out->waiting_bytes += (uint64_t)TCP_WND_MAX(pcb) - pcb->rcv_wnd;
    }
    for (const struct tcp_pcb *pcb = tcp_tw_pcbs; pcb; pcb = pcb->next) out->time_waits++;
    out->stack_drops = lwip_stats.tcp.drop + lwip_stats.ip.drop + lwip_stats.ip6.drop + lwip_stats.icmp.drop +
                       lwip_stats.icmp6.drop + lwip_stats.etharp.drop + lwip_stats.nd6.drop;
    out->no_memory = lwip_stats.mem.err;
    for (int i = 0; i < MEMP_MAX; i++) {
        if (lwip_stats.memp[i]) out->no_memory += lwip_stats.memp[i]->err;
    }
}
