/* The least a C unit test needs: a check that says where it failed and ends the program. */
#ifndef BW_WIRE_CHECK_H
#define BW_WIRE_CHECK_H

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

#endif
