/* What a change costs: `bench_book [flow.bin]`, ns a change.
 *
 * The same changes are played several times; of each stretch the fastest time counts, so that what else
 * runs on the machine does not. flow.bin is a recorded order flow: per message a i64 count, then per
 * change three i64: side (0 bid, 1 ask), price, quantity. The first message is the snapshot.
 */
#include "book.h"
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PASSES 15
#define STRETCH 2000 /* changes */
#define LEVELS_MAX 4096u

typedef struct flow {
    int64_t *at, *end;
    double *best_ns; /* of each stretch */
    size_t stretches;
    int64_t messages, changes;
    bool together;
} flow;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* A side's changes by one call, as the engine has them. */
static const int64_t *set_together(bw_book_store *store, bw_book *book, const int64_t *at,
                                   const int64_t *end) {
    static bw_level level[LEVELS_MAX], changed[2 * LEVELS_MAX];
    while (at < end) {
        int64_t side = *at;
        uint32_t count = 0;
        for (; at < end && *at == side && count < LEVELS_MAX; at += 3, count++)
            level[count] = (bw_level){.price = at[1], .quantity = at[2]};
        bw_book_set_many(store, book, (uint32_t)side, level, count, changed);
    }
    return at;
}

static const int64_t *play_stretch(const flow *f, bw_book_store *store, bw_book *book, const int64_t *at,
                                   const int64_t *end) {
    int64_t evicted;
    for (int64_t played = 0; at < end && played < STRETCH;) {
        int64_t count = *at++;
        played += count;
        bw_book_begin(book);
        if (!f->together)
            for (; count--; at += 3) bw_book_set(store, book, (uint32_t)at[0], at[1], at[2], 0, &evicted);
        else at = set_together(store, book, at, at + 3 * count);
        bw_book_end(store, book);
    }
    return at;
}

/* ns a change, the first message aside. */
static double measure(flow *f, bw_book_store *store) {
    bw_book *book = bw_book_store_at(store, 0);
    f->messages = f->changes = 0;
    for (const int64_t *at = f->at; at < f->end; at += 1 + *at * 3) f->messages++, f->changes += *at;
    f->best_ns = malloc((size_t)(f->messages + 1) * sizeof(double));
    for (uint32_t pass = 0; pass < PASSES; pass++) {
        const int64_t *at = f->at;
        bw_book_clear(store, book);
        for (size_t i = 0; at < f->end; i++) {
            int64_t start = now_ns();
            at = play_stretch(f, store, book, at, i ? f->end : f->at + 1);
            double ns = (double)(now_ns() - start);
            if (pass == 0 || ns < f->best_ns[i]) f->best_ns[i] = ns;
            f->stretches = i + 1;
        }
    }
    double sum = 0;
    for (size_t i = 1; i < f->stretches; i++) sum += f->best_ns[i];
    free(f->best_ns);
    return sum / (double)(f->changes - *f->at);
}

static int64_t *put_change(int64_t *at, int64_t side, int64_t price, int64_t quantity) {
    memcpy(at, (int64_t[]){side, price, quantity}, 3 * sizeof *at);
    return at + 3;
}

/* Changes close to the best price of a book of `levels` a side, 10 an update. */
static void bench_top(uint32_t levels) {
    enum { UPDATES = 1 << 15 };
    int64_t *words = malloc((1 + 6 * levels + 31 * UPDATES) * sizeof *words), *at = words;
    uint64_t state = 88172645463325252u;
    *at++ = 2 * levels;
    for (int64_t i = 0; i < levels; i++) {
        at = put_change(at, 0, 10000000 - i, 5);
        at = put_change(at, 1, 10000001 + i, 5);
    }
    for (uint32_t i = 0; i < UPDATES * 10; i++) {
        if (i % 10 == 0) *at++ = 10;
        uint64_t r = next_random(&state);
        int64_t away = (int64_t)((r & 15) * (r >> 4 & 3)), side = i % 10 >= 5;
        if (away >= levels) away = levels - 1;
        at = put_change(at, side, side ? 10000001 + away : 10000000 - away,
                        (r >> 10) % 4 ? (int64_t)(r >> 40) + 1 : 0);
    }
    bw_book_store *store = bw_book_store_new(1, 1u << 17, 0);
    flow f = {.at = words, .end = at};
    double alone = measure(&f, store);
    f.together = true;
    double together = measure(&f, store);
    printf("near the top of %6u levels a side: %5.1f ns a change, a message's together %5.1f\n", levels,
           alone, together);
    free(words);
    bw_book_store_free(store);
}

static int bench_flow(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return perror(path), 1;
    fseek(file, 0, SEEK_END);
    size_t bytes = (size_t)ftell(file);
    rewind(file);
    int64_t *words = malloc(bytes);
    if (fread(words, 1, bytes, file) != bytes) return perror(path), 1;
    fclose(file);
    bw_book_store *store = bw_book_store_new(1, 1u << 17, 0);
    flow f = {.at = words, .end = words + bytes / 8};
    double alone = measure(&f, store);
    f.together = true;
    double together = measure(&f, store);
    const bw_book *book = bw_book_store_at(store, 0);
    printf("%s: %lld messages, %lld changes, at the end %u x %u levels in %u x %u chunks: "
           "%5.1f ns a change, a message's together %5.1f\n",
           path, (long long)f.messages, (long long)f.changes, book->side[0].level_count,
           book->side[1].level_count, book->side[0].directory_count, book->side[1].directory_count, alone,
           together);
    bw_book_store_free(store);
    free(words);
    return 0;
}

int main(int argc, char **argv) {
    static const uint32_t sizes[] = {50, 1000, 60000};
    for (uint32_t i = 0; i < 3; i++) bench_top(sizes[i]);
    for (int i = 1; i < argc; i++)
        if (bench_flow(argv[i])) return 1;
    return 0;
}
