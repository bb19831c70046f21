/* A DPDK port without any kernel: two rings, the stack's port at one end, a test at the other. */
#ifndef BW_TEST_RING_WIRE_H
#define BW_TEST_RING_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* EAL for anybody: no hugepages, no PCI, nothing shared, no file left. Ends the program if it cannot be. */
void ring_wire_start_eal(void);
/* The port's name, for bw_port_spec. */
const char *ring_wire_open(uint32_t buffers);
/* False: no buffer, or the ring is full. */
bool ring_wire_put(const void *frame, size_t bytes);
size_t ring_wire_take(void *out);     /* 0: none */
uint32_t ring_wire_buffers_out(void); /* that were put and have not come back */

#endif
