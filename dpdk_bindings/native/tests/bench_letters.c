/* The way ends with the message: 200 letters, nothing done with them. */
#include "bench_message.h"

#include <string.h>

#define LETTERS 200u

void bench_message_start(void) {}

size_t bench_message_make(char *out) {
    static unsigned number;
    memset(out, 'a' + (int)(number++ % 26), LETTERS);
    return LETTERS;
}

void bench_message_take(const char *text, size_t bytes, int64_t receive_ns) {
    (void)text, (void)bytes, (void)receive_ns;
}

void bench_message_end(unsigned taken) {
    (void)taken;
}
