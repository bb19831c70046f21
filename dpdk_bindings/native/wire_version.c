#include "clock.h"
int bw_wire_abi(void);
int bw_wire_abi(void) { return 1; }
