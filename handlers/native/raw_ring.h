/* What reached an exchange's engine, in order: a second ring beside the segment, in a file of its own.
 *
 * `<exchange>.raw`, made only where recording of raw frames is on. The loop writes it after the book is
 * published; a recorder maps it read-only and follows it by position as it does the update ring. Fed to
 * an engine again in this order the records give the same books. docs/recording.md has the layout.
 */
#ifndef BW_RAW_RING_H
#define BW_RAW_RING_H

#include "shm_reader.h"

#include <stddef.h>

#define BW_RAW_MAGIC "BOOKWRAW"
#define BW_RAW_LAYOUT_VERSION 1u
#define BW_RAW_HEADER_BYTES 4096u
#define BW_RAW_PAYLOAD_MAX (8u << 20) /* of a longer message only the length is kept */

enum bw_raw_type {
    BW_RAW_PAD = 0,      /* to the ring's end */
    BW_RAW_FRAME = 1,    /* a whole text message; payload */
    BW_RAW_UP = 2,       /* a connection stands */
    BW_RAW_DOWN = 3,     /* a connection is gone; a: reason */
    BW_RAW_SNAPSHOT = 4, /* a REST body for a book; payload */
    BW_RAW_RESYNC = 5,   /* a book starts over; a: reason */
    BW_RAW_STATE = 6,    /* a book's state was set; a: state, b: reason */
    BW_RAW_BIND = 7,     /* a book is carried by a connection */
    BW_RAW_BOOK = 8,     /* a book was added; payload bw_book_request */
    BW_RAW_HAND_OVER = 9, /* a book goes to another connection once that one carries it */
};

typedef struct bw_raw_header {
    char magic[8];
    uint32_t layout_version;
    uint32_t header_bytes;
    uint64_t file_bytes;
    uint64_t generation; /* of the segment it belongs to */
    uint64_t ring_bytes; /* a power of two */
    uint32_t exchange_number;
    uint32_t level_capacity; /* of a side, as the books were made */
    char exchange[16];
    alignas(64) _Atomic uint64_t head; /* bytes ever published */
    _Atomic uint64_t reserved;         /* bytes ever claimed, >= head */
    _Atomic uint64_t oversize;         /* payloads left out, longer than BW_RAW_PAYLOAD_MAX */
} bw_raw_header;

typedef struct bw_raw_record {
    uint32_t bytes; /* of the whole record, a multiple of 8 */
    uint8_t type;
    uint8_t cut; /* 1: the payload was too long and is not here */
    uint16_t connection;
    uint32_t book;
    uint32_t payload_bytes; /* of the message; 0 bytes follow when it was cut */
    int64_t time_ns;        /* of a frame: its receive stamp */
    int64_t plaintext_ns;   /* of a frame: when it was decrypted */
    uint32_t a;
    uint32_t b;
} bw_raw_record;

_Static_assert(sizeof(bw_raw_record) == 40, "layout");
_Static_assert(sizeof(bw_raw_header) <= BW_RAW_HEADER_BYTES, "layout");

typedef struct bw_raw_writer bw_raw_writer;

typedef struct bw_raw_spec {
    const char *path;
    const char *exchange;
    uint32_t exchange_number;
    uint32_t level_capacity;
    uint64_t generation;
    uint64_t ring_bytes; /* a power of two, at least 4 * BW_RAW_PAYLOAD_MAX */
} bw_raw_spec;

/* Makes the file under another name, reserves every byte, renames it into place. NULL with why in error. */
bw_raw_writer *bw_raw_writer_new(const bw_raw_spec *spec, char *error, uint32_t error_bytes);
void bw_raw_writer_close(bw_raw_writer *writer);
/* Publishes one record; bytes and payload_bytes are set here. */
void bw_raw_put(bw_raw_writer *writer, bw_raw_record record, const void *payload, size_t bytes);

/* A ring of either kind as a follower sees it: its numbers are checked once and kept. */
typedef struct bw_ring_view {
    const uint8_t *base;
    uint64_t bytes;
    const _Atomic uint64_t *head;
    const _Atomic uint64_t *reserved;
} bw_ring_view;

typedef struct bw_raw_reader bw_raw_reader;
/* Maps the file read-only and checks it. NULL with the reason in error. */
bw_raw_reader *bw_raw_reader_open(const char *path, char *error, uint32_t error_bytes);
void bw_raw_reader_close(bw_raw_reader *reader);
const bw_raw_header *bw_raw_reader_header(const bw_raw_reader *reader);
bw_ring_view bw_raw_reader_ring(const bw_raw_reader *reader);

#endif
