/* What the door to the DPDK module sees. */
#include "dpdk_network.h"
