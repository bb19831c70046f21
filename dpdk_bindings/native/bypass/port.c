#include "port.h"

#include "clock.h"
#include "nic_clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_mbuf_pool_ops.h>

#define SEND_BUFFERS 2047u /* of their own: what is received cannot starve acknowledgements */
#define SEND_TRIES 4
#define POOL_CACHE 256u
#define PRIVATE BW_FRAME_PRIVATE_BYTES
#define ROOM (RTE_PKTMBUF_HEADROOM + BW_FRAME_BYTES_MAX)
#define ARGUMENTS_MAX 64
#define CHECKSUMS (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM)

struct bw_port {
    bw_device device; /* first: the stack's view */
    uint16_t id;
    uint16_t to_send;
    bool started, configured;
    struct rte_mbuf *send[BW_BURST_MAX];
    struct rte_mempool *receive_pool, *send_pool;
    int stamp_offset; /* of the dynamic field, -1: no stamps */
    uint64_t stamp_flag;
    bw_nic_clock clock;
    bw_port_facts facts;
    bw_port_counters counters;
};

/* The last line EAL wrote that says more than that something failed. */
static void last_words(char *log, char *out, uint32_t out_bytes) {
    const char *last = "";
    char *rest = log;
    for (char *line; (line = strsep(&rest, "\n"));) {
        if (*line) last = line;
    }
    snprintf(out, out_bytes, "%s", last);
}

static char *eal_arguments[ARGUMENTS_MAX];

int bw_eal_start(int argc, const char *const *argv, char *error, uint32_t error_bytes) {
    static bool started;
    char *moved[ARGUMENTS_MAX + 1], *log = NULL, words[256];
    size_t log_bytes = 0;
    cpu_set_t before;
    if (started || argc < 1 || argc > ARGUMENTS_MAX) {
        snprintf(error, error_bytes,
                 started ? "EAL ran in this process already: start a new one" : "EAL takes 1 to %d arguments",
                 ARGUMENTS_MAX);
        return started ? -EALREADY : -EINVAL;
    }
    /* EAL moves the pointers about and keeps some of the strings */
    for (int i = 0; i < argc; i++) moved[i] = eal_arguments[i] = strdup(argv[i]);
    moved[argc] = NULL;
    started = true;
    FILE *stream = open_memstream(&log, &log_bytes);
    if (stream) rte_openlog_stream(stream);
    pthread_getaffinity_np(pthread_self(), sizeof before, &before);
    int result = rte_eal_init(argc, moved);
    int code = rte_errno;
    pthread_setaffinity_np(pthread_self(), sizeof before, &before);
    rte_openlog_stream(NULL);
    if (stream) fclose(stream);
    if (result < 0) {
        last_words(log ? log : words, words, sizeof words);
        snprintf(error, error_bytes, "EAL: %s (%s)", log && *words ? words : "no reason given",
                 rte_strerror(code));
    }
    free(log);
    return result < 0 ? -(code ? code : EINVAL) : 0;
}

void bw_eal_stop(void) {
    rte_eal_cleanup();
    for (int i = 0; i < ARGUMENTS_MAX; i++) {
        free(eal_arguments[i]);
        eal_arguments[i] = NULL;
    }
}

uint64_t bw_eal_cycles(void) {
    return rte_rdtsc();
}

uint64_t bw_eal_cycles_hz(void) {
    return rte_get_tsc_hz();
}

static bw_port *of(bw_device *device) {
    return (bw_port *)device;
}

/* What the driver found; unknown counts as not looked at. */
static uint32_t flags_of(const struct rte_mbuf *m) {
    uint64_t ip = m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK, l4 = m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
    return (ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD ? BW_FRAME_IP_SUM_GOOD : 0u) |
           (ip == RTE_MBUF_F_RX_IP_CKSUM_BAD ? BW_FRAME_IP_SUM_BAD : 0u) |
           (l4 == RTE_MBUF_F_RX_L4_CKSUM_GOOD ? BW_FRAME_L4_SUM_GOOD : 0u) |
           (l4 == RTE_MBUF_F_RX_L4_CKSUM_BAD ? BW_FRAME_L4_SUM_BAD : 0u) |
           (m->nb_segs > 1 ? BW_FRAME_SEGMENTED : 0u);
}

static int64_t stamp_of(bw_port *port, const struct rte_mbuf *m, int64_t now_ns) {
    if (port->stamp_offset < 0 || !(m->ol_flags & port->stamp_flag)) return now_ns;
    uint64_t ticks = *RTE_MBUF_DYNFIELD(m, port->stamp_offset, const rte_mbuf_timestamp_t *);
    int64_t ns = bw_nic_clock_ns(&port->clock, ticks, now_ns);
    if (!ns) return now_ns;
    port->counters.stamped++;
    return ns;
}

static uint32_t port_receive(bw_device *device, bw_frame *out, uint32_t room) {
    bw_port *port = of(device);
    struct rte_mbuf *burst[BW_BURST_MAX];
    uint16_t count =
        rte_eth_rx_burst(port->id, 0, burst, (uint16_t)(room < BW_BURST_MAX ? room : BW_BURST_MAX));
    if (!count) return 0;
    int64_t now_ns = bw_wall_ns();
    for (uint16_t i = 0; i < count; i++) {
        struct rte_mbuf *m = burst[i];
        out[i].buffer = rte_mbuf_to_priv(m);
        out[i].data = rte_pktmbuf_mtod(m, uint8_t *);
        out[i].bytes = m->data_len;
        out[i].flags = flags_of(m);
        out[i].receive_ns = stamp_of(port, m, now_ns);
    }
    return count;
}

static void port_release(bw_device *device, void *buffer) {
    (void)device;
    rte_pktmbuf_free((struct rte_mbuf *)buffer - 1); /* the private area follows the mbuf */
}

static void port_flush(bw_device *device) {
    bw_port *port = of(device);
    uint16_t sent = 0;
    for (int tries = 0; sent < port->to_send && tries < SEND_TRIES; tries++) {
        sent += rte_eth_tx_burst(port->id, 0, port->send + sent, (uint16_t)(port->to_send - sent));
    }
    port->counters.send_full += port->to_send - sent;
    while (sent < port->to_send) rte_pktmbuf_free(port->send[sent++]);
    port->to_send = 0;
}

static uint8_t *port_claim(bw_device *device, uint32_t bytes) {
    bw_port *port = of(device);
    if (port->to_send == BW_BURST_MAX) port_flush(device);
    struct rte_mbuf *m = rte_pktmbuf_alloc(port->send_pool);
    uint8_t *room = m ? (uint8_t *)rte_pktmbuf_append(m, (uint16_t)bytes) : NULL;
    if (!room) {
        rte_pktmbuf_free(m);
        port->counters.send_no_mbuf++;
        return NULL;
    }
    port->send[port->to_send++] = m;
    return room;
}

static const bw_device_ops port_ops = {
    .receive = port_receive,
    .release = port_release,
    .claim = port_claim,
    .flush = port_flush,
};

/* Without gaps at page borders, in one piece: af_xdp shares the memory from the pool's beginning for
 * (buffers x size) bytes with the kernel (DPDK before 24.07), and what lies beyond is silently lost, sent or
 * received. No device reads it by its physical address. */
static struct rte_mempool *packed_pool(const char *name, uint32_t buffers, int node) {
    struct rte_pktmbuf_pool_private sizes = {.mbuf_data_room_size = ROOM, .mbuf_priv_size = PRIVATE};
    struct rte_mempool *pool =
        rte_mempool_create_empty(name, buffers, sizeof(struct rte_mbuf) + PRIVATE + ROOM, POOL_CACHE,
                                 sizeof sizes, node, RTE_MEMPOOL_F_NO_IOVA_CONTIG);
    if (!pool) return NULL;
    rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL);
    rte_pktmbuf_pool_init(pool, &sizes);
    if (rte_mempool_populate_default(pool) == (int)buffers && pool->nb_mem_chunks == 1) {
        rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
        return pool;
    }
    rte_mempool_free(pool);
    rte_errno = ENOMEM;
    return NULL;
}

static bool make_pools(bw_port *port, const bw_port_spec *spec) {
    char name[RTE_MEMPOOL_NAMESIZE];
    int node = port->facts.numa_node < 0 ? SOCKET_ID_ANY : port->facts.numa_node;
    snprintf(name, sizeof name, "bw-receive-%u", port->id);
    port->receive_pool = strcmp(port->facts.driver, "net_af_xdp") == 0
                             ? packed_pool(name, spec->buffers, node)
                             : rte_pktmbuf_pool_create(name, spec->buffers, POOL_CACHE, PRIVATE, ROOM, node);
    snprintf(name, sizeof name, "bw-send-%u", port->id);
    port->send_pool = rte_pktmbuf_pool_create(name, SEND_BUFFERS, POOL_CACHE, 0, ROOM, node);
    return port->receive_pool && port->send_pool;
}

/* Only what the driver offers, and stamps only where their clock can be read. */
static uint64_t choose_offloads(bw_port *port, const struct rte_eth_dev_info *info) {
    uint64_t offloads = 0, now;
    if ((info->rx_offload_capa & CHECKSUMS) == CHECKSUMS) offloads |= CHECKSUMS;
    if ((info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_TIMESTAMP) && rte_eth_read_clock(port->id, &now) == 0 &&
        rte_mbuf_dyn_rx_timestamp_register(&port->stamp_offset, &port->stamp_flag) == 0) {
        offloads |= RTE_ETH_RX_OFFLOAD_TIMESTAMP;
        port->facts.stamps = 1;
    }
    port->facts.checks_checksums = (offloads & CHECKSUMS) != 0;
    return offloads;
}

static const char *set_up(bw_port *port, const bw_port_spec *spec, int *result) {
    struct rte_eth_dev_info info;
    struct rte_eth_conf conf = {.rxmode = {.mq_mode = RTE_ETH_MQ_RX_NONE}};
    uint16_t receive = (uint16_t)spec->descriptors, send = (uint16_t)spec->descriptors;
    if ((*result = rte_eth_dev_info_get(port->id, &info)) < 0) return "its facts cannot be read";
    snprintf(port->facts.driver, sizeof port->facts.driver, "%s", info.driver_name);
    port->facts.numa_node = rte_eth_dev_socket_id(port->id);
    conf.rxmode.offloads = choose_offloads(port, &info);
    conf.txmode.offloads =
        info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE; /* one pool, no references */
    if ((*result = rte_eth_dev_configure(port->id, 1, 1, &conf)) < 0)
        return "one queue pair cannot be configured";
    port->configured = true;
    *result = rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &receive, &send);
    if (*result < 0) return "it takes no such number of descriptors";
    port->facts.descriptors_rx = receive;
    port->facts.descriptors_tx = send;
    if (!make_pools(port, spec)) {
        *result = -rte_errno;
        return "no memory for its buffers; give EAL more (memory_mib) or reserve hugepages";
    }
    unsigned node = port->facts.numa_node < 0 ? (unsigned)SOCKET_ID_ANY : (unsigned)port->facts.numa_node;
    *result = rte_eth_rx_queue_setup(port->id, 0, receive, node, NULL, port->receive_pool);
    if (*result < 0) return "its receive queue cannot be set up";
    if ((*result = rte_eth_tx_queue_setup(port->id, 0, send, node, NULL)) < 0)
        return "its send queue cannot be set up";
    if (rte_eth_dev_set_mtu(port->id, spec->mtu) < 0) rte_eth_dev_get_mtu(port->id, &port->facts.mtu);
    if (port->facts.mtu < spec->mtu) return "its MTU cannot be what was asked for";
    if ((*result = rte_eth_dev_start(port->id)) < 0) return "it does not start";
    port->started = true;
    return NULL;
}

/* The address, and the groups of neighbour discovery: all multicast, or else everything. */
static void set_filters(bw_port *port, const bw_port_spec *spec) {
    static const uint8_t none[6];
    struct rte_ether_addr mac;
    if (memcmp(spec->mac, none, 6) != 0) {
        memcpy(mac.addr_bytes, spec->mac, 6);
        rte_eth_dev_default_mac_addr_set(port->id, &mac);
        memcpy(port->facts.mac, spec->mac, 6);
    } else if (rte_eth_macaddr_get(port->id, &mac) == 0) {
        memcpy(port->facts.mac, mac.addr_bytes, 6);
    }
    port->facts.receives_groups = rte_eth_allmulticast_enable(port->id) == 0  ? 1
                                  : rte_eth_promiscuous_enable(port->id) == 0 ? 2
                                                                              : 0;
}

bw_port *bw_port_open(const bw_port_spec *spec, char *error, uint32_t error_bytes) {
    bw_port *port = calloc(1, sizeof *port);
    int result = -ENOMEM;
    const char *why = "out of memory";
    if (port) {
        port->device.ops = &port_ops;
        port->stamp_offset = -1;
        port->facts.mtu = spec->mtu;
        why = "EAL knows no such device: is its driver's package installed, is it bound to vfio-pci?";
        result = rte_eth_dev_get_port_by_name(spec->device, &port->id);
        if (result == 0) why = set_up(port, spec, &result);
    }
    if (why) {
        snprintf(error, error_bytes, "port %s: %s (%s)", spec->device, why, rte_strerror(-result));
        bw_port_close(port);
        return NULL;
    }
    set_filters(port, spec);
    bw_port_calibrate(port);
    return port;
}

void bw_port_close(bw_port *port) {
    if (!port) return;
    if (port->started) {
        port_flush(&port->device);
        /* an interface of the kernel's keeps them otherwise */
        if (port->facts.receives_groups == 1) rte_eth_allmulticast_disable(port->id);
        if (port->facts.receives_groups == 2) rte_eth_promiscuous_disable(port->id);
        rte_eth_dev_stop(port->id);
    }
    if (port->configured) rte_eth_dev_close(port->id);
    rte_mempool_free(port->receive_pool);
    rte_mempool_free(port->send_pool);
    free(port);
}

bw_device *bw_port_device(bw_port *port) {
    return &port->device;
}

const bw_port_facts *bw_port_facts_of(const bw_port *port) {
    return &port->facts;
}

bool bw_port_link(bw_port *port, uint64_t *mbps) {
    struct rte_eth_link link;
    *mbps = 0;
    if (rte_eth_link_get_nowait(port->id, &link) < 0) return true; /* it does not know: let frames tell */
    if (link.link_status && link.link_speed != RTE_ETH_SPEED_NUM_UNKNOWN) *mbps = link.link_speed;
    return link.link_status;
}

void bw_port_read(bw_port *port, bw_port_counters *out) {
    struct rte_eth_stats stats;
    bw_port_counters *own = &port->counters;
    if (rte_eth_stats_get(port->id, &stats) == 0) {
        own->frames = stats.ipackets;
        own->bytes = stats.ibytes;
        own->frames_sent = stats.opackets;
        own->bytes_sent = stats.obytes;
        own->missed = stats.imissed;
        own->receive_errors = stats.ierrors;
        own->no_buffer = stats.rx_nombuf;
        own->send_errors = stats.oerrors;
    }
    own->buffers_free = rte_mempool_avail_count(port->receive_pool);
    bw_port_link(port, &own->link_mbps);
    *out = *own;
}

void bw_port_calibrate(bw_port *port) {
    uint64_t ticks;
    bw_clock_calibrate();
    if (port->facts.stamps && rte_eth_read_clock(port->id, &ticks) == 0) {
        bw_nic_clock_pair(&port->clock, ticks, bw_kernel_wall_ns());
    }
}
