#include "dpdk_network.h"
