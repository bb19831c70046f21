#include "replay.h"

#include "compose.h"
#include "shm_reader.h"
#include "websocket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct played_book {
    bw_segment *segment;
    bw_level *level[BW_SIDES];
    uint32_t count[BW_SIDES];
    bw_book header; /* of the copy in `level` */
    uint32_t exchange;
    bool copied;
} played_book;

struct bw_replay {
    bw_subscription wanted;
    bw_encoding encoding;
    char id[BW_EXCHANGES_MAX][16]; /* by number */
    played_book book[BW_EXCHANGES_MAX];
    uint32_t books;
    bool begun, shown_live;
    bw_view view, fresh;
    bw_view_level *change[BW_SIDES];
    bw_arb arb, fresh_arb;
};

static bool view_init(bw_view *view, uint32_t depth) {
    view->depth = depth;
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        view->level[side] = malloc(depth * sizeof *view->level[side]);
        if (!view->level[side]) return false;
    }
    return true;
}

static void encoding_init(bw_replay *replay) {
    const bw_subscription *wanted = &replay->wanted;
    bw_encoding *encoding = &replay->encoding;
    *encoding = (bw_encoding){.kind = wanted->kind, .format = wanted->format,
                              .strings = wanted->strings != 0, .stamps = wanted->stamps != 0,
                              .exchange_id = replay->id};
    memcpy(encoding->channel, wanted->channel, sizeof encoding->channel);
    memcpy(encoding->native, wanted->native, sizeof encoding->native);
    if (wanted->kind == BW_VIEW_SINGLE)
        memcpy(encoding->exchange, replay->id[wanted->exchange % BW_EXCHANGES_MAX],
               sizeof encoding->exchange);
}

static bool book_init(bw_replay *replay, const char *path, const bw_gateway_exchange *exchange, char *error,
                      uint32_t error_bytes) {
    played_book *book = &replay->book[replay->books++];
    book->exchange = exchange->number;
    memcpy(replay->id[exchange->number % BW_EXCHANGES_MAX], exchange->id, sizeof replay->id[0]);
    book->segment = bw_segment_open(path, error, error_bytes);
    for (uint32_t side = 0; side < BW_SIDES; side++)
        book->level[side] = malloc(replay->wanted.depth * sizeof(bw_level));
    return book->segment && book->level[0] && book->level[1];
}

bw_replay *bw_replay_new(const bw_subscription *wanted, const char *const *path,
                         const bw_gateway_exchange *exchange, uint32_t count, char *error,
                         uint32_t error_bytes) {
    snprintf(error, error_bytes, "memory is short");
    bw_replay *replay = count <= BW_EXCHANGES_MAX ? calloc(1, sizeof *replay) : NULL;
    if (!replay) return NULL;
    replay->wanted = *wanted;
    bool made = view_init(&replay->view, wanted->depth) && view_init(&replay->fresh, wanted->depth);
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        replay->change[side] = malloc(2 * wanted->depth * sizeof *replay->change[side]);
        made = made && replay->change[side];
    }
    for (uint32_t i = 0; made && i < count; i++)
        made = book_init(replay, path[i], &exchange[i], error, error_bytes);
    encoding_init(replay);
    if (made) return replay;
    bw_replay_free(replay);
    return NULL;
}

void bw_replay_free(bw_replay *replay) {
    if (!replay) return;
    for (uint32_t i = 0; i < replay->books; i++) {
        if (replay->book[i].segment) bw_segment_close(replay->book[i].segment);
        for (uint32_t side = 0; side < BW_SIDES; side++) free(replay->book[i].level[side]);
    }
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        free(replay->view.level[side]);
        free(replay->fresh.level[side]);
        free(replay->change[side]);
    }
    free(replay);
}

uint32_t bw_replay_room(const bw_replay *replay) {
    size_t rows = (size_t)(BW_ARB_ROWS_MAX + 1) * BW_ARB_ROW_BYTES;
    size_t levels = bw_encode_bound(4 * replay->wanted.depth);
    return (uint32_t)(BW_WS_HEADER_MAX + (rows > levels ? rows : levels));
}

/* Copies the book where it moved since. Its writer is this same thread: nothing is torn. */
static bool copy(played_book *book, uint32_t depth) {
    const bw_book *now = bw_segment_book(book->segment, 0);
    if (book->copied && now->version == book->header.version) return true;
    book->count[0] = book->count[1] = depth;
    uint64_t version = now->version;
    book->copied = bw_book_read(book->segment, 0, depth, &book->header, book->level[0], &book->count[0],
                                book->level[1], &book->count[1], NULL) == BW_READ_OK;
    book->header.version = version;
    for (uint32_t side = 0; book->copied && side < BW_SIDES; side++)
        book->count[side] = bw_view_known(book->level[side], book->count[side], side,
                                         book->header.side[side].verified_price);
    return book->copied;
}

static uint32_t inputs_of(bw_replay *replay, bw_view_input *input, bw_stamps *stamps) {
    uint32_t inputs = 0;
    bool single = replay->wanted.kind == BW_VIEW_SINGLE;
    for (uint32_t i = 0; i < replay->books; i++) {
        played_book *book = &replay->book[i];
        if (!copy(book, replay->wanted.depth)) continue;
        const bw_book *header = &book->header;
        bool live = header->state == BW_BOOK_LIVE;
        if ((live || single) && header->receive_ns >= stamps->receive_ns) {
            *stamps = (bw_stamps){header->sequence, header->exchange_ns, header->receive_ns,
                                  header->published_ns, header->state};
        }
        if (!live) continue;
        input[inputs++] = (bw_view_input){{book->level[0], book->level[1]}, {book->count[0], book->count[1]},
                                          header->price_exponent, header->quantity_exponent,
                                          book->exchange, header->receive_ns};
    }
    return inputs;
}

static int64_t framed(bw_replay *replay, size_t bytes, uint8_t *out) {
    uint8_t header[BW_WS_HEADER_MAX];
    bool binary = replay->encoding.format == BW_FORMAT_BINARY;
    size_t header_bytes = bw_ws_header(header, binary ? BW_WS_OP_BINARY : BW_WS_OP_TEXT, bytes, NULL);
    memmove(out + header_bytes, out + BW_WS_HEADER_MAX, bytes);
    memcpy(out, header, header_bytes);
    return (int64_t)(header_bytes + bytes);
}

static int64_t next_arb(bw_replay *replay, const bw_view_input *input, uint32_t inputs,
                        const bw_message *message, int64_t now_ns, uint8_t *out) {
    const bw_arb_terms *terms = &replay->wanted.arb;
    bw_arb_find(&replay->fresh_arb, terms, replay->wanted.depth, input, inputs);
    if (replay->begun && bw_arb_equal(&replay->arb, &replay->fresh_arb)) return 0;
    replay->begun = true;
    replay->arb = replay->fresh_arb;
    size_t bytes = bw_arb_encode((char *)out + BW_WS_HEADER_MAX, &replay->arb, &replay->encoding,
                                 terms->capital, message, now_ns);
    return framed(replay, bytes, out);
}

int64_t bw_replay_next(bw_replay *replay, int64_t now_ns, uint64_t updates, uint8_t *out, uint32_t room) {
    if (room < bw_replay_room(replay)) return -ENOBUFS;
    bw_view_input input[BW_EXCHANGES_MAX];
    bw_message message = {.kind = BW_PUSH_SNAPSHOT, .stamps = {.state = BW_BOOK_DOWN}};
    uint32_t inputs = inputs_of(replay, input, &message.stamps);
    if (replay->wanted.kind != BW_VIEW_SINGLE) message.stamps.sequence = updates;
    if (message.stamps.receive_ns == 0) message.stamps.receive_ns = now_ns;
    if (replay->wanted.kind == BW_VIEW_ARB) return next_arb(replay, input, inputs, &message, now_ns, out);
    bool turned = replay->wanted.kind == BW_VIEW_SINGLE && replay->shown_live != (inputs > 0);
    bw_composition step = {.encoding = &replay->encoding, .view = &replay->view, .fresh = &replay->fresh,
                           .change = replay->change, .deltas = replay->begun && replay->wanted.deltas != 0,
                           .turned = turned || !replay->begun};
    if (!bw_compose(&step, input, inputs, &message)) return 0;
    replay->begun = true;
    replay->shown_live = inputs > 0;
    bw_view shown = replay->view;
    replay->view = replay->fresh;
    replay->fresh = shown;
    return framed(replay, bw_encode(&replay->encoding, &message, out + BW_WS_HEADER_MAX), out);
}
