/* What a message costs from frame bytes to published book, on recorded frames.
 *
 *     bench_engine VENUE SYMBOL PRICE_DECIMALS QUANTITY_DECIMALS FILE [LAPS] [nochecksum]
 *
 * FILE has one line a message: "F" and a frame, or "R" and a REST snapshot's body. Prints ns a message
 * and a level, mean of the fastest lap, and the spread of single frames.
 */
#define _GNU_SOURCE
#include "clock.h"
#include "decode.h"
#include "engine.h"
#include "venue_plans.h"

#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct recording {
    char *text;
    uint32_t *offset; /* [count + 1]; frame i with its leading letter */
    uint32_t count;
} recording;

static recording load(const char *path) {
    FILE *file = fopen(path, "rb");
    struct stat about;
    if (!file || fstat(fileno(file), &about)) exit((perror(path), 1));
    recording all = {.text = calloc(1, (size_t)about.st_size + 64)};
    if (!all.text || fread(all.text, 1, (size_t)about.st_size, file) != (size_t)about.st_size) exit(1);
    fclose(file);
    for (off_t i = 0; i < about.st_size; i++) all.count += all.text[i] == '\n';
    all.offset = calloc(all.count + 1, sizeof *all.offset);
    uint32_t line = 0;
    for (uint32_t i = 0; i < about.st_size; i++) {
        if (all.text[i] == '\n') all.offset[++line] = i + 1;
    }
    return all;
}

static int64_t cpu_ns(void);

static uint64_t count_levels(const bw_plan *plan, const recording *all, int64_t *took) {
    bw_decoder *decoder = bw_decoder_new(plan, 1u << 20);
    uint64_t levels = 0;
    int64_t began = cpu_ns();
    for (uint32_t i = 0; i < all->count; i++) {
        if (all->text[all->offset[i]] != 'F') continue;
        if (!bw_decode(decoder, all->text + all->offset[i] + 1, all->offset[i + 1] - all->offset[i] - 2)) continue;
        for (uint32_t k = 0; k < bw_decoder_items(decoder); k++) {
            const bw_item *item = bw_decoder_item(decoder, k);
            levels += item->level_count[0] + item->level_count[1];
        }
    }
    *took = cpu_ns() - began;
    bw_decoder_free(decoder);
    return levels;
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Time this thread ran: other work on the machine must not count. */
static int64_t cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t lap(bw_engine *engine, const recording *all, bw_event_ring *events, uint32_t *single) {
    static bw_event drained[BW_EVENT_SLOTS];
    bw_engine_connection_up(engine, 0, bw_wall_ns());
    int64_t began = cpu_ns(), other = 0;
    for (uint32_t i = 0; i < all->count; i++) {
        if (i % 1024 == 0) bw_clock_calibrate(); /* as the loop does */
        const char *text = all->text + all->offset[i];
        size_t bytes = all->offset[i + 1] - all->offset[i] - 2;
        if (text[0] == 'F') {
            int64_t at = single ? bw_steady_ns() : 0;
            bw_engine_frame(engine, 0, text + 1, bytes, 1, 1);
            if (single) single[i] = (uint32_t)(bw_steady_ns() - at);
        } else {
            int64_t at = cpu_ns();
            bw_engine_load_snapshot(engine, 0, text + 1, bytes, bw_wall_ns());
            other += cpu_ns() - at;
        }
    }
    int64_t took = cpu_ns() - began - other;
    bw_engine_connection_down(engine, 0, BW_REASON_DISCONNECTED, bw_wall_ns());
    bw_event_drain(events, drained, BW_EVENT_SLOTS);
    return took;
}

static void pin(void) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(1, &cpus);
    (void)sched_setaffinity(0, sizeof cpus, &cpus);
}

int main(int argc, char **argv) {
    if (argc < 6) return fprintf(stderr, "usage: see the head of %s\n", __FILE__), 2;
    enum venue venue = VENUE_BINANCE;
    while (venue < VENUE_COUNT && strcmp(venue_name[venue], argv[1]) != 0) venue++;
    if (venue == VENUE_COUNT) return fprintf(stderr, "unknown venue %s\n", argv[1]), 2;
    bw_plan_spec plan_spec = venue_spec(venue);
    if (argc > 7 && strcmp(argv[7], "nochecksum") == 0) plan_spec.checksum.levels = 0;
    if (plan_spec.client_cuts) plan_spec.depth = 1000;
    pin();
    bw_plan *plan = plan_of(&plan_spec);
    recording all = load(argv[5]);
    char path[64], error[256] = "";
    snprintf(path, sizeof path, "/dev/shm/bench-engine-%d.shm", (int)getpid());
    bw_shm_spec shm_spec = {.path = path, .exchange = venue_name[venue], .book_capacity = 1, .level_capacity = 65536,
                            .chunk_capacity = 4096, .ring_bytes = 1u << 20};
    bw_shm_writer *shm = bw_shm_writer_new(&shm_spec, error, sizeof error);
    bw_event_ring *events = aligned_alloc(64, sizeof *events);
    if (!shm || !events) return fprintf(stderr, "%s\n", error), 1;
    memset(events, 0, sizeof *events);
    events->wake_fd = -1;
    bw_engine_spec spec = {.plan = plan, .shm = shm, .events = events, .levels_max = 1u << 18,
                           .pending_bytes = 1u << 24, .connections_max = 1, .crossed_max = 100};
    bw_engine *engine = bw_engine_new(&spec, error, sizeof error);
    if (!engine) return fprintf(stderr, "%s\n", error), 1;
    bw_symbol symbol = {0};
    snprintf(symbol.native, sizeof symbol.native, "%s", argv[2]);
    bw_shm_writer_add_book(shm, &symbol, (uint8_t)atoi(argv[3]), (uint8_t)atoi(argv[4]), 0);
    bw_engine_add_book(engine, 0, argv[2]);
    bw_engine_bind(engine, 0, 0);
    int64_t best = INT64_MAX;
    for (int laps = argc > 6 ? atoi(argv[6]) : 10; laps > 0; laps--) {
        int64_t took = lap(engine, &all, events, NULL);
        if (took < best) best = took;
    }
    uint32_t *single = calloc(all.count, sizeof *single);
    lap(engine, &all, events, single);
    qsort(single, all.count, sizeof *single, by_value);
    const bw_book *book = bw_shm_writer_book(shm, 0);
    int64_t decode_best = INT64_MAX, decode_took;
    uint64_t levels = 0;
    for (int i = 0; i < 10; i++) {
        levels = count_levels(plan, &all, &decode_took);
        if (decode_took < decode_best) decode_best = decode_took;
    }
    printf("decoding alone: %.1f ns a message, %.2f ns a level\n", (double)decode_best / all.count,
           (double)decode_best / (double)levels);
    printf("%s: %u messages, %.1f levels each, book %u + %u: %.1f ns a message, %.2f ns a level; single p50 %u p99 %u\n",
           venue_name[venue], all.count, (double)levels / all.count, book->side[0].level_count,
           book->side[1].level_count, (double)best / all.count, (double)best / (double)levels, single[all.count / 2],
           single[all.count / 100 * 99]);
    printf("  updates %llu, duplicates %llu, gaps %llu, dropped %llu, checksums %llu ok %llu bad\n",
           (unsigned long long)book->updates, (unsigned long long)book->duplicates, (unsigned long long)book->gaps,
           (unsigned long long)book->dropped, (unsigned long long)book->checksums_ok,
           (unsigned long long)book->checksums_bad);
    bw_engine_free(engine);
    bw_shm_writer_close(shm);
    bw_plan_free(plan);
    return 0;
}
