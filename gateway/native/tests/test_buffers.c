/* The log every subscriber reads at its own position, the private queue, the pipe between threads. */
#include "buffers.h"
#include "check.h"
#include "pipe.h"
#include "websocket.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void test_log_wraps_straight(void) {
    bw_log log;
    CHECK(bw_log_init(&log, 65536));
    uint8_t frame[1000];
    for (uint64_t i = 0; i < 500; i++) {
        memset(frame, (int)i, sizeof frame);
        uint64_t at = log.head;
        bw_log_append(&log, frame, sizeof frame);
        CHECK(memcmp(bw_log_at(&log, at), frame, sizeof frame) == 0);
        if (i >= 60) { /* the last 60 are one straight piece, over the wrap too */
            const uint8_t *back = bw_log_at(&log, log.head - 60 * sizeof frame);
            for (uint64_t j = 0; j < 60; j++) CHECK(back[j * sizeof frame + 999] == (uint8_t)(i - 59 + j));
        }
    }
    bw_log_free(&log);
}

static void test_frame_bytes(void) {
    static const size_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536, 1000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint8_t header[BW_WS_HEADER_MAX];
        size_t bytes = bw_ws_header(header, BW_WS_OP_TEXT, sizes[i], NULL);
        CHECK(bw_frame_bytes(header) == bytes + sizes[i]);
    }
}

static void test_queue(void) {
    bw_queue queue = {0};
    uint8_t next_in = 0, next_out = 0;
    size_t held = 0;
    srand(1);
    for (int i = 0; i < 100000; i++) {
        uint8_t data[3000];
        size_t bytes = (size_t)rand() % sizeof data;
        if (held < 100000) {
            for (size_t b = 0; b < bytes; b++) data[b] = next_in++;
            CHECK(bw_queue_put(&queue, data, bytes));
            held += bytes;
        }
        size_t drop = (size_t)rand() % 3000;
        if (drop > held) drop = held;
        for (size_t b = 0; b < drop; b++) CHECK(queue.data[queue.start + b] == next_out++);
        bw_queue_drop(&queue, drop);
        held -= drop;
        CHECK(bw_queue_bytes(&queue) == held);
    }
    bw_queue_free(&queue);
}

#define MESSAGES 200000u

static void *produce(void *argument) {
    bw_pipe *pipe = argument;
    char body[300];
    for (uint32_t i = 0; i < MESSAGES;) {
        uint32_t bytes = i % sizeof body;
        memset(body, (int)i, bytes);
        bw_pipe_message message = {.type = 1, .client = i, .tag = 3ull * i, .code = 7};
        if (bw_pipe_put(pipe, message, body, bytes / 2, body + bytes / 2, bytes - bytes / 2, true)) {
            i++;
        } else {
            usleep(10);
        }
    }
    return NULL;
}

static void test_pipe_between_threads(void) {
    bw_pipe pipe;
    CHECK(bw_pipe_init(&pipe, 65536));
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, produce, &pipe) == 0);
    static uint8_t out[16384];
    for (uint32_t expected = 0; expected < MESSAGES;) {
        uint32_t bytes = bw_pipe_take(&pipe, out, sizeof out, sizeof out);
        if (bytes == 0) usleep(10);
        for (uint32_t at = 0; at < bytes; expected++) {
            bw_pipe_message message;
            memcpy(&message, out + at, sizeof message);
            CHECK(message.client == expected && message.tag == 3ull * expected && message.code == 7);
            CHECK(message.body_bytes == expected % 300);
            for (uint32_t b = 0; b < message.body_bytes; b++) {
                CHECK(out[at + sizeof message + b] == (uint8_t)expected);
            }
            at += message.bytes;
        }
    }
    pthread_join(thread, NULL);
    bw_pipe_close(&pipe);
}

static void test_pipe_takes_some(void) {
    bw_pipe pipe;
    CHECK(bw_pipe_init(&pipe, 4096));
    CHECK(!bw_pipe_waiting(&pipe));
    static uint8_t out[4096], body[1000];
    for (uint32_t i = 0; i < 3; i++) {
        bw_pipe_message message = {.type = 1, .client = i};
        CHECK(bw_pipe_put(&pipe, message, body, sizeof body, NULL, 0, true));
    }
    for (uint64_t i = 0; i < 3; i++) { /* one is more than enough, and comes whole */
        bw_pipe_message message;
        CHECK(bw_pipe_waiting(&pipe));
        CHECK(bw_pipe_take(&pipe, out, sizeof out, 100) == sizeof message + sizeof body);
        memcpy(&message, out, sizeof message);
        CHECK(message.client == i && message.body_bytes == sizeof body);
    }
    CHECK(!bw_pipe_waiting(&pipe) && bw_pipe_take(&pipe, out, sizeof out, 100) == 0);
    bw_pipe_close(&pipe);
}

int main(void) {
    test_log_wraps_straight();
    test_frame_bytes();
    test_queue();
    test_pipe_between_threads();
    test_pipe_takes_some();
    puts("buffers: ok");
    return 0;
}
