/* A DPDK port and the TCP stack as a loop's network (network.h). What Python opens, and the loop starts. */
#ifndef BW_DPDK_NETWORK_H
#define BW_DPDK_NETWORK_H

#include "network.h"
#include "port.h"
#include "stack.h"

#define BW_DPDK_EAL_MAX 60u

typedef struct bw_dpdk_spec {
    const char *eal[BW_DPDK_EAL_MAX]; /* EAL's arguments, the program's name first; copied */
    uint32_t eal_count;
    bw_port_spec port;
    bw_stack_spec stack; /* mac, mtu: taken from the port */
} bw_dpdk_spec;

enum bw_dpdk_state { BW_DPDK_NEW, BW_DPDK_FAILED, BW_DPDK_RUNNING, BW_DPDK_STOPPED };

typedef struct bw_dpdk bw_dpdk;

/* Nothing is started: bw_network_ops.start does, on the loop's thread. NULL when memory is short. */
bw_dpdk *bw_dpdk_new(const bw_dpdk_spec *spec);
/* After the loop ended. */
void bw_dpdk_free(bw_dpdk *dpdk);
bw_network *bw_dpdk_network(bw_dpdk *dpdk);

/* From any one thread, while it runs or not. */
int bw_dpdk_state(const bw_dpdk *dpdk);
/* As of at most 100 ms ago; single values, not one consistent copy. */
void bw_dpdk_counters(const bw_dpdk *dpdk, bw_stack_counters *stack, bw_port_counters *port);
void bw_dpdk_facts(const bw_dpdk *dpdk, bw_port_facts *out);
/* Replaces the routes at the loop's next turn. -EAGAIN while earlier ones wait, -EINVAL. */
int bw_dpdk_set_routes(bw_dpdk *dpdk, const bw_stack_route *routes, uint32_t count);

#endif
