/* lwIP's view of this compiler and of us. */
#ifndef BW_LWIP_CC_H
#define BW_LWIP_CC_H

#include <stdint.h>
#include <stdlib.h>
#include <sys/time.h>

uint32_t bw_lwip_random(void);
void bw_lwip_failed(const char *what, const char *file, int line) __attribute__((noreturn));
uint16_t bw_lwip_sum(const void *data, int bytes);

#define LWIP_RAND() bw_lwip_random()
#define LWIP_CHKSUM bw_lwip_sum
#define LWIP_CHKSUM_ALGORITHM 0
#define LWIP_PLATFORM_DIAG(x)
/* A broken invariant ends this process, not the box: the supervisor starts it anew. */
#define LWIP_PLATFORM_ASSERT(message) bw_lwip_failed(message, __FILE__, __LINE__)
#define LWIP_ERRNO_STDINCLUDE 1

#endif
