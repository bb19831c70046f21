/* A WebSocket server for tests and benches: one thread, one connection after the other, over the
 * server roles of this room. What it says to a client is the test's callback. */
#ifndef BW_WIRE_SERVER_H
#define BW_WIRE_SERVER_H

#include "tls.h"
#include "websocket.h"

typedef struct wire_server wire_server;
typedef struct wire_peer { /* the connection being served; blocking */
    int descriptor;
    bw_transport *transport;
    bw_tls *tls; /* NULL for plain */
    bw_ws *ws;
} wire_peer;

/* `certificate_file` NULL: plain. `talk` runs for each connection after the upgrade. */
wire_server *wire_server_start(const char *certificate_file, const char *key_file,
                               void (*talk)(wire_peer *peer, void *context), void *context);
unsigned wire_server_port(const wire_server *server);
void wire_server_stop(wire_server *server); /* after its last client has gone */

/* Sends all bytes; false when the client is gone. */
bool wire_send(wire_peer *peer, const void *data, size_t bytes);
bool wire_send_text(wire_peer *peer, const char *text, size_t bytes);
/* Waits for the next event; false at the end of the stream. */
bool wire_receive(wire_peer *peer, bw_ws_event *event);

#endif
