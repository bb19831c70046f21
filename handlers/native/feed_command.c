/* Commands: posted by Python's threads, carried out by the loop. */
#include "clock.h"
#include "feed_parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOT(ring, at) (&(ring)->slot[(at) & (BW_FEED_COMMANDS - 1)])

static void reclaim(bw_command_ring *ring) {
    uint64_t done = atomic_load_explicit(&ring->done, memory_order_acquire);
    for (; ring->freed < done; ring->freed++) {
        bw_command *slot = SLOT(ring, ring->freed);
        free(slot->payload);
        slot->payload = NULL;
    }
}

void bw_feed_commands_drop(bw_feed *feed) {
    bw_command_ring *ring = &feed->commands;
    atomic_store(&ring->done, atomic_load(&ring->head));
    reclaim(ring);
}

/* Takes the payload over in any case. Under the lock. */
static int post_locked(bw_feed *feed, bw_command command) {
    bw_command_ring *ring = &feed->commands;
    reclaim(ring);
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (head - ring->freed >= BW_FEED_COMMANDS) {
        free(command.payload);
        return -EAGAIN;
    }
    *SLOT(ring, head) = command;
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    if (feed->poll == BW_POLL_EPOLL) {
        uint64_t one = 1;
        ssize_t written = write(feed->wake_fd, &one, sizeof one);
        (void)written; /* EAGAIN: the counter is full, so the loop is awake already */
    }
    return 0;
}

static int post(bw_feed *feed, bw_command command) {
    pthread_mutex_lock(&feed->commands.lock);
    int result = post_locked(feed, command);
    pthread_mutex_unlock(&feed->commands.lock);
    return result;
}

/* Copies `data` behind the command; `padding` zero bytes follow it. */
static int post_copy(bw_feed *feed, bw_command command, const void *data, size_t bytes, size_t padding) {
    uint8_t *copy = malloc(bytes + padding + 1);
    if (!copy) return -ENOMEM;
    memcpy(copy, data, bytes);
    memset(copy + bytes, 0, padding + 1);
    command.payload = copy;
    command.bytes = bytes;
    return post(feed, command);
}

static bool numeric_address(const char *text) {
    struct in6_addr scratch;
    return inet_pton(AF_INET, text, &scratch) == 1 || inet_pton(AF_INET6, text, &scratch) == 1;
}

static bool ended(const char *text, size_t room) {
    return memchr(text, 0, room) != NULL;
}

int bw_feed_connect(bw_feed *feed, const bw_connect_spec *spec) {
    bool whole = ended(spec->address, sizeof spec->address) && ended(spec->host, sizeof spec->host) &&
                 ended(spec->source_address, sizeof spec->source_address) &&
                 ended(spec->path, sizeof spec->path) && ended(spec->headers, sizeof spec->headers);
    if (!whole || spec->connection >= feed->connections_max || !*spec->host || !spec->port) return -EINVAL;
    if (!numeric_address(spec->address)) return -EINVAL;
    if (*spec->source_address && !numeric_address(spec->source_address)) return -EINVAL;
    bw_command command = {.type = BW_COMMAND_CONNECT, .connection = spec->connection};
    return post_copy(feed, command, spec, sizeof *spec, 0);
}

int bw_feed_send_text(bw_feed *feed, uint32_t connection, const char *text, size_t bytes) {
    if (connection >= feed->connections_max || bytes + BW_WS_HEADER_MAX > BW_FEED_SEND_BYTES) return -EINVAL;
    bw_command command = {.type = BW_COMMAND_SEND, .connection = connection, .a = BW_WS_OP_TEXT};
    return post_copy(feed, command, text, bytes, 0);
}

int bw_feed_send_ping(bw_feed *feed, uint32_t connection) {
    if (connection >= feed->connections_max) return -EINVAL;
    return post(feed, (bw_command){.type = BW_COMMAND_SEND, .connection = connection, .a = BW_WS_OP_PING});
}

int bw_feed_close(bw_feed *feed, uint32_t connection, uint32_t code) {
    if (connection >= feed->connections_max || (code && (code < 1000 || code > 4999))) return -EINVAL;
    return post(feed, (bw_command){.type = BW_COMMAND_CLOSE, .connection = connection, .a = code});
}

static bool symbol_stands(const bw_feed *feed, const char *native) {
    const uint8_t *base = (const uint8_t *)feed->header;
    const bw_symbol *symbol = (const bw_symbol *)(base + feed->header->symbol_offset);
    uint32_t count = atomic_load_explicit(&feed->header->book_count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++) {
        if (strncmp(symbol[i].native, native, sizeof symbol[i].native) == 0) return true;
    }
    return false;
}

/* Hands out what a command did to the engine, in the order of the frames around it. */
static void tell_raw(bw_feed *feed, bw_raw_record record, const void *payload, size_t bytes) {
    if (feed->host.raw) bw_raw_put(feed->host.raw, record, payload, bytes);
}

static void bind_book(bw_feed *feed, uint32_t book, uint32_t connection, int64_t now_ns) {
    bw_engine_bind(feed->host.engine, book, connection);
    tell_raw(feed, (bw_raw_record){.type = BW_RAW_BIND, .book = book, .connection = (uint16_t)connection,
                                   .time_ns = now_ns}, NULL, 0);
}

static void add_book(bw_feed *feed, uint32_t book, const bw_book_request *request, int64_t now_ns) {
    int made = bw_shm_writer_add_book(feed->shm, &request->symbol, (uint8_t)request->price_exponent,
                                      (uint8_t)request->quantity_exponent, now_ns);
    const char *topic = request->topic[0] ? request->topic : request->symbol.native;
    if (made != (int)book || bw_engine_add_book(feed->host.engine, book, topic) != 0) {
        bw_feed_refuse(feed, BW_NO_CONNECTION, book, "add book", "no slot, or its symbol stands already",
                       now_ns);
        return;
    }
    bw_engine_set_scale(feed->host.engine, book, request->price_scale, request->quantity_scale);
    tell_raw(feed, (bw_raw_record){.type = BW_RAW_BOOK, .book = book, .time_ns = now_ns}, request,
             sizeof *request);
}

static bool request_fits(const bw_book_request *asked) {
    bool ends = ended(asked->symbol.native, sizeof asked->symbol.native) &&
                ended(asked->topic, sizeof asked->topic);
    return ends && asked->price_exponent <= 18 && asked->quantity_exponent <= 18 &&
           asked->price_scale <= 18 && asked->quantity_scale <= 18;
}

int bw_feed_add_book(bw_feed *feed, const bw_book_request *asked) {
    bw_book_request *request = malloc(sizeof *request);
    if (!request) return -ENOMEM;
    *request = *asked;
    pthread_mutex_lock(&feed->commands.lock);
    int result = (int)feed->books;
    if (!request_fits(request)) {
        result = -EINVAL;
    } else if (symbol_stands(feed, request->symbol.native)) {
        result = -EEXIST;
    } else if (feed->books >= feed->header->book_capacity) {
        result = -ENOSPC;
    }
    if (result < 0 || !feed->running) {
        if (result >= 0) add_book(feed, feed->books++, request, bw_wall_ns());
        free(request);
    } else {
        int posted = post_locked(feed, (bw_command){.type = BW_COMMAND_ADD_BOOK, .book = feed->books,
                                                    .payload = request, .bytes = sizeof *request});
        if (posted == 0) feed->books++;
        else result = posted;
    }
    pthread_mutex_unlock(&feed->commands.lock);
    return result;
}

int bw_feed_bind(bw_feed *feed, uint32_t book, uint32_t connection) {
    int result = 0;
    pthread_mutex_lock(&feed->commands.lock);
    if (book >= feed->books || (connection >= feed->connections_max && connection != BW_NO_CONNECTION)) {
        result = -EINVAL;
    } else if (!feed->running) {
        bind_book(feed, book, connection, bw_wall_ns());
    } else {
        result =
            post_locked(feed, (bw_command){.type = BW_COMMAND_BIND, .book = book, .connection = connection});
    }
    pthread_mutex_unlock(&feed->commands.lock);
    return result;
}

static bool book_stands(bw_feed *feed, uint32_t book) {
    pthread_mutex_lock(&feed->commands.lock);
    bool stands = book < feed->books;
    pthread_mutex_unlock(&feed->commands.lock);
    return stands;
}

int bw_feed_hand_over(bw_feed *feed, uint32_t book, uint32_t connection) {
    if (!book_stands(feed, book) || connection >= feed->connections_max) return -EINVAL;
    return post(feed, (bw_command){.type = BW_COMMAND_HAND_OVER, .book = book, .connection = connection});
}

int bw_feed_load_snapshot(bw_feed *feed, uint32_t book, const char *body, size_t bytes) {
    if (!book_stands(feed, book)) return -EINVAL;
    return post_copy(feed, (bw_command){.type = BW_COMMAND_SNAPSHOT, .book = book}, body, bytes,
                     BW_ENGINE_PADDING);
}

int bw_feed_resync(bw_feed *feed, uint32_t book, uint32_t reason) {
    if (!book_stands(feed, book) || reason >= BW_REASON_COUNT) return -EINVAL;
    return post(feed, (bw_command){.type = BW_COMMAND_RESYNC, .book = book, .a = reason});
}

int bw_feed_set_state(bw_feed *feed, uint32_t book, uint32_t state, uint32_t reason) {
    if (!book_stands(feed, book) || state > BW_BOOK_DOWN || reason >= BW_REASON_COUNT) return -EINVAL;
    return post(feed, (bw_command){.type = BW_COMMAND_STATE, .book = book, .a = state, .b = reason});
}

int bw_feed_add_bell(bw_feed *feed, const char *bell_path, const char *fifo_path) {
    char paths[2048];
    size_t bell = strlen(bell_path) + 1, fifo = strlen(fifo_path) + 1;
    if (bell + fifo > sizeof paths) return -EINVAL;
    memcpy(paths, bell_path, bell);
    memcpy(paths + bell, fifo_path, fifo);
    return post_copy(feed, (bw_command){.type = BW_COMMAND_BELL}, paths, bell + fifo, 0);
}

int bw_feed_stop(bw_feed *feed) {
    return post(feed, (bw_command){.type = BW_COMMAND_STOP});
}

void bw_feed_refuse(bw_feed *feed, uint32_t connection, uint32_t book, const char *what, const char *why,
                    int64_t now_ns) {
    bw_event *event = bw_event_claim(feed->host.events);
    if (!event) return;
    char text[BW_EVENT_TEXT_BYTES];
    snprintf(text, sizeof text, "%s: %s", what, why);
    event->type = BW_EVENT_REFUSED;
    event->connection = connection;
    event->book = book;
    event->time_ns = now_ns;
    bw_event_set_text(event, text, strlen(text));
    bw_event_publish(feed->host.events);
}

static void carry_out_connection(bw_feed *feed, const bw_command *command, int64_t now_ns) {
    bw_connection *connection = &feed->connection[command->connection];
    uint32_t state = connection->view.state;
    if (command->type == BW_COMMAND_CONNECT) {
        if (state != BW_CONNECTION_FREE) {
            bw_feed_refuse(feed, connection->id, BW_NO_BOOK, "connect", "the connection is in use", now_ns);
        } else {
            bw_connection_open(connection, command->payload, now_ns);
        }
    } else if (command->type == BW_COMMAND_CLOSE) {
        if (state != BW_CONNECTION_FREE) bw_connection_close(connection, (uint16_t)command->a, now_ns);
    } else if (state != BW_CONNECTION_OPEN) {
        bw_feed_refuse(feed, connection->id, BW_NO_BOOK, "send", "the connection is not open", now_ns);
    } else {
        bw_connection_send(connection, (enum bw_ws_opcode)command->a, command->payload, command->bytes,
                           now_ns);
    }
}

static void carry_out(bw_feed *feed, const bw_command *command, int64_t now_ns) {
    bw_engine *engine = feed->host.engine;
    const char *bell = command->payload;
    bw_raw_record told = {.book = command->book, .time_ns = now_ns, .a = command->a, .b = command->b};
    switch (command->type) {
    case BW_COMMAND_CONNECT:
    case BW_COMMAND_CLOSE:
    case BW_COMMAND_SEND: carry_out_connection(feed, command, now_ns); break;
    case BW_COMMAND_ADD_BOOK: add_book(feed, command->book, command->payload, now_ns); break;
    case BW_COMMAND_BIND: bind_book(feed, command->book, command->connection, now_ns); break;
    case BW_COMMAND_HAND_OVER:
        bw_engine_hand_over(engine, command->book, command->connection);
        told.type = BW_RAW_HAND_OVER;
        told.connection = (uint16_t)command->connection;
        tell_raw(feed, told, NULL, 0);
        break;
    case BW_COMMAND_SNAPSHOT:
        bw_engine_load_snapshot(engine, command->book, command->payload, command->bytes, now_ns);
        told.type = BW_RAW_SNAPSHOT;
        tell_raw(feed, told, command->payload, command->bytes);
        break;
    case BW_COMMAND_RESYNC:
        bw_engine_resync(engine, command->book, command->a, now_ns);
        told.type = BW_RAW_RESYNC;
        tell_raw(feed, told, NULL, 0);
        break;
    case BW_COMMAND_STATE:
        bw_engine_set_state(engine, command->book, command->a, command->b, now_ns);
        told.type = BW_RAW_STATE;
        tell_raw(feed, told, NULL, 0);
        break;
    case BW_COMMAND_BELL:
        if (bw_shm_writer_add_bell(feed->shm, bell, bell + strlen(bell) + 1) < 0) {
            bw_feed_refuse(feed, BW_NO_CONNECTION, BW_NO_BOOK, "add bell", bell, now_ns);
        }
        break;
    default: feed->stop = true;
    }
}

void bw_feed_commands(bw_feed *feed, int64_t now_ns) {
    bw_command_ring *ring = &feed->commands;
    uint64_t done = atomic_load_explicit(&ring->done, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    for (; done < head && !feed->stop; done++) {
        carry_out(feed, SLOT(ring, done), now_ns);
        atomic_store_explicit(&ring->done, done + 1, memory_order_release);
    }
}
