/* The HTTP request that opens a connection: upgraded, or refused with a word. */
#include "internal.h"

#include <stdio.h>
#include <string.h>

#define EVENTS_PATH "/v1/events"

static bool token_equal(const char *a, const char *b, size_t bytes) {
    uint8_t difference = 0; /* time must not tell how much was right */
    for (size_t i = 0; i < bytes; i++) difference |= (uint8_t)(a[i] ^ b[i]);
    return difference == 0;
}

static bool token_known(const char *tokens, const char *token) {
    size_t bytes = strlen(token);
    bool known = false;
    while (*tokens) {
        size_t line = strcspn(tokens, "\n");
        if (line == bytes && bytes > 0) known |= token_equal(tokens, token, bytes);
        tokens += line + (tokens[line] == '\n');
    }
    return known;
}

static void answer_http(bw_gateway *gateway, bw_client *client, const char *status, const char *body) {
    char text[640];
    int bytes = snprintf(
        text, sizeof text,
        "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n%s",
        status, strncmp(status, "426", 3) == 0 ? "Upgrade: websocket\r\n" : "", strlen(body), body);
    if (!bw_queue_put(&client->out, text, (size_t)bytes)) return bw_client_kill(gateway, client, 1011);
    client->frame_left = (size_t)bytes; /* goes out as it is */
    client->closing = true;
    client->closing_ns = gateway->now_ns;
    client->close_code = 1002;
    bw_client_schedule_flush(gateway, client);
}

static bool wants_events(const char *path) {
    size_t bytes = sizeof EVENTS_PATH - 1;
    return strncmp(path, EVENTS_PATH, bytes) == 0 && (path[bytes] == '\0' || path[bytes] == '?');
}

/* What is asked for is Python's business; it subscribes, or answers with why not. */
static void start_events(bw_gateway *gateway, bw_client *client, const char *path) {
    if (!client->authorised) {
        BW_COUNT(gateway->stats, refused_token, 1);
        return answer_http(gateway, client, "401 Unauthorized", "A bearer token is needed here.\n");
    }
    client->events = client->head_due = true;
    client->state = BW_CLIENT_OPEN;
    bw_pipe_message asked = {.type = BW_GATEWAY_EVENTS, .client = bw_client_id(client)};
    if (!bw_pipe_put(&gateway->event, asked, path, (uint32_t)strlen(path), NULL, 0, true))
        bw_client_kill(gateway, client, 1011);
}

/* Reads the request once it is whole; answers with the upgrade, or with why not. */
void bw_client_upgrade(bw_gateway *gateway, bw_client *client) {
    size_t bytes;
    const char *head = bw_ws_unparsed(client->ws, &bytes);
    bw_upgrade request;
    int taken = bw_upgrade_request_parse(head, bytes, &request);
    if (taken == 0) return;
    if (taken < 0) {
        BW_COUNT(gateway->stats, refused_handshake, 1);
        char status[32];
        snprintf(status, sizeof status, "%d Bad Request", -taken);
        return answer_http(gateway, client, status, "This request is not understood here.\n");
    }
    bw_ws_skip(client->ws, (size_t)taken);
    bool events = request.get && !request.upgrade && wants_events(request.path);
    if (!request.upgrade && !events) {
        BW_COUNT(gateway->stats, refused_handshake, 1);
        return answer_http(gateway, client, "426 Upgrade Required",
                           "This port speaks WebSocket, and " EVENTS_PATH "; HTTP is on another.\n");
    }
    client->authorised = !gateway->tokens;
    if (gateway->tokens && request.authorization[0]) {
        bool bearer = strncasecmp(request.authorization, "Bearer ", 7) == 0;
        if (!bearer || !token_known(gateway->tokens, request.authorization + 7)) {
            BW_COUNT(gateway->stats, refused_token, 1);
            return answer_http(gateway, client, "401 Unauthorized", "This bearer token is not known here.\n");
        }
        client->authorised = true;
    }
    if (events) return start_events(gateway, client, request.path);
    char response[256];
    int response_bytes = bw_upgrade_response(response, sizeof response, request.key);
    if (response_bytes < 0 || !bw_queue_put(&client->out, response, (size_t)response_bytes)) {
        return bw_client_kill(gateway, client, 1011);
    }
    client->frame_left = (size_t)response_bytes;
    client->state = BW_CLIENT_OPEN;
    bw_client_schedule_flush(gateway, client);
}
