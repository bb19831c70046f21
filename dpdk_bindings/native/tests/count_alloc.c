/* An interposed allocator that counts, to prove that the native loop allocates nothing once it is warm.
 *
 *   cc -shared -fPIC -O2 -o count_alloc.so count_alloc.c
 *   LD_PRELOAD=./count_alloc.so COUNT_ALLOC_THREAD=bw-feed program
 *
 * Only threads of that name count (all, if the variable is not set), and only between count_alloc_start()
 * and count_alloc_stop(), which a program finds by dlsym() or ctypes. glibc only: it calls the names that
 * glibc keeps for interposers. COUNT_ALLOC_ABORT=1 aborts at the first one, for a debugger to show it.
 */
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *old);

enum { MALLOC, CALLOC, REALLOC, MEMALIGN, FREE, MMAP, MUNMAP, KINDS };
static _Atomic uint64_t counted[KINDS];
static _Atomic int counting;
static char wanted[16];
static int abort_at_first;

__attribute__((visibility("default"))) void count_alloc_start(void) {
    const char *name = getenv("COUNT_ALLOC_THREAD");
    abort_at_first = getenv("COUNT_ALLOC_ABORT") != NULL;
    strncpy(wanted, name ? name : "", sizeof wanted - 1);
    for (int kind = 0; kind < KINDS; kind++) atomic_store(&counted[kind], 0);
    atomic_store(&counting, 1);
}

/* malloc, calloc, realloc, memalign, free, mmap, munmap since count_alloc_start(). */
__attribute__((visibility("default"))) void count_alloc_stop(uint64_t out[KINDS]) {
    atomic_store(&counting, 0);
    for (int kind = 0; kind < KINDS; kind++) out[kind] = atomic_load(&counted[kind]);
}

static void count(int kind) {
    char name[16] = "";
    if (!atomic_load_explicit(&counting, memory_order_relaxed)) return;
    if (*wanted && (prctl(PR_GET_NAME, name) != 0 || strcmp(name, wanted) != 0)) return;
    atomic_fetch_add(&counted[kind], 1);
    if (abort_at_first) abort();
}

__attribute__((visibility("default"))) void *malloc(size_t bytes) {
    count(MALLOC);
    return __libc_malloc(bytes);
}

__attribute__((visibility("default"))) void *calloc(size_t count_, size_t bytes) {
    count(CALLOC);
    return __libc_calloc(count_, bytes);
}

__attribute__((visibility("default"))) void *realloc(void *old, size_t bytes) {
    count(REALLOC);
    return __libc_realloc(old, bytes);
}

__attribute__((visibility("default"))) void *aligned_alloc(size_t alignment, size_t bytes) {
    count(MEMALIGN);
    return __libc_memalign(alignment, bytes);
}

__attribute__((visibility("default"))) int posix_memalign(void **out, size_t alignment, size_t bytes) {
    count(MEMALIGN);
    *out = __libc_memalign(alignment, bytes);
    return *out ? 0 : 12; /* ENOMEM */
}

__attribute__((visibility("default"))) void free(void *old) {
    if (old) count(FREE);
    __libc_free(old);
}

__attribute__((visibility("default"))) void *mmap(void *at, size_t bytes, int protection, int flags,
                                                  int descriptor, off_t offset) {
    count(MMAP);
    return (void *)syscall(SYS_mmap, at, bytes, protection, flags, descriptor, offset);
}

__attribute__((visibility("default"))) int munmap(void *at, size_t bytes) {
    count(MUNMAP);
    return (int)syscall(SYS_munmap, at, bytes);
}
