/* A channel as it is right now, for one who asks once: copied, merged and encoded like the stream. */
#include "internal.h"

#include "clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct one_book {
    bw_level *level[BW_SIDES];
    bw_book header;
} one_book;

static void one_book_free(one_book *book) {
    free(book->level[0]);
    free(book->level[1]);
}

static uint32_t find_book(const bw_segment *segment, const char *symbol, uint32_t instrument) {
    uint32_t count = atomic_load_explicit(&bw_segment_header(segment)->book_count, memory_order_acquire);
    for (uint32_t book = 0; book < count; book++) {
        const bw_symbol *entry = bw_segment_symbol(segment, book);
        if (entry->kind == instrument && strcmp(entry->canonical, symbol) == 0) return book;
    }
    return UINT32_MAX;
}

static uint32_t cut_unverified(const bw_level *level, uint32_t count, uint32_t side, int64_t bound) {
    if (bound == 0) return count;
    while (count > 0 && (side == 0 ? level[count - 1].price < bound : level[count - 1].price > bound))
        count--;
    return count;
}

/* 1 live and copied, 0 not live, negative errno. */
static int copy_book(bw_segment *segment, uint32_t index, uint32_t depth, uint32_t exchange, one_book *book,
                     bw_view_input *input) {
    uint32_t count[BW_SIDES] = {depth, depth};
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        book->level[side] = malloc(depth * sizeof(bw_level));
        if (!book->level[side]) return -ENOMEM;
    }
    int result = bw_book_read(segment, index, depth, &book->header, book->level[0], &count[0], book->level[1],
                              &count[1], NULL);
    if (result != BW_READ_OK || book->header.state != BW_BOOK_LIVE) return 0;
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        count[side] =
            cut_unverified(book->level[side], count[side], side, book->header.side[side].verified_price);
    }
    *input = (bw_view_input){{book->level[0], book->level[1]}, {count[0], count[1]},
                             book->header.price_exponent, book->header.quantity_exponent, exchange,
                             book->header.receive_ns};
    return 1;
}

typedef struct snapshot_work {
    const bw_subscription *wanted;
    one_book book[BW_EXCHANGES_MAX];
    bw_view_input input[BW_EXCHANGES_MAX];
    uint32_t inputs, known, books;
    bw_stamps stamps;
} snapshot_work;

static int add_segment(snapshot_work *work, bw_segment *segment, uint32_t exchange, int64_t patience_ns) {
    int result = 0;
    uint32_t index = find_book(segment, work->wanted->symbol, work->wanted->instrument);
    if (index != UINT32_MAX) {
        work->known++;
        if (bw_segment_alive(segment, bw_wall_ns(), patience_ns)) {
            one_book *book = &work->book[work->books++];
            result =
                copy_book(segment, index, work->wanted->depth, exchange, book, &work->input[work->inputs]);
            work->stamps.state = book->header.state;
            if (result > 0 && book->header.receive_ns >= work->stamps.receive_ns) {
                work->stamps =
                    (bw_stamps){book->header.sequence, book->header.exchange_ns, book->header.receive_ns,
                                book->header.published_ns, book->header.state};
            }
            work->inputs += result > 0;
        }
    }
    return result < 0 ? result : 0;
}

static int add_exchange(snapshot_work *work, const char *path, uint32_t exchange, int64_t patience_ns) {
    char error[160];
    bw_segment *segment = bw_segment_open(path, error, sizeof error);
    if (!segment) return 0;
    int result = add_segment(work, segment, exchange, patience_ns);
    bw_segment_close(segment);
    return result;
}

static int64_t encode_view(snapshot_work *work, const bw_gateway_exchange *exchange, uint32_t count,
                           uint8_t *out, uint64_t room) {
    const bw_subscription *wanted = work->wanted;
    bw_view view = {.depth = wanted->depth};
    for (uint32_t side = 0; side < BW_SIDES; side++)
        view.level[side] = malloc(wanted->depth * sizeof(bw_view_level));
    char ids[BW_EXCHANGES_MAX][16] = {{0}};
    for (uint32_t i = 0; i < count; i++)
        memcpy(ids[exchange[i].number % BW_EXCHANGES_MAX], exchange[i].id, sizeof ids[0]);
    bw_encoding encoding = {.kind = wanted->kind, .format = wanted->format, .strings = wanted->strings != 0,
                            .stamps = wanted->stamps != 0, .exchange_id = ids};
    memcpy(encoding.channel, wanted->channel, sizeof encoding.channel);
    int64_t bytes = -ENOMEM;
    if (view.level[0] && view.level[1]) {
        bw_view_build(&view, wanted->kind, work->input, work->inputs);
        bw_message message = {.kind = BW_PUSH_SNAPSHOT, .level = {view.level[0], view.level[1]},
                              .count = {view.count[0], view.count[1]}, .price_exponent = view.price_exponent,
                              .quantity_exponent = view.quantity_exponent, .stamps = work->stamps};
        bytes = -ENOBUFS;
        if (bw_encode_bound(view.count[0] + view.count[1]) <= room) {
            bytes = (int64_t)bw_encode(&encoding, &message, out);
        }
    }
    free(view.level[0]);
    free(view.level[1]);
    return bytes;
}

int64_t bw_snapshot_of(const bw_subscription *subscription, const char *const *path,
                       const bw_gateway_exchange *exchange, uint32_t count, uint32_t patience_ms,
                       uint8_t *out, uint64_t room, uint32_t *live, uint32_t *known) {
    if (count > BW_EXCHANGES_MAX) return -EINVAL;
    snapshot_work *work = calloc(1, sizeof *work);
    if (!work) return -ENOMEM;
    work->wanted = subscription;
    work->stamps.state = BW_BOOK_DOWN;
    int64_t result = 0;
    for (uint32_t i = 0; i < count && result == 0; i++) {
        result = add_exchange(work, path[i], exchange[i].number, (int64_t)patience_ms * 1000000);
    }
    *live = work->inputs;
    *known = work->known;
    if (work->stamps.receive_ns == 0) work->stamps.receive_ns = bw_wall_ns();
    if (result == 0) result = encode_view(work, exchange, count, out, room);
    for (uint32_t i = 0; i < work->books; i++) one_book_free(&work->book[i]);
    free(work);
    return result;
}

/* --- crossed books over many symbols: every segment is mapped once ------------------------------------- */

struct bw_arb_scan {
    bw_segment *segment[BW_EXCHANGES_MAX];
    uint32_t number[BW_EXCHANGES_MAX];
    char id[BW_EXCHANGES_MAX][16]; /* by number */
    uint32_t count;
    int64_t patience_ns;
    snapshot_work work;
    bw_arb found;
};

bw_arb_scan *bw_arb_scan_new(const char *const *path, const bw_gateway_exchange *exchange, uint32_t count,
                             uint32_t patience_ms) {
    if (count > BW_EXCHANGES_MAX) return NULL;
    bw_arb_scan *scan = calloc(1, sizeof *scan);
    if (!scan) return NULL;
    scan->patience_ns = (int64_t)patience_ms * 1000000;
    for (uint32_t i = 0; i < count; i++) {
        char error[160];
        bw_segment *segment = bw_segment_open(path[i], error, sizeof error);
        if (!segment) continue;
        scan->segment[scan->count] = segment;
        scan->number[scan->count++] = exchange[i].number;
        memcpy(scan->id[exchange[i].number % BW_EXCHANGES_MAX], exchange[i].id, sizeof scan->id[0]);
    }
    return scan;
}

void bw_arb_scan_free(bw_arb_scan *scan) {
    if (!scan) return;
    for (uint32_t i = 0; i < scan->count; i++) bw_segment_close(scan->segment[i]);
    free(scan);
}

int64_t bw_arb_scan_symbol(bw_arb_scan *scan, const bw_subscription *wanted, char *out, int64_t *net,
                           uint32_t *rows, uint32_t *left_out) {
    snapshot_work *work = &scan->work;
    memset(work, 0, sizeof *work);
    work->wanted = wanted;
    int result = 0;
    for (uint32_t i = 0; i < scan->count && result == 0; i++) {
        result = add_segment(work, scan->segment[i], scan->number[i], scan->patience_ns);
    }
    char *end = out;
    bw_arb *found = &scan->found;
    found->count = found->left_out = 0;
    if (result == 0) bw_arb_find(found, &wanted->arb, wanted->depth, work->input, work->inputs);
    bw_encoding encoding = {.kind = BW_VIEW_ARB, .strings = wanted->strings != 0, .exchange_id = scan->id};
    memcpy(encoding.channel, wanted->channel, sizeof encoding.channel);
    int64_t now_ns = bw_wall_ns();
    for (uint32_t i = 0; i < found->count; i++) {
        end = bw_arb_put_row(end, &found->row[i], &encoding, wanted->arb.capital, now_ns);
        *end++ = '\n';
        net[i] = found->row[i].net;
    }
    *rows = found->count;
    *left_out = found->left_out;
    for (uint32_t i = 0; i < work->books; i++) one_book_free(&work->book[i]);
    return result < 0 ? result : end - out;
}
