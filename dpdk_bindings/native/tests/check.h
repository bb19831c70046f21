/* The least a C test of any room needs: checks that say where they failed and end the program, and numbers
 * that are random the same way every time. */
#ifndef BW_TESTS_CHECK_H
#define BW_TESTS_CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(what)                                                                  \
    do {                                                                             \
        if (!(what)) {                                                               \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #what);     \
            exit(1);                                                                 \
        }                                                                            \
    } while (0)

#define CHECK_EQUAL(got, expected)                                                              \
    do {                                                                                        \
        long long got_ = (long long)(got), expected_ = (long long)(expected);                   \
        if (got_ != expected_) {                                                                \
            fprintf(stderr, "%s:%d: %s is %lld, expected %lld\n", __FILE__, __LINE__, #got, got_, \
                    expected_);                                                                 \
            exit(1);                                                                            \
        }                                                                                       \
    } while (0)

static inline uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif
