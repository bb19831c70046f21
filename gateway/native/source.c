/* An exchange's segment: opened when it appears, followed by its ring, let go when its writer dies. */
#include "internal.h"

#include "clock.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint32_t symbol_hash(const char *symbol, uint32_t instrument) {
    uint32_t hash = 2166136261u ^ instrument;
    for (; *symbol; symbol++) hash = (hash ^ (uint8_t)*symbol) * 16777619u;
    return hash;
}

uint32_t bw_source_find(const bw_source *source, const char *symbol, uint32_t instrument) {
    if (source->symbol_slots == 0) return UINT32_MAX;
    uint32_t mask = source->symbol_slots - 1;
    for (uint32_t at = symbol_hash(symbol, instrument) & mask; source->symbol_slot[at];
         at = (at + 1) & mask) {
        uint32_t book = source->symbol_slot[at] - 1;
        const bw_symbol *entry = bw_segment_symbol(source->segment, book);
        if (entry->kind == instrument && strcmp(entry->canonical, symbol) == 0) return book;
    }
    return UINT32_MAX;
}

static void source_index_book(bw_source *source, uint32_t book) {
    const bw_symbol *entry = bw_segment_symbol(source->segment, book);
    if (bw_source_find(source, entry->canonical, entry->kind) != UINT32_MAX)
        return; /* the first one counts */
    uint32_t mask = source->symbol_slots - 1;
    uint32_t at = symbol_hash(entry->canonical, entry->kind) & mask;
    while (source->symbol_slot[at]) at = (at + 1) & mask;
    source->symbol_slot[at] = book + 1;
}

void bw_source_free(bw_source *source) {
    if (source->pidfd >= 0) close(source->pidfd);
    source->pidfd = -1;
    free(source->by_book);
    free(source->state);
    free(source->reason);
    free(source->symbol_slot);
    source->by_book = NULL;
    source->state = source->reason = NULL;
    source->symbol_slot = NULL;
    source->symbol_slots = source->book_count = source->book_capacity = 0;
    if (source->segment) bw_segment_close(source->segment);
    source->segment = NULL;
    source->alive = false;
}

/* Takes in books added since the last look. */
static void source_grow(bw_gateway *gateway, bw_source *source) {
    const bw_shm_header *header = bw_segment_header(source->segment);
    uint32_t count = atomic_load_explicit(&header->book_count, memory_order_acquire);
    if (count > source->book_capacity) count = source->book_capacity;
    if (count == source->book_count) return;
    for (uint32_t book = source->book_count; book < count; book++) {
        source_index_book(source, book);
        const bw_book *entry = bw_segment_book(source->segment, book);
        source->state[book] = (uint8_t)*(const volatile uint32_t *)&entry->state;
        source->reason[book] = (uint8_t)*(const volatile uint32_t *)&entry->reason;
    }
    source->book_count = count;
    for (bw_mirror *mirror = source->mirrors; mirror; mirror = mirror->next) {
        if (mirror->book != UINT32_MAX) continue;
        bw_mirror_attach(gateway, mirror);
        if (mirror->loaded) bw_mirror_show(gateway, mirror, true);
    }
}

static bool source_tables(bw_source *source) {
    uint32_t capacity = bw_segment_header(source->segment)->book_capacity;
    uint32_t slots = 64;
    while (slots < capacity * BW_SYMBOL_SLOTS_PER_BOOK) slots *= 2;
    source->by_book = calloc(capacity, sizeof *source->by_book);
    source->state = calloc(capacity, 1);
    source->reason = calloc(capacity, 1);
    source->symbol_slot = calloc(slots, sizeof *source->symbol_slot);
    if (!source->by_book || !source->state || !source->reason || !source->symbol_slot) return false;
    source->book_capacity = capacity;
    source->symbol_slots = slots;
    return true;
}

/* A descriptor that turns readable when the writer's process ends, -1 where there is none: in another
 * PID namespace the heartbeat has to do. */
static int writer_pidfd(const bw_segment *segment) {
#ifdef SYS_pidfd_open
    return (int)syscall(SYS_pidfd_open, bw_segment_header(segment)->writer_pid, 0);
#else
    (void)segment;
    return -1;
#endif
}

static bool process_ended(int pidfd) {
    struct pollfd look = {.fd = pidfd, .events = POLLIN};
    return pidfd >= 0 && poll(&look, 1, 0) > 0;
}

/* A segment whose writer is dead stays where it is until a successor replaces it, and its heartbeat is
 * fresh for a moment: neither may bring its books back. */
static bool source_may_open(bw_gateway *gateway, bw_source *source) {
    int64_t patience = (int64_t)gateway->limits.writer_patience_ms * 1000000;
    uint64_t generation = bw_segment_header(source->segment)->generation;
    if (generation == source->dead_generation) return false;
    if (!bw_segment_alive(source->segment, bw_wall_ns(), patience)) return false;
    source->pidfd = writer_pidfd(source->segment);
    if (!process_ended(source->pidfd)) return source_tables(source);
    source->dead_generation = generation;
    return false;
}

static void source_open(bw_gateway *gateway, bw_source *source) {
    if (access(source->path, R_OK) != 0) return;
    char error[256];
    source->segment = bw_segment_open(source->path, error, sizeof error);
    if (!source->segment) return;
    if (!source_may_open(gateway, source)) {
        bw_source_free(source);
        return;
    }
    source->alive = true;
    source->header = bw_segment_header(source->segment);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uintptr_t)source | BW_EPOLL_SOURCE};
    if (source->pidfd >= 0) epoll_ctl(gateway->epoll_fd, EPOLL_CTL_ADD, source->pidfd, &event);
    bw_ring_seek_head(source->segment, &source->cursor);
    source_grow(gateway, source);
    BW_COUNT(gateway->stats, segments_open, 1);
    bw_status_exchange(gateway, source, "segment opened");
}

/* Its process has ended: what it left is never opened again. */
void bw_source_end(bw_gateway *gateway, bw_source *source) {
    if (!source->segment) return;
    source->dead_generation = bw_segment_header(source->segment)->generation;
    bw_source_lose(gateway, source, "its process ended");
}

/* Its books leave at once; what was mapped is let go, so that a successor can be opened. */
void bw_source_lose(bw_gateway *gateway, bw_source *source, const char *why) {
    if (!source->segment) return;
    bool was_alive = source->alive;
    source->alive = false;
    for (bw_mirror *mirror = source->mirrors; mirror; mirror = mirror->next)
        bw_mirror_detach(gateway, mirror);
    bw_source_free(source);
    if (!was_alive) return;
    BW_COUNT(gateway->stats, segments_open, -1);
    BW_COUNT(gateway->stats, segments_lost, 1);
    bw_status_exchange(gateway, source, why);
}

/* Every mirror is copied afresh: the records between are lost to us. */
static void source_reload(bw_gateway *gateway, bw_source *source, bool all) {
    source->reload_wanted = false;
    for (bw_mirror *mirror = source->mirrors; mirror; mirror = mirror->next) {
        if (mirror->book == UINT32_MAX || (mirror->loaded && !all)) continue;
        bw_mirror_load(gateway, mirror);
        bw_mirror_show(gateway, mirror, true);
    }
}

void bw_source_check(bw_gateway *gateway, bw_source *source) {
    if (source->segment) {
        int64_t patience = (int64_t)gateway->limits.writer_patience_ms * 1000000;
        if (!bw_segment_alive(source->segment, gateway->wall_ns, patience)) {
            bw_source_lose(gateway, source, "its process is gone or stands still");
        } else if (bw_segment_replaced(source->segment)) {
            bw_source_lose(gateway, source, "replaced by a new process");
        } else {
            source_grow(gateway, source);
            if (source->reload_wanted) source_reload(gateway, source, false);
        }
    }
    if (!source->segment) source_open(gateway, source);
}

bool bw_source_waiting(const bw_source *source) {
    return source->alive &&
           atomic_load_explicit(&source->header->ring_head, memory_order_acquire) != source->cursor.position;
}

static void source_note_state(bw_gateway *gateway, bw_source *source, const bw_record *header) {
    if (header->book >= source->book_count) {
        source_grow(gateway, source);
    } else if (source->state[header->book] != header->state ||
               source->reason[header->book] != header->reason) {
        source->state[header->book] = (uint8_t)header->state;
        source->reason[header->book] = (uint8_t)header->reason;
        bw_status_book(gateway, source, header->book, header->state, header->reason);
    }
}

/* True: go on. `seen_ns` > 0: when the record was noticed, for the latency histogram. */
static bool source_record(bw_gateway *gateway, bw_source *source, bool emit, int64_t seen_ns) {
    const bw_record *record;
    int result = bw_ring_next(source->segment, &source->cursor, &record);
    if (result == BW_READ_EMPTY) return false;
    if (result != BW_READ_OK) {
        BW_COUNT(gateway->stats, ring_overruns, 1);
        source_reload(gateway, source, true);
        return false;
    }
    bw_record header = *record; /* a deep copy on the way takes the record's memory */
    bw_ring_done(source->segment, &source->cursor, record);
    BW_COUNT(gateway->stats, records_seen, 1);
    source_note_state(gateway, source, &header);
    bw_mirror *mirror = header.book < source->book_count ? source->by_book[header.book] : NULL;
    if (!mirror) return true;
    if (seen_ns > 0) {
        bw_latency_add(gateway->stats, BW_LATENCY_PUBLISHED_TO_SEEN, seen_ns - header.published_ns);
    }
    if (bw_mirror_apply(gateway, mirror, &header, record)) bw_mirror_show(gateway, mirror, emit);
    return true;
}

bool bw_source_poll(bw_gateway *gateway, bw_source *source) {
    if (!source->alive) return false;
    uint64_t head = atomic_load_explicit(&source->header->ring_head, memory_order_acquire);
    uint64_t lag = head - source->cursor.position;
    if (lag == 0) return false;
    gateway->wall_ns = bw_wall_ns();
    if (source->reload_wanted) source_reload(gateway, source, false);
    BW_GAUGE(gateway->stats, ring_lag_bytes, lag);
    bool merge = lag > source->header->ring_bytes / 4; /* behind: one message for all, visible by seq */
    uint32_t records = 0;
    while ((merge ? source->cursor.position < head : records < BW_RECORDS_PER_TURN) &&
           source_record(gateway, source, !merge, records == 0 ? gateway->wall_ns : 0)) {
        records++;
    }
    return true;
}
