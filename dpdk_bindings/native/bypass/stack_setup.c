/* A stack's beginning and end: the interface, its addresses, the neighbours known already. */
#include "stack_parts.h"

#include <stdio.h>
#include <string.h>

#include <lwip/etharp.h>
#include <lwip/ethip6.h>
#include <lwip/init.h>
#include <lwip/ip.h>
#include <lwip/priv/tcp_priv.h>

#define ETHERNET 14u
#define ASK_AGAIN_NS INT64_C(1000000000)

bw_stack bw_the_stack;

static err_t start_netif(struct netif *netif) {
    netif->name[0] = 'b';
    netif->name[1] = 'w';
    netif->hwaddr_len = 6;
    memcpy(netif->hwaddr, bw_the_stack.identity.mac, 6);
    netif->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_MLD6;
    netif->output = etharp_output;
    netif->output_ip6 = ethip6_output;
    netif->linkoutput = bw_stack_output;
    return ERR_OK;
}

static void add_six(bw_stack *stack, const uint8_t *address) {
    uint8_t at = stack->identity.six_count++;
    ip6_addr_t six;
    memset(&six, 0, sizeof six);
    memcpy(six.addr, address, 16);
    memcpy(stack->identity.six[at], address, 16);
    netif_ip6_addr_set(&stack->netif, (s8_t)at, &six);
    netif_ip6_addr_set_valid_life(&stack->netif, (s8_t)at, IP6_ADDR_LIFE_INFINITE);
    netif_ip6_addr_set_pref_life(&stack->netif, (s8_t)at, IP6_ADDR_LIFE_INFINITE);
    netif_ip6_addr_set_state(&stack->netif, (s8_t)at, IP6_ADDR_PREFERRED);
}

/* lwIP wants the link-local address first; RFC 4291 appendix A where none was given. */
static void add_link_local(bw_stack *stack, const bw_stack_spec *spec) {
    uint8_t own[16] = {0xfe, 0x80, [11] = 0xff, [12] = 0xfe};
    const uint8_t *address = own;
    bool six = false;
    for (uint32_t i = 0; i < spec->address_count; i++) {
        const bw_stack_address *given = &spec->address[i];
        six |= given->six;
        if (given->six && given->address[0] == 0xfe && (given->address[1] & 0xc0) == 0x80)
            address = given->address;
    }
    memcpy(own + 8, spec->mac, 3);
    memcpy(own + 13, spec->mac + 3, 3);
    own[8] ^= 2;
    if (six) add_six(stack, address);
}

static void add_neighbour(bw_stack *stack, const bw_stack_neighbour *neighbour) {
    uint8_t reply[28] = {0, 1, 8, 0, 6, 4, 0, 2};
    struct pbuf *p = neighbour->six ? NULL : pbuf_alloc(PBUF_RAW, sizeof reply, PBUF_RAM);
    if (!p) return;
    memcpy(reply + 8, neighbour->mac, 6);
    memcpy(reply + 14, neighbour->address, 4);
    memcpy(reply + 18, stack->identity.mac, 6);
    memcpy(reply + 24, &stack->identity.four[0], 4);
    pbuf_take(p, reply, sizeof reply);
    etharp_input(p, &stack->netif);
}

static const char *wrong(const bw_stack_spec *spec) {
    uint32_t four = 0, six = 0;
    if (bw_the_stack.in_use) return "this process has a TCP stack already";
    if (spec->address_count > BW_LOCAL_ADDRESSES_MAX || spec->route_count > BW_STACK_ROUTES_MAX ||
        spec->neighbour_count > BW_STACK_NEIGHBOURS_MAX) {
        return "too many addresses, routes or neighbours";
    }
    for (uint32_t i = 0; i < spec->address_count; i++) spec->address[i].six ? six++ : four++;
    if (four > 1) return "more than one IPv4 address on one port";
    if (six >= BW_LOCAL_ADDRESSES_MAX) return "too many IPv6 addresses on one port";
    if (four + six == 0) return "no IP address";
    if (spec->mac[0] & 1) return "the MAC address is a group's";
    if (spec->mtu < 1280 || spec->mtu > BW_FRAME_BYTES_MAX - ETHERNET) return "the MTU must be 1280 to 2034";
    return NULL;
}

static void add_addresses(bw_stack *stack, const bw_stack_spec *spec) {
    ip4_addr_t four = {0}, host_mask = {0xffffffff};
    for (uint32_t i = 0; i < spec->address_count; i++) {
        if (spec->address[i].six) continue;
        memcpy(&four.addr, spec->address[i].address, 4);
        stack->identity.four[stack->identity.four_count++] = four.addr;
    }
    /* of one host: our own routes say what else is on the link */
    netif_add(&stack->netif, &four, &host_mask, NULL, NULL, start_netif, ip_input);
    stack->netif.mtu = spec->mtu;
    netif_set_default(&stack->netif);
    add_link_local(stack, spec);
    for (uint32_t i = 0; i < spec->address_count; i++) {
        const bw_stack_address *given = &spec->address[i];
        if (given->six && memcmp(given->address, stack->identity.six[0], 16) != 0)
            add_six(stack, given->address);
    }
}

bw_stack *bw_stack_new(const bw_stack_spec *spec, bw_device *device, int64_t steady_ns, char *error,
                       uint32_t error_bytes) {
    static bool initialised;
    bw_stack *stack = &bw_the_stack;
    const char *why = wrong(spec);
    if (why) {
        snprintf(error, error_bytes, "TCP stack: %s", why);
        return NULL;
    }
    /* lwIP's timers know no second beginning: its clock goes on from one stack to the next */
    uint64_t random_count = stack->random_count;
    int64_t start_ns = initialised ? stack->start_ns : steady_ns;
    uint32_t clock_offset = initialised ? stack->clock_offset : (uint32_t)spec->secret[0];
    memset(stack, 0, sizeof *stack);
    stack->device = device;
    stack->random_count = random_count;
    stack->start_ns = start_ns;
    stack->clock_offset = clock_offset;
    stack->now_ns = stack->timers_ns = steady_ns;
    stack->asked_again_ns = steady_ns - ASK_AGAIN_NS;
    memcpy(stack->secret, spec->secret, sizeof stack->secret);
    memcpy(stack->identity.mac, spec->mac, 6);
    if (!initialised) lwip_init();
    initialised = true;
    stack->in_use = true;
    add_addresses(stack, spec);
    if (bw_stack_set_routes(stack, spec->route, spec->route_count) < 0) {
        snprintf(error, error_bytes, "TCP stack: a route's prefix is longer than its address");
        bw_stack_free(stack);
        return NULL;
    }
    netif_set_up(&stack->netif);
    bw_stack_set_link(stack, true);
    for (uint32_t i = 0; i < spec->neighbour_count; i++) add_neighbour(stack, &spec->neighbour[i]);
    return stack;
}

void bw_stack_free(bw_stack *stack) {
    if (!stack) return;
    for (uint32_t i = 0; i < BW_STACK_CONNECTIONS_MAX; i++) bw_stream_abort(&stack->stream[i]);
    while (tcp_active_pcbs) tcp_abort(tcp_active_pcbs);
    while (tcp_tw_pcbs) tcp_abort(tcp_tw_pcbs);
    bw_stack_flush(stack);
    netif_remove(&stack->netif);
    stack->in_use = false;
}
