/* A sleeping reader's end of a doorbell: a file of one flag, and a FIFO to wait on.
 *
 * Both are made under temporary names and renamed, the FIFO first, so that a writer which finds the
 * flag finds both whole. The FIFO is opened for writing too: no hang-up when a writer leaves.
 */
#include "shm_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct bw_bell {
    _Atomic uint32_t *flag;
    int fifo_fd;
    char *bell_path, *fifo_path;
};

static int make_fifo(const char *path, const char *temporary) {
    unlink(temporary);
    if (mkfifo(temporary, 0660)) return -1;
    int fd = open(temporary, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && rename(temporary, path) == 0) return fd;
    if (fd >= 0) close(fd);
    unlink(temporary);
    return -1;
}

static void *make_flag(const char *path, const char *temporary) {
    unlink(temporary);
    int fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0660);
    if (fd < 0) return MAP_FAILED;
    void *mapped = MAP_FAILED;
    int failure = posix_fallocate(fd, 0, 4096);
    if (failure == 0) mapped = mmap(NULL, sizeof(uint32_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    else errno = failure;
    close(fd);
    if (mapped != MAP_FAILED && rename(temporary, path) == 0) return mapped;
    if (mapped != MAP_FAILED) munmap(mapped, sizeof(uint32_t));
    unlink(temporary);
    return MAP_FAILED;
}

bw_bell *bw_bell_new(const char *bell_path, const char *fifo_path, char *error, uint32_t error_bytes) {
    bw_bell *bell = calloc(1, sizeof *bell);
    char bell_temporary[4096], fifo_temporary[4096];
    snprintf(bell_temporary, sizeof bell_temporary, "%s.new", bell_path);
    snprintf(fifo_temporary, sizeof fifo_temporary, "%s.new", fifo_path);
    if (bell) bell->fifo_fd = -1;
    if (bell && (bell->bell_path = strdup(bell_path)) && (bell->fifo_path = strdup(fifo_path))) {
        bell->fifo_fd = make_fifo(fifo_path, fifo_temporary);
        void *flag = bell->fifo_fd < 0 ? MAP_FAILED : make_flag(bell_path, bell_temporary);
        if (flag != MAP_FAILED) {
            bell->flag = flag;
            return bell;
        }
    }
    int saved = errno;
    snprintf(error, error_bytes,
             "%s, %s: cannot make the doorbell: %s; the directory must exist and be writable", bell_path,
             fifo_path, strerror(saved));
    bw_bell_free(bell);
    errno = saved;
    return NULL;
}

void bw_bell_free(bw_bell *bell) {
    if (!bell) return;
    if (bell->flag) {
        munmap((void *)bell->flag, sizeof *bell->flag);
        unlink(bell->bell_path);
        unlink(bell->fifo_path);
    }
    if (bell->fifo_fd >= 0) close(bell->fifo_fd);
    free(bell->bell_path);
    free(bell->fifo_path);
    free(bell);
}

int bw_bell_fd(const bw_bell *bell) {
    return bell->fifo_fd;
}

void bw_bell_sleep(bw_bell *bell) {
    atomic_store_explicit(bell->flag, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* the flag before the last look at the rings */
}

void bw_bell_awake(bw_bell *bell) {
    char drained[256];
    atomic_store_explicit(bell->flag, 0, memory_order_relaxed);
    while (read(bell->fifo_fd, drained, sizeof drained) == (ssize_t)sizeof drained) {}
}
