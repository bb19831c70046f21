/* One connection of an exchange process: transport, TLS and WebSocket stacked, driven a turn at a time.
 *
 * Belongs to the loop thread. A turn reads what is there, hands whole messages to the engine as they
 * are decrypted, answers pings, moves the state on, and says how it stands. Nothing blocks; memory is
 * only taken while a connection is being opened.
 */
#ifndef BW_CONNECTION_H
#define BW_CONNECTION_H

#include "feed.h"
#include "inflate.h"
#include "network.h"
#include "tls.h"
#include "websocket.h"

/* What all connections of a loop share. */
typedef struct bw_connection_host {
    bw_engine *engine;
    bw_event_ring *events;
    bw_stats *stats;
    bw_tls_context *tls;
    bw_inflate *inflate; /* of binary frames; NULL: they are taken as they are */
    bool binary_is_text; /* and must then be UTF-8 */
    bw_network *network; /* NULL: the kernel's sockets */
    bw_raw_writer *raw; /* NULL: raw frames are not handed out */
    uint64_t message_bytes_max;
    uint32_t busy_poll_us;
    uint32_t random_left; /* bytes of the pool not used yet */
    uint8_t random[4096]; /* masks and keys, from the kernel */
} bw_connection_host;

typedef struct bw_connection {
    bw_connection_host *host;
    uint32_t id;
    uint32_t uses;  /* how often it was opened: tells descriptors of one number apart */
    bool told_down; /* the engine knows */
    bool opened;
    uint16_t peer_code;   /* of the peer's close frame, 0 while none came */
    int64_t retry_after_s; /* what a refused upgrade asked for */
    bw_connect_spec spec;
    bw_transport *transport;
    bw_tls *tls; /* NULL for plain ws */
    bw_ws *ws;   /* stays from one use of the id to the next: its memory is warm */
    bool ws_inflates;
    char key[BW_UPGRADE_KEY_BYTES];
    const char *last_text; /* the message taken last, while it stands in its buffer; NULL: none */
    size_t last_bytes;
    int64_t deadline_ns; /* of opening, or of the peer's close frame */
    uint8_t *send;
    size_t send_begin, send_end;
    bw_connection_view view;
} bw_connection;

enum bw_turn {
    BW_TURN_IDLE, /* nothing more to read */
    BW_TURN_MORE, /* bytes wait inside: turn again before sleeping */
    BW_TURN_OVER, /* closed; CLOSED was published and the connection is FREE */
};

/* Reserves the send buffer. False when memory is short. */
bool bw_connection_init(bw_connection *connection, bw_connection_host *host, uint32_t id);
void bw_connection_free(bw_connection *connection);

/* Starts to connect a FREE connection; `spec` was checked. BW_TURN_OVER if it failed at once. */
enum bw_turn bw_connection_open(bw_connection *connection, const bw_connect_spec *spec, int64_t now_ns);
enum bw_turn bw_connection_turn(bw_connection *connection, int64_t now_ns);
/* Runs the last message once more (bw_engine_rehearse); false when there is none to be had. */
bool bw_connection_rehearse(bw_connection *connection);
/* Deadlines; call some times a second. */
enum bw_turn bw_connection_check(bw_connection *connection, int64_t now_ns);

/* Queues a frame and tries to send it. BW_TURN_OVER if the connection ended by it. */
enum bw_turn bw_connection_send(bw_connection *connection, enum bw_ws_opcode opcode, const void *payload,
                                size_t bytes, int64_t now_ns);
/* Starts (code > 0) or skips (0) the closing handshake. */
enum bw_turn bw_connection_close(bw_connection *connection, uint16_t code, int64_t now_ns);
/* Ends it now: last words if there is a code, CLOSED published, everything freed but the buffers. */
enum bw_turn bw_connection_end(bw_connection *connection, enum bw_close_cause cause, int64_t a,
                               const char *text, int64_t now_ns);

int bw_connection_poll_fd(const bw_connection *connection); /* -1: must be polled */
bool bw_connection_wants_write(const bw_connection *connection);

#endif
