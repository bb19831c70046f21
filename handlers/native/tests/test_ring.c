/* Two processes: one writes at full speed, the other copies whole books and follows the ring. Every copy
 * and every followed state must be the book at exactly its sequence, which the writer logs from a model
 * of its own. Then the writer is killed again and again, anywhere, and another takes its place.
 */
#define _GNU_SOURCE
#include "check.h"
#include "shm_reader.h"
#include "shm_writer.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PRICES 6000 /* a side */
#define LOG_ENTRIES (1u << 20)
#define ROOM 16384u

typedef struct log_entry {
    _Atomic uint64_t sequence;
    uint64_t sum; /* of all levels, whatever their order */
    uint32_t count[2];
} log_entry;

static log_entry *written; /* shared by both processes; slot = sequence modulo its length */
static char directory[] = "/dev/shm/bookwire-test-XXXXXX";
static char path[256], error[512];
static bw_level bids[ROOM], asks[ROOM];

static uint64_t level_sum(uint32_t side, const bw_level *level) {
    uint64_t x = (uint64_t)level->price * 2 + side;
    x = (x ^ (x >> 31)) * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)level->quantity;
    x = (x ^ (x >> 29)) * UINT64_C(0xbf58476d1ce4e5b9) + level->orders;
    return (x ^ (x >> 32)) * UINT64_C(0x94d049bb133111eb);
}

static int64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* -- the writer -------------------------------------------------------------------------------- */

typedef struct model {
    bw_level level[2][PRICES]; /* by distance from the middle; quantity 0: not there */
    uint64_t sum;
    uint32_t count[2];
    int64_t scale;
} model;

typedef struct author {
    bw_shm_writer *shm;
    bw_book *book;
    model now;
    uint64_t random;
} author;

static int64_t price_at(const author *a, uint32_t side, uint32_t away) {
    return (side ? 100001 + (int64_t)away : 100000 - (int64_t)away) * a->now.scale;
}

static bw_level remember(author *a, uint32_t side, uint32_t away, int64_t quantity, uint32_t orders) {
    bw_level *level = &a->now.level[side][away];
    if (level->quantity) a->now.sum -= level_sum(side, level), a->now.count[side]--;
    *level = (bw_level){.price = price_at(a, side, away), .quantity = quantity,
                        .orders = quantity ? orders : 0};
    if (level->quantity) a->now.sum += level_sum(side, level), a->now.count[side]++;
    return *level;
}

static void finish(author *a, bw_record *record, uint8_t type, uint32_t bid_count, uint32_t ask_count) {
    uint64_t sequence = ++a->book->sequence;
    log_entry *entry = &written[sequence % LOG_ENTRIES];
    atomic_store(&entry->sequence, 0);
    entry->sum = a->now.sum;
    memcpy(entry->count, a->now.count, sizeof entry->count);
    atomic_store(&entry->sequence, sequence);
    bw_book_end(bw_shm_writer_store(a->shm), a->book);
    record->type = type;
    record->book = 1;
    record->epoch = a->book->epoch;
    record->sequence = sequence;
    bw_record_commit(a->shm, record, bid_count, ask_count, 0);
}

static void write_update(author *a) {
    uint32_t count[2] = {(uint32_t)(next_random(&a->random) % 20), (uint32_t)(next_random(&a->random) % 20)};
    bw_record *record = bw_record_reserve(a->shm, count[0] + count[1]);
    bw_level *change = (void *)(record + 1);
    int64_t evicted;
    bw_book_begin(a->book);
    for (uint32_t side = 0; side < 2; side++)
        for (uint32_t i = 0; i < count[side]; i++, change++) {
            uint64_t r = next_random(&a->random);
            uint32_t away = (uint32_t)(r >> 8) % (r & 3 ? PRICES / 40 : PRICES);
            *change = remember(a, side, away, r >> 60 < 6 ? 0 : (int64_t)(r >> 32 & 0xffff) + 1, r >> 50 & 7);
            bw_book_set(bw_shm_writer_store(a->shm), a->book, side, change->price, change->quantity,
                        change->orders, &evicted);
        }
    finish(a, record, BW_RECORD_DELTA, count[0], count[1]);
}

static void write_snapshot(author *a) {
    int64_t evicted;
    bw_book_begin(a->book);
    bw_book_clear(bw_shm_writer_store(a->shm), a->book);
    a->now = (model){.scale = 1};
    a->book->price_exponent = 0;
    for (uint32_t i = 0; i < 4000; i++) {
        uint32_t side = i & 1, away = (uint32_t)(next_random(&a->random) % PRICES);
        bw_level level = remember(a, side, away, (int64_t)i + 1, i & 3);
        bw_book_set(bw_shm_writer_store(a->shm), a->book, side, level.price, level.quantity, level.orders,
                    &evicted);
    }
    a->book->epoch++;
    finish(a, bw_record_reserve(a->shm, 0), BW_RECORD_RESET, 0, 0);
}

static void write_rescale(author *a) {
    bw_book_begin(a->book);
    CHECK(bw_book_rescale(bw_shm_writer_store(a->shm), a->book, 1, 0));
    a->now.scale *= 10;
    for (uint32_t side = 0; side < 2; side++)
        for (uint32_t away = 0; away < PRICES; away++)
            remember(a, side, away, a->now.level[side][away].quantity, a->now.level[side][away].orders);
    finish(a, bw_record_reserve(a->shm, 0), BW_RECORD_RESET, 0, 0);
}

static void write_for_ever(uint64_t seed, int ready) {
    static author a;
    bw_shm_spec spec = {.path = path, .exchange = "test", .book_capacity = 4, .level_capacity = 8192,
                        .chunk_capacity = 2048, .ring_bytes = 1 << 20};
    a.shm = bw_shm_writer_new(&spec, error, sizeof error);
    if (!a.shm) fprintf(stderr, "%s\n", error);
    CHECK(a.shm);
    bw_symbol symbol = {.canonical = "BTC-USDT"};
    CHECK(bw_shm_writer_add_book(a.shm, &symbol, 0, 0, 1) == 0);
    a.book = bw_shm_writer_book(a.shm, 1);
    a.random = seed;
    write_snapshot(&a);
    CHECK(bw_shm_writer_add_book(a.shm, &symbol, 0, 0, 1) == 1);
    CHECK(write(ready, "", 1) == 1);
    for (uint64_t turn = 1;; turn++)
        if (turn % 50000 == 0) write_snapshot(&a);
        else if (turn % 20011 == 0 && a.now.scale < 1000000) write_rescale(&a);
        else write_update(&a);
}

static pid_t start_writer(uint64_t seed) {
    int ready[2];
    CHECK(pipe(ready) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) write_for_ever(seed, ready[1]);
    char byte;
    close(ready[1]);
    CHECK(read(ready[0], &byte, 1) == 1);
    close(ready[0]);
    return child;
}

static void kill_writer(pid_t child) {
    int status;
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); /* not by a failed check before */
}

/* -- the reader -------------------------------------------------------------------------------- */

/* True when the log still holds the sequence and says the same. A lapped log proves nothing. */
static bool check_levels(uint64_t sequence, const bw_level *const side[2], const uint32_t count[2]) {
    const log_entry *entry = &written[sequence % LOG_ENTRIES];
    uint64_t logged = atomic_load(&entry->sequence), sum = entry->sum;
    uint32_t counts[2] = {entry->count[0], entry->count[1]};
    if (logged != sequence || atomic_load(&entry->sequence) != sequence) return false;
    for (uint32_t s = 0; s < 2; s++) {
        CHECK(count[s] == counts[s]);
        for (uint32_t i = 0; i < count[s]; i++) {
            sum -= level_sum(s, &side[s][i]);
            int64_t price = side[s][i].price;
            if (i) CHECK(s ? price > side[s][i - 1].price : price < side[s][i - 1].price);
        }
    }
    CHECK(sum == 0);
    return true;
}

static int copy(const bw_segment *segment, bw_book *header, uint32_t count[2], uint64_t *position) {
    count[0] = count[1] = ROOM;
    int result = bw_book_read(segment, 1, 0, header, bids, &count[0], asks, &count[1], position);
    if (result == BW_READ_OK) {
        CHECK(header->version % 2 == 0);
        for (uint32_t s = 0; s < 2; s++) {
            CHECK(count[s] == header->side[s].level_count);
            CHECK(memcmp(header->top[s], s ? asks : bids, header->top_count[s] * sizeof(bw_level)) == 0);
        }
    }
    return result;
}

static void test_copies(int64_t for_ns) {
    pid_t child = start_writer(88172645463325252u);
    bw_segment *segment = bw_segment_open(path, error, sizeof error);
    CHECK(segment);
    uint32_t copies = 0, checked = 0, busy = 0, count[2];
    uint64_t first = 0;
    bw_book header;
    for (int64_t end = monotonic_ns() + for_ns; monotonic_ns() < end || copies < 100;) {
        int result = copy(segment, &header, count, NULL);
        CHECK(result == BW_READ_OK || result == BW_READ_BUSY);
        if (result == BW_READ_BUSY) {
            CHECK(++busy < 1000);
            continue;
        }
        if (copies++ == 0) first = header.sequence;
        checked += check_levels(header.sequence, (const bw_level *[]){bids, asks}, count);
    }
    printf("%u deep copies, %u compared, %u busy, while %llu updates were written\n", copies, checked, busy,
           (unsigned long long)(header.sequence - first));
    CHECK(checked > copies / 2 && header.sequence > first);
    kill_writer(child);
    bw_segment_close(segment);
}

/* What the gateway does: copy, follow, copy again after a RESET or an overrun. */
static void test_following(int64_t for_ns) {
    pid_t child = start_writer(1234567);
    bw_segment *segment = bw_segment_open(path, error, sizeof error);
    bw_book_store *store = bw_book_store_new(1, 8192, 0);
    bw_book *mirror = bw_book_store_at(store, 0), header;
    bw_ring_cursor cursor = {0};
    uint32_t copies = 0, records = 0, checked = 0, count[2];
    uint64_t sequence = 0;
    bool synced = false;
    for (int64_t end = monotonic_ns() + for_ns; monotonic_ns() < end || checked < 50;) {
        if (!synced) {
            if (copy(segment, &header, count, &cursor.position) != BW_READ_OK) continue;
            bw_book_clear(store, mirror);
            bw_book_load(store, mirror, 0, bids, count[0]);
            bw_book_load(store, mirror, 1, asks, count[1]);
            sequence = header.sequence;
            synced = true;
            copies++;
        }
        const bw_record *record;
        int result = bw_ring_next(segment, &cursor, &record);
        if (result == BW_READ_OVERRUN) synced = false;
        if (result != BW_READ_OK) continue;
        if (record->sequence > sequence) {
            CHECK(record->sequence == sequence + 1 && record->book == 1);
            synced = record->type == BW_RECORD_DELTA;
            const bw_level *change = (const void *)(record + 1);
            int64_t evicted;
            for (uint32_t i = 0; synced && i < record->bid_count + record->ask_count; i++)
                bw_book_set(store, mirror, i >= record->bid_count, change[i].price, change[i].quantity,
                            change[i].orders, &evicted);
            sequence = record->sequence;
            records++;
        }
        CHECK(bw_ring_done(segment, &cursor, record) == BW_READ_OK);
        if (synced && records % 64 == 0) {
            for (uint32_t s = 0; s < 2; s++) count[s] = bw_book_copy(store, mirror, s, ROOM, s ? asks : bids);
            checked += check_levels(sequence, (const bw_level *[]){bids, asks}, count);
        }
    }
    printf("%u records followed over %u copies and %llu overruns, %u states compared\n", records, copies,
           (unsigned long long)cursor.overruns, checked);
    kill_writer(child);
    bw_segment_close(segment);
    bw_book_store_free(store);
}

/* Killed anywhere: reads end, what they give is right or DEAD; the next writer is seen and read. */
static void test_kills(uint32_t rounds) {
    uint32_t dead = 0, whole = 0, count[2];
    uint64_t random = 4711;
    bw_segment *segment = NULL;
    for (uint32_t round = 0; round < rounds; round++) {
        pid_t child = start_writer(round + 1);
        CHECK(!segment || bw_segment_replaced(segment));
        if (segment) bw_segment_close(segment);
        segment = bw_segment_open(path, error, sizeof error);
        bw_book header;
        int64_t until = monotonic_ns() + (int64_t)(next_random(&random) % 3000000);
        while (monotonic_ns() < until) {}
        kill_writer(child);
        int64_t start = monotonic_ns();
        int result = copy(segment, &header, count, NULL);
        CHECK(monotonic_ns() - start < 1000000000); /* 20 ms, and what a busy machine adds */
        CHECK(result == BW_READ_OK || result == BW_READ_DEAD);
        if (result == BW_READ_OK)
            whole += check_levels(header.sequence, (const bw_level *[]){bids, asks}, count);
        else dead++;
        int64_t beat = (int64_t)atomic_load(&bw_segment_header(segment)->heartbeat_ns);
        CHECK(!bw_segment_alive(segment, beat + 500000000, 2000000000));
        CHECK(!bw_segment_replaced(segment));
    }
    printf("%u writers killed: %u books whole and right, %u dead inside a write\n", rounds, whole, dead);
    bw_segment_close(segment);
}

int main(int argc, char **argv) {
    int64_t for_ns = (argc > 1 ? atoll(argv[1]) : 1) * 1000000000;
    CHECK(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/test.shm", directory);
    size_t bytes = LOG_ENTRIES * sizeof *written;
    written = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(written != MAP_FAILED);
    test_copies(for_ns);
    test_following(for_ns);
    test_kills(argc > 1 ? 400 : 40);
    CHECK(unlink(path) == 0 && rmdir(directory) == 0);
    return 0;
}
