/* What connection.c (life) and connection_io.c (bytes) share. */
#ifndef BW_CONNECTION_PARTS_H
#define BW_CONNECTION_PARTS_H

#include "connection.h"

/* Single values that Python may read at any time (bw_feed_connection). */
#define VIEW_SET(connection, field, value) \
    __atomic_store_n(&(connection)->view.field, (value), __ATOMIC_RELAXED)
#define VIEW_ADD(connection, field, value) VIEW_SET(connection, field, (connection)->view.field + (value))
#define COUNT(connection, name, value) \
    atomic_fetch_add_explicit(&(connection)->host->stats->name, (value), memory_order_relaxed)

void bw_connection_random(bw_connection_host *host, uint8_t *out, size_t bytes);

/* Appends a whole frame, masked; false when the send buffer has no room for it. */
bool bw_connection_queue(bw_connection *connection, enum bw_ws_opcode opcode, const void *payload,
                         size_t bytes);
bool bw_connection_queue_raw(bw_connection *connection, const void *data, size_t bytes);
/* Sends what waits. 0, or the negative end of the transport. */
ssize_t bw_connection_flush(bw_connection *connection);
/* Reads once into the WebSocket's room: bytes, 0, or the negative end. */
ssize_t bw_connection_read(bw_connection *connection, int64_t *receive_ns);
/* Bytes wait inside TLS. */
bool bw_connection_pending(const bw_connection *connection);
/* Ends the connection as a transport or TLS result below 0 says. */
enum bw_turn bw_connection_lost(bw_connection *connection, ssize_t result, int64_t now_ns);
/* Reads and handles messages while there are some, at most a burst. */
enum bw_turn bw_connection_receive(bw_connection *connection, int64_t now_ns);
/* Handles the messages that are already in the WebSocket's buffer. */
enum bw_turn bw_connection_messages(bw_connection *connection, int64_t receive_ns, int64_t plaintext_ns);

#endif
