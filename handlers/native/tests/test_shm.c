/* One writer and one reader of a segment, in one process: creation and its errors, books, tops, copies,
 * the ring over many laps, bells, life and death. */
#define _GNU_SOURCE
#include "check.h"
#include "shm_reader.h"
#include "shm_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[] = "/tmp/bookwire-test-XXXXXX";
static char path[256], bell_path[256], fifo_path[256], error[512];

static bw_shm_spec spec(void) {
    return (bw_shm_spec){.path = path, .exchange = "binance", .exchange_number = 1, .book_capacity = 4,
                         .level_capacity = 1024, .chunk_capacity = 64, .ring_bytes = 1 << 19};
}

static bw_shm_writer *make_writer(void) {
    bw_shm_spec s = spec();
    bw_shm_writer *writer = bw_shm_writer_new(&s, error, sizeof error);
    if (!writer) fprintf(stderr, "%s\n", error);
    CHECK(writer);
    return writer;
}

/* What the engine does for an update: changes and sequence under the lock, then the record. */
static void publish(bw_shm_writer *writer, uint32_t index, const bw_level *change, uint32_t bids,
                    uint32_t asks) {
    bw_book *book = bw_shm_writer_book(writer, index);
    bw_record *record = bw_record_reserve(writer, bids + asks);
    int64_t evicted;
    bw_book_begin(book);
    for (uint32_t i = 0; i < bids + asks; i++)
        bw_book_set(bw_shm_writer_store(writer), book, i >= bids, change[i].price, change[i].quantity,
                    change[i].orders, &evicted);
    book->sequence++;
    bw_book_end(bw_shm_writer_store(writer), book);
    *record = (bw_record){.type = BW_RECORD_DELTA, .book = index, .sequence = book->sequence};
    memcpy(record + 1, change, (bids + asks) * sizeof *change);
    bw_record_commit(writer, record, bids, asks, 77);
}

static void test_create(void) {
    bw_shm_writer *writer = make_writer();
    struct stat file;
    CHECK(stat(path, &file) == 0);
    bw_shm_spec s = spec();
    CHECK((uint64_t)file.st_size == bw_shm_bytes_needed(&s) && file.st_blocks * 512 >= file.st_size);
    CHECK(!bw_shm_writer_new(&s, error, sizeof error) && errno == EBUSY);
    CHECK(strstr(error, "in use by process"));
    bw_segment *segment = bw_segment_open(path, error, sizeof error);
    CHECK(segment && bw_segment_header(segment)->writer_pid == (uint32_t)getpid());
    int64_t beat = (int64_t)bw_segment_header(segment)->heartbeat_ns;
    CHECK(bw_segment_alive(segment, beat + 1000000000, 2000000000));
    CHECK(!bw_segment_alive(segment, beat + 3000000000, 2000000000));
    CHECK(!bw_segment_replaced(segment));
    bw_shm_writer_close(writer);
    CHECK(!bw_segment_alive(segment, beat, 2000000000) && access(path, F_OK) != 0);
    writer = make_writer();
    CHECK(bw_segment_replaced(segment));
    bw_segment_close(segment);
    bw_shm_writer_close(writer);
}

static void test_refusals(void) {
    bw_shm_spec s = spec();
    s.ring_bytes = 12345;
    CHECK(!bw_shm_writer_new(&s, error, sizeof error) && errno == EINVAL);
    CHECK(strstr(error, "ring_bytes is 12345"));
    s = spec();
    s.book_capacity = 0;
    CHECK(!bw_shm_writer_new(&s, error, sizeof error) && strstr(error, "book_capacity"));
    s = spec();
    s.path = "/nonexistent/x.shm";
    CHECK(!bw_shm_writer_new(&s, error, sizeof error) && errno == ENOENT);
    CHECK(strstr(error, "/nonexistent/x.shm"));
    s = spec();
    s.ring_bytes = UINT64_C(1) << 40;
    CHECK(!bw_shm_writer_new(&s, error, sizeof error) && errno == ENOSPC);
    CHECK(strstr(error, "missing") && strstr(error, "--shm-size") && strstr(error, path));
    CHECK(access(path, F_OK) != 0);
    FILE *file = fopen(path, "w");
    CHECK(!bw_segment_open(path, error, sizeof error) && strstr(error, "too short"));
    for (uint32_t i = 0; i < 8192; i++) fputc('x', file);
    fclose(file);
    CHECK(!bw_segment_open(path, error, sizeof error) && strstr(error, "not a Bookwire segment"));
    CHECK(unlink(path) == 0 && !bw_segment_open(path, error, sizeof error) && strstr(error, "No such file"));
}

static void test_books(void) {
    bw_shm_writer *writer = make_writer();
    bw_segment *segment = bw_segment_open(path, error, sizeof error);
    bw_symbol symbol = {.canonical = "BTC-USDT", .native = "BTCUSDT"};
    CHECK(bw_segment_book(segment, 0) == NULL);
    for (int i = 0; i < 4; i++) CHECK(bw_shm_writer_add_book(writer, &symbol, 2, 5, 99) == i);
    CHECK(bw_shm_writer_add_book(writer, &symbol, 2, 5, 99) == -1);
    CHECK(strcmp(bw_segment_symbol(segment, 3)->canonical, "BTC-USDT") == 0);
    CHECK(!bw_segment_symbol(segment, 4));
    bw_level change[] = {{.price = 100, .quantity = 1}, {.price = 99, .quantity = 2, .orders = 3},
                         {.price = 101, .quantity = 4}};
    publish(writer, 3, change, 2, 1);
    bw_book header;
    CHECK(bw_book_read_header(segment, 3, &header) == BW_READ_OK);
    CHECK(header.sequence == 1 && header.version == 2);
    CHECK(header.top_count[0] == 2 && header.top[0][1].orders == 3 && header.top[1][0].price == 101);
    CHECK(header.price_exponent == 2 && header.quantity_exponent == 5 && header.reason == BW_REASON_START);
    bw_level bids[8], asks[8];
    uint32_t bid_count = 8, ask_count = 8;
    uint64_t position = 1;
    CHECK(bw_book_read(segment, 3, 1, &header, bids, &bid_count, asks, &ask_count, &position) == BW_READ_OK);
    CHECK(bid_count == 1 && ask_count == 1 && bids[0].price == 100);
    CHECK(position == bw_segment_header(segment)->ring_head);
    CHECK(bw_book_read(segment, 4, 1, &header, bids, &bid_count, asks, &ask_count, NULL) == BW_READ_NO_BOOK);
    bw_segment_close(segment);
    bw_shm_writer_close(writer);
}

static void test_ring(void) {
    bw_shm_writer *writer = make_writer();
    bw_symbol symbol = {.canonical = "BTC-USDT"};
    bw_shm_writer_add_book(writer, &symbol, 2, 5, 99);
    bw_segment *segment = bw_segment_open(path, error, sizeof error);
    bw_ring_cursor cursor = {0};
    const bw_record *record;
    CHECK(bw_ring_next(segment, &cursor, &record) == BW_READ_EMPTY);
    static bw_level change[BW_RECORD_CHANGES_MAX];
    uint64_t state = 42;
    for (uint64_t sequence = 1; sequence < 3000; sequence++) {
        uint32_t bids = (uint32_t)(next_random(&state) % 100), asks = (uint32_t)(next_random(&state) % 100);
        if (sequence % 97 == 0) bids = BW_RECORD_CHANGES_MAX - asks;
        for (uint32_t i = 0; i < bids + asks; i++)
            change[i] = (bw_level){.price = (int64_t)i + 1, .quantity = (int64_t)(sequence + i)};
        publish(writer, 0, change, bids, asks);
        CHECK(bw_ring_next(segment, &cursor, &record) == BW_READ_OK);
        CHECK(record->sequence == sequence && record->bid_count == bids && record->ask_count == asks);
        CHECK(record->published_ns == 77 && memcmp(record + 1, change, (bids + asks) * sizeof *change) == 0);
        CHECK(bw_ring_done(segment, &cursor, record) == BW_READ_OK);
        CHECK(bw_ring_next(segment, &cursor, &record) == BW_READ_EMPTY);
    }
    for (uint32_t i = 0; i < 300; i++) publish(writer, 0, change, 100, 0);
    CHECK(bw_ring_next(segment, &cursor, &record) == BW_READ_OVERRUN && cursor.overruns == 1);
    CHECK(bw_ring_next(segment, &cursor, &record) == BW_READ_EMPTY);
    publish(writer, 0, change, 1, 0);
    CHECK(bw_ring_next(segment, &cursor, &record) == BW_READ_OK && record->bid_count == 1);
    bw_segment_close(segment);
    bw_shm_writer_close(writer);
}

static bool rung(bw_bell *bell) {
    struct pollfd wait = {.fd = bw_bell_fd(bell), .events = POLLIN};
    return poll(&wait, 1, 0) == 1 && wait.revents == POLLIN;
}

static void test_bells(void) {
    signal(SIGPIPE, SIG_DFL);
    bw_shm_writer *writer = make_writer();
    CHECK(bw_shm_writer_add_bell(writer, bell_path, fifo_path) == -1);
    bw_shm_writer_ring_bells(writer);
    bw_bell *bell = bw_bell_new(bell_path, fifo_path, error, sizeof error);
    CHECK(bell && bw_shm_writer_add_bell(writer, bell_path, fifo_path) == 0);
    CHECK(bw_shm_writer_add_bell(writer, bell_path, fifo_path) == 0);
    bw_shm_writer_ring_bells(writer);
    CHECK(!rung(bell)); /* awake: not rung */
    bw_bell_sleep(bell);
    for (uint32_t i = 0; i < 3; i++) bw_shm_writer_ring_bells(writer);
    CHECK(rung(bell));
    bw_bell_awake(bell);
    CHECK(!rung(bell));
    bw_bell_free(bell); /* the reader goes while the writer rings on: no signal, no block */
    for (uint32_t i = 0; i < 100000; i++) bw_shm_writer_ring_bells(writer);
    CHECK(bw_shm_writer_add_bell(writer, bell_path, fifo_path) == -1);
    bell = bw_bell_new(bell_path, fifo_path, error, sizeof error);
    CHECK(bw_shm_writer_add_bell(writer, bell_path, fifo_path) == 0);
    bw_bell_sleep(bell);
    bw_shm_writer_close(writer); /* closing rings: the reader learns of the end */
    CHECK(rung(bell));
    bw_bell_free(bell);
    CHECK(!bw_bell_new("/nonexistent/bell", "/nonexistent/fifo", error, sizeof error));
    CHECK(strstr(error, "doorbell"));
}

/* A writer killed in the middle of a write: reads end, the file is replaced by the next writer. */
static void test_killed(void) {
    int ready[2];
    CHECK(pipe(ready) == 0);
    pid_t child = fork();
    if (child == 0) {
        bw_shm_writer *writer = make_writer();
        bw_symbol symbol = {.canonical = "BTC-USDT"};
        bw_shm_writer_add_book(writer, &symbol, 2, 5, 99);
        bw_book_begin(bw_shm_writer_book(writer, 0));
        CHECK(write(ready[1], "", 1) == 1);
        pause();
        _exit(1);
    }
    char byte;
    CHECK(read(ready[0], &byte, 1) == 1);
    bw_segment *segment = bw_segment_open(path, error, sizeof error);
    bw_book header;
    bw_level level[4];
    uint32_t bids = 4, asks = 4;
    CHECK(bw_book_read_header(segment, 0, &header) == BW_READ_BUSY);
    int64_t late = (int64_t)bw_segment_header(segment)->heartbeat_ns + 1000000000;
    CHECK(bw_segment_alive(segment, late, 2000000000));
    kill(child, SIGKILL);
    CHECK(waitpid(child, NULL, 0) == child);
    CHECK(bw_book_read_header(segment, 0, &header) == BW_READ_DEAD);
    CHECK(bw_book_read(segment, 0, 0, &header, level, &bids, level, &asks, NULL) == BW_READ_DEAD);
    CHECK(!bw_segment_alive(segment, late, 2000000000));
    bw_shm_writer *writer = make_writer();
    CHECK(bw_segment_replaced(segment));
    bw_segment_close(segment);
    bw_shm_writer_close(writer);
    close(ready[0]);
    close(ready[1]);
}

int main(void) {
    CHECK(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/binance.shm", directory);
    snprintf(bell_path, sizeof bell_path, "%s/gateway.bell", directory);
    snprintf(fifo_path, sizeof fifo_path, "%s/gateway.fifo", directory);
    test_create();
    test_refusals();
    test_books();
    test_ring();
    test_bells();
    test_killed();
    CHECK(rmdir(directory) == 0);
    return 0;
}
