#include "ring_wire.h"

#include "frame.h"
#include "port.h"
#include "check.h"

#include <sched.h>
#include <string.h>

#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#define RING 1024u

static struct rte_ring *to_port, *from_port;
static struct rte_mempool *pool;

void ring_wire_start_eal(void) {
    char lcore[32], error[256] = "";
    const char *arguments[] = {"test", lcore, "--no-pci",       "--no-huge",          "--no-shconf",
                               "-m",   "300", "--no-telemetry", "--log-level=*:error"};
    int cpu = sched_getcpu();
    snprintf(lcore, sizeof lcore, "--lcores=0@%d", cpu < 0 ? 0 : cpu);
    if (bw_eal_start(sizeof arguments / sizeof *arguments, arguments, error, sizeof error) == 0) return;
    fprintf(stderr, "%s\n", error);
    exit(1);
}

const char *ring_wire_open(uint32_t buffers) {
    static char name[64];
    to_port = rte_ring_create("to-port", RING, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
    from_port = rte_ring_create("from-port", RING, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
    pool = rte_pktmbuf_pool_create("wire", buffers, 256, BW_FRAME_PRIVATE_BYTES,
                                   RTE_PKTMBUF_HEADROOM + BW_FRAME_BYTES_MAX, SOCKET_ID_ANY);
    CHECK(to_port && from_port && pool);
    int port = rte_eth_from_rings("bypass", &to_port, 1, &from_port, 1, 0);
    CHECK(port >= 0);
    CHECK_EQUAL(rte_eth_dev_get_name_by_port((uint16_t)port, name), 0);
    return name;
}

bool ring_wire_put(const void *frame, size_t bytes) {
    struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
    if (!m) return false;
    memcpy(rte_pktmbuf_append(m, (uint16_t)bytes), frame, bytes);
    if (rte_ring_enqueue(to_port, m) == 0) return true;
    rte_pktmbuf_free(m);
    return false;
}

size_t ring_wire_take(void *out) {
    void *found;
    if (rte_ring_dequeue(from_port, &found) != 0) return 0;
    struct rte_mbuf *m = found;
    size_t bytes = m->data_len;
    memcpy(out, rte_pktmbuf_mtod(m, void *), bytes);
    rte_pktmbuf_free(m);
    return bytes;
}

uint32_t ring_wire_buffers_out(void) {
    return rte_mempool_in_use_count(pool);
}
