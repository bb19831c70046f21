#include "tcp_peer.h"

#include "impair.h"

#include <string.h>

void seeded_bytes(uint64_t seed, uint64_t at, void *out, size_t bytes) {
    uint8_t *to = out;
    while (bytes) {
        uint64_t state = seed + at / 8 * 0x9e3779b97f4a7c15, word = impair_random(&state);
        size_t offset = at % 8, piece = 8 - offset < bytes ? 8 - offset : bytes;
        memcpy(to, (const uint8_t *)&word + offset, piece);
        to += piece;
        at += piece;
        bytes -= piece;
    }
}

static bool answer_arp(tcp_peer *peer, const uint8_t *frame) {
    if (frame_get16(frame + 20) != 1 || memcmp(frame + 38, peer->path.from, 4) != 0) return false;
    peer->reply_bytes =
        frame_make_arp(2, peer->path.from_mac, peer->path.from, frame + 22, frame + 28, peer->reply);
    return true;
}

static bool answer_solicitation(tcp_peer *peer, const uint8_t *frame) {
    uint8_t icmp[32] = {136, [4] = 0x60};
    frame_path path = peer->path;
    if (frame[20] != 58 || frame[54] != 135 || memcmp(frame + 62, peer->path.from, 16) != 0) return false;
    memcpy(icmp + 8, peer->path.from, 16);
    icmp[24] = 2;
    icmp[25] = 1;
    memcpy(icmp + 26, peer->path.from_mac, 6);
    memcpy(path.to_mac, frame + 6, 6);
    memcpy(path.to, frame + 22, 16);
    peer->reply_bytes = frame_make_icmp(&path, icmp, sizeof icmp, 255, peer->reply);
    return true;
}

static void read_options(tcp_peer *peer, const uint8_t *at, const uint8_t *end, bool syn) {
    if (syn) peer->client_mss = 536, peer->scale = 0, peer->stamps = false;
    while (at < end && *at) {
        if (*at == 1) {
            at++;
            continue;
        }
        if (syn && at[0] == 2) peer->client_mss = frame_get16(at + 2);
        if (syn && at[0] == 3) peer->scale = at[2];
        if (at[0] == 8) {
            if (syn) peer->stamps = true;
            peer->stamp_recent = frame_get32(at + 2);
        }
        at += at[1];
    }
}

static void accept_syn(tcp_peer *peer, const uint8_t *frame, const uint8_t *tcp, int64_t now_ns) {
    peer->open = true;
    peer->done = false;
    peer->fin_received = peer->fin_sent = peer->acknowledge = false;
    peer->synack = true;
    peer->connections++;
    peer->iss = (uint32_t)(peer->seed * 77 + peer->connections * 100003);
    peer->una = peer->iss;
    peer->next = peer->highest = peer->iss;
    peer->receive_next = frame_get32(tcp + 4) + 1;
    peer->path.to_port = frame_get16(tcp);
    peer->acknowledged = peer->received = 0;
    peer->duplicates = 0;
    peer->sent_ns = now_ns;
    (void)frame;
}

static void acknowledged(tcp_peer *peer, uint32_t number, bool empty, int64_t now_ns) {
    if ((int32_t)(number - peer->una) > 0 && (int32_t)(number - peer->highest) <= 0) {
        peer->una = number;
        if ((int32_t)(peer->next - number) < 0) peer->next = number;
        peer->synack = false;
        peer->duplicates = 0;
        peer->sent_ns = now_ns;
        uint64_t bytes = (uint32_t)(number - peer->iss - 1);
        peer->acknowledged = bytes > peer->to_send ? peer->to_send : bytes;
    } else if (number == peer->una && empty && peer->una != peer->highest && ++peer->duplicates == 3) {
        peer->next = peer->una;
        peer->fin_sent = false;
    }
}

static void take_data(tcp_peer *peer, const uint8_t *tcp, size_t bytes, bool fin) {
    uint32_t sequence = frame_get32(tcp + 4);
    const uint8_t *data = tcp + (tcp[12] >> 4) * 4;
    int32_t old = (int32_t)(peer->receive_next - sequence);
    peer->acknowledge |= bytes || fin || sequence != peer->receive_next; /* also probes: RFC 9293 3.10.7.4 */
    if (old < 0 || (size_t)old > bytes) return; /* too early, or nothing new: the acknowledgement tells */
    size_t fresh = bytes - (size_t)old;
    if (peer->kept && peer->received + fresh <= peer->kept_room) {
        memcpy(peer->kept + peer->received, data + old, fresh);
    }
    peer->received += fresh;
    peer->receive_next += (uint32_t)fresh;
    if (fin && !peer->fin_received) {
        peer->fin_received = true;
        peer->receive_next++;
    }
    if (peer->echoes) peer->to_send = peer->received;
}

void tcp_peer_input(tcp_peer *peer, const uint8_t *frame, size_t bytes, int64_t now_ns) {
    unsigned type = frame_get16(frame + 12);
    bool to_all = frame[0] & 1;
    if (peer->mute || (!to_all && memcmp(frame, peer->path.from_mac, 6) != 0)) return;
    if (type == 0x0806) {
        answer_arp(peer, frame);
        return;
    }
    bool six = type == 0x86dd;
    if (six != peer->path.six || (six && answer_solicitation(peer, frame))) return;
    const uint8_t *ip = frame + 14, *tcp = ip + (six ? 40 : 20);
    if ((six ? ip[6] : ip[9]) != 6 || frame_get16(tcp + 2) != peer->path.from_port) return;
    size_t whole = six ? 40u + frame_get16(ip + 4) : frame_get16(ip + 2), header = (tcp[12] >> 4) * 4u;
    size_t data = whole - (size_t)(tcp - ip) - header;
    unsigned flags = tcp[13];
    (void)bytes;
    if ((flags & (FRAME_SYN | FRAME_ACK)) == FRAME_SYN) {
        if (!peer->open || frame_get16(tcp) != peer->path.to_port) accept_syn(peer, frame, tcp, now_ns);
        peer->synack = true;
        peer->sent_ns = now_ns - peer->rto_ns;
        read_options(peer, tcp + 20, tcp + header, true);
        return;
    }
    if (!peer->open || frame_get16(tcp) != peer->path.to_port) return;
    if (flags & FRAME_RST) {
        peer->resets += !peer->done;
        peer->open = false;
        return;
    }
    read_options(peer, tcp + 20, tcp + header, false);
    peer->client_window = (uint32_t)frame_get16(tcp + 14) << peer->scale;
    acknowledged(peer, frame_get32(tcp + 8), data == 0 && !(flags & FRAME_FIN), now_ns);
    take_data(peer, tcp, data, flags & FRAME_FIN);
}

static size_t make(tcp_peer *peer, uint32_t sequence, unsigned flags, const void *data, size_t bytes,
                   int64_t now_ns, uint8_t *out) {
    uint8_t options[24] = {1, 1, 8, 10, [12] = 2, 4, [16] = 3, 3, 7, 1, 4, 2, 1, 1};
    frame_put32(options + 4, (uint32_t)(now_ns / 1000000) + 1000);
    frame_put32(options + 8, peer->stamp_recent);
    frame_put16(options + 14, peer->mss);
    bool syn = flags & FRAME_SYN;
    frame_tcp tcp = {.sequence = sequence,
                     .acknowledged = peer->receive_next,
                     .flags = (uint8_t)flags,
                     .window = (uint16_t)(syn ? 65535 : peer->window >> 7),
                     .data = data,
                     .bytes = bytes};
    tcp.options = peer->stamps ? options : options + 12;
    tcp.option_bytes = (peer->stamps ? 12u : 0u) + (!syn ? 0u : peer->sack ? 12u : 8u);
    peer->acknowledge = false;
    return frame_make_tcp(&peer->path, &tcp, out);
}

/* Sent or received, in both directions, the end. */
static bool over(const tcp_peer *peer) {
    return peer->fin_received && peer->una - peer->iss == (uint32_t)peer->to_send + 2; /* SYN and FIN count */
}

static size_t send_more(tcp_peer *peer, int64_t now_ns, uint8_t *out) {
    uint8_t data[1500];
    uint64_t at = (uint32_t)(peer->next - peer->iss - 1);
    uint32_t limit = peer->flight < peer->client_window ? peer->flight : peer->client_window;
    uint32_t out_now = peer->next - peer->una, step = peer->client_mss - (peer->stamps ? 12 : 0);
    if (peer->step && peer->step < step) step = peer->step;
    if (step > sizeof data) step = sizeof data;
    if (at < peer->to_send && out_now < limit) {
        if (step > peer->to_send - at) step = (uint32_t)(peer->to_send - at);
        if (step > limit - out_now) step = limit - out_now;
        if (peer->echoes) {
            memcpy(data, peer->kept + at, step);
        } else if (peer->source) {
            memcpy(data, peer->source + at, step);
        } else {
            seeded_bytes(peer->seed, at, data, step);
        }
        size_t bytes = make(peer, peer->next, FRAME_ACK | FRAME_PSH, data, step, now_ns, out);
        peer->next += step;
        if ((int32_t)(peer->next - peer->highest) > 0) peer->highest = peer->next;
        return bytes;
    }
    bool end = at == peer->to_send && (peer->closes || peer->fin_received) && !peer->fin_sent;
    if (!end) return 0;
    size_t bytes = make(peer, peer->next++, FRAME_ACK | FRAME_FIN, NULL, 0, now_ns, out);
    if ((int32_t)(peer->next - peer->highest) > 0) peer->highest = peer->next;
    peer->fin_sent = true;
    return bytes;
}

size_t tcp_peer_output(tcp_peer *peer, int64_t now_ns, uint8_t *out) {
    if (peer->reply_bytes) {
        size_t bytes = peer->reply_bytes;
        memcpy(out, peer->reply, bytes);
        peer->reply_bytes = 0;
        return bytes;
    }
    if (!peer->open) return 0;
    bool late = now_ns - peer->sent_ns >= peer->rto_ns;
    if (peer->synack) {
        if (!late) return 0;
        peer->sent_ns = now_ns;
        peer->next = peer->highest = peer->iss + 1;
        return make(peer, peer->iss, FRAME_SYN | FRAME_ACK, NULL, 0, now_ns, out);
    }
    if (late && peer->una != peer->highest) { /* from the first unacknowledged byte */
        peer->next = peer->una;
        peer->fin_sent = false;
        peer->sent_ns = now_ns;
    }
    size_t bytes = send_more(peer, now_ns, out);
    if (!bytes && peer->acknowledge) bytes = make(peer, peer->next, FRAME_ACK, NULL, 0, now_ns, out);
    peer->done |= over(peer);
    return bytes;
}
