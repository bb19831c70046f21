#include "pipe_transport.h"

#include "check.h"

#include <string.h>

static ssize_t pipe_read(bw_transport *transport, void *out, size_t room, int64_t *receive_ns) {
    pipe_end *self = (pipe_end *)transport;
    size_t bytes = self->end - self->begin;
    if (bytes > room) bytes = room;
    if (self->bytes_a_read && bytes > self->bytes_a_read) bytes = self->bytes_a_read;
    memcpy(out, self->data + self->begin, bytes);
    self->begin += bytes;
    self->reads++;
    if (self->begin == self->end) self->begin = self->end = 0;
    *receive_ns = (int64_t)self->reads;
    if (bytes == 0 && self->closed) return BW_TRANSPORT_EOF;
    return (ssize_t)bytes;
}

static ssize_t pipe_write(bw_transport *transport, const void *data, size_t bytes) {
    pipe_end *peer = ((pipe_end *)transport)->peer;
    size_t room = peer->capacity - peer->end;
    if (bytes > room) bytes = room;
    memcpy(peer->data + peer->end, data, bytes);
    peer->end += bytes;
    return (ssize_t)bytes;
}

static int pipe_connected(bw_transport *transport) {
    (void)transport;
    return 1;
}

static int pipe_poll_fd(const bw_transport *transport) {
    (void)transport;
    return -1;
}

static void pipe_close(bw_transport *transport) {
    ((pipe_end *)transport)->peer->closed = true;
}

static const bw_transport_ops pipe_ops = {pipe_read, pipe_write, pipe_connected, pipe_poll_fd, pipe_close};

void pipe_open(pipe_end *one, pipe_end *other, size_t capacity) {
    *one =
        (pipe_end){.transport = {&pipe_ops}, .peer = other, .data = malloc(capacity), .capacity = capacity};
    *other =
        (pipe_end){.transport = {&pipe_ops}, .peer = one, .data = malloc(capacity), .capacity = capacity};
    CHECK(one->data && other->data);
}

void pipe_free(pipe_end *one, pipe_end *other) {
    free(one->data);
    free(other->data);
}
