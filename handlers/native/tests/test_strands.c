/* Books of a recording: where they are covered, what breaks that, and what a plan takes of them. */
#include "check.h"
#include "strands.h"

#include <string.h>

#define COUNT 8u

typedef struct one_record {
    bw_record head;
    bw_level level[2];
} one_record;

static one_record record_of(uint64_t sequence, int64_t bid) {
    one_record made = {.head = {.bytes = sizeof made, .type = BW_RECORD_DELTA, .epoch = 3,
                                .sequence = sequence, .venue_sequence = 1000 + sequence, .bid_count = 1,
                                .ask_count = 1, .state = BW_BOOK_LIVE,
                                .exchange_ns = (int64_t)sequence * 10},
                       .level = {{.price = bid, .quantity = 5}, {.price = bid + 9, .quantity = 6}}};
    return made;
}

static void load(bw_strands *strands, uint64_t sequence, uint32_t state) {
    bw_book header = {.sequence = sequence, .epoch = 3, .state = state, .venue_sequence = 1000 + sequence};
    bw_level bid = {.price = 1, .quantity = 1}, ask = {.price = 90, .quantity = 1};
    CHECK(bw_strands_load(strands, 0, &header, &bid, 1, &ask, 1));
}

static void test_survey(void) {
    bw_strands *strands = bw_strands_new(1, 0);
    bw_strand *strand = bw_strands_at(strands, 0);
    one_record span[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) span[i] = record_of(11 + i, 20 + i);
    span[3].head.state = BW_BOOK_STALE;
    span[3].head.type = BW_RECORD_STATE;
    for (uint32_t i = 6; i < COUNT; i++) span[i].head.sequence++; /* one is missing */
    const uint8_t *bytes = (const void *)span;
    uint32_t at = 0, book = 9, one = sizeof span[0];
    load(strands, 10, BW_BOOK_LIVE);
    bw_strand_begin(strand);
    CHECK(bw_strands_survey(strands, bytes, sizeof span, &at, &book) == BW_STRANDS_BROKE);
    CHECK(at == 3 * one && book == 0 && strand->reached == 13 && strand->whole);
    CHECK(bw_strands_survey(strands, bytes, sizeof span, &at, &book) == BW_STRANDS_BEGAN);
    CHECK(at == 4 * one && strand->last.sequence == 15 && strand->whole);
    CHECK(bw_strands_survey(strands, bytes, sizeof span, &at, &book) == BW_STRANDS_BROKE);
    CHECK(at == 6 * one && strand->reached == 16 && !strand->whole);
    CHECK(bw_strands_survey(strands, bytes, sizeof span, &at, &book) == BW_STRANDS_DONE);
    CHECK(!strand->covered && !strand->known);
    load(strands, 25, BW_BOOK_LIVE);
    one_record later = record_of(26, 7), bad = record_of(27, 7);
    bad.head.bid_count = 2;
    at = 0;
    CHECK(bw_strands_survey(strands, (const void *)&later, one, &at, &book) == BW_STRANDS_BEGAN);
    CHECK(strand->reached == 25); /* before the record: at the copy */
    CHECK(bw_strands_survey(strands, (const void *)&later, one, &at, &book) == BW_STRANDS_DONE);
    CHECK(at == one && strand->reached == 26);
    at = 0;
    CHECK(bw_strands_survey(strands, (const void *)&bad, one, &at, &book) == BW_STRANDS_BAD);
    bw_strands_free(strands);
}

static void test_splice(void) {
    bw_strands *strands = bw_strands_new(1, 64);
    bw_strand *strand = bw_strands_at(strands, 0);
    one_record span[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) span[i] = record_of(11 + i, 20 + i);
    const uint8_t *bytes = (const void *)span;
    _Alignas(8) uint8_t room[3 * sizeof span[0]];
    bw_strands_out out = {.data = room, .room = sizeof room};
    uint32_t at = 0, book = 9, one = sizeof span[0], waiting;
    load(strands, 10, BW_BOOK_LIVE);
    strand->phase = BW_STRAND_WAIT;
    strand->from_sequence = 10;
    strand->after_key = 1012;
    strand->until_key = 1016;
    strand->until_sequence = 100;
    CHECK(bw_strands_splice(strands, bytes, sizeof span, &at, &book, &out) == BW_STRANDS_START);
    CHECK(at == 2 * one && strand->reached == 12 && strand->known);
    bw_strands_take(strands, &span[2].head);
    strand->phase = BW_STRAND_EMIT;
    strand->out_book = 4;
    strand->sequence_up = UINT64_MAX; /* one less */
    strand->epoch_up = 7;
    strand->owes = true;
    CHECK(bw_strands_owing(strands, &book, 1, &waiting) == 1 && book == 0 && waiting == 0);
    CHECK(bw_strands_splice(strands, bytes, sizeof span, &at, &book, &out) == BW_STRANDS_END);
    CHECK(at == 6 * one && out.records == 3 && strand->reached == 16);
    const bw_record *first = (const void *)room;
    CHECK(first->sequence == 13 && first->epoch == 10 && first->book == 4);
    strand->until_key = 2000;
    CHECK(bw_strands_splice(strands, bytes, sizeof span, &at, &book, &out) == BW_STRANDS_ROOM);
    out.used = 0;
    strand->phase = BW_STRAND_HELD;
    CHECK(bw_strands_splice(strands, bytes, sizeof span, &at, &book, &out) == BW_STRANDS_HELD);
    CHECK(at == 6 * one && strand->reached == 17); /* seen; the next call skips it */
    strand->phase = BW_STRAND_WAIT;
    strand->until_key = 1017;
    strand->after_key = 1016;
    CHECK(bw_strands_splice(strands, bytes, sizeof span, &at, &book, &out) == BW_STRANDS_EMPTY);
    strand->phase = BW_STRAND_IDLE;
    CHECK(bw_strands_splice(strands, bytes, sizeof span, &at, &book, &out) == BW_STRANDS_DONE);
    CHECK(strand->reached == 18 && out.used == 0);
    _Alignas(64) uint8_t copied[8192];
    uint32_t size = bw_strands_copy(strands, 0, copied, sizeof copied);
    CHECK(size == sizeof(bw_book) + 18 * sizeof(bw_level)); /* eight a side, and the copy's own */
    CHECK(bw_strands_copy(strands, 0, copied, size - 1) == 0);
    bw_level best[2];
    CHECK(bw_strands_best(strands, 0, 0, 2, best) == 2 && best[0].price == 27 && best[1].price == 26);
    bw_strands_free(strands);
}

static void test_a_copy_older_than_the_book_is_not_taken(void) {
    bw_strands *strands = bw_strands_new(2, 64);
    load(strands, 10, BW_BOOK_LIVE);
    bw_book older = {.sequence = 9};
    CHECK(!bw_strands_load(strands, 0, &older, NULL, 0, NULL, 0));
    CHECK(!bw_strands_load(strands, 2, &older, NULL, 0, NULL, 0)); /* no such book */
    CHECK(bw_strands_at(strands, 2) == NULL);
    bw_level many[100] = {{0}};
    bw_book deeper = {.sequence = 11};
    CHECK(!bw_strands_load(strands, 0, &deeper, many, 100, NULL, 0));
    bw_strands_free(strands);
}

int main(void) {
    test_survey();
    test_splice();
    test_a_copy_older_than_the_book_is_not_taken();
    return 0;
}
