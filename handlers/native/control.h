/* Events from the native loop to Python: a ring of fixed slots, one producer, one consumer.
 *
 * The loop pushes and never waits: a full ring counts the drop. Python drains many in one call and
 * sleeps on the eventfd between bursts. Commands go the other way through feed.h.
 */
#ifndef BW_CONTROL_H
#define BW_CONTROL_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BW_EVENT_SLOTS 4096u /* a power of two */
#define BW_EVENT_TEXT_BYTES 432u
#define BW_CONTROL_BYTES_MAX (64u << 10) /* of a control message; what is longer is cut */
#define BW_NO_BOOK UINT32_MAX
#define BW_NO_CONNECTION UINT32_MAX

enum bw_event_type {
    BW_EVENT_CONNECTED = 1,    /* connection: WebSocket open */
    BW_EVENT_CLOSED = 2,       /* connection, a: close code or errno, code: enum bw_close_cause, text */
    BW_EVENT_CONTROL = 3,      /* connection, text: a control message as received, or one piece of it:
                                  a: where the piece starts in the message, b: bytes of the message */
    BW_EVENT_NEED_SNAPSHOT = 4, /* book, code: enum bw_reason, a: number of the request for it */
    BW_EVENT_NEED_RESUBSCRIBE = 5, /* book, code: enum bw_reason (feed-snapshot venues) */
    BW_EVENT_BOOK_STATE = 6,   /* book, code: enum bw_reason, a: new state, b: old state */
    BW_EVENT_GAP = 7,          /* book or connection, a: expected, b: got */
    BW_EVENT_CHECKSUM = 8,     /* book, a: expected, b: computed */
    BW_EVENT_VERIFIER = 9,     /* book, a: new enum bw_verifier_state */
    BW_EVENT_QUARANTINE = 10,  /* connection, book if known, a: frame bytes, text: reason + head of it */
    BW_EVENT_SNAPSHOT_RESULT = 11, /* book, a: 0 taken, 1 too old, 2 not decodable */
    BW_EVENT_STOPPED = 12,
    BW_EVENT_REFUSED = 13,     /* a command that could not be done: connection or book, text: which, why */
};

typedef struct bw_event {
    uint32_t type;
    uint32_t connection;
    uint32_t book;
    uint32_t code;
    int64_t a;
    int64_t b;
    int64_t time_ns;
    uint32_t text_bytes;
    uint32_t text_cut; /* bytes of the original that did not fit */
    char text[BW_EVENT_TEXT_BYTES];
} bw_event;

typedef struct bw_event_ring {
    alignas(64) _Atomic uint64_t head;
    alignas(64) _Atomic uint64_t tail;
    alignas(64) _Atomic uint64_t dropped;
    int wake_fd; /* eventfd, or -1: the consumer polls */
    bw_event slot[BW_EVENT_SLOTS];
} bw_event_ring;

/* Free slot to fill, or NULL (counted) when full. Publish with bw_event_publish(). */
static inline bw_event *bw_event_claim(bw_event_ring *ring) {
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (head - atomic_load_explicit(&ring->tail, memory_order_acquire) >= BW_EVENT_SLOTS) {
        atomic_fetch_add_explicit(&ring->dropped, 1, memory_order_relaxed);
        return NULL;
    }
    bw_event *event = &ring->slot[head & (BW_EVENT_SLOTS - 1)];
    memset(event, 0, offsetof(bw_event, text));
    event->book = BW_NO_BOOK;
    event->connection = BW_NO_CONNECTION;
    return event;
}

/* Makes the claimed slot visible and wakes a consumer that may be asleep on an empty ring. */
void bw_event_publish(bw_event_ring *ring);

/* Publishes a control message as BW_EVENT_CONTROL, in as many consecutive events as it takes (an
 * acknowledgement may name hundreds of symbols). All pieces or none (counted as one drop). */
void bw_event_control(bw_event_ring *ring, uint32_t connection, const char *text, size_t bytes,
                      int64_t now_ns);

/* Copies `text` into the event, cut to the slot; text_cut tells by how much. */
void bw_event_set_text(bw_event *event, const char *text, size_t bytes);

/* Copies up to `capacity` events out; returns how many. Consumer side. */
uint32_t bw_event_drain(bw_event_ring *ring, bw_event *out, uint32_t capacity);

#endif
