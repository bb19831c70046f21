/* Messages of any size between two threads: one producer, one consumer, a byte ring in between.
 *
 * Python posts commands to the native loop through one of these and drains events from another.
 * Nobody waits for anybody: a put that does not fit says so. The consumer sleeps on `wake_fd`.
 */
#ifndef BW_PIPE_H
#define BW_PIPE_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct bw_pipe_message { /* followed by body_bytes, padded to 8 */
    uint32_t bytes; /* of all, a multiple of 8 */
    uint32_t type;
    uint64_t client;
    uint64_t tag;
    uint32_t code;
    uint32_t body_bytes;
} bw_pipe_message;

typedef struct bw_pipe {
    alignas(64) _Atomic uint64_t head; /* bytes ever put */
    alignas(64) _Atomic uint64_t tail; /* bytes ever taken */
    alignas(64) uint8_t *data;
    uint64_t capacity; /* a power of two */
    int wake_fd;       /* eventfd */
} bw_pipe;

bool bw_pipe_init(bw_pipe *pipe, uint64_t capacity);
void bw_pipe_close(bw_pipe *pipe);
uint64_t bw_pipe_room(const bw_pipe *pipe);

/* The body is given in two pieces (either may be empty). False when it does not fit. `wake`: write to
 * the eventfd when the ring was empty. */
bool bw_pipe_put(bw_pipe *pipe, bw_pipe_message message, const void *first, uint32_t first_bytes,
                 const void *second, uint32_t second_bytes, bool wake);

/* Copies whole messages out until there are `enough` bytes; returns bytes written to `out`, 0 when there is
 * none (or `room` is too small for the next). */
uint32_t bw_pipe_take(bw_pipe *pipe, uint8_t *out, uint32_t room, uint32_t enough);
bool bw_pipe_waiting(const bw_pipe *pipe); /* for the consumer */

#endif
