#include "impair.h"

#include <stdlib.h>
#include <string.h>

#define FRAMES 4096
#define FRAME_BYTES 2048
#define HELD_NS 200000

typedef struct waiting {
    int64_t due_ns;
    uint64_t number; /* first come first served among equals */
    uint32_t slot;
    uint32_t bytes;
} waiting;

struct impair_wire {
    impair_spec spec;
    uint64_t random, count, lost;
    int64_t last_due_ns, free_ns;
    uint32_t heap_count, free_count;
    waiting heap[FRAMES];
    uint32_t free_slot[FRAMES];
    uint8_t data[FRAMES][FRAME_BYTES];
};

uint64_t impair_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static bool happens(impair_wire *wire, double share) {
    return (double)(impair_random(&wire->random) >> 11) * 0x1p-53 < share;
}

impair_wire *impair_new(const impair_spec *spec) {
    impair_wire *wire = calloc(1, sizeof *wire);
    if (!wire) return NULL;
    wire->spec = *spec;
    wire->random = spec->seed;
    wire->free_count = FRAMES;
    for (uint32_t i = 0; i < FRAMES; i++) wire->free_slot[i] = i;
    return wire;
}

void impair_free(impair_wire *wire) {
    free(wire);
}

static bool before(const waiting *a, const waiting *b) {
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->number < b->number;
}

static void sift_up(impair_wire *wire, uint32_t at) {
    for (; at && before(&wire->heap[at], &wire->heap[(at - 1) / 2]); at = (at - 1) / 2) {
        waiting swap = wire->heap[at];
        wire->heap[at] = wire->heap[(at - 1) / 2];
        wire->heap[(at - 1) / 2] = swap;
    }
}

static void sift_down(impair_wire *wire) {
    for (uint32_t at = 0;;) {
        uint32_t least = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2; child++) {
            if (child < wire->heap_count && before(&wire->heap[child], &wire->heap[least])) least = child;
        }
        if (least == at) return;
        waiting swap = wire->heap[at];
        wire->heap[at] = wire->heap[least];
        wire->heap[least] = swap;
        at = least;
    }
}

static bool put(impair_wire *wire, const void *frame, size_t bytes, int64_t due_ns) {
    if (!wire->free_count || bytes > FRAME_BYTES) return false;
    uint32_t slot = wire->free_slot[--wire->free_count];
    memcpy(wire->data[slot], frame, bytes);
    wire->heap[wire->heap_count] = (waiting){due_ns, wire->count++, slot, (uint32_t)bytes};
    sift_up(wire, wire->heap_count++);
    return true;
}

bool impair_push(impair_wire *wire, const void *frame, size_t bytes, int64_t now_ns) {
    const impair_spec *spec = &wire->spec;
    if (happens(wire, spec->loss)) {
        wire->lost++;
        return true;
    }
    int64_t jitter =
        spec->jitter_ns
            ? (int64_t)(impair_random(&wire->random) % (uint64_t)(2 * spec->jitter_ns)) - spec->jitter_ns
            : 0;
    wire->free_ns = (wire->free_ns > now_ns ? wire->free_ns : now_ns) + (int64_t)bytes * spec->byte_ns;
    int64_t due_ns = wire->free_ns + spec->delay_ns + jitter;
    if (happens(wire, spec->reorder)) {
        due_ns = spec->delay_ns ? now_ns : now_ns + HELD_NS;
    } else {
        if (due_ns < wire->last_due_ns) due_ns = wire->last_due_ns;
        wire->last_due_ns = due_ns;
    }
    if (happens(wire, spec->duplicate)) put(wire, frame, bytes, due_ns);
    if (put(wire, frame, bytes, due_ns)) return true;
    wire->lost++;
    return false;
}

size_t impair_pop(impair_wire *wire, int64_t now_ns, void *out) {
    if (!wire->heap_count || wire->heap[0].due_ns > now_ns) return 0;
    waiting first = wire->heap[0];
    memcpy(out, wire->data[first.slot], first.bytes);
    wire->free_slot[wire->free_count++] = first.slot;
    wire->heap[0] = wire->heap[--wire->heap_count];
    sift_down(wire);
    return first.bytes;
}

int64_t impair_due(const impair_wire *wire) {
    return wire->heap_count ? wire->heap[0].due_ns : INT64_MAX;
}

uint64_t impair_lost(const impair_wire *wire) {
    return wire->lost;
}
