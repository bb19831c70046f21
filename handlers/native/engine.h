/* Frames in, books and ring records out: decode, sync, book, checksum, publish. Sans-I/O.
 *
 * All calls on one thread, the native loop's. Time is an argument. Nothing allocates after
 * bw_engine_new(). Frames and REST bodies are decoded in place and must have BW_ENGINE_PADDING readable
 * bytes behind them (any content); they are not modified.
 *
 * A book is bound to one connection; what another one sends for it is ignored and counted, so that a
 * second connection can be opened and subscribed before the books are bound over to it, or are handed over
 * to it one by one, each at the moment its snapshot comes there. Where the venue
 * cuts nothing itself (client_cuts) or lets levels leave, give books more room than the venue's depth:
 * a message is applied whole before it is cut.
 */
#ifndef BW_ENGINE_H
#define BW_ENGINE_H

#include "control.h"
#include "plan.h"
#include "shm_writer.h"

#include <stddef.h>

#define BW_ENGINE_PADDING 64u

typedef struct bw_engine bw_engine;

typedef struct bw_engine_spec {
    const bw_plan *plan;      /* borrowed; outlives the engine */
    bw_shm_writer *shm;       /* borrowed; where books and ring live */
    bw_event_ring *events;    /* borrowed */
    uint32_t levels_max;      /* levels in one frame, all items together (scratch size) */
    uint64_t pending_bytes;   /* buffer for deltas that wait for a snapshot, all books together */
    uint32_t connections_max;
    uint32_t crossed_max;     /* consecutive crossed updates before a resync */
} bw_engine_spec;

bw_engine *bw_engine_new(const bw_engine_spec *spec, char *error, uint32_t error_bytes);
void bw_engine_free(bw_engine *engine);

/* Adds a book (its shared-memory slot must exist, see bw_shm_writer_add_book) reachable by its
 * topic: what messages call its symbol. Exponents are the decimals of tick and step, grown when the venue
 * sends more. Returns 0, or -1 if the symbol stands already or the table is full. */
int bw_engine_add_book(bw_engine *engine, uint32_t book, const char *symbol);

/* Prices and quantities of the book come as integers that stand for so many decimals. */
void bw_engine_set_scale(bw_engine *engine, uint32_t book, uint32_t price_decimals,
                         uint32_t quantity_decimals);

/* Which connection carries the book from now on (a loss or gap of it then stales the book). One that there
 * is not (BW_NO_CONNECTION): nobody does, and what still comes for the book is ignored. */
void bw_engine_bind(bw_engine *engine, uint32_t book, uint32_t connection);

/* `connection` is to carry the book as soon as a snapshot of it comes there; until then it is bound as it
 * was. For venues whose feed sends snapshots: no moment without a book that moves. */
void bw_engine_hand_over(bw_engine *engine, uint32_t book, uint32_t connection);

void bw_engine_connection_up(bw_engine *engine, uint32_t connection, int64_t now_ns);
void bw_engine_connection_down(bw_engine *engine, uint32_t connection, uint32_t reason, int64_t now_ns);

/* One whole text message. `receive_ns`: when its last byte left the wire. `plaintext_ns`: decrypted. */
void bw_engine_frame(bw_engine *engine, uint32_t connection, const char *text, size_t bytes,
                     int64_t receive_ns, int64_t plaintext_ns);

/* From now on frames are of bytes that TCP had put in order at that time, which a loop past the kernel
 * knows, and `receive_ns` is when a frame of them came; 0: `receive_ns` is that time too (sockets). */
void bw_engine_reading(bw_engine *engine, int64_t read_ns);

/* For loops that spin: takes what bw_engine_rehearse() needs. False when memory is short. */
bool bw_engine_prepare_rehearsal(bw_engine *engine);
/* Runs a text message that was taken before once more, to keep code and data near; changes nothing that
 * anybody can see. `text` as for bw_engine_frame(). */
void bw_engine_rehearse(bw_engine *engine, uint32_t connection, const char *text, size_t bytes);

/* Many frames from one buffer in one call, for benchmarks and tests: frame i is
 * joined[offsets[i] .. offsets[i + 1]) and is received step_ns after the one before it. frame_ns, if
 * not NULL, gets what each took. `joined` needs BW_ENGINE_PADDING behind its last frame. Returns how
 * many frames led to a published update. */
uint32_t bw_engine_frames(bw_engine *engine, uint32_t connection, const char *joined,
                          const uint32_t *offsets, uint32_t count, int64_t receive_ns,
                          int64_t step_ns, uint32_t *frame_ns);

/* A REST body for a book that asked for one (bids and asks replaced, waiting deltas joined). A body
 * nobody asked for is taken too: load one for a quiet symbol whose subscription was acknowledged
 * BEFORE the body was requested; with no delta waiting such a book is LIVE at once. */
void bw_engine_load_snapshot(bw_engine *engine, uint32_t book, const char *body, size_t bytes,
                             int64_t now_ns);

/* Takes the book out of service and starts over: the venue's rule says by what. */
void bw_engine_resync(bw_engine *engine, uint32_t book, uint32_t reason, int64_t now_ns);

/* Sets a book STALE or DOWN without touching its levels' source (liveness decisions of Python). */
void bw_engine_set_state(bw_engine *engine, uint32_t book, uint32_t state, uint32_t reason, int64_t now_ns);

/* Counts one message that never reached the decoder (too large, bad UTF-8, ...). */
void bw_engine_quarantine(bw_engine *engine, uint32_t connection, const char *text, size_t bytes,
                          const char *why, int64_t now_ns);

#endif
