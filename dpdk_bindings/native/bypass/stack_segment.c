/* Each segment of a connection, before lwIP's own processing: what lwIP does not check itself.
 *
 * RFC 7323 5 (old duplicates), RFC 5961 3 to 5 and 7 (blind resets, SYNs and data; what makes us answer is
 * limited), RFC 9293 3.10.7.3 (what may answer a SYN) and 3.10.7.4 (no ACK: dropped; the window), RFC 2018 8
 * (what was acknowledged selectively is kept), RFC 5681 4.2 (a gap that is filled), RFC 5927 4.1 (an ICMP
 * error must quote something in flight).
 */
#include "stack_parts.h"

#include <string.h>

#include <lwip/priv/tcp_priv.h>
#include <lwip/stats.h>

#define TIMESTAMP 8
#define PIECES_MAX 3072u /* more than TCP_WND / TCP_MSS */
#define MTU_FOUR_MIN 552u /* less was never on any path: as Linux */
#define MTU_SIX_MIN 1280u /* RFC 8200 5 */

static const uint8_t *find_timestamp(const uint8_t *at, const uint8_t *end) {
    if (end - at == 12 && at[0] == 1 && at[1] == 1 && at[2] == TIMESTAMP) return at + 4; /* RFC 7323 A */
    while (at < end && *at) {
        if (*at == 1) {
            at++;
            continue;
        }
        if (*at == TIMESTAMP) return at + 2; /* lengths were checked */
        at += at[1];
    }
    return NULL;
}

/* Not now: lwIP looks at the flag when this segment is done with. */
static void challenge(struct tcp_pcb *pcb) {
    bw_stack *stack = &bw_the_stack;
    if (!bw_limit_take(&stack->challenges, stack->now_ns)) return;
    stack->counters.challenges++;
    tcp_send_empty_ack(pcb);
}

static enum bw_drop check_reset(struct tcp_pcb *pcb, u32_t sequence) {
    if (sequence == pcb->rcv_nxt) return BW_DROP_NONE;
    if (TCP_SEQ_BETWEEN(sequence, pcb->rcv_nxt, pcb->rcv_nxt + pcb->rcv_wnd)) challenge(pcb);
    return BW_DROP_tcp_bad_reset;
}

static enum bw_drop check_segment(struct tcp_pcb *pcb, const struct tcp_hdr *header, u16_t option_bytes) {
    unsigned flags = TCPH_FLAGS(header);
    const uint8_t *options = (const uint8_t *)(header + 1);
    if (flags & TCP_RST) return check_reset(pcb, header->seqno);
    if (flags & TCP_SYN) {
        challenge(pcb);
        return BW_DROP_tcp_bad_syn;
    }
    if (pcb->flags &
        TF_TIMESTAMP) { /* without one it is let through, as others do: RFC 7323 3.2 says SHOULD */
        const uint8_t *stamp = find_timestamp(options, options + option_bytes);
        if (stamp && (int32_t)(bw_be32(stamp) - pcb->ts_recent) < 0) {
            challenge(pcb);
            return BW_DROP_tcp_old_timestamp;
        }
    }
    if (!(flags & TCP_ACK) || TCP_SEQ_GT(header->ackno, pcb->snd_nxt) ||
        TCP_SEQ_LT(header->ackno, pcb->lastack - pcb->snd_wnd_max)) {
        challenge(pcb);
        return BW_DROP_tcp_bad_ack;
    }
    return BW_DROP_NONE;
}

/* RFC 9293 3.10.7.3: a reset counts with the right ACK only; what has neither SYN nor RST is dropped. */
static enum bw_drop check_answer_to_syn(const struct tcp_pcb *pcb, const struct tcp_hdr *header) {
    unsigned flags = TCPH_FLAGS(header);
    if (flags & TCP_RST) {
        return (flags & TCP_ACK) && header->ackno == pcb->snd_nxt ? BW_DROP_NONE : BW_DROP_tcp_bad_reset;
    }
    return !(flags & TCP_SYN) && header->ackno == pcb->snd_nxt ? BW_DROP_tcp_bad_ack : BW_DROP_NONE;
}

/* RFC 2883 4: the first block is what came twice, the second encloses it if it waits out of order. For this
 * acknowledgement only. */
static void report_duplicate(struct tcp_pcb *pcb, u32_t begin, u32_t end) {
    struct tcp_sack_range known[LWIP_TCP_MAX_SACK_NUM];
    unsigned count = 1;
    memcpy(known, pcb->rcv_sacks, sizeof known);
    memset(pcb->rcv_sacks, 0, sizeof known);
    pcb->rcv_sacks[0].left = begin;
    pcb->rcv_sacks[0].right = end;
    for (int enclosing = 1; enclosing >= 0; enclosing--) {
        for (unsigned i = 0; i < LWIP_TCP_MAX_SACK_NUM && count < LWIP_TCP_MAX_SACK_NUM; i++) {
            bool encloses = TCP_SEQ_LEQ(known[i].left, begin) && TCP_SEQ_GEQ(known[i].right, end);
            if (known[i].left != known[i].right && encloses == enclosing) pcb->rcv_sacks[count++] = known[i];
        }
    }
    tcp_send_empty_ack(pcb);
    memcpy(pcb->rcv_sacks, known, sizeof known);
}

/* lwIP would put what lies inside a waiting segment into its place, and throw away what follows it. It also
 * walks the whole queue at each segment: no longer than a window of full ones (CVE-2018-5390 was that). */
static enum bw_drop check_waiting(const struct tcp_pcb *pcb, u32_t sequence, u32_t bytes) {
    unsigned pieces = 0;
    /* the usual: it follows the newest block, so nothing waits there; the walk was an eighth of all work */
    if (LWIP_TCP_SACK_VALID(pcb, 0) && sequence == pcb->rcv_sacks[0].right &&
        lwip_stats.memp[MEMP_TCP_SEG]->used < PIECES_MAX) {
        return BW_DROP_NONE;
    }
    for (const struct tcp_seg *held = pcb->ooseq; held; held = held->next) {
        u32_t begin = held->tcphdr->seqno;
        if (TCP_SEQ_LT(sequence, begin)) return BW_DROP_NONE;
        if (TCP_SEQ_LEQ(sequence + bytes, begin + held->len)) return BW_DROP_tcp_duplicate;
        if (++pieces == PIECES_MAX) return BW_DROP_tcp_pieces;
    }
    return BW_DROP_NONE;
}

/* After lwIP's own checks would have let it in. */
static enum bw_drop check_place(struct tcp_pcb *pcb, const struct tcp_hdr *header, u32_t bytes) {
    u32_t begin = header->seqno, end = begin + bytes;
    enum bw_drop drop = BW_DROP_NONE;
    if (TCPH_FLAGS(header) & (TCP_RST | TCP_SYN | TCP_FIN)) return BW_DROP_NONE;
    if (!bytes) {
        bool outside = TCP_SEQ_LT(begin, pcb->rcv_nxt) || TCP_SEQ_GT(begin, pcb->rcv_nxt + pcb->rcv_wnd);
        return !outside || bw_limit_take(&bw_the_stack.probes, bw_the_stack.now_ns) ? BW_DROP_NONE
                                                                                    : BW_DROP_tcp_limit;
    }
    if (TCP_SEQ_LEQ(end, pcb->rcv_nxt)) {
        drop = BW_DROP_tcp_duplicate;
    } else if (TCP_SEQ_GT(begin, pcb->rcv_nxt)) {
        drop = check_waiting(pcb, begin, bytes);
    } else if (pcb->ooseq) {
        tcp_ack_now(pcb); /* RFC 5681 4.2: what fills a gap is acknowledged at once; lwIP would wait */
    }
    if (drop == BW_DROP_tcp_duplicate) report_duplicate(pcb, begin, end);
    if (drop == BW_DROP_tcp_pieces) tcp_send_empty_ack(pcb);
    return drop;
}

/* RFC 9293 3.10.7.4: lwIP takes a smaller window only with something new in the segment. And 3.8.6.1: a peer
 * that answers our probes of its closed window is not gone. */
static void take_window(struct tcp_pcb *pcb, const struct tcp_hdr *header) {
    bw_stream *stream = pcb->callback_arg;
    tcpwnd_size_t window = (tcpwnd_size_t)header->wnd << pcb->snd_scale;
    if (header->seqno == pcb->snd_wl1 && header->ackno == pcb->snd_wl2 && window < pcb->snd_wnd) {
        pcb->snd_wnd = window;
    }
    if (pcb->persist_backoff && stream) stream->progress_ns = bw_the_stack.now_ns;
}

s8_t bw_lwip_segment(struct tcp_pcb *pcb, struct tcp_hdr *header, u16_t option_bytes, struct pbuf *payload) {
    enum bw_drop drop = BW_DROP_NONE;
    bw_the_stack.segment_matched = true;
    if (pcb->state == SYN_SENT) {
        drop = check_answer_to_syn(pcb, header);
    } else if (pcb->state >= ESTABLISHED && pcb->state != TIME_WAIT) {
        drop = check_segment(pcb, header, option_bytes);
        if (!drop) drop = check_place(pcb, header, payload->tot_len);
        if (!drop) take_window(pcb, header);
    }
    if (!drop) return ERR_OK;
    bw_stack_drop(drop);
    return ERR_VAL;
}

/* Segments that were made for a larger MSS are cut; those in flight go out again at once. False: no memory
 * for it, and the MSS is as before (the next message tries again). */
static bool lower_mss(struct tcp_pcb *pcb, u16_t mss) {
    u16_t before = pcb->mss;
    bool whole = true;
    pcb->mss = mss;
    pcb->unsent_oversize = 0; /* what was left of a segment of the old size */
    tcp_rexmit_rto_prepare(pcb);
    struct tcp_seg *first = pcb->unsent;
    for (struct tcp_seg *segment = first; segment && whole; segment = segment->next) {
        u16_t options = LWIP_TCP_OPT_LENGTH(segment->flags), most = (u16_t)(mss - options);
        pcb->unsent = segment; /* what is split is the head; the rest becomes the next one */
        whole = segment->len <= most || tcp_split_unsent_seg(pcb, most) == ERR_OK;
    }
    pcb->unsent = first;
    if (!whole) pcb->mss = before;
    tcp_output(pcb);
    return whole;
}

static struct tcp_pcb *find_quoted(const ip_addr_t *remote, const uint8_t *tcp) {
    u16_t local_port = bw_be16(tcp), remote_port = bw_be16(tcp + 2);
    for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next) {
        if (pcb->local_port == local_port && pcb->remote_port == remote_port &&
            ip_addr_eq(&pcb->remote_ip, remote)) {
            return pcb;
        }
    }
    return NULL;
}

/* RFC 1191 4 and RFC 8201 4; the quoted sequence number must be in flight. */
enum bw_drop bw_stack_path_mtu(bw_stack *stack, const uint8_t *frame, const bw_packet *packet) {
    const uint8_t *icmp = frame + packet->transport, *quoted = frame + packet->payload;
    size_t header = packet->six ? 40 : 20, bytes = (size_t)(packet->end - packet->payload);
    uint32_t mtu = packet->six ? bw_be32(icmp + 4) : bw_be16(icmp + 6);
    ip_addr_t remote;
    memset(&remote, 0, sizeof remote);
    if (bytes < header + 8 || quoted[0] != (packet->six ? 0x60 : 0x45)) return BW_DROP_icmp_mtu_unproven;
    if (quoted[packet->six ? 6 : 9] != 6) return BW_DROP_icmp_mtu_unproven;
    if (packet->six) {
        IP_SET_TYPE_VAL(remote, IPADDR_TYPE_V6);
        memcpy(ip_2_ip6(&remote)->addr, quoted + 24, 16);
    } else {
        memcpy(&ip_2_ip4(&remote)->addr, quoted + 16, 4);
    }
    const uint8_t *tcp = quoted + header;
    struct tcp_pcb *pcb = find_quoted(&remote, tcp);
    if (!pcb || !TCP_SEQ_BETWEEN(bw_be32(tcp + 4), pcb->lastack, pcb->snd_nxt - 1))
        return BW_DROP_icmp_mtu_unproven;
    uint32_t least = packet->six ? MTU_SIX_MIN : MTU_FOUR_MIN;
    uint32_t mss = (mtu < least ? least : mtu) - (uint32_t)header - 20;
    if (mss >= pcb->mss) return BW_DROP_icmp_mtu_unproven;
    if (lower_mss(pcb, (u16_t)mss)) stack->counters.path_mtu_lowered++;
    return BW_DROP_NONE;
}
