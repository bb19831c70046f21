/* A channel of the past: books of handlers/recording/played.py merged and encoded as the stream does it. */
#ifndef BW_REPLAY_H
#define BW_REPLAY_H

#include "gateway.h"

typedef struct bw_replay bw_replay;

/* `path` are the segments that the played books stand in, one book each, of the exchanges `exchange`. NULL
 * where one cannot be opened or memory is short: `error` says which. */
bw_replay *bw_replay_new(const bw_subscription *wanted, const char *const *path,
                         const bw_gateway_exchange *exchange, uint32_t count, char *error,
                         uint32_t error_bytes);
void bw_replay_free(bw_replay *replay);
uint32_t bw_replay_room(const bw_replay *replay); /* bytes one message can need at most */

/* What a subscriber is to be told now, as a whole WebSocket frame: first a snapshot, then, by the mode,
 * what changed. Bytes, 0 where nothing did, or a negative errno. `now_ns`: the time of the recording;
 * `updates`: played so far, the `seq` of merged channels. */
int64_t bw_replay_next(bw_replay *replay, int64_t now_ns, uint64_t updates, uint8_t *out, uint32_t room);

#endif
