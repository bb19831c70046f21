/* What the native loop is made of. Private to the gateway's C.
 *
 *   source   an exchange's segment and its ring            one per exchange
 *   mirror   a private copy of one book, moved by records  one per (exchange, symbol) in use
 *   market   what one channel merges: one mirror or many   one per symbol or (exchange, symbol) in use
 *   group    a market seen at a depth, encoded once        one per distinct set of options
 *   sub      one client's place in a group's log
 *
 * All on one thread. Memory is taken when something is subscribed, never per record or message.
 */
#ifndef BW_INTERNAL_H
#define BW_INTERNAL_H

#include "buffers.h"
#include "gateway.h"
#include "step.h"
#include "shm_reader.h"
#include "tls.h"
#include "websocket.h"

#define BW_SYMBOL_SLOTS_PER_BOOK 2u
#define BW_RECORDS_PER_TURN 16u /* of one ring between two flushes: bounds the wait of the first */
#define BW_TICK_NS 50000000     /* housekeeping: segments, timeouts, heartbeats */
#define BW_HISTORY_ENTRIES 8192u
#define BW_TLS_CHUNK_BYTES 16384u
#define BW_COMMAND_BYTES (5u << 20) /* the whole command pipe: its largest message */
#define BW_COMMAND_BYTES_PER_TURN (16u << 10) /* and whatever the last of them has more */

typedef struct bw_mirror bw_mirror;
typedef struct bw_market bw_market;
typedef struct bw_group bw_group;
typedef struct bw_sub bw_sub;
typedef struct bw_client bw_client;

enum bw_touch {
    BW_TOUCH_LATER,   /* one message for several changes: we are behind */
    BW_TOUCH_NOW,     /* groups without an interval emit now, the others when their time comes */
    BW_TOUCH_ALL_NOW, /* everybody now: what stands there is no longer true */
};

/* What an epoll event is about: low bits of its pointer. */
enum bw_epoll_kind { BW_EPOLL_CLIENT, BW_EPOLL_SOURCE, BW_EPOLL_LISTEN, BW_EPOLL_COMMAND, BW_EPOLL_BELL };

typedef struct bw_source {
    bool alive;
    bool reload_wanted;          /* some mirror could not be copied yet */
    const bw_shm_header *header; /* while alive */
    bw_ring_cursor cursor;
    bw_segment *segment;
    int pidfd; /* readable when the writer is gone, or -1 */
    uint64_t dead_generation; /* of a segment whose writer is known to be gone */
    uint32_t number;
    char id[16];
    char path[480];
    uint32_t book_count, book_capacity;
    bw_mirror **by_book;     /* NULL: nobody looks at it */
    uint8_t *state, *reason; /* last seen of each book */
    uint32_t *symbol_slot;   /* hash of (canonical, kind) -> book + 1 */
    uint32_t symbol_slots;
    bw_mirror *mirrors; /* all wanted of this exchange, attached or not */
} bw_source;

struct bw_mirror {
    bw_source *source;
    bw_mirror *next; /* of the source */
    char symbol[32];
    uint32_t instrument;
    uint32_t book; /* UINT32_MAX: no such book now */
    bw_book_store *store;
    bw_book *copy;
    uint32_t level_capacity;
    bool loaded, live;
    bool fresh; /* level[] shows the store */
    bool lost;  /* went from live to not live since it was last shown */
    uint8_t price_exponent, quantity_exponent;
    uint32_t epoch, state;
    uint64_t sequence;
    int64_t bound[BW_SIDES]; /* 0: all levels are known to be right */
    bw_stamps stamps;
    uint32_t depth_wanted;
    bw_level *level[BW_SIDES];
    uint32_t level_count[BW_SIDES];
    bw_market *single, *merged; /* who shows it */
};

struct bw_market {
    bw_market *next;
    enum bw_view_kind kind; /* BW_VIEW_SINGLE, BW_VIEW_SUM for all merged kinds, BW_VIEW_STATUS */
    char symbol[32];
    uint32_t instrument, exchange;
    bw_mirror *member[BW_EXCHANGES_MAX];
    uint32_t member_count;
    bw_group *groups;
    bw_stamps stamps;
};

typedef struct bw_change { /* one key that changed, for conflation */
    uint64_t emission;
    bw_wide price;
    uint32_t exchange;
    uint32_t side;
} bw_change;

typedef struct bw_history {
    bw_change *entry; /* BW_HISTORY_ENTRIES of them, made when the first subscriber lags */
    uint64_t head;
    uint64_t complete_from; /* changes of every emission above this one are held */
} bw_history;

struct bw_group {
    bw_market *market;
    bw_group *next; /* of the market */
    bw_encoding encoding;
    uint32_t depth, interval_ms;
    bool deltas;
    bool shown_live; /* single-exchange: the last message showed a LIVE book */
    bool touched;    /* something changed since the last emission */
    bool steps;      /* of one exchange, every change told: the view can be moved record by record */
    bool exact;      /* `view` is the book as of `sequence` */
    bool flush_due;  /* in gateway->flush */
    uint32_t heap_at; /* place in the timer heap + 1, 0 = not in it */
    int64_t due_ns, emitted_ns; /* steady clock */
    uint64_t flushed_head, flushed_emission;
    uint64_t sequence; /* of the mirror */
    bw_view view, fresh; /* as last sent; being built */
    bw_arb *arb, *fresh_arb; /* the same of BW_VIEW_ARB, NULL otherwise */
    bw_arb_terms terms;
    bw_stamps stamps;    /* of view */
    bw_stamps unsent;    /* of the newest record in frames not flushed yet */
    bw_log log;
    uint64_t emission; /* messages ever made */
    bw_history history;
    bw_sub **sub;
    uint32_t sub_count, sub_room;
    uint32_t lagging; /* subs with lagging set */
};

struct bw_sub {
    bw_client *client;
    bw_group *group;
    bw_sub *next; /* of the client */
    uint64_t tag;
    uint32_t at; /* in group->sub */
    enum bw_slow slow;
    bool lagging;         /* the client is blocked; `emission` counts from here */
    bool behind;          /* its frames are no longer sent from the log: needs catching up */
    bool fresh;           /* has not had its first snapshot yet */
    bool snapshot_wanted; /* catch up with a snapshot whatever the history holds */
    uint64_t position;    /* in the log, always at a frame's start */
    uint64_t emission;    /* the message `position` stands behind; valid while lagging or behind */
    int64_t heartbeat_ns, sent_ns;
};

enum bw_client_state { BW_CLIENT_FREE, BW_CLIENT_TLS, BW_CLIENT_HTTP, BW_CLIENT_OPEN, BW_CLIENT_DEAD };

struct bw_client {
    enum bw_client_state state;
    int fd;
    uint32_t index, generation;
    bw_transport *transport; /* TLS only */
    bw_tls *tls;
    bw_ws *ws;
    bw_queue out, urgent;
    size_t frame_left; /* bytes of a frame partly sent, at the front of `out` */
    uint8_t *tls_chunk; /* what SSL_write must be offered again */
    uint32_t tls_chunk_bytes;
    bool blocked;     /* the socket is full: wait for EPOLLOUT */
    bool flush_due;   /* in gateway->flush_client */
    bool paused;      /* requests wait: too much unsent, or Python is behind */
    bool authorised, closing;
    bool events;   /* plain HTTP: what is sent are server-sent events, what comes in is not looked at */
    bool head_due; /* of an answer with events: goes out before the first of them */
    uint16_t close_code;
    int64_t accepted_ns, life_ns, pinged_ns, closing_ns; /* steady clock */
    int64_t allowance_ns; /* token bucket of requests, in ns */
    int64_t request_ns;   /* when it was last filled */
    uint8_t address[16];
    bool loopback;
    uint32_t pushes; /* whose BW_GATEWAY_PUSHED was not posted yet */
    bw_sub *subs;
    uint32_t sub_count;
};

struct bw_gateway {
    bw_gateway_limits limits;
    bool busy;
    int cpu;
    int listen_fd, epoll_fd;
    char shm_dir[256];
    char exchange_id[BW_EXCHANGES_MAX][16];
    bw_tls_context *tls;
    char *tokens;
    bw_bell *bell;
    bw_gateway_stats *stats;
    char stats_path[480];
    bw_pipe command, event;
    void *thread;
    _Atomic bool stop;
    bool draining; /* stop was asked for */
    int64_t drain_until_ns;

    bw_source source[BW_EXCHANGES_MAX];
    uint32_t source_count;
    bw_market *markets;
    bw_group *status; /* the status channel's group, while somebody listens */

    bw_client **client;
    uint32_t client_count, client_slots;
    uint32_t *free_slot; /* stack of slots used before */
    uint32_t free_slots;
    uint32_t tick_slot; /* where the next tick goes on */
    uint32_t heartbeats; /* subs that asked for one */
    bool client_paused;  /* some client is paused */

    bw_group **flush;
    uint32_t flush_count, flush_room;
    bw_client **flush_client;
    uint32_t flush_client_count;
    bw_client **dead;
    uint32_t dead_count;
    bw_group **heap;
    uint32_t heap_count, heap_room;

    uint8_t *scratch; /* one encoded frame */
    size_t scratch_bytes;
    bw_view_level *change[BW_SIDES];
    uint32_t change_room;
    const bw_mirror *moved; /* what moved it is `step`; NULL: not a single record, or one too large */
    bw_step step;
    bw_level *copy[BW_SIDES]; /* a whole book on its way into a mirror */
    uint32_t copy_room;
    bw_change *pending_change;
    uint8_t *command_bytes;

    int64_t now_ns;  /* steady, once a turn */
    int64_t wall_ns; /* ns since the epoch, once a turn */
    int64_t next_tick_ns;
};

/* mirror.c */
bw_mirror *bw_mirror_want(bw_gateway *gateway, bw_source *source, const char *symbol, uint32_t instrument);
void bw_mirror_drop(bw_gateway *gateway, bw_mirror *mirror);
bool bw_mirror_deepen(bw_mirror *mirror, uint32_t depth);
void bw_mirror_attach(bw_gateway *gateway, bw_mirror *mirror);
void bw_mirror_detach(bw_gateway *gateway, bw_mirror *mirror);
void bw_mirror_load(bw_gateway *gateway, bw_mirror *mirror);
bool bw_mirror_apply(bw_gateway *gateway, bw_mirror *mirror, const bw_record *header,
                     const bw_record *record);
void bw_mirror_show(bw_gateway *gateway, bw_mirror *mirror, bool emit);
bool bw_mirror_input(bw_mirror *mirror, bw_view_input *input);
uint32_t bw_mirror_behind(const bw_mirror *mirror, uint32_t side, uint32_t skip, uint32_t count,
                          bw_level *level);

/* source.c */
void bw_source_check(bw_gateway *gateway, bw_source *source);
void bw_source_lose(bw_gateway *gateway, bw_source *source, const char *why);
void bw_source_end(bw_gateway *gateway, bw_source *source);
bool bw_source_poll(bw_gateway *gateway, bw_source *source); /* true: there was something */
bool bw_source_waiting(const bw_source *source);
uint32_t bw_source_find(const bw_source *source, const char *symbol, uint32_t instrument);
void bw_source_free(bw_source *source);

/* market.c */
bw_market *bw_market_want(bw_gateway *gateway, const bw_subscription *subscription);
void bw_market_drop(bw_gateway *gateway, bw_market *market);
void bw_market_touch(bw_gateway *gateway, bw_market *market, enum bw_touch how);

/* group.c */
bw_group *bw_group_want(bw_gateway *gateway, const bw_subscription *subscription);
void bw_group_drop(bw_gateway *gateway, bw_group *group);
void bw_group_emit(bw_gateway *gateway, bw_group *group);
void bw_group_push(bw_gateway *gateway, bw_group *group, const uint8_t *frame, size_t bytes);
void bw_group_touch(bw_gateway *gateway, bw_group *group, enum bw_touch how);
void bw_groups_due(bw_gateway *gateway);
int64_t bw_groups_next_due(const bw_gateway *gateway);
void bw_group_schedule_flush(bw_gateway *gateway, bw_group *group);
size_t bw_group_encode(bw_gateway *gateway, bw_group *group, const bw_message *message, uint8_t **frame);

/* catchup.c */
void bw_history_add(bw_group *group, uint32_t side, const bw_view_level *changes, uint32_t count);
void bw_history_restart(bw_group *group);
bool bw_history_start(bw_group *group);
bool bw_sub_catch_up(bw_gateway *gateway, bw_sub *sub); /* false: memory is short */

/* status.c */
void bw_status_book(bw_gateway *gateway, const bw_source *source, uint32_t book, uint32_t state,
                    uint32_t reason);
void bw_status_exchange(bw_gateway *gateway, const bw_source *source, const char *why);
bool bw_status_snapshot(bw_gateway *gateway, bw_client *client, uint64_t conflated);

/* send.c */
void bw_group_flush(bw_gateway *gateway, bw_group *group);
void bw_client_flush(bw_gateway *gateway, bw_client *client);
void bw_client_tell_pushed(bw_gateway *gateway, bw_client *client);
void bw_client_schedule_flush(bw_gateway *gateway, bw_client *client);
bool bw_client_put(bw_gateway *gateway, bw_client *client, bool urgent, enum bw_ws_opcode opcode,
                   const void *payload, size_t bytes);
bool bw_client_put_frames(bw_client *client, const uint8_t *frames, size_t bytes);
bool bw_sub_sent(bw_gateway *gateway, bw_sub *sub, size_t bytes);
void bw_client_block(bw_gateway *gateway, bw_client *client);
void bw_sub_leave_behind(bw_gateway *gateway, bw_sub *sub, bool snapshot);

/* events.c */
bool bw_events_put(bw_client *client, const void *text, size_t bytes);
bool bw_events_put_frames(bw_client *client, const uint8_t *frames, size_t bytes);
bool bw_events_put_ping(bw_client *client);
bool bw_events_put_end(bw_client *client, uint16_t code, const char *reason);
bool bw_events_take(bw_gateway *gateway, bw_client *client);

/* handshake.c */
void bw_client_upgrade(bw_gateway *gateway, bw_client *client);

/* client.c */
void bw_clients_accept(bw_gateway *gateway);
void bw_client_readable(bw_gateway *gateway, bw_client *client);
void bw_client_close(bw_gateway *gateway, bw_client *client, uint16_t code, const char *reason);
void bw_client_kill(bw_gateway *gateway, bw_client *client, uint16_t code);
void bw_clients_bury(bw_gateway *gateway);
void bw_clients_tick(bw_gateway *gateway);
bw_client *bw_client_find(bw_gateway *gateway, uint64_t id);
uint64_t bw_client_id(const bw_client *client);

/* subscribe.c */
bool bw_sub_add(bw_gateway *gateway, bw_client *client, const bw_subscription *subscription);
bool bw_sub_remove(bw_gateway *gateway, bw_client *client, uint64_t tag);
void bw_sub_free(bw_gateway *gateway, bw_sub *sub);

/* command.c */
bool bw_commands_run(bw_gateway *gateway); /* true: there is more */

/* loop.c */
void *bw_gateway_loop(void *gateway);

#endif
