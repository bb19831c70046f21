#include "stats.h"

#include <stddef.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void *stats_fail(char *error, uint32_t error_bytes, const char *what, const char *path,
                        int descriptor) {
    snprintf(error, error_bytes, "%s %s: %s", what, path, strerror(errno));
    if (descriptor >= 0) close(descriptor);
    return NULL;
}

bw_gateway_stats *bw_gateway_stats_create(const char *path, char *error, uint32_t error_bytes) {
    char temporary[512];
    snprintf(temporary, sizeof temporary, "%s.%d", path, (int)getpid());
    int descriptor = open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (descriptor < 0) return stats_fail(error, error_bytes, "cannot create", temporary, -1);
    errno = posix_fallocate(descriptor, 0, sizeof(bw_gateway_stats));
    if (errno != 0) return stats_fail(error, error_bytes, "no room for", temporary, descriptor);
    void *map = mmap(NULL, sizeof(bw_gateway_stats), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (map == MAP_FAILED) return stats_fail(error, error_bytes, "cannot map", temporary, descriptor);
    close(descriptor);
    bw_gateway_stats *stats = map;
    stats->version = BW_GATEWAY_STATS_VERSION;
    stats->bytes = sizeof *stats;
    memcpy(stats->magic, BW_GATEWAY_STATS_MAGIC, sizeof stats->magic);
    if (rename(temporary, path) < 0) {
        munmap(map, sizeof *stats);
        return stats_fail(error, error_bytes, "cannot rename into", path, -1);
    }
    return stats;
}

const bw_gateway_stats *bw_gateway_stats_open(const char *path, char *error, uint32_t error_bytes) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return stats_fail(error, error_bytes, "cannot open", path, -1);
    struct stat file;
    if (fstat(descriptor, &file) < 0 || (size_t)file.st_size < sizeof(bw_gateway_stats)) {
        errno = EINVAL;
        return stats_fail(error, error_bytes, "too small", path, descriptor);
    }
    void *map = mmap(NULL, sizeof(bw_gateway_stats), PROT_READ, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (map == MAP_FAILED) return stats_fail(error, error_bytes, "cannot map", path, -1);
    const bw_gateway_stats *stats = map;
    if (memcmp(stats->magic, BW_GATEWAY_STATS_MAGIC, sizeof stats->magic) != 0 ||
        stats->version != BW_GATEWAY_STATS_VERSION) {
        munmap(map, sizeof *stats);
        errno = EPROTO;
        return stats_fail(error, error_bytes, "another layout", path, -1);
    }
    return stats;
}

void bw_gateway_stats_close(const bw_gateway_stats *stats) {
    if (stats) munmap((void *)stats, sizeof *stats);
}

static const struct {
    const char *name;
    size_t offset;
} counters[] = {
#define BW_GATEWAY_COUNTER_ROW(name) {#name, offsetof(bw_gateway_stats, name)},
    BW_GATEWAY_COUNTERS(BW_GATEWAY_COUNTER_ROW)
#undef BW_GATEWAY_COUNTER_ROW
};

uint32_t bw_gateway_counter_count(void) {
    return sizeof counters / sizeof *counters;
}

const char *bw_gateway_counter_name(uint32_t index) {
    return index < bw_gateway_counter_count() ? counters[index].name : "";
}

uint64_t bw_gateway_counter_value(const bw_gateway_stats *stats, uint32_t index) {
    if (index >= bw_gateway_counter_count()) return 0;
    const uint8_t *at = (const uint8_t *)stats + counters[index].offset;
    return atomic_load_explicit((const _Atomic uint64_t *)(const void *)at, memory_order_relaxed);
}

uint64_t bw_gateway_latency_bucket(const bw_gateway_stats *stats, uint32_t which, uint32_t bucket) {
    if (which >= BW_LATENCY_COUNT || bucket >= BW_HISTOGRAM_BUCKETS) return 0;
    return atomic_load_explicit(&stats->latency_ns[which][bucket], memory_order_relaxed);
}

uint64_t bw_gateway_latency_sum(const bw_gateway_stats *stats, uint32_t which) {
    return which < BW_LATENCY_COUNT
               ? atomic_load_explicit(&stats->latency_sum_ns[which], memory_order_relaxed)
               : 0;
}
