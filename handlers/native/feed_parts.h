/* What feed.c (the loop) and feed_command.c (what Python asks of it) share. */
#ifndef BW_FEED_PARTS_H
#define BW_FEED_PARTS_H

#include "connection.h"

#include <pthread.h>

enum bw_command_type {
    BW_COMMAND_CONNECT,
    BW_COMMAND_SEND,
    BW_COMMAND_CLOSE,
    BW_COMMAND_ADD_BOOK,
    BW_COMMAND_BIND,
    BW_COMMAND_HAND_OVER,
    BW_COMMAND_SNAPSHOT,
    BW_COMMAND_RESYNC,
    BW_COMMAND_STATE,
    BW_COMMAND_BELL,
    BW_COMMAND_STOP,
};

typedef struct bw_command {
    uint32_t type;
    uint32_t connection;
    uint32_t book;
    uint32_t a, b;
    void *payload; /* from malloc; freed by a later poster */
    size_t bytes;
} bw_command;

/* Many posters behind a lock, one consumer without. Slots below `done` are executed; their payloads are
 * freed by the next poster, never by the loop. */
typedef struct bw_command_ring {
    alignas(64) _Atomic uint64_t head;
    alignas(64) _Atomic uint64_t done;
    alignas(64) pthread_mutex_t lock; /* between posters */
    uint64_t freed;
    bw_command slot[BW_FEED_COMMANDS];
} bw_command_ring;

struct bw_feed {
    bw_connection_host host;
    bw_command_ring commands;
    bw_shm_writer *shm;
    bw_shm_header *header;
    bw_timing *timing;
    uint32_t poll;
    int32_t cpu;
    uint32_t connections_max;
    uint32_t books; /* indexes given out; under commands.lock */
    bool running;   /* under commands.lock */
    bool stop;      /* the loop's */
    int wake_fd;    /* commands wait */
    int event_fd;
    int epoll_fd;
    uint64_t turns;
    uint32_t idle_turns; /* in a row in which the network had nothing */
    int64_t housekept_ns;
    int64_t worked_ns;   /* busy: when something came or was rehearsed */
    uint32_t rehearsing; /* connection whose turn it is */
    int64_t queue_read_ns;
    bw_connection connection[BW_FEED_CONNECTIONS_MAX];
    struct {
        uint32_t uses;     /* of the connection when epoll was told */
        uint32_t interest; /* what it was told, 0: not in it */
    } watched[BW_FEED_CONNECTIONS_MAX];
};

/* Carries out what waits; consumer side. */
void bw_feed_commands(bw_feed *feed, int64_t now_ns);
void bw_feed_refuse(bw_feed *feed, uint32_t connection, uint32_t book, const char *what, const char *why,
                    int64_t now_ns);
/* Frees the payloads of all slots, executed or not. */
void bw_feed_commands_drop(bw_feed *feed);

#endif
