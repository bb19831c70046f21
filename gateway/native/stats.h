/* What the gateway counts, in a small shared file that the HTTP process maps read-only.
 *
 * Everything is a 64-bit counter or gauge written by the native loop alone. Names are metric names.
 */
#ifndef BW_GATEWAY_STATS_H
#define BW_GATEWAY_STATS_H

#include "shm_writer.h"

#define BW_GATEWAY_STATS_MAGIC "BWGWSTAT"
#define BW_GATEWAY_STATS_VERSION 2u

/* Counters and gauges (gauges are marked g in docs/gateway.md). */
#define BW_GATEWAY_COUNTERS(X)                                                                         \
    X(clients) X(clients_accepted) X(clients_closed) X(subscriptions_single) X(subscriptions_top)      \
    X(subscriptions_consbook) X(subscriptions_fullbook) X(subscriptions_status) X(subscriptions_arb)   \
    X(groups) X(mirrors) X(requests) X(messages_sent) X(bytes_sent) X(writes) X(writes_blocked)        \
    X(emissions) X(records_seen) X(records_applied) X(ring_overruns) X(ring_lag_bytes) X(books_copied) \
    X(conflations) X(slow_conflate) X(slow_resnapshot) X(slow_disconnect)                              \
    X(refused_clients) X(refused_address) X(refused_handshake) X(refused_token)                        \
    X(refused_requests) X(refused_message_bytes) X(refused_protocol) X(refused_unread)                 \
    X(refused_groups) X(timeouts) X(pings_sent)                                                        \
    X(segments_open) X(segments_lost) X(loop_turns) X(started_ns) X(beat_ns)

enum bw_gateway_latency {
    BW_LATENCY_PUBLISHED_TO_SEEN,       /* ring visible -> read by the gateway */
    BW_LATENCY_PUBLISHED_TO_FIRST_SENT, /* -> the first subscriber's send() returned */
    BW_LATENCY_PUBLISHED_TO_LAST_SENT,
    BW_LATENCY_RECEIVED_TO_FIRST_SENT, /* the feed's socket read -> the first subscriber's send() */
    BW_LATENCY_COUNT
};

typedef struct bw_gateway_stats {
    char magic[8];
    uint32_t version;
    uint32_t bytes;
#define BW_GATEWAY_COUNTER_FIELD(name) _Atomic uint64_t name;
    BW_GATEWAY_COUNTERS(BW_GATEWAY_COUNTER_FIELD)
#undef BW_GATEWAY_COUNTER_FIELD
    _Atomic uint64_t latency_ns[BW_LATENCY_COUNT][BW_HISTOGRAM_BUCKETS];
    _Atomic uint64_t latency_sum_ns[BW_LATENCY_COUNT];
} bw_gateway_stats;

/* One writer: a plain load and store, no locked instruction. */
#define BW_COUNT(stats, name, by)                                                                      \
    atomic_store_explicit(&(stats)->name,                                                              \
                          atomic_load_explicit(&(stats)->name, memory_order_relaxed) + (uint64_t)(by), \
                          memory_order_relaxed)
#define BW_GAUGE(stats, name, value) atomic_store_explicit(&(stats)->name, (value), memory_order_relaxed)

static inline void bw_latency_add(bw_gateway_stats *stats, enum bw_gateway_latency which, int64_t ns) {
    uint64_t positive = ns > 0 ? (uint64_t)ns : 0;
    BW_COUNT(stats, latency_ns[which][bw_histogram_bucket(positive)], 1);
    BW_COUNT(stats, latency_sum_ns[which], positive);
}

/* Creates (writer) or maps (reader) the file; NULL with the reason in error. */
bw_gateway_stats *bw_gateway_stats_create(const char *path, char *error, uint32_t error_bytes);
const bw_gateway_stats *bw_gateway_stats_open(const char *path, char *error, uint32_t error_bytes);
void bw_gateway_stats_close(const bw_gateway_stats *stats);

/* For readers in other languages: number of counters, name and value of the one at `index`. */
uint32_t bw_gateway_counter_count(void);
const char *bw_gateway_counter_name(uint32_t index);
uint64_t bw_gateway_counter_value(const bw_gateway_stats *stats, uint32_t index);
uint64_t bw_gateway_latency_bucket(const bw_gateway_stats *stats, uint32_t which, uint32_t bucket);
uint64_t bw_gateway_latency_sum(const bw_gateway_stats *stats, uint32_t which);

#endif
