/* libFuzzer target: a hostile or torn segment must never crash a reader or make it hang.
 *
 * A sound segment is made once; each input is a list of patches to it, undone afterwards. With
 * -DBW_FUZZ_TORN a second thread puts the patches in and takes them out while the reader reads, as a
 * writer would that goes mad. An input is 8 bytes of ring position, then patches of
 * {u8 region | width << 4, u16 offset, `1 << width` bytes}.
 *
 *   clang-14 -g -O2 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -DBW_GONE_CHECK_NS=5000 \
 *     -DBW_COPY_PATIENCE_NS=20000 -I handlers/native handlers/native/fuzz/fuzz_ring.c \
 *     handlers/native/{book,book_batch,book_set,book_store}.c \
 *     handlers/native/shm_{copy,create,reader,writer}.c -o fuzz_ring
 *   ./fuzz_ring -max_len=512 -max_total_time=600
 */
#include "shm_reader.h"
#include "shm_writer.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATCHES_MAX 64u
#define ROOM 2048u

typedef struct patch {
    uint32_t bytes;
    uint8_t *at;
    uint8_t old[8], new[8];
} patch;

static char path[] = "/tmp/bookwire-fuzz-XXXXXX";
static uint8_t *memory;
static uint64_t memory_bytes;
static uint64_t region[8][2]; /* offset, bytes */
static patch patches[PATCHES_MAX];
static uint32_t patch_count;

static void need(bool holds, const char *what) {
    if (holds) return;
    perror(what);
    abort();
}

static void write_books(bw_shm_writer *writer) {
    bw_symbol symbol = {.canonical = "BTC-USDT", .native = "BTCUSDT"};
    int64_t evicted;
    for (uint32_t index = 0; index < 2; index++) {
        need(bw_shm_writer_add_book(writer, &symbol, 2, 5, 1) == (int)index, "add_book");
        bw_book *book = bw_shm_writer_book(writer, index);
        for (uint32_t turn = 0; turn < 40; turn++) {
            bw_record *record = bw_record_reserve(writer, 20);
            bw_level *change = (bw_level *)(void *)(record + 1);
            bw_book_begin(book);
            for (uint32_t i = 0; i < 20; i++) {
                uint32_t side = i >= 10;
                int64_t away = (turn * 20 + i) * (index ? 1 : 97) % 4000;
                change[i] = (bw_level){.price = side ? 5001 + away : 5000 - away, .quantity = i + 1};
                bw_book_set(bw_shm_writer_store(writer), book, side, change[i].price, change[i].quantity,
                            change[i].orders, &evicted);
            }
            book->sequence++;
            bw_book_end(bw_shm_writer_store(writer), book);
            record->type = turn == 30 ? BW_RECORD_RESET : BW_RECORD_DELTA;
            record->book = index;
            record->sequence = book->sequence;
            bw_record_commit(writer, record, 10, 10, 1);
        }
    }
}

static void note_regions(const bw_shm_header *header) {
    uint64_t starts[8][2] = {
        {0, 256}, {header->symbol_offset, 256}, {header->book_offset, 1024}, {header->directory_offset, 2048},
        {header->chunk_offset, 16 * sizeof(bw_chunk)}, {header->ring_offset, 65536},
        {header->stats_offset, 256}, {0, header->segment_bytes}};
    memcpy(region, starts, sizeof region);
}

/* The template outlives its writer: closing would unlink it, so its bytes are copied to a file of ours. */
static void make_template(void) {
    char error[512], source[] = "/tmp/bookwire-fuzz-source-XXXXXX";
    need(mkdtemp(source) != NULL, "mkdtemp");
    char file[64];
    snprintf(file, sizeof file, "%s/x.shm", source);
    bw_shm_spec spec = {.path = file, .exchange = "fuzz", .book_capacity = 2, .level_capacity = 1024,
                        .chunk_capacity = 48, .ring_bytes = 1 << 19};
    bw_shm_writer *writer = bw_shm_writer_new(&spec, error, sizeof error);
    need(writer != NULL, error);
    write_books(writer);
    note_regions(bw_shm_writer_header(writer));
    memory_bytes = bw_shm_writer_header(writer)->segment_bytes;
    int fd = mkstemp(path);
    need(fd >= 0 && write(fd, bw_shm_writer_header(writer), memory_bytes) == (ssize_t)memory_bytes, "write");
    bw_shm_writer_close(writer);
    rmdir(source);
    memory = mmap(NULL, memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    need(memory != MAP_FAILED, "mmap");
    close(fd);
    ((bw_shm_header *)(void *)memory)->state = BW_SEGMENT_RUNNING;
}

__attribute__((destructor)) static void leave_nothing(void) {
    if (memory) unlink(path);
}

static void parse_patches(const uint8_t *data, size_t size) {
    patch_count = 0;
    while (size >= 4 && patch_count < PATCHES_MAX) {
        const uint64_t *where = region[data[0] & 7];
        uint32_t bytes = 1u << (data[0] >> 4 & 3);
        uint64_t offset = (uint64_t)(data[1] | data[2] << 8) * ((data[0] & 7) == 7 ? 31 : 1) % (where[1] - 8);
        if (size < 3 + bytes) break;
        patch *next = &patches[patch_count++];
        next->at = memory + where[0] + offset;
        next->bytes = bytes;
        memcpy(next->old, next->at, bytes);
        memcpy(next->new, data + 3, bytes);
        data += 3 + bytes;
        size -= 3 + bytes;
        memcpy(next->at, next->new, bytes);
    }
}

static void undo_patches(void) {
    for (uint32_t i = patch_count; i--;) memcpy(patches[i].at, patches[i].old, patches[i].bytes);
}

#ifdef BW_FUZZ_TORN
static _Atomic int tearing; /* 0 rest, 1 tear, 2 asked to rest */

static void *tear(void *unused) {
    (void)unused;
    bw_book *books = (bw_book *)(void *)(memory + region[2][0]);
    for (;;) {
        int asked = 2;
        atomic_compare_exchange_strong(&tearing, &asked, 0);
        while (atomic_load(&tearing) == 0) usleep(1);
        undo_patches();
        books[0].sequence++, books[1].sequence++;
        atomic_fetch_add(&books[0].version, 2);
        for (uint32_t i = 0; i < patch_count; i++) memcpy(patches[i].at, patches[i].new, patches[i].bytes);
    }
    return NULL;
}
#endif

static void read_all(uint64_t position) {
    static bw_level bids[ROOM], asks[ROOM];
    char error[512];
    bw_segment *segment = bw_segment_open(path, error, sizeof error);
    if (!segment) return;
    for (uint32_t book = 0; book < 3; book++) {
        const bw_symbol *symbol = bw_segment_symbol(segment, book);
        volatile char letter = symbol ? symbol->canonical[31] : 0;
        (void)letter;
        bw_book header;
        bw_book_read_header(segment, book, &header);
        for (uint32_t depth = 0; depth <= 10; depth += 10) {
            uint32_t bid_count = ROOM, ask_count = ROOM;
            int result = bw_book_read(segment, book, depth, &header, bids, &bid_count, asks, &ask_count,
                                      NULL);
            if (result == BW_READ_OK && (bid_count > ROOM || ask_count > ROOM)) abort();
        }
    }
    bw_ring_cursor cursors[2] = {{.position = 0}, {.position = position}};
    for (uint32_t i = 0; i < 2; i++)
        for (uint32_t turn = 0; turn < 200; turn++) {
            const bw_record *record;
            int result = bw_ring_next(segment, &cursors[i], &record);
            if (result == BW_READ_EMPTY) break;
            if (result != BW_READ_OK) continue;
            const bw_level *change = (const bw_level *)(const void *)(record + 1);
            uint64_t sum = 0, count = (uint64_t)record->bid_count + record->ask_count;
            for (uint64_t at = 0; at < count; at++) sum += (uint64_t)change[at].price;
            volatile uint64_t kept = sum;
            (void)kept;
            bw_ring_done(segment, &cursors[i], record);
        }
    bw_segment_alive(segment, 0, 1000);
    bw_segment_alive(segment, INT64_MAX, 1000);
    bw_segment_replaced(segment);
    bw_segment_close(segment);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!memory) {
        make_template();
#ifdef BW_FUZZ_TORN
        pthread_t thread;
        need(pthread_create(&thread, NULL, tear, NULL) == 0, "pthread_create");
#endif
    }
    if (size < 8) return 0;
    uint64_t position;
    memcpy(&position, data, 8);
    parse_patches(data + 8, size - 8);
#ifdef BW_FUZZ_TORN
    atomic_store(&tearing, 1);
    for (uint32_t i = 0; i < 3; i++) read_all(position);
    atomic_store(&tearing, 2);
    while (atomic_load(&tearing)) {}
#else
    read_all(position);
#endif
    undo_patches();
    return 0;
}
