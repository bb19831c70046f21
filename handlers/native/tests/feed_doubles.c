#include "feed_doubles.h"

#include <stdio.h>

seen_by_engine seen;

#define BOOKS 8u
static struct {
    bw_shm_header header;
    bw_symbol symbol[BOOKS];
    bw_stats stats;
    bw_timing timing;
} segment;

static void copy(char *out, size_t room, const char *text, size_t bytes) {
    size_t kept = bytes < room - 1 ? bytes : room - 1;
    memcpy(out, text, kept);
    out[kept] = 0;
}

bw_shm_writer *double_segment(void) {
    memset(&segment, 0, sizeof segment);
    segment.header.book_capacity = BOOKS;
    segment.header.symbol_offset = (uint64_t)((char *)segment.symbol - (char *)&segment.header);
    return (bw_shm_writer *)&segment;
}

bw_shm_header *bw_shm_writer_header(bw_shm_writer *writer) {
    (void)writer;
    return &segment.header;
}

bw_timing *bw_shm_writer_timing(bw_shm_writer *writer) {
    (void)writer;
    return &segment.timing;
}

void bw_engine_reading(bw_engine *engine, int64_t read_ns) {
    (void)engine, (void)read_ns;
}

bw_stats *bw_shm_writer_stats(bw_shm_writer *writer) {
    (void)writer;
    return &segment.stats;
}

int bw_shm_writer_add_book(bw_shm_writer *writer, const bw_symbol *symbol, uint8_t price_exponent,
                           uint8_t quantity_exponent, int64_t now_ns) {
    (void)writer, (void)price_exponent, (void)quantity_exponent, (void)now_ns;
    uint32_t book = atomic_load(&segment.header.book_count);
    segment.symbol[book] = *symbol;
    atomic_store(&segment.header.book_count, book + 1);
    return (int)book;
}

int bw_shm_writer_add_bell(bw_shm_writer *writer, const char *bell_path, const char *fifo_path) {
    (void)writer;
    seen.bells++;
    return strcmp(bell_path, "bell") == 0 && strcmp(fifo_path, "fifo") == 0 ? 0 : -1;
}

void bw_shm_writer_ring_bells(bw_shm_writer *writer) {
    (void)writer;
}

bw_engine *bw_engine_new(const bw_engine_spec *spec, char *error, uint32_t error_bytes) {
    (void)error, (void)error_bytes;
    memset(&seen, 0, sizeof seen);
    return (bw_engine *)spec->events;
}

void bw_engine_free(bw_engine *engine) {
    (void)engine;
}

void bw_engine_set_scale(bw_engine *engine, uint32_t book, uint32_t price_decimals,
                         uint32_t quantity_decimals) {
    (void)engine, (void)book, (void)price_decimals, (void)quantity_decimals;
}

int bw_engine_add_book(bw_engine *engine, uint32_t book, const char *native_symbol) {
    (void)engine, (void)book, (void)native_symbol;
    seen.books++;
    return 0;
}

void bw_engine_bind(bw_engine *engine, uint32_t book, uint32_t connection) {
    (void)engine, (void)book, (void)connection;
    seen.binds++;
}

void bw_engine_hand_over(bw_engine *engine, uint32_t book, uint32_t connection) {
    (void)engine, (void)book, (void)connection;
    seen.hand_overs++;
}

void bw_engine_connection_up(bw_engine *engine, uint32_t connection, int64_t now_ns) {
    (void)engine, (void)connection, (void)now_ns;
    seen.ups++;
}

void bw_engine_connection_down(bw_engine *engine, uint32_t connection, uint32_t reason, int64_t now_ns) {
    (void)engine, (void)connection, (void)reason, (void)now_ns;
    seen.downs++;
}

void bw_engine_frame(bw_engine *engine, uint32_t connection, const char *text, size_t bytes,
                     int64_t receive_ns, int64_t plaintext_ns) {
    (void)engine, (void)connection;
    if (receive_ns <= 0 || plaintext_ns < receive_ns) seen.bad_stamps++;
    copy(seen.last_frame, sizeof seen.last_frame, text, bytes);
    seen.frame_bytes += bytes;
    seen.frames++;
}

void bw_engine_load_snapshot(bw_engine *engine, uint32_t book, const char *body, size_t bytes,
                             int64_t now_ns) {
    (void)engine, (void)book, (void)now_ns;
    copy(seen.last_frame, sizeof seen.last_frame, body, bytes);
    seen.snapshots++;
}

void bw_engine_resync(bw_engine *engine, uint32_t book, uint32_t reason, int64_t now_ns) {
    (void)engine, (void)book, (void)reason, (void)now_ns;
    seen.resyncs++;
}

void bw_engine_set_state(bw_engine *engine, uint32_t book, uint32_t state, uint32_t reason, int64_t now_ns) {
    (void)engine, (void)book, (void)state, (void)reason, (void)now_ns;
    seen.states++;
}

void bw_engine_quarantine(bw_engine *engine, uint32_t connection, const char *text, size_t bytes,
                          const char *why, int64_t now_ns) {
    (void)engine, (void)connection, (void)text, (void)bytes, (void)now_ns;
    copy(seen.last_why, sizeof seen.last_why, why, strlen(why));
    seen.quarantined++;
}

bool bw_engine_prepare_rehearsal(bw_engine *engine) {
    (void)engine;
    return true;
}

void bw_engine_rehearse(bw_engine *engine, uint32_t connection, const char *text, size_t bytes) {
    (void)engine, (void)connection, (void)text, (void)bytes;
}
