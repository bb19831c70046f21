/* Prints a book of an exchange's shared memory, then follows it: ./read_book SEGMENT SYMBOL [RECORDS]
 *
 *   cc -O2 -D_GNU_SOURCE -I handlers/native docs/examples/read_book.c handlers/native/shm_reader.c \
 *      handlers/native/shm_copy.c handlers/native/book.c handlers/native/book_set.c \
 *      handlers/native/book_batch.c handlers/native/book_store.c -o read_book
 */
#include "shm_reader.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROOM 65536u

static bw_level bids[ROOM], asks[ROOM];

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static int find(const bw_segment *segment, const char *canonical) {
    for (uint32_t i = 0; bw_segment_symbol(segment, i); i++)
        if (strcmp(bw_segment_symbol(segment, i)->canonical, canonical) == 0) return (int)i;
    return -1;
}

/* Copies the whole book; `position` is where the ring goes on from it. */
static int show_book(const bw_segment *segment, uint32_t book, bw_book *header, uint64_t *position) {
    uint32_t bid_count = ROOM, ask_count = ROOM;
    int result = bw_book_read(segment, book, 0, header, bids, &bid_count, asks, &ask_count, position);
    if (result != BW_READ_OK) return result;
    printf("book %s sequence %" PRIu64 " state %u levels %u %u exponents %u %u\n",
           bw_segment_symbol(segment, book)->canonical, header->sequence, header->state, bid_count, ask_count,
           header->price_exponent, header->quantity_exponent);
    for (uint32_t i = 0; i < bid_count && i < 3; i++)
        printf("bid %" PRId64 " %" PRId64 "\n", bids[i].price, bids[i].quantity);
    for (uint32_t i = 0; i < ask_count && i < 3; i++)
        printf("ask %" PRId64 " %" PRId64 "\n", asks[i].price, asks[i].quantity);
    return BW_READ_OK;
}

int main(int argc, char **argv) {
    char error[512];
    if (argc < 3) return fprintf(stderr, "usage: %s SEGMENT SYMBOL [RECORDS]\n", argv[0]), 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    bw_segment *segment = bw_segment_open(argv[1], error, sizeof error);
    if (!segment) return fprintf(stderr, "%s\n", error), 69;
    int book = find(segment, argv[2]);
    if (book < 0) return fprintf(stderr, "%s: no %s in it\n", argv[1], argv[2]), 64;
    bw_book header;
    bw_ring_cursor cursor = {0};
    int result = show_book(segment, (uint32_t)book, &header, &cursor.position);
    long wanted = argc > 3 ? atol(argv[3]) : 10;
    while (result == BW_READ_OK && wanted > 0 && bw_segment_alive(segment, now_ns(), 2000000000)) {
        const bw_record *record;
        int next = bw_ring_next(segment, &cursor, &record);
        if (next == BW_READ_EMPTY) {
            poll(NULL, 0, 1); /* a program in a hurry looks again at once */
            continue;
        }
        if (next == BW_READ_OVERRUN) { /* a lap behind: what lay between is lost, so copy anew */
            result = show_book(segment, (uint32_t)book, &header, &cursor.position);
            continue;
        }
        if (record->book == (uint32_t)book && record->sequence > header.sequence) {
            printf("record type %u sequence %" PRIu64 " bids %u asks %u\n", record->type, record->sequence,
                   record->bid_count, record->ask_count);
            wanted--;
            header.sequence = record->sequence;
            if (record->type == BW_RECORD_RESET) {
                result = show_book(segment, (uint32_t)book, &header, &cursor.position);
                continue;
            }
        }
        bw_ring_done(segment, &cursor, record);
    }
    bw_segment_close(segment);
    return result == BW_READ_OK && wanted <= 0 ? 0 : 75;
}
