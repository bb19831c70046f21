/* The exchange process's native loop: connections in, books out, one thread.
 *
 * Python builds a feed, runs bw_feed_run() in a thread of its own (it blocks; cffi releases the GIL),
 * posts commands and drains events. Commands never block: they go through a ring, payloads are copied
 * on the caller's thread and freed there later, so the loop neither allocates nor frees for them. They
 * are carried out in order. Before bw_feed_run() they wait in the ring, except bw_feed_add_book() and
 * bw_feed_bind(), which are then done at once, so that any number of books can be set up.
 *
 * Any thread may post. Return values of commands: 0 (or an index), -EAGAIN when the ring is full (wait
 * for the loop, try again), -EINVAL, -ENOMEM, -ENOSPC. What fails later on the loop is told by
 * BW_EVENT_REFUSED. Every bw_feed_connect() that returned 0 ends in exactly one BW_EVENT_CLOSED (or
 * REFUSED when the id was in use), with a BW_EVENT_CONNECTED before it if the WebSocket opened; the id
 * may be used again after CLOSED.
 */
#ifndef BW_FEED_H
#define BW_FEED_H

#include "control.h"
#include "engine.h"
#include "network.h"
#include "raw_ring.h"

#include <stddef.h>
#include <stdint.h>

#define BW_FEED_CONNECTIONS_MAX 64u
#define BW_FEED_COMMANDS 1024u      /* waiting at most; a power of two */
#define BW_FEED_THREAD_NAME "bw-feed"  /* of the loop's thread while it runs */
#define BW_FEED_SEND_BYTES (512u << 10) /* of one connection: frames the socket has not taken yet */

enum bw_poll { BW_POLL_EPOLL, BW_POLL_BUSY };

/* What a binary frame holds; a text frame is text everywhere. */
enum bw_frames { BW_FRAMES_PLAIN, BW_FRAMES_GZIP, BW_FRAMES_DEFLATE, BW_FRAMES_PROTOBUF };

enum bw_close_cause {   /* event CLOSED: code; what a, b and text hold */
    BW_CLOSE_ASKED = 1, /* by bw_feed_close() or stop. a: the peer's answering close code, 0 if none */
    BW_CLOSE_PEER,      /* the peer's close frame. a: its close code, text: its reason */
    BW_CLOSE_EOF,       /* the stream ended without a close frame */
    BW_CLOSE_CONNECT,   /* TCP connection refused or unreachable. a: errno */
    BW_CLOSE_TLS,       /* handshake or record failed. text: why, for people */
    BW_CLOSE_UPGRADE,   /* not answered 101. a: HTTP status (0: not HTTP), b: Retry-After in s, text */
    BW_CLOSE_PROTOCOL,  /* the peer broke RFC 6455. a: close code sent, text: which rule */
    BW_CLOSE_TOO_LARGE, /* a message above message_bytes_max. a: 1009 */
    BW_CLOSE_UTF8,      /* text that is not UTF-8, data that cannot be inflated. a: 1007, text: which */
    BW_CLOSE_TIMEOUT,   /* connect_timeout_ms passed before the WebSocket was open */
    BW_CLOSE_IO,        /* the transport failed while open. a: errno (ETIMEDOUT: peer is gone) */
    BW_CLOSE_SEND_FULL, /* the peer takes nothing and BW_FEED_SEND_BYTES are waiting */
};

enum bw_connection_state {
    BW_CONNECTION_FREE,
    BW_CONNECTION_CONNECTING,
    BW_CONNECTION_HANDSHAKE,
    BW_CONNECTION_UPGRADE,
    BW_CONNECTION_OPEN,
    BW_CONNECTION_CLOSING, /* our close frame is out, the peer's is awaited (1 s at most) */
};

typedef struct bw_feed bw_feed;

typedef struct bw_feed_spec {
    const bw_plan *plan;        /* borrowed; outlives the feed */
    bw_shm_writer *shm;         /* borrowed; from bw_feed_run() on only the loop touches it */
    const char *ca_file;        /* PEM; NULL: the system's store */
    uint32_t poll;              /* enum bw_poll */
    int32_t cpu;                /* the loop pins itself there; -1: no pin */
    uint32_t busy_poll_us;      /* SO_BUSY_POLL where the kernel allows it; 0: off */
    uint32_t connections_max;   /* ids are below it; <= BW_FEED_CONNECTIONS_MAX */
    uint32_t frames;            /* enum bw_frames of binary frames: text, a gzip member, a raw DEFLATE
                                 * stream, protobuf */
    uint64_t message_bytes_max; /* a larger message, as sent or inflated, closes the connection (1009) */
    uint32_t levels_max;        /* as in bw_engine_spec, */
    uint32_t crossed_max;       /* as there, */
    uint64_t pending_bytes;     /* and this too */
    bw_network *network;        /* borrowed, started and stopped by the loop; NULL: the kernel's sockets */
    bw_raw_writer *raw;         /* borrowed; gets what reaches the engine, NULL: nobody records it */
} bw_feed_spec;

typedef struct bw_connect_spec {
    uint32_t connection;
    uint32_t secure;             /* 1 wss (TLS, always verified), 0 ws */
    uint32_t deflate;            /* 1: offer permessage-deflate; where the exchange demands it */
    uint32_t connect_timeout_ms; /* for TCP, TLS and upgrade together; 0: 10,000 */
    char address[48];            /* numeric IPv4 or IPv6: names are resolved by Python */
    char source_address[48];     /* local address to bind, "": the kernel's choice */
    uint16_t port;
    char host[256];              /* name for SNI, the certificate and the Host header */
    char path[2048];             /* with query; "" is "/" */
    char headers[2048];          /* further "Name: value\r\n" lines, or "" */
} bw_connect_spec;

/* What the loop knows of a connection; a copy, single values are current, together they may be a
 * turn apart. Times are ns since the Unix epoch, 0 = never. */
typedef struct bw_connection_view {
    uint32_t state; /* enum bw_connection_state */
    uint32_t tls_resumed;
    int64_t opened_ns;
    int64_t last_receive_ns; /* any bytes */
    int64_t last_message_ns; /* a whole text or binary message */
    int64_t last_ping_ns;    /* a ping frame of the peer (answered at once) */
    int64_t last_pong_ns;    /* a pong frame of the peer */
    uint64_t messages;
    uint64_t bytes;          /* plaintext bytes received */
    uint64_t pings;
    uint64_t pongs;
    uint64_t send_waiting;   /* bytes the socket has not taken yet */
} bw_connection_view;

/* NULL with the reason (what, where) in error: a missing CA file, short memory, a bad spec. */
bw_feed *bw_feed_new(const bw_feed_spec *spec, char *error, uint32_t error_bytes);
/* After bw_feed_run() returned (or was never called). Events not drained are lost. */
void bw_feed_free(bw_feed *feed);

/* Runs the loop on the calling thread until bw_feed_stop(); closes what is open, publishes
 * BW_EVENT_STOPPED last and returns 0, or -errno if it could not run at all: a network that does not start
 * says why in BW_EVENT_REFUSED. With a network, BW_POLL_EPOLL naps between polls that find nothing. */
int bw_feed_run(bw_feed *feed);

/* Becomes readable when events wait; bw_feed_events() clears it and copies up to `capacity` out. */
int bw_feed_event_fd(const bw_feed *feed);
uint32_t bw_feed_events(bw_feed *feed, bw_event *out, uint32_t capacity);
uint64_t bw_feed_events_dropped(const bw_feed *feed);

/* Engine of the feed, for tests and benches that run no loop. */
bw_engine *bw_feed_engine(bw_feed *feed);

int bw_feed_connect(bw_feed *feed, const bw_connect_spec *spec);
int bw_feed_send_text(bw_feed *feed, uint32_t connection, const char *text, size_t bytes);
/* A ping frame; the answer shows as `pongs` and `last_pong_ns`. */
int bw_feed_send_ping(bw_feed *feed, uint32_t connection);
/* `code` 1000..4999 is sent in a close frame; 0 drops the connection at once. */
int bw_feed_close(bw_feed *feed, uint32_t connection, uint32_t code);

/* Returns the new book's index (they count up from 0), -ENOSPC when all slots of the segment are
 * taken, -EEXIST for a native symbol that stands already. */
typedef struct bw_book_request {
    bw_symbol symbol;
    char topic[72]; /* what messages call the symbol; "": its native name */
    uint32_t price_exponent, quantity_exponent;
    uint32_t price_scale, quantity_scale; /* decimals of integers on the wire, 0: they are plain numbers */
} bw_book_request;
int bw_feed_add_book(bw_feed *feed, const bw_book_request *request);
/* BW_NO_CONNECTION: nobody carries the book any more. */
int bw_feed_bind(bw_feed *feed, uint32_t book, uint32_t connection);
/* See bw_engine_hand_over(); that it happened shows as the book's `connection`. */
int bw_feed_hand_over(bw_feed *feed, uint32_t book, uint32_t connection);
/* A REST body, copied. */
int bw_feed_load_snapshot(bw_feed *feed, uint32_t book, const char *body, size_t bytes);
int bw_feed_resync(bw_feed *feed, uint32_t book, uint32_t reason);
int bw_feed_set_state(bw_feed *feed, uint32_t book, uint32_t state, uint32_t reason);
/* Attaches a reader's doorbell; a bell that stands already is no error. */
int bw_feed_add_bell(bw_feed *feed, const char *bell_path, const char *fifo_path);
int bw_feed_stop(bw_feed *feed);

/* Zeros for an id that is not below connections_max. */
void bw_feed_connection(const bw_feed *feed, uint32_t connection, bw_connection_view *out);

#endif
