/* Acknowledgements of one burst: the last of a connection stands for those before it.
 *
 * A burst lies there as one, so acknowledging each second segment of it (RFC 5681 4.2, SHOULD) would tell the
 * peer of one moment many times; kernels merge such segments before TCP sees them, and thin SACKs out. What a
 * peer may count or learn once only is never held back: the first duplicates (RFC 5681 3.2), those without
 * SACK, reports of what came twice (RFC 2883 4), blocks the later one does not repeat (RFC 2018 4).
 */
#include "stack_parts.h"

#include <string.h>

#include <lwip/priv/tcp_priv.h>

#define SACK 5
#define FOUR_AT 34 /* where the TCP header begins after IPv4's without options */
#define BLOCKS_MAX 4u
#define DUPLICATES_FIRST 3u /* a peer sends again at the third */

typedef struct facts {
    u32_t sequence, acknowledged;
    unsigned count;
    u32_t left[BLOCKS_MAX], right[BLOCKS_MAX];
} facts;

static void find_blocks(const uint8_t *at, const uint8_t *end, facts *out) {
    out->count = 0;
    while (at < end && *at) { /* lwIP made them */
        if (*at == 1) {
            at++;
            continue;
        }
        for (const uint8_t *block = at + 2; *at == SACK && block + 8 <= at + at[1]; block += 8) {
            if (out->count == BLOCKS_MAX) return;
            out->left[out->count] = bw_be32(block);
            out->right[out->count++] = bw_be32(block + 4);
        }
        at += at[1];
    }
}

static facts look_at(const uint8_t *tcp) {
    facts found = {.sequence = bw_be32(tcp + 4), .acknowledged = bw_be32(tcp + 8)};
    find_blocks(tcp + 20, tcp + (tcp[12] >> 4) * 4, &found);
    return found;
}

/* RFC 2883 4: the first block lies below the acknowledgement, or inside the second. */
static bool reports_duplicate(const facts *ack) {
    if (!ack->count) return false;
    if (TCP_SEQ_LT(ack->left[0], ack->acknowledged)) return true;
    return ack->count > 1 && TCP_SEQ_GEQ(ack->left[0], ack->left[1]) &&
           TCP_SEQ_LEQ(ack->right[0], ack->right[1]);
}

static bool covers(const facts *ack, u32_t left, u32_t right) {
    if (TCP_SEQ_LEQ(right, ack->acknowledged)) return true;
    for (unsigned i = 0; i < ack->count; i++) {
        if (TCP_SEQ_LEQ(ack->left[i], left) && TCP_SEQ_GEQ(ack->right[i], right)) return true;
    }
    return false;
}

/* All that the earlier one tells, which may stand for others itself. */
static bool repeats(const facts *later, const facts *earlier) {
    for (unsigned i = 0; i < earlier->count; i++) {
        if (!covers(later, earlier->left[i], earlier->right[i])) return false;
    }
    return true;
}

/* Of the same connection: destination and ports. */
static bool same_way(const bw_ack *held, const uint8_t *tcp, size_t at) {
    size_t address = at == FOUR_AT ? 4 : 16;
    return held->tcp == at && memcmp(held->frame + at - address, tcp - address, address + 4) == 0;
}

static bool stands_for(const bw_ack *held, const facts *later) {
    facts earlier = look_at(held->frame + held->tcp);
    if (earlier.sequence != later->sequence) return false;
    if (reports_duplicate(&earlier) || !repeats(later, &earlier)) return false;
    if (TCP_SEQ_GT(later->acknowledged, earlier.acknowledged)) return true;
    return later->acknowledged == earlier.acknowledged && earlier.count && later->count &&
           held->duplicates > DUPLICATES_FIRST;
}

bool bw_ack_hold(bw_stack *stack, const uint8_t *frame, size_t bytes, const uint8_t *tcp) {
    bw_ack *held = &stack->ack;
    size_t at = (size_t)(tcp - frame), header = (tcp[12] >> 4) * 4u;
    if (tcp[13] != TCP_ACK || bytes != at + header) return false;
    facts later = look_at(tcp);
    bool same = same_way(held, tcp, at), again = bw_be32(held->frame + at + 8) == later.acknowledged;
    if (held->bytes && same && stands_for(held, &later)) {
        stack->counters.acks_merged++;
    } else {
        bw_ack_release(stack);
    }
    held->duplicates = same && again ? held->duplicates + 1 : 1;
    memcpy(held->frame, frame, bytes);
    held->bytes = (u16_t)bytes;
    held->tcp = (u16_t)at;
    return true;
}

void bw_ack_release(bw_stack *stack) {
    if (!stack->ack.bytes) return;
    bw_stack_send(stack, stack->ack.frame, stack->ack.bytes);
    stack->ack.bytes = 0;
}
