/* Creates an exchange's segment: a temporary file, filled to its size, locked, renamed into place.
 *
 * Whether a writer lives is told by a lock on its file (fcntl OFD, exclusive): the kernel lets go of it
 * when the process ends, however it ends, and no process id can lie about it, not even across
 * containers. The lock on the temporary file also keeps two starting writers apart.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* F_OFD_SETLK */
#endif
#include "shm_writer_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

__attribute__((format(printf, 3, 4))) static bool refuse(char *error, uint32_t error_bytes,
                                                         const char *format, ...) {
    int saved = errno;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error, error_bytes, format, arguments);
    va_end(arguments);
    errno = saved;
    return false;
}

/* -- layout ------------------------------------------------------------------------------------ */

typedef struct plan_of {
    uint64_t symbol, book, directory, chunk, ring, stats, timing, bytes;
    uint32_t chunks;
} plan_of;

static uint64_t page_up(uint64_t bytes) {
    return (bytes + 4095) & ~UINT64_C(4095);
}

static plan_of lay_out(const bw_shm_spec *spec) {
    uint64_t sides = (uint64_t)spec->book_capacity * BW_SIDES;
    plan_of plan = {.symbol = BW_SHM_HEADER_BYTES};
    plan.chunks = spec->chunk_capacity < sides ? (uint32_t)sides : spec->chunk_capacity;
    plan.book = page_up(plan.symbol + spec->book_capacity * sizeof(bw_symbol));
    plan.directory = page_up(plan.book + spec->book_capacity * sizeof(bw_book));
    plan.chunk = page_up(plan.directory + sides * bw_book_directory_capacity(spec->level_capacity) *
                                              sizeof(bw_directory_entry));
    plan.ring = page_up(plan.chunk + plan.chunks * sizeof(bw_chunk));
    plan.stats = page_up(plan.ring + spec->ring_bytes);
    plan.timing = page_up(plan.stats + sizeof(bw_stats));
    plan.bytes = page_up(plan.timing + sizeof(bw_timing));
    return plan;
}

uint64_t bw_shm_bytes_needed(const bw_shm_spec *spec) {
    return lay_out(spec).bytes;
}

static bool check_spec(const bw_shm_spec *spec, char *error, uint32_t error_bytes) {
    errno = EINVAL;
    if (spec->book_capacity == 0 || spec->book_capacity > 1u << 20)
        return refuse(error, error_bytes, "%s: book_capacity is %u, must be 1 to %u", spec->path,
                      spec->book_capacity, 1u << 20);
    if (spec->level_capacity < BW_CHUNK_LEVELS || spec->level_capacity > 1u << 24)
        return refuse(error, error_bytes, "%s: level_capacity is %u, must be %u to %u", spec->path,
                      spec->level_capacity, BW_CHUNK_LEVELS, 1u << 24);
    if (spec->ring_bytes & (spec->ring_bytes - 1) || spec->ring_bytes < 4 * BW_RECORD_BYTES_MAX ||
        spec->ring_bytes > UINT64_C(1) << 40)
        return refuse(error, error_bytes, "%s: ring_bytes is %llu, must be a power of two of at least %llu",
                      spec->path, (unsigned long long)spec->ring_bytes, 4ull * BW_RECORD_BYTES_MAX);
    if (strlen(spec->exchange) >= sizeof(((bw_shm_header *)0)->exchange))
        return refuse(error, error_bytes, "%s: exchange id '%s' is too long", spec->path, spec->exchange);
    return true;
}

/* -- the file ---------------------------------------------------------------------------------- */

static int take_lock(int fd) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_SETLK, &lock);
}

static bool same_file(const char *path, int fd) {
    struct stat named, held;
    return stat(path, &named) == 0 && fstat(fd, &held) == 0 && named.st_dev == held.st_dev &&
           named.st_ino == held.st_ino;
}

/* The temporary file, locked. A leftover of a killed starter is taken over. */
static int open_temporary(const char *path, char *error, uint32_t error_bytes) {
    for (uint32_t tries = 0; tries < 16; tries++) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0) {
            refuse(error, error_bytes, "%s: cannot create: %s; the directory must exist and be writable",
                   path, strerror(errno));
            return -1;
        }
        if (take_lock(fd) == 0 && same_file(path, fd)) {
            if (ftruncate(fd, 0) == 0) return fd;
        } else if (errno == EAGAIN || errno == EACCES) {
            refuse(error, error_bytes, "%s: another writer of this exchange is just starting", path);
            close(fd);
            errno = EBUSY;
            return -1;
        }
        close(fd);
    }
    refuse(error, error_bytes, "%s: cannot lock: %s", path, strerror(errno));
    return -1;
}

/* True unless a living writer holds the segment at `path`. */
static bool is_vacant(const char *path, char *error, uint32_t error_bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT) return true;
        return refuse(error, error_bytes, "%s: cannot look at the file that is there: %s", path,
                      strerror(errno));
    }
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    bool held = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    bw_shm_header header = {0};
    if (held && pread(fd, &header, sizeof header, 0) != (ssize_t)sizeof header) header.writer_pid = 0;
    close(fd);
    errno = EBUSY;
    if (held)
        return refuse(error, error_bytes, "%s: in use by process %u: stop that one first", path,
                      header.writer_pid);
    return true;
}

/* Reserves every byte, so that a full file system is an error now and not a bus error later. */
static bool reserve_space(int fd, const char *path, uint64_t bytes, char *error, uint32_t error_bytes) {
    struct statvfs space;
    uint64_t available = UINT64_MAX;
    if (fstatvfs(fd, &space) == 0) available = (uint64_t)space.f_bavail * space.f_frsize;
    int failure = available < bytes ? ENOSPC : posix_fallocate(fd, 0, (off_t)bytes);
    if (failure == 0) return true;
    errno = failure;
    if (failure != ENOSPC && failure != EFBIG)
        return refuse(error, error_bytes, "%s: cannot reserve %llu bytes: %s", path,
                      (unsigned long long)bytes, strerror(failure));
    return refuse(error, error_bytes,
                  "%s: too little shared memory: %llu bytes needed, %llu free, %llu missing; free some, "
                  "lower levels_max or ring_bytes, or give more (container: --shm-size=%llum, host: "
                  "mount -o remount,size=... /dev/shm)",
                  path, (unsigned long long)bytes, (unsigned long long)available,
                  (unsigned long long)(bytes > available ? bytes - available : 0),
                  (unsigned long long)((bytes >> 20) * 5 / 4 + 64));
}

static uint64_t wall_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void fill_header(bw_shm_header *header, const bw_shm_spec *spec, const plan_of *plan) {
    memcpy(header->magic, BW_SHM_MAGIC, sizeof header->magic);
    header->layout_version = BW_SHM_LAYOUT_VERSION;
    header->header_bytes = BW_SHM_HEADER_BYTES;
    header->segment_bytes = plan->bytes;
    header->generation = wall_ns();
    header->exchange_number = spec->exchange_number;
    header->writer_pid = (uint32_t)getpid();
    memcpy(header->exchange, spec->exchange, strlen(spec->exchange));
    header->book_capacity = spec->book_capacity;
    header->chunk_capacity = plan->chunks;
    header->chunk_levels = BW_CHUNK_LEVELS;
    header->symbol_offset = plan->symbol;
    header->book_offset = plan->book;
    header->directory_offset = plan->directory;
    header->chunk_offset = plan->chunk;
    header->ring_offset = plan->ring;
    header->ring_bytes = spec->ring_bytes;
    header->stats_offset = plan->stats;
    header->timing_offset = plan->timing;
    atomic_store(&header->heartbeat_ns, header->generation);
    atomic_store(&header->state, BW_SEGMENT_STARTING);
}

/* Maps the reserved file and fills in all that a reader needs to find its way. */
static bw_shm_writer *map_segment(int fd, const bw_shm_spec *spec, const plan_of *plan) {
    bw_shm_writer *writer = calloc(1, sizeof *writer);
    uint32_t *free_chunk = calloc(plan->chunks, sizeof *free_chunk);
    char *path = strdup(spec->path);
    void *base = MAP_FAILED;
    if (writer && free_chunk && path)
        base = mmap(NULL, plan->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (base == MAP_FAILED) {
        free(writer);
        free(free_chunk);
        free(path);
        return NULL;
    }
    uint8_t *bytes = base;
    writer->header = base;
    writer->stats = (void *)(bytes + plan->stats);
    writer->timing = (void *)(bytes + plan->timing);
    writer->timing->budget_every = BW_BUDGET_EVERY;
    writer->symbol = (void *)(bytes + plan->symbol);
    writer->ring = bytes + plan->ring;
    writer->ring_mask = spec->ring_bytes - 1;
    writer->bytes = plan->bytes;
    writer->path = path;
    writer->fd = fd;
    bw_book_area area = {.base = bytes, .book_offset = plan->book, .directory_offset = plan->directory,
                         .chunk_offset = plan->chunk, .books = spec->book_capacity,
                         .level_capacity = spec->level_capacity, .chunk_capacity = plan->chunks};
    bw_book_store_init(&writer->store, &area, free_chunk);
    fill_header(writer->header, spec, plan);
    return writer;
}

bw_shm_writer *bw_shm_writer_new(const bw_shm_spec *spec, char *error, uint32_t error_bytes) {
    if (!check_spec(spec, error, error_bytes)) return NULL;
    plan_of plan = lay_out(spec);
    char temporary[4096];
    if (snprintf(temporary, sizeof temporary, "%s.new", spec->path) >= (int)sizeof temporary) {
        errno = ENAMETOOLONG;
        refuse(error, error_bytes, "%.200s...: path too long", spec->path);
        return NULL;
    }
    int fd = open_temporary(temporary, error, error_bytes);
    if (fd < 0) return NULL;
    bw_shm_writer *writer = NULL;
    if (is_vacant(spec->path, error, error_bytes) &&
        reserve_space(fd, spec->path, plan.bytes, error, error_bytes)) {
        writer = map_segment(fd, spec, &plan);
        if (!writer) refuse(error, error_bytes, "%s: cannot map %llu bytes: %s", spec->path,
                            (unsigned long long)plan.bytes, strerror(errno));
    }
    if (writer && rename(temporary, spec->path) == 0) return writer;
    if (writer) refuse(error, error_bytes, "%s: cannot rename into place: %s", spec->path, strerror(errno));
    int saved = errno;
    unlink(temporary);
    if (writer) bw_shm_writer_close(writer);
    else close(fd);
    errno = saved;
    return NULL;
}

void bw_shm_writer_close(bw_shm_writer *writer) {
    if (!writer) return;
    atomic_store(&writer->header->state, BW_SEGMENT_CLOSED);
    bw_shm_writer_ring_bells(writer);
    for (uint32_t i = 0; i < writer->bell_count; i++) bw_ringer_drop(&writer->bell[i]);
    if (same_file(writer->path, writer->fd)) unlink(writer->path);
    munmap(writer->header, writer->bytes);
    close(writer->fd);
    free(writer->store.free_chunk);
    free(writer->path);
    free(writer);
}
