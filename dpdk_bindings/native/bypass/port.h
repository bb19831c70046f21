/* A DPDK port with one queue pair as a device of frames.
 *
 * Everything here belongs to the thread that called bw_eal_start(). EAL can be started once in a process
 * and not again after it ended; one process drives one port, so no flow steering is needed.
 */
#ifndef BW_PORT_H
#define BW_PORT_H

#include "frame.h"

#include <stdbool.h>

typedef struct bw_port_spec {
    char device[64]; /* as EAL names it: 0000:08:00.0, net_af_packet0 */
    uint8_t mac[6];  /* all zero: the device's own */
    uint16_t mtu;
    uint32_t buffers;     /* for received frames */
    uint32_t descriptors; /* of each queue, within what the driver takes */
} bw_port_spec;

/* Of the driver, except what it says; 0 where a driver does not count. */
typedef struct bw_port_counters {
    uint64_t frames, bytes;
    uint64_t frames_sent, bytes_sent;
    uint64_t missed; /* the queue was full: we came too late */
    uint64_t receive_errors;
    uint64_t no_buffer; /* no mbuf to receive into */
    uint64_t send_errors;
    uint64_t send_full;    /* ours: dropped, the queue took no more */
    uint64_t send_no_mbuf; /* ours: dropped, no buffer to send from */
    uint64_t stamped;      /* ours: frames with a hardware stamp that could be used */
    uint64_t buffers_free; /* now */
    uint64_t link_mbps;    /* now; 0: down, or the driver does not know */
} bw_port_counters;

typedef struct bw_port_facts {
    char driver[32];
    uint8_t mac[6];
    uint16_t mtu;
    int32_t numa_node; /* -1: none */
    uint32_t descriptors_rx, descriptors_tx;
    uint32_t checks_checksums; /* the driver does; each frame still says whether it did */
    uint32_t stamps;           /* in hardware, with a clock that can be read */
    uint32_t receives_groups;  /* 1: multicast only, 2: everything (promiscuous), 0: neither can be set */
} bw_port_facts;

typedef struct bw_port bw_port;

/* EAL with these arguments, argv[0] included; the caller's CPU affinity is as before afterwards. 0, or -errno
 * with what EAL said in error. */
int bw_eal_start(int argc, const char *const *argv, char *error, uint32_t error_bytes);
void bw_eal_stop(void);
uint64_t bw_eal_cycles(void);
uint64_t bw_eal_cycles_hz(void);

/* Configured and started. NULL with the reason in error. */
bw_port *bw_port_open(const bw_port_spec *spec, char *error, uint32_t error_bytes);
void bw_port_close(bw_port *port);
bw_device *bw_port_device(bw_port *port);
const bw_port_facts *bw_port_facts_of(const bw_port *port);
bool bw_port_link(bw_port *port, uint64_t *mbps);
/* Reads the driver's counters: some times a second. */
void bw_port_read(bw_port *port, bw_port_counters *out);
/* Reads the NIC's clock, where it has one: some times a second. */
void bw_port_calibrate(bw_port *port);

#endif
