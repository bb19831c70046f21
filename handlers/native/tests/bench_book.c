/* What a change costs: `bench_book [flow.bin]`, ns a change, best of several passes.
 *
 * flow.bin is a recorded order flow: per message a u64 count, then per change three i64: side
 * (0 bid, 1 ask), price, quantity. The first message is the snapshot.
 */
#include "book.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PASSES 7

typedef struct change {
    int64_t side, price, quantity;
} change;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t next_random(uint64_t *state) {
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

/* Changes close to the best price of a book of `levels` a side, 10 an update. */
static void bench_top(uint32_t levels) {
    bw_book_store *store = bw_book_store_new(1, 1u << 17, 0);
    bw_book *book = bw_book_store_at(store, 0);
    int64_t evicted;
    bw_book_begin(book);
    for (int64_t i = 0; i < levels; i++) {
        bw_book_set(store, book, 0, 10000000 - i, 5, 0, &evicted);
        bw_book_set(store, book, 1, 10000001 + i, 5, 0, &evicted);
    }
    bw_book_end(store, book);
    enum { CHANGES = 1 << 18 };
    change *flow = malloc(sizeof(change) * CHANGES);
    uint64_t state = 88172645463325252u;
    for (uint32_t i = 0; i < CHANGES; i++) {
        uint64_t r = next_random(&state);
        int64_t away = (int64_t)((r & 15) * (r >> 4 & 3));
        if (away >= levels) away = levels - 1;
        int64_t side = r >> 8 & 1;
        flow[i] = (change){side, side ? 10000001 + away : 10000000 - away, (r >> 10) % 4 ? (int64_t)(r >> 40) + 1 : 0};
    }
    double best = 1e9;
    for (uint32_t pass = 0; pass < PASSES; pass++) {
        uint64_t start = now_ns();
        for (uint32_t i = 0; i < CHANGES; i++) {
            if (i % 10 == 0) bw_book_begin(book);
            bw_book_set(store, book, (uint32_t)flow[i].side, flow[i].price, flow[i].quantity, 0, &evicted);
            if (i % 10 == 9) bw_book_end(store, book);
        }
        double ns = (double)(now_ns() - start) / CHANGES;
        if (ns < best) best = ns;
    }
    printf("near the top of %6u levels a side: %5.1f ns a change\n", levels, best);
    free(flow);
    bw_book_store_free(store);
}

static void play(bw_book_store *store, bw_book *book, const int64_t *at, const int64_t *end) {
    int64_t evicted;
    bw_book_clear(store, book);
    while (at < end) {
        int64_t count = *at++;
        bw_book_begin(book);
        for (; count--; at += 3)
            bw_book_set(store, book, (uint32_t)at[0], at[1], at[2], 0, &evicted);
        bw_book_end(store, book);
    }
}

static int bench_flow(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return perror(path), 1;
    fseek(file, 0, SEEK_END);
    size_t bytes = (size_t)ftell(file);
    rewind(file);
    int64_t *flow = malloc(bytes), messages = 0, changes = 0;
    if (fread(flow, 1, bytes, file) != bytes) return perror(path), 1;
    fclose(file);
    for (const int64_t *at = flow; at < flow + bytes / 8; at += 1 + *at * 3) messages++, changes += *at;
    bw_book_store *store = bw_book_store_new(1, 1u << 17, 0);
    double best = 1e9;
    for (uint32_t pass = 0; pass < PASSES; pass++) {
        uint64_t start = now_ns();
        play(store, bw_book_store_at(store, 0), flow, flow + bytes / 8);
        double ns = (double)(now_ns() - start) / (double)changes;
        if (ns < best) best = ns;
    }
    const bw_book *book = bw_book_store_at(store, 0);
    printf("%s: %lld messages, %lld changes, at the end %u x %u levels in %u x %u chunks: %5.1f ns a change\n",
           path, (long long)messages, (long long)changes, book->side[0].level_count, book->side[1].level_count,
           book->side[0].directory_count, book->side[1].directory_count, best);
    bw_book_store_free(store);
    free(flow);
    return 0;
}

int main(int argc, char **argv) {
    static const uint32_t sizes[] = {50, 1000, 60000};
    for (uint32_t i = 0; i < 3; i++) bench_top(sizes[i]);
    for (int i = 1; i < argc; i++)
        if (bench_flow(argv[i])) return 1;
    return 0;
}
