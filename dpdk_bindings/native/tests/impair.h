/* A wire that loses, reorders, doubles and delays frames, by a seed. Sans-I/O: it is told the time.
 *
 * A reordered frame is sent past those that wait (as netem does); where none wait it is held back itself.
 */
#ifndef BW_TEST_IMPAIR_H
#define BW_TEST_IMPAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct impair_spec {
    double loss, reorder, duplicate; /* 0 to 1, of all frames */
    int64_t delay_ns, jitter_ns;     /* delay +- jitter; jitter does not reorder */
    int64_t byte_ns; /* how long a byte takes; 0: no time. What is reordered overtakes. */
    uint64_t seed;
} impair_spec;

typedef struct impair_wire impair_wire;

impair_wire *impair_new(const impair_spec *spec);
void impair_free(impair_wire *wire);
/* False: the wire is full (4096 frames): the frame is lost. */
bool impair_push(impair_wire *wire, const void *frame, size_t bytes, int64_t now_ns);
/* The next frame that is due, up to 2048 bytes; 0: none yet. */
size_t impair_pop(impair_wire *wire, int64_t now_ns, void *out);
/* When the next one is due; INT64_MAX: none waits. */
int64_t impair_due(const impair_wire *wire);
uint64_t impair_lost(const impair_wire *wire);
uint64_t impair_random(uint64_t *state); /* splitmix64 */

#endif
