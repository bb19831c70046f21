/* The ring of raw frames: the loop's end, which copies once and never waits, and a reader's. */
#include "raw_ring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct bw_raw_writer {
    bw_raw_header *header;
    uint8_t *ring;
    uint64_t mask;
    uint64_t bytes;
    char *path;
    ino_t inode;
};

struct bw_raw_reader {
    const bw_raw_header *header;
    uint64_t bytes;
    uint64_t ring_bytes;
};

static void *refuse(char *error, uint32_t error_bytes, const char *path, const char *why) {
    snprintf(error, error_bytes, "%s: %s", path, why);
    return NULL;
}

/* -- the loop's end ------------------------------------------------------------------------------ */

static int make_file(const char *path, uint64_t bytes, ino_t *inode) {
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) return -1;
    struct stat made;
    int failure = posix_fallocate(fd, 0, (off_t)bytes);
    if (failure || fstat(fd, &made)) {
        close(fd);
        unlink(path);
        errno = failure ? failure : errno;
        return -1;
    }
    *inode = made.st_ino;
    return fd;
}

bw_raw_writer *bw_raw_writer_new(const bw_raw_spec *spec, char *error, uint32_t error_bytes) {
    char temporary[4096];
    uint64_t bytes = BW_RAW_HEADER_BYTES + spec->ring_bytes;
    if (spec->ring_bytes & (spec->ring_bytes - 1) || spec->ring_bytes < 4ull * BW_RAW_PAYLOAD_MAX)
        return refuse(error, error_bytes, spec->path, "a raw ring is a power of two of at least 32 MiB");
    if (strlen(spec->exchange) >= sizeof ((bw_raw_header *)0)->exchange ||
        snprintf(temporary, sizeof temporary, "%s.new", spec->path) >= (int)sizeof temporary)
        return refuse(error, error_bytes, spec->path, "name too long");
    ino_t inode = 0;
    int fd = make_file(temporary, bytes, &inode);
    if (fd < 0) return refuse(error, error_bytes, spec->path, strerror(errno));
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    close(fd);
    bw_raw_writer *writer = base == MAP_FAILED ? NULL : calloc(1, sizeof *writer);
    char *path = strdup(spec->path);
    if (!writer || !path) {
        if (base != MAP_FAILED) munmap(base, bytes);
        unlink(temporary);
        free(writer);
        free(path);
        return refuse(error, error_bytes, spec->path, "cannot map it: out of memory");
    }
    *writer = (bw_raw_writer){.header = base, .ring = (uint8_t *)base + BW_RAW_HEADER_BYTES,
                              .mask = spec->ring_bytes - 1, .bytes = bytes, .path = path, .inode = inode};
    bw_raw_header *header = base;
    memcpy(header->magic, BW_RAW_MAGIC, sizeof header->magic);
    header->layout_version = BW_RAW_LAYOUT_VERSION;
    header->header_bytes = BW_RAW_HEADER_BYTES;
    header->file_bytes = bytes;
    header->generation = spec->generation;
    header->ring_bytes = spec->ring_bytes;
    header->exchange_number = spec->exchange_number;
    header->level_capacity = spec->level_capacity;
    memcpy(header->exchange, spec->exchange, strlen(spec->exchange));
    if (rename(temporary, spec->path) == 0) return writer;
    refuse(error, error_bytes, spec->path, strerror(errno));
    unlink(temporary);
    bw_raw_writer_close(writer);
    return NULL;
}

void bw_raw_writer_close(bw_raw_writer *writer) {
    if (!writer) return;
    struct stat named;
    if (stat(writer->path, &named) == 0 && named.st_ino == writer->inode) unlink(writer->path);
    munmap(writer->header, writer->bytes);
    free(writer->path);
    free(writer);
}

void bw_raw_put(bw_raw_writer *writer, bw_raw_record record, const void *payload, size_t bytes) {
    bw_raw_header *header = writer->header;
    record.payload_bytes = (uint32_t)bytes;
    record.cut = bytes > BW_RAW_PAYLOAD_MAX;
    if (record.cut) {
        atomic_fetch_add_explicit(&header->oversize, 1, memory_order_relaxed);
        bytes = 0;
    }
    uint64_t need = (sizeof record + bytes + 7) & ~UINT64_C(7);
    uint64_t at = atomic_load_explicit(&header->head, memory_order_relaxed);
    uint64_t to_end = writer->mask + 1 - (at & writer->mask);
    uint64_t pad = to_end < need ? to_end : 0;
    /* a follower judges by it whether what it read may have been overwritten: it goes first */
    atomic_store_explicit(&header->reserved, at + pad + need, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    if (pad) {
        bw_raw_record *rest = (void *)(writer->ring + (at & writer->mask));
        rest->bytes = (uint32_t)pad;
        rest->type = BW_RAW_PAD;
    }
    uint8_t *out = writer->ring + ((at + pad) & writer->mask);
    record.bytes = (uint32_t)need;
    memcpy(out, &record, sizeof record);
    if (bytes) memcpy(out + sizeof record, payload, bytes);
    memset(out + sizeof record + bytes, 0, need - sizeof record - bytes);
    atomic_store_explicit(&header->head, at + pad + need, memory_order_release);
}

/* -- a reader's end ------------------------------------------------------------------------------ */

bw_raw_reader *bw_raw_reader_open(const char *path, char *error, uint32_t error_bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat file;
    if (fd < 0 || fstat(fd, &file)) {
        refuse(error, error_bytes, path, strerror(errno));
        if (fd >= 0) close(fd);
        return NULL;
    }
    uint64_t bytes = (uint64_t)file.st_size;
    void *base = MAP_FAILED;
    if (bytes > BW_RAW_HEADER_BYTES) base = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (base == MAP_FAILED) return refuse(error, error_bytes, path, "too short, or it cannot be mapped");
    const bw_raw_header *header = base;
    uint64_t ring = header->ring_bytes;
    bool sound = memcmp(header->magic, BW_RAW_MAGIC, sizeof header->magic) == 0 &&
                 header->layout_version == BW_RAW_LAYOUT_VERSION &&
                 header->header_bytes == BW_RAW_HEADER_BYTES && ring && (ring & (ring - 1)) == 0 &&
                 ring <= bytes - BW_RAW_HEADER_BYTES;
    bw_raw_reader *reader = sound ? calloc(1, sizeof *reader) : NULL;
    if (!reader) {
        munmap(base, bytes);
        return refuse(error, error_bytes, path, "not a ring of raw frames of this version");
    }
    *reader = (bw_raw_reader){.header = header, .bytes = bytes, .ring_bytes = ring};
    return reader;
}

void bw_raw_reader_close(bw_raw_reader *reader) {
    if (!reader) return;
    munmap((void *)(uintptr_t)reader->header, reader->bytes);
    free(reader);
}

const bw_raw_header *bw_raw_reader_header(const bw_raw_reader *reader) {
    return reader->header;
}

bw_ring_view bw_raw_reader_ring(const bw_raw_reader *reader) {
    return (bw_ring_view){.base = (const uint8_t *)reader->header + BW_RAW_HEADER_BYTES,
                          .bytes = reader->ring_bytes, .head = &reader->header->head,
                          .reserved = &reader->header->reserved};
}
