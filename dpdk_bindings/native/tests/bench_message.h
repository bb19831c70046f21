/* What bench-bypass sends, and what becomes of it at the end of the way: links with one of two answers. */
#ifndef BW_BENCH_MESSAGE_H
#define BW_BENCH_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#define BENCH_MESSAGE_BYTES_MAX 1024u

void bench_message_start(void);
/* The next message into `out`; all have the same length, which is returned. */
size_t bench_message_make(char *out);
void bench_message_take(const char *text, size_t bytes, int64_t receive_ns);
/* After so many were taken; ends the program where less came of them. */
void bench_message_end(unsigned taken);

#endif
