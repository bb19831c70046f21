/* From a writer's commit to a reader that has the record, across two processes on two cores, in ns.
 *
 *   bench_hop WRITER_CPU READER_CPU [RECORDS [CHANGES]]
 *
 * The writer does what the engine does for an update of CHANGES levels, one every 10 µs, and stamps the
 * record just before it commits; the reader polls the ring and stamps when the record is in its hands,
 * copied and checked. The floor, in the same run: one stamped cache line between the same two cores. Prints
 * one line of JSON: percentiles, and the histogram as [ns, count] in steps of an eighth of an octave.
 */
#define _GNU_SOURCE
#include "check.h"
#include "shm_reader.h"
#include "shm_writer.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GAP_NS 10000
#define FLOOR_ROUNDS 20000u

typedef struct line {
    alignas(128) _Atomic int64_t stamp_ns;
    alignas(128) _Atomic uint32_t reader_ready;
} line;

static line *shared;
static char path[] = "/dev/shm/bookwire-hop-XXXXXX", error[512];

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set)) perror("cannot pin"), exit(1);
}

static void pause_until(int64_t then_ns) {
    while (now_ns() < then_ns) {}
}

/* -- writer ------------------------------------------------------------------------------------ */

static void write_all(bw_shm_writer *writer, uint32_t records, uint32_t changes) {
    bw_book *book = bw_shm_writer_book(writer, 0);
    bw_book_store *store = bw_shm_writer_store(writer);
    uint64_t random = 88172645463325252u;
    int64_t evicted, next_ns = now_ns();
    for (uint32_t i = 0; i < records; i++) {
        pause_until(next_ns += GAP_NS);
        bw_record *record = bw_record_reserve(writer, changes);
        bw_level *change = (void *)(record + 1);
        bw_book_begin(book);
        for (uint32_t at = 0; at < changes; at++) {
            uint64_t r = next_random(&random);
            uint32_t side = at >= changes / 2;
            int64_t away = (int64_t)(r & 31) * (int64_t)(r >> 5 & 7);
            change[at] = (bw_level){.price = side ? 100001 + away : 100000 - away,
                                    .quantity = r >> 8 & 3 ? (int64_t)(r >> 40) + 1 : 0};
            bw_book_set(store, book, side, change[at].price, change[at].quantity, 0, &evicted);
        }
        book->sequence++;
        bw_book_end(store, book);
        record->type = BW_RECORD_DELTA;
        record->book = 0;
        record->sequence = book->sequence;
        bw_record_commit(writer, record, changes / 2, changes - changes / 2, now_ns());
    }
}

static void write_floor(void) {
    int64_t next_ns = now_ns();
    for (uint32_t i = 0; i < FLOOR_ROUNDS; i++) {
        pause_until(next_ns += GAP_NS);
        atomic_store_explicit(&shared->stamp_ns, now_ns(), memory_order_release);
    }
}

/* -- reader ------------------------------------------------------------------------------------ */

static int64_t *taken;

static uint32_t read_floor(void) {
    uint32_t count = 0;
    for (int64_t last = 0; count < FLOOR_ROUNDS - 1;) {
        int64_t stamp_ns = atomic_load_explicit(&shared->stamp_ns, memory_order_acquire);
        if (stamp_ns == last) continue;
        if (stamp_ns < 0) break;
        taken[count++] = now_ns() - stamp_ns;
        last = stamp_ns;
    }
    return count;
}

static uint32_t read_all(bw_segment *segment, uint32_t records) {
    bw_ring_cursor cursor = {0};
    uint32_t count = 0;
    for (uint64_t sequence = 0; sequence < records;) {
        const bw_record *record;
        if (bw_ring_next(segment, &cursor, &record) != BW_READ_OK) continue;
        taken[count++] = now_ns() - record->published_ns;
        sequence = record->sequence;
        bw_ring_done(segment, &cursor, record);
    }
    return count;
}

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void show(const char *name, uint32_t count) {
    static const double at[] = {0.5, 0.9, 0.99, 0.999};
    qsort(taken, count, sizeof *taken, compare);
    printf("\"%s\": {\"count\": %u, \"min\": %lld", name, count, (long long)taken[0]);
    for (uint32_t i = 0; i < 4; i++)
        printf(", \"p%g\": %lld", at[i] * 100, (long long)taken[(uint32_t)(at[i] * (count - 1))]);
    printf(", \"histogram\": [");
    for (uint32_t i = 0, from = 0; i < count; from = i) {
        uint32_t bucket = bw_histogram_bucket((uint64_t)taken[from]);
        while (i < count && bw_histogram_bucket((uint64_t)taken[i]) == bucket) i++;
        printf("%s[%lld, %u]", from ? ", " : "", (long long)taken[from], i - from);
    }
    printf("]}");
}

static void be_reader(int cpu, uint32_t records) {
    pin(cpu);
    bw_segment *segment = bw_segment_open(path, error, sizeof error);
    if (!segment) fprintf(stderr, "%s\n", error), exit(1);
    taken = calloc(records > FLOOR_ROUNDS ? records : FLOOR_ROUNDS, sizeof *taken);
    CHECK(taken);
    atomic_store(&shared->reader_ready, 1);
    uint32_t count = read_floor();
    printf("{");
    show("floor_ns", count);
    atomic_store(&shared->reader_ready, 2);
    count = read_all(segment, records);
    printf(", ");
    show("hop_ns", count);
    printf("}\n");
    fflush(stdout);
    bw_segment_close(segment);
    _exit(0);
}

int main(int argc, char **argv) {
    if (argc < 3) return fprintf(stderr, "usage: %s WRITER_CPU READER_CPU [RECORDS [CHANGES]]\n", argv[0]), 2;
    uint32_t records = argc > 3 ? (uint32_t)atoi(argv[3]) : 100000;
    uint32_t changes = argc > 4 ? (uint32_t)atoi(argv[4]) : 10;
    if (records < 100 || changes < 2 || changes > BW_RECORD_CHANGES_MAX) return 2;
    int fd = mkstemp(path);
    CHECK(fd >= 0 && close(fd) == 0);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    bw_shm_spec spec = {.path = path, .exchange = "bench", .book_capacity = 1, .level_capacity = 4096,
                        .chunk_capacity = 512, .ring_bytes = 1 << 23};
    bw_shm_writer *writer = bw_shm_writer_new(&spec, error, sizeof error);
    if (!writer) return fprintf(stderr, "%s\n", error), 1;
    CHECK(bw_shm_writer_add_book(writer, &(bw_symbol){.canonical = "BTC-USDT"}, 2, 5, 1) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) be_reader(atoi(argv[2]), records);
    pin(atoi(argv[1]));
    while (atomic_load(&shared->reader_ready) != 1) {}
    write_floor();
    atomic_store(&shared->stamp_ns, -1);
    while (atomic_load(&shared->reader_ready) != 2) {}
    write_all(writer, records, changes);
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    bw_shm_writer_close(writer);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
