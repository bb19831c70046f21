/* WebSocket frames as server-sent events: whole, in their order, the answer's head once before the first. */
#include "check.h"
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAMES 4u

static const size_t sizes[FRAMES] = {2, 125, 126, 70000};

static void put_frames(bw_queue *frames) {
    static uint8_t text[70000];
    for (uint32_t i = 0; i < FRAMES; i++) {
        uint8_t header[BW_WS_HEADER_MAX];
        memset(text, 'a' + (int)i, sizes[i]);
        size_t bytes = bw_ws_header(header, BW_WS_OP_TEXT, sizes[i], NULL);
        CHECK(bw_frame_header_bytes(header) == bytes);
        CHECK(bw_queue_put(frames, header, bytes) && bw_queue_put(frames, text, sizes[i]));
    }
}

static void check_event(const bw_queue *out, size_t *at, uint32_t i) {
    const char *event = (const char *)out->data + out->start + *at;
    CHECK(memcmp(event, "data: ", 6) == 0);
    for (size_t byte = 0; byte < sizes[i]; byte++) CHECK(event[6 + byte] == (char)('a' + i));
    CHECK(memcmp(event + 6 + sizes[i], "\n\n", 2) == 0);
    *at += sizes[i] + 8;
}

static void test_frames_are_events(void) {
    bw_queue frames = {0};
    bw_client client = {.state = BW_CLIENT_OPEN, .events = true, .head_due = true};
    put_frames(&frames);
    CHECK(bw_client_put_frames(&client, frames.data + frames.start, bw_queue_bytes(&frames)));
    CHECK(bw_events_put_ping(&client));
    CHECK(bw_events_put_end(&client, 1001, "it stops"));
    const char *text = (const char *)client.out.data + client.out.start;
    CHECK(memcmp(text, "HTTP/1.1 200 OK\r\n", 17) == 0);
    size_t at = 0;
    while (memcmp(text + at, "\r\n\r\n", 4) != 0) at++;
    at += 4;
    for (uint32_t i = 0; i < FRAMES; i++) check_event(&client.out, &at, i);
    static const char rest[] = ":\n\ndata: {\"type\":\"closed\",\"code\":1001,\"reason\":\"it stops\"}\n\n";
    CHECK(bw_queue_bytes(&client.out) == at + sizeof rest - 1);
    CHECK(memcmp(text + at, rest, sizeof rest - 1) == 0);
    bw_queue_free(&client.out);
    bw_queue_free(&frames);
}

int main(void) {
    test_frames_are_events();
    puts("events: ok");
    return 0;
}
