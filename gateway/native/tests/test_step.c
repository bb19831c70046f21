/* A view moved record by record, held against views built anew and compared, with random books. */
#include "compose.h"
#include "step.h"

#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PRICES 60 /* that a level can stand at */
#define DEPTH 20
#define RECORD 40

static uint64_t any(void) {
    static uint64_t state = 88172645463325252ull;
    return next_random(&state);
}

typedef struct flat_book { /* price 1..PRICES -> level; quantity 0: none */
    bw_level at[PRICES + 1];
    int64_t bound;
} flat_book;

/* The levels known to be right, best first. */
static uint32_t flatten(const flat_book *book, uint32_t side, bw_level *out) {
    uint32_t count = 0;
    for (uint32_t i = 1; i <= PRICES; i++) {
        const bw_level *level = &book->at[side == 0 ? PRICES + 1 - i : i];
        if (level->quantity) out[count++] = *level;
    }
    return bw_view_known(out, count, side, book->bound);
}

static bw_level random_change(void) {
    return (bw_level){1 + (int64_t)(any() % PRICES), (int64_t)(any() % 4), (uint32_t)(any() % 2), 0};
}

static void sort_record(bw_level *record, uint32_t count, uint32_t side) {
    for (uint32_t i = 1; i < count; i++) {
        bw_level moving = record[i];
        uint32_t at = i;
        for (; at > 0 && bw_price_before(side, moving.price, record[at - 1].price); at--)
            record[at] = record[at - 1];
        record[at] = moving;
    }
}

static void check_same(const bw_view_level *a, uint32_t a_count, const bw_view_level *b, uint32_t b_count) {
    CHECK(a_count == b_count);
    for (uint32_t i = 0; i < a_count; i++) {
        CHECK(a[i].price == b[i].price && a[i].quantity == b[i].quantity && a[i].orders == b[i].orders &&
              a[i].exchange == b[i].exchange);
    }
}

/* One record on one side: a view that is moved against one that is built. */
static void step_once(bw_view *moved, bw_view *built, flat_book *book, uint32_t side) {
    static bw_step step;
    static bw_view_level change[2 * (DEPTH + BW_STEP_LEVELS)], expected[2 * DEPTH], spare[DEPTH];
    bw_level record[RECORD], level[PRICES];
    uint32_t count = (uint32_t)(any() % (any() % 8 == 0 ? RECORD : 8));
    for (uint32_t i = 0; i < count; i++) record[i] = random_change();
    if (any() % 2) sort_record(record, count, side);
    for (uint32_t i = 0; i < count; i++) book->at[record[i].price] = record[i];
    if (any() % 16 == 0) book->bound = any() % 2 ? 1 + (int64_t)(any() % PRICES) : 0;
    uint32_t levels = flatten(book, side, level);

    bw_view fresh = {{spare, spare}, {0, 0}, built->depth, 2, 8};
    bw_view_input input = {{level, level}, {levels, levels}, 2, 8, 7, 0};
    input.count[!side] = 0;
    bw_view_build(&fresh, BW_VIEW_SINGLE, &input, 1);
    uint32_t wanted = bw_view_diff(built, &fresh, BW_VIEW_SINGLE, side, expected);
    memcpy(built->level[side], spare, fresh.count[side] * sizeof *spare);
    built->count[side] = fresh.count[side];

    if (bw_step_take(&step, side, record, count)) {
        uint32_t changes = bw_step_view(moved, &step, side, book->bound, change), held = moved->count[side];
        if (held < moved->depth && held < levels) {
            uint32_t more = levels - held < moved->depth - held ? levels - held : moved->depth - held;
            bw_step_behind(moved, side, level + held, more, change + changes);
            changes += more;
        }
        check_same(change, changes, expected, wanted);
    } else {
        CHECK(count > BW_STEP_LEVELS);
        memcpy(moved->level[side], built->level[side], built->count[side] * sizeof *spare);
        moved->count[side] = built->count[side];
    }
    check_same(moved->level[side], moved->count[side], built->level[side], built->count[side]);
}

static void test_moved_and_built(void) {
    for (int round = 0; round < 1000; round++) {
        static bw_view_level room[2][BW_SIDES][DEPTH + BW_STEP_LEVELS];
        uint32_t side = (uint32_t)(any() % 2), depth = 1 + (uint32_t)(any() % DEPTH);
        bw_view moved = {{room[0][0], room[0][1]}, {0, 0}, depth, 2, 8};
        bw_view built = {{room[1][0], room[1][1]}, {0, 0}, depth, 2, 8};
        flat_book book = {0};
        for (int i = 0; i < 200; i++) step_once(&moved, &built, &book, side);
    }
}

static void test_take(void) {
    static bw_step step;
    bw_level record[] = {{5, 1, 0, 0}, {7, 2, 0, 0}, {5, 3, 1, 0}, {9, 0, 0, 0}};
    CHECK(bw_step_take(&step, 0, record, 4) && bw_step_take(&step, 1, record, 4));
    CHECK(step.count[0] == 3 && step.level[0][0].price == 9 && step.level[0][2].quantity == 3);
    CHECK(step.count[1] == 3 && step.level[1][0].price == 5 && step.level[1][0].orders == 1);
    CHECK(!bw_step_take(&step, 0, record, BW_STEP_LEVELS + 1));
}

int main(void) {
    test_take();
    test_moved_and_built();
    puts("step: ok");
    return 0;
}
