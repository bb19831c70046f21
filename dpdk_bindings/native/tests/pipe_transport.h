/* A transport's twin for tests: two ends in one process, bytes in memory, as many a read as allowed. */
#ifndef BW_PIPE_TRANSPORT_H
#define BW_PIPE_TRANSPORT_H

#include "transport.h"

typedef struct pipe_end {
    bw_transport transport;
    struct pipe_end *peer;
    uint8_t *data; /* what the peer wrote and we have not read */
    size_t capacity, begin, end;
    size_t bytes_a_read; /* 0: no limit */
    uint64_t reads;
    bool closed; /* by the peer */
} pipe_end;

/* `capacity` bytes may wait at each end; what was read makes room when an end is empty. */
void pipe_open(pipe_end *one, pipe_end *other, size_t capacity);
void pipe_free(pipe_end *one, pipe_end *other);

#endif
