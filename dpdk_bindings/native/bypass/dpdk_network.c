#include "dpdk_network.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define MS INT64_C(1000000)
#define LOOK_NS (100 * MS) /* link, counters, the NIC's clock */

enum { ROUTES_NONE, ROUTES_WAIT };

struct bw_dpdk {
    bw_network network; /* first: the loop's view */
    bw_dpdk_spec spec;
    bw_port *port;
    bw_stack *stack;
    _Atomic int state;
    uint64_t hz;
    int64_t looked_ns;
    bw_port_facts facts;
    struct {
        bw_stack_counters stack;
        bw_port_counters port;
    } shown; /* written word by word, read word by word */
    _Atomic int routes_state;
    uint32_t route_count;
    bw_stack_route route[BW_STACK_ROUTES_MAX];
};

static bw_dpdk *of(bw_network *network) {
    return (bw_dpdk *)network;
}

static int64_t steady_ns(const bw_dpdk *dpdk) {
    return (int64_t)((unsigned __int128)bw_eal_cycles() * 1000000000 / dpdk->hz);
}

static void copy_words(void *to, const void *from, size_t bytes) {
    for (size_t i = 0; i < bytes / 8; i++) {
        __atomic_store_n((uint64_t *)to + i, __atomic_load_n((const uint64_t *)from + i, __ATOMIC_RELAXED),
                         __ATOMIC_RELAXED);
    }
}

static void look(bw_dpdk *dpdk, int64_t now_ns) {
    bw_stack_counters stack;
    bw_port_counters port;
    uint64_t mbps;
    dpdk->looked_ns = now_ns;
    bw_port_calibrate(dpdk->port);
    bw_stack_set_link(dpdk->stack, bw_port_link(dpdk->port, &mbps));
    bw_port_read(dpdk->port, &port);
    bw_stack_read_counters(dpdk->stack, &stack);
    copy_words(&dpdk->shown.stack, &stack, sizeof stack);
    copy_words(&dpdk->shown.port, &port, sizeof port);
    if (atomic_load_explicit(&dpdk->routes_state, memory_order_acquire) == ROUTES_WAIT) {
        bw_stack_set_routes(dpdk->stack, dpdk->route, dpdk->route_count);
        atomic_store_explicit(&dpdk->routes_state, ROUTES_NONE, memory_order_release);
    }
}

static int network_start(bw_network *network, char *error, uint32_t error_bytes) {
    bw_dpdk *dpdk = of(network);
    bw_stack_spec *stack = &dpdk->spec.stack;
    int result = bw_eal_start((int)dpdk->spec.eal_count, dpdk->spec.eal, error, error_bytes);
    if (result == 0) {
        dpdk->hz = bw_eal_cycles_hz();
        dpdk->port = bw_port_open(&dpdk->spec.port, error, error_bytes);
        if (!dpdk->port) result = -ENODEV;
    }
    if (dpdk->port) {
        dpdk->facts = *bw_port_facts_of(dpdk->port);
        memcpy(stack->mac, dpdk->facts.mac, 6);
        stack->mtu = dpdk->spec.port.mtu;
        dpdk->stack = bw_stack_new(stack, bw_port_device(dpdk->port), steady_ns(dpdk), error, error_bytes);
        if (!dpdk->stack) result = -EINVAL;
    }
    if (dpdk->stack) look(dpdk, steady_ns(dpdk));
    atomic_store(&dpdk->state, result < 0 ? BW_DPDK_FAILED : BW_DPDK_RUNNING);
    return result;
}

static bw_transport *network_connect(bw_network *network, const struct sockaddr *address,
                                     const struct sockaddr *source, int *error) {
    return bw_stack_connect(of(network)->stack, address, source, error);
}

static uint32_t network_poll(bw_network *network) {
    bw_dpdk *dpdk = of(network);
    int64_t now_ns = steady_ns(dpdk);
    uint32_t frames = bw_stack_turn(dpdk->stack, now_ns);
    if (now_ns - dpdk->looked_ns >= LOOK_NS) look(dpdk, now_ns);
    return frames;
}

static void network_flush(bw_network *network) {
    bw_stack_flush(of(network)->stack);
}

static uint64_t network_waiting(const bw_network *network) {
    bw_stack_counters counters;
    bw_stack_read_counters(((const bw_dpdk *)network)->stack, &counters);
    return counters.waiting_bytes;
}

static void network_stop(bw_network *network) {
    bw_dpdk *dpdk = of(network);
    if (dpdk->stack) look(dpdk, steady_ns(dpdk));
    bw_stack_free(dpdk->stack);
    bw_port_close(dpdk->port);
    dpdk->stack = NULL;
    dpdk->port = NULL;
    if (atomic_exchange(&dpdk->state, BW_DPDK_STOPPED) == BW_DPDK_RUNNING) bw_eal_stop();
}

static const bw_network_ops dpdk_ops = {
    .start = network_start,
    .connect = network_connect,
    .poll = network_poll,
    .flush = network_flush,
    .waiting = network_waiting,
    .stop = network_stop,
};

bw_dpdk *bw_dpdk_new(const bw_dpdk_spec *spec) {
    bw_dpdk *dpdk = spec->eal_count <= BW_DPDK_EAL_MAX ? calloc(1, sizeof *dpdk) : NULL;
    if (!dpdk) return NULL;
    dpdk->network.ops = &dpdk_ops;
    dpdk->spec = *spec;
    for (uint32_t i = 0; i < spec->eal_count; i++) dpdk->spec.eal[i] = strdup(spec->eal[i]);
    return dpdk;
}

void bw_dpdk_free(bw_dpdk *dpdk) {
    if (!dpdk) return;
    for (uint32_t i = 0; i < dpdk->spec.eal_count; i++) free((char *)dpdk->spec.eal[i]);
    free(dpdk);
}

bw_network *bw_dpdk_network(bw_dpdk *dpdk) {
    return &dpdk->network;
}

int bw_dpdk_state(const bw_dpdk *dpdk) {
    return atomic_load(&dpdk->state);
}

void bw_dpdk_counters(const bw_dpdk *dpdk, bw_stack_counters *stack, bw_port_counters *port) {
    copy_words(stack, &dpdk->shown.stack, sizeof *stack);
    copy_words(port, &dpdk->shown.port, sizeof *port);
}

void bw_dpdk_facts(const bw_dpdk *dpdk, bw_port_facts *out) {
    *out = dpdk->facts;
}

int bw_dpdk_set_routes(bw_dpdk *dpdk, const bw_stack_route *routes, uint32_t count) {
    if (count > BW_STACK_ROUTES_MAX) return -EINVAL;
    if (atomic_load_explicit(&dpdk->routes_state, memory_order_acquire) != ROUTES_NONE) return -EAGAIN;
    memcpy(dpdk->route, routes, count * sizeof *routes);
    dpdk->route_count = count;
    atomic_store_explicit(&dpdk->routes_state, ROUTES_WAIT, memory_order_release);
    return 0;
}
