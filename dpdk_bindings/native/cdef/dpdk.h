#define BW_DPDK_EAL_MAX ...
#define BW_LOCAL_ADDRESSES_MAX ...
#define BW_STACK_ROUTES_MAX ...
#define BW_STACK_NEIGHBOURS_MAX ...
#define BW_DROP_COUNT ...
enum bw_dpdk_state { BW_DPDK_NEW, BW_DPDK_FAILED, BW_DPDK_RUNNING, BW_DPDK_STOPPED };
typedef struct bw_port_spec {
    char device[64];
    uint8_t mac[6];
    uint16_t mtu;
    uint32_t buffers;
    uint32_t descriptors;
} bw_port_spec;
typedef struct bw_port_counters {
    uint64_t frames, bytes;
    uint64_t frames_sent, bytes_sent;
    uint64_t missed;
    uint64_t receive_errors;
    uint64_t no_buffer;
    uint64_t send_errors;
    uint64_t send_full;
    uint64_t send_no_mbuf;
    uint64_t stamped;
    uint64_t buffers_free;
    uint64_t link_mbps;
} bw_port_counters;
typedef struct bw_port_facts {
    char driver[32];
    uint8_t mac[6];
    uint16_t mtu;
    int32_t numa_node;
    uint32_t descriptors_rx, descriptors_tx;
    uint32_t checks_checksums;
    uint32_t stamps;
    uint32_t receives_groups;
} bw_port_facts;
typedef struct bw_stack_address {
    uint8_t address[16];
    uint8_t six;
    uint8_t prefix;
} bw_stack_address;
typedef struct bw_stack_route {
    uint8_t destination[16];
    uint8_t gateway[16];
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
    bw_stack_address address[...];
    bw_stack_route route[...];
    bw_stack_neighbour neighbour[...];
    uint64_t secret[2];
} bw_stack_spec;
typedef struct bw_stack_counters {
    uint64_t frames;
    uint64_t segments;
    uint64_t bytes;
    uint64_t frames_sent;
    uint64_t acks_merged;
    uint64_t send_no_buffer;
    uint64_t retransmits;
    uint64_t resets_sent;
    uint64_t resets_limited;
    uint64_t challenges;
    uint64_t questions;
    uint64_t answers;
    uint64_t path_mtu_lowered;
    uint64_t no_memory;
    uint64_t stack_drops;
    uint64_t link_downs;
    uint64_t waiting_bytes;
    uint64_t connections;
    uint64_t time_waits;
    uint64_t link_up;
    uint64_t drop[...];
} bw_stack_counters;
typedef struct bw_dpdk_spec {
    const char *eal[...];
    uint32_t eal_count;
    bw_port_spec port;
    bw_stack_spec stack;
} bw_dpdk_spec;
typedef struct bw_network bw_network;
typedef struct bw_dpdk bw_dpdk;
bw_dpdk *bw_dpdk_new(const bw_dpdk_spec *spec);
void bw_dpdk_free(bw_dpdk *dpdk);
bw_network *bw_dpdk_network(bw_dpdk *dpdk);
int bw_dpdk_state(const bw_dpdk *dpdk);
void bw_dpdk_counters(const bw_dpdk *dpdk, bw_stack_counters *stack, bw_port_counters *port);
void bw_dpdk_facts(const bw_dpdk *dpdk, bw_port_facts *out);
int bw_dpdk_set_routes(bw_dpdk *dpdk, const bw_stack_route *routes, uint32_t count);
const char *bw_drop_name(int drop);
const char *bw_drop_meaning(int drop);
