/* Address space reserved once, memory used as it is touched: buffers that may grow to tens of MiB
 * without ever being reallocated, and stay in cache while messages are small. */
#ifndef BW_RESERVE_H
#define BW_RESERVE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define BW_PAGE_BYTES 4096u

static inline size_t bw_page_round(size_t bytes) {
    return (bytes + BW_PAGE_BYTES - 1) & ~(size_t)(BW_PAGE_BYTES - 1);
}

/* `bytes` rounded up to pages, zeroed on first touch; NULL when address space is short. */
static inline uint8_t *bw_reserve(size_t bytes) {
    void *at = mmap(NULL, bw_page_round(bytes), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static inline void bw_unreserve(uint8_t *base, size_t bytes) {
    if (base) munmap(base, bw_page_round(bytes));
}

/* Gives the memory from `keep` to `used` back to the kernel; the addresses stay ours. */
static inline void bw_reserve_trim(uint8_t *base, size_t keep, size_t used) {
    size_t from = bw_page_round(keep);
    size_t to = bw_page_round(used);
    if (to > from) madvise(base + from, to - from, MADV_DONTNEED);
}

#endif
