/* The floor of a fan-out: a bare loop of send() over N sockets, nothing decided, nothing looked up.
 *
 *   send_floor N BYTES RATE busy|sleep
 *
 * Prints its port, accepts N WebSocket clients (the upgrade is answered with the key every client of
 * the bench uses), waits for a subscribe text from each and then sends one text frame of BYTES to all,
 * RATE times a second. "busy" waits for the next time by looking at the clock, "sleep" by sleeping.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "floor_accept.h"

static int64_t ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000 + now.tv_nsec;
}

static void wait_until(int64_t when, int busy) {
    if (busy) {
        while (ns(CLOCK_MONOTONIC) < when) __builtin_ia32_pause();
        return;
    }
    struct timespec until = {when / 1000000000, when % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL)) continue;
}

int main(int argc, char **argv) {
    if (argc < 5) return fprintf(stderr, "send_floor N BYTES RATE busy|sleep\n"), 2;
    size_t count = strtoul(argv[1], NULL, 10), bytes = strtoul(argv[2], NULL, 10);
    int64_t step = 1000000000 / strtol(argv[3], NULL, 10);
    int listener = floor_listen(), *fd = calloc(count, sizeof *fd);
    uint8_t *frame = malloc(FLOOR_HEADER_BYTES + bytes + 64);
    if (!fd || !frame) fail("arguments");
    for (size_t i = 0; i < count; i++) fd[i] = floor_accept(listener);
    floor_frame(frame, bytes);
    for (int64_t next = ns(CLOCK_MONOTONIC) + step;; next += step) {
        wait_until(next, argv[4][0] == 'b');
        char stamp[48];
        int length = snprintf(stamp, sizeof stamp, "{\"pub_ns\":%lld,", (long long)ns(CLOCK_REALTIME));
        memcpy(frame + FLOOR_HEADER_BYTES, stamp, (size_t)length);
        for (size_t i = 0; i < count; i++)
            /* the clients left */
            if (send(fd[i], frame, FLOOR_HEADER_BYTES + bytes, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) return 0;
    }
}
