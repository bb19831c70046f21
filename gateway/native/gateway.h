/* The gateway as Python sees it: start a native loop, drain its events, post it commands.
 *
 * The loop owns every socket after the listening one, every mirror and every subscription. Python
 * owns what words mean: it gets each request as an event and answers with commands. Commands and
 * events travel through two pipes; all calls below but new/free are made from one Python thread.
 */
#ifndef BW_GATEWAY_H
#define BW_GATEWAY_H

#include "arb.h"
#include "pipe.h"
#include "stats.h"

#define BW_CLIENT_NONE UINT64_MAX

enum bw_gateway_event { /* bw_pipe_message.type */
    BW_GATEWAY_TEXT = 1,     /* client, body: a request; code: 1 = authorised */
    BW_GATEWAY_CLOSED = 2,   /* client, code: close code that ended it */
    BW_GATEWAY_TOO_LARGE = 3, /* client: a request above request_bytes_max; tag: its bytes */
    BW_GATEWAY_REFUSED = 4,  /* client, tag: the subscription that could not be made, body: why */
    BW_GATEWAY_EXCHANGE = 5, /* code: exchange number, tag: 1 up, 0 down, body: why */
    BW_GATEWAY_STOPPED = 6,
    BW_GATEWAY_PUSHED = 7,   /* client, code: so many pushes are out, nothing waits for the socket */
    BW_GATEWAY_EVENTS = 8,   /* client, body: path and query of who wants server-sent events */
};

enum bw_slow { BW_SLOW_CONFLATE, BW_SLOW_RESNAPSHOT, BW_SLOW_DISCONNECT };

typedef struct bw_gateway_limits {
    uint32_t clients_max, clients_per_address;
    uint32_t request_bytes_max, message_bytes_max;
    uint32_t requests_per_second, requests_burst;
    uint32_t handshake_ms, ping_ms, timeout_ms;
    uint32_t queue_bytes_max, frame_bytes_max, send_buffer_bytes;
    uint32_t writer_patience_ms;
} bw_gateway_limits;

typedef struct bw_gateway_exchange {
    uint32_t number;
    char id[16];
} bw_gateway_exchange;

typedef struct bw_gateway_spec {
    int listen_fd; /* listening, taken over */
    const char *shm_dir, *bell_path, *fifo_path, *stats_path;
    const char *tls_certificate, *tls_key; /* NULL: plain */
    const char *tokens; /* accepted bearer tokens, one a line; NULL: open to all */
    const bw_gateway_exchange *exchange;
    uint32_t exchange_count;
    uint32_t busy; /* 1: spin, never sleep */
    int32_t cpu;   /* -1: any */
    bw_gateway_limits limits;
} bw_gateway_spec;

typedef struct bw_subscription {
    uint64_t tag; /* the caller's name for it, unique per client */
    uint32_t kind;     /* enum bw_view_kind */
    uint32_t exchange; /* its number, for BW_VIEW_SINGLE */
    uint32_t instrument; /* enum bw_instrument_kind */
    uint32_t depth;
    uint32_t deltas; /* 0: snapshots only */
    uint32_t interval_ms;
    uint32_t format; /* enum bw_format */
    uint32_t strings;
    uint32_t stamps;
    uint32_t slow;         /* enum bw_slow */
    uint32_t heartbeat_ms; /* 0: none */
    char channel[BW_CHANNEL_BYTES]; /* as answers name it */
    char symbol[32];                /* BASE-QUOTE */
    char native[40];                /* for tardis */
    bw_arb_terms arb;               /* for BW_VIEW_ARB */
} bw_subscription;

typedef struct bw_gateway bw_gateway;

/* NULL with the reason in error. The loop runs on a thread of its own from bw_gateway_start() on. */
bw_gateway *bw_gateway_new(const bw_gateway_spec *spec, char *error, uint32_t error_bytes);
int bw_gateway_start(bw_gateway *gateway); /* 0 or -errno */
void bw_gateway_free(bw_gateway *gateway); /* stops the loop, closes every client, joins */

int bw_gateway_event_fd(const bw_gateway *gateway);
uint32_t bw_gateway_events(bw_gateway *gateway, uint8_t *out, uint32_t room);

/* Commands. 0, or -EAGAIN when the pipe is full: try again later. `text` is sent as one text message
 * and, for the (un)subscribe commands, before anything else of that subscription. */
int bw_gateway_send(bw_gateway *gateway, uint64_t client, const char *text, uint32_t bytes);
/* To a client that asked for events and was sent nothing yet: a whole HTTP answer, and the end. */
int bw_gateway_answer(bw_gateway *gateway, uint64_t client, const char *text, uint32_t bytes);
/* Whole WebSocket frames as they are; BW_GATEWAY_PUSHED follows once they are handed to the socket, so that
 * whoever pushes need never have more than that waiting. */
int bw_gateway_push(bw_gateway *gateway, uint64_t client, const uint8_t *frames, uint32_t bytes);
int bw_gateway_subscribe(bw_gateway *gateway, uint64_t client, const bw_subscription *subscription,
                         const char *text, uint32_t bytes);
int bw_gateway_unsubscribe(bw_gateway *gateway, uint64_t client, uint64_t tag, const char *text,
                           uint32_t bytes);
int bw_gateway_authorise(bw_gateway *gateway, uint64_t client, const char *text, uint32_t bytes);
int bw_gateway_close_client(bw_gateway *gateway, uint64_t client, uint32_t code, const char *reason);
int bw_gateway_send_all(bw_gateway *gateway, const char *text, uint32_t bytes);
/* Stops accepting, sends 1001 to everybody, flushes for up to 1 s, posts BW_GATEWAY_STOPPED. */
int bw_gateway_stop(bw_gateway *gateway);

/* The state of a channel right now without a gateway: copies the LIVE books, merges, encodes one
 * snapshot. `path` are segment files of the exchanges `number`. Returns bytes, or a negative errno;
 * *live says how many of the books were live, *known how many exist. */
int64_t bw_snapshot_of(const bw_subscription *subscription, const char *const *path,
                       const bw_gateway_exchange *exchange, uint32_t count, uint32_t patience_ms,
                       uint8_t *out, uint64_t room, uint32_t *live, uint32_t *known);

/* Crossed books of one symbol after another, as they are right now. Segments that cannot be opened count as
 * not there. NULL: memory is short. */
typedef struct bw_arb_scan bw_arb_scan;
bw_arb_scan *bw_arb_scan_new(const char *const *path, const bw_gateway_exchange *exchange, uint32_t count,
                             uint32_t patience_ms);
void bw_arb_scan_free(bw_arb_scan *scan);
/* Writes a line of JSON a row, most profit first, and the row's net yield; `out` and `net` have room for
 * BW_ARB_ROWS_MAX. Returns bytes, or a negative errno. */
int64_t bw_arb_scan_symbol(bw_arb_scan *scan, const bw_subscription *wanted, char *out, int64_t *net,
                           uint32_t *rows, uint32_t *left_out);

#endif
