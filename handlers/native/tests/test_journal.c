/* Journal blocks, crashes at every byte, followers of both rings, and who was a lap behind. */
#include "check.h"
#include "crc32c.h"
#include "journal.h"
#include "shm_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/bw-journal-XXXXXX";
static char path[3][128]; /* journal, segment, raw ring */
static char error[512];

static uint8_t *load(const char *name, uint64_t *bytes) {
    struct stat file;
    int fd = open(name, O_RDONLY);
    CHECK(fd >= 0 && fstat(fd, &file) == 0);
    *bytes = (uint64_t)file.st_size;
    uint8_t *data = malloc(*bytes + 1);
    CHECK(data && read(fd, data, *bytes) == (ssize_t)*bytes);
    close(fd);
    return data;
}

static uint32_t sound_blocks(const uint8_t *file, uint64_t bytes, uint64_t *end) {
    bw_journal_block block;
    uint32_t count = 0;
    *end = 0;
    while (bw_journal_look(file, bytes, *end, &block) == BW_BLOCK_OK) {
        CHECK(block.number == count++);
        *end += sizeof block + ((block.payload_bytes + 7u) & ~7u);
    }
    return count;
}

static void test_crc(void) {
    uint8_t data[300];
    uint64_t random = 7;
    CHECK(bw_crc32c(0, "123456789", 9) == 0xe3069283u); /* RFC 3720, appendix B.4 */
    for (uint32_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)next_random(&random);
    for (uint32_t bytes = 0; bytes < sizeof data; bytes++) {
        uint32_t whole = bw_crc32c_by_table(0, data, bytes);
        CHECK(bw_crc32c(0, data, bytes) == whole);
        CHECK(bw_crc32c(bw_crc32c(0, data, bytes / 3), data + bytes / 3, bytes - bytes / 3) == whole);
    }
}

static void test_blocks(void) {
    bw_journal *journal = bw_journal_new(path[0], error, sizeof error);
    CHECK(journal);
    CHECK(!bw_journal_new(path[0], error, sizeof error) && errno == EEXIST);
    for (uint32_t i = 0; i < 12; i++) {
        bw_journal_block head = {.type = BW_JOURNAL_GAP, .book = i};
        CHECK(bw_journal_append(journal, &head, "0123456789abcdef", i) == 0);
    }
    CHECK(bw_journal_sync(journal) == 0);
    uint64_t bytes, end;
    uint8_t *file = load(path[0], &bytes);
    CHECK(bytes == bw_journal_bytes(journal));
    CHECK(sound_blocks(file, bytes, &end) == 12 && end == bytes);
    for (uint64_t cut = 0; cut < bytes; cut++) { /* a crash at every byte: what stands before it is whole */
        uint32_t before = sound_blocks(file, cut, &end);
        CHECK(end <= cut && (before == 12) == (cut == bytes));
        CHECK(end == cut || bw_journal_look(file, cut, end, &(bw_journal_block){0}) < 0);
    }
    for (uint64_t at = 0; at < bytes; at++) { /* one flipped bit is always seen */
        file[at] ^= (uint8_t)(1u << at % 8);
        CHECK(sound_blocks(file, bytes, &end) < 12);
        uint64_t next = bw_journal_find(file, bytes, end + 8);
        CHECK(next > at - at % 8 || next == bytes);
        file[at] ^= (uint8_t)(1u << at % 8);
    }
    free(file);
    bw_journal_free(journal);
    CHECK(unlink(path[0]) == 0);
}

/* A block that does not fit is taken back whole, and the next that fits stands behind the last good one. */
static void test_full_disk(void) {
    struct rlimit before, small = {0};
    static uint8_t payload[4096];
    bw_journal_block head = {.type = BW_JOURNAL_GAP};
    bw_journal *journal = bw_journal_new(path[0], error, sizeof error);
    CHECK(journal && getrlimit(RLIMIT_FSIZE, &before) == 0);
    signal(SIGXFSZ, SIG_IGN);
    small = (struct rlimit){.rlim_cur = 10000, .rlim_max = before.rlim_max};
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    CHECK(bw_journal_append(journal, &head, payload, sizeof payload) == 0);
    CHECK(bw_journal_append(journal, &head, payload, sizeof payload) == 0);
    CHECK(bw_journal_append(journal, &head, payload, sizeof payload) == -EFBIG); /* half of it was written */
    CHECK(bw_journal_errno(journal) == EFBIG);
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK(bw_journal_append(journal, &head, payload, sizeof payload) == 0);
    uint64_t bytes, end;
    uint8_t *file = load(path[0], &bytes);
    CHECK(sound_blocks(file, bytes, &end) == 3 && end == bytes);
    free(file);
    bw_journal_free(journal);
    CHECK(unlink(path[0]) == 0);
}

static void publish(bw_shm_writer *writer, uint32_t changes, uint8_t type) {
    static uint64_t sequence;
    bw_record *record = bw_record_reserve(writer, changes);
    memset(record, 0, sizeof *record + changes * sizeof(bw_level));
    record->type = type;
    record->sequence = ++sequence;
    record->book = (uint32_t)(sequence % 3);
    bw_record_commit(writer, record, changes, 0, 1);
}

static void test_follow(void) {
    bw_shm_spec spec = {.path = path[1], .exchange = "binance", .book_capacity = 4, .level_capacity = 64,
                        .chunk_capacity = 64, .ring_bytes = 1 << 19};
    bw_shm_writer *writer = bw_shm_writer_new(&spec, error, sizeof error);
    CHECK(writer);
    bw_segment *segment = bw_segment_open(path[1], error, sizeof error);
    bw_journal *journal = bw_journal_new(path[0], error, sizeof error);
    CHECK(segment && journal);
    bw_ring_cursor cursor = {0};
    uint64_t random = 3, records = 0, resets = 0;
    uint32_t books[8];
    for (uint32_t turn = 0; turn < 400; turn++) {
        uint32_t burst = (uint32_t)(next_random(&random) % 40);
        for (uint32_t i = 0; i < burst; i++) {
            bool reset = next_random(&random) % 50 == 0;
            publish(writer, (uint32_t)(next_random(&random) % 60), reset ? BW_RECORD_RESET : BW_RECORD_DELTA);
            records++;
            resets += reset;
        }
        int64_t copied;
        while ((copied = bw_journal_follow(journal, segment, &cursor, turn)) > 0) {
            records -= bw_journal_records(journal);
            resets -= bw_journal_resets(journal, books, 8);
        }
        CHECK(copied == 0 && records == 0 && resets == 0);
    }
    CHECK(cursor.overruns == 0);
    uint64_t before = bw_journal_bytes(journal);
    for (uint32_t i = 0; i < 20000; i++) publish(writer, 4, BW_RECORD_DELTA);
    CHECK(bw_journal_follow(journal, segment, &cursor, 0) == BW_FOLLOW_OVERRUN);
    CHECK(cursor.overruns == 1 && bw_journal_bytes(journal) == before);
    CHECK(bw_journal_follow(journal, segment, &cursor, 0) == 0);
    uint64_t bytes, end;
    uint8_t *file = load(path[0], &bytes);
    sound_blocks(file, bytes, &end);
    CHECK(end == bytes);
    free(file);
    bw_journal_free(journal);
    bw_segment_close(segment);
    bw_shm_writer_close(writer);
    CHECK(unlink(path[0]) == 0);
}

static void test_raw(void) {
    bw_raw_spec spec = {.path = path[2], .exchange = "okx", .generation = 5, .ring_bytes = 32 << 20};
    bw_raw_writer *writer = bw_raw_writer_new(&spec, error, sizeof error);
    bw_raw_reader *reader = bw_raw_reader_open(path[2], error, sizeof error);
    bw_journal *journal = bw_journal_new(path[0], error, sizeof error);
    CHECK(writer && reader && journal);
    uint8_t *body = calloc(1, BW_RAW_PAYLOAD_MAX + 1);
    bw_ring_cursor cursor = {0};
    uint64_t sent = 0;
    CHECK(body);
    for (uint32_t turn = 0; turn < 30; turn++) { /* goes round the ring */
        bw_raw_put(writer, (bw_raw_record){.type = BW_RAW_FRAME}, body, turn * 100003 % BW_RAW_PAYLOAD_MAX);
        bw_raw_put(writer, (bw_raw_record){.type = BW_RAW_UP}, NULL, 0);
        sent += 2;
        while (bw_journal_follow_raw(journal, reader, &cursor, 0) > 0) sent -= bw_journal_records(journal);
        CHECK(sent == 0);
    }
    bw_raw_put(writer, (bw_raw_record){.type = BW_RAW_FRAME}, body, BW_RAW_PAYLOAD_MAX + 1);
    CHECK(atomic_load(&bw_raw_reader_header(reader)->oversize) == 1);
    CHECK(bw_journal_follow_raw(journal, reader, &cursor, 0) > 0 && cursor.overruns == 0);
    for (uint32_t i = 0; i < 5; i++)
        bw_raw_put(writer, (bw_raw_record){.type = BW_RAW_FRAME}, body, BW_RAW_PAYLOAD_MAX);
    CHECK(bw_journal_follow_raw(journal, reader, &cursor, 0) == BW_FOLLOW_OVERRUN);
    free(body);
    bw_journal_free(journal);
    bw_raw_reader_close(reader);
    bw_raw_writer_close(writer);
    CHECK(unlink(path[0]) == 0);
    CHECK(access(path[2], F_OK) != 0);
}

int main(void) {
    static const char *const name[3] = {"j", "s", "r"};
    CHECK(mkdtemp(directory));
    for (uint32_t i = 0; i < 3; i++) snprintf(path[i], sizeof path[i], "%s/%s", directory, name[i]);
    test_crc();
    test_blocks();
    test_full_disk();
    test_follow();
    test_raw();
    CHECK(rmdir(directory) == 0);
    return 0;
}
