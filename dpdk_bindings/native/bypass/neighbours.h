/* Who may tell us a neighbour's MAC address: only who was asked (ARP, RFC 826; ND, RFC 4861).
 *
 * lwIP learns from any ARP packet and any advertisement; that is how a stranger takes a gateway's place.
 * Here an answer passes when we asked for that address in the last seconds; it is used up by the first
 * one. Questions about us are answered from the question itself, and nothing is learnt from them. A
 * claim nobody asked for makes the stack ask again, so a gateway that really moved is found.
 */
#ifndef BW_NEIGHBOURS_H
#define BW_NEIGHBOURS_H

#include "packet_check.h"

#define BW_ASKED_MAX 32u
#define BW_ANSWER_BYTES_MAX 86u

typedef struct bw_asked {
    struct {
        uint8_t address[16]; /* IPv4: the first 4, then zeros */
        bool six;
        int64_t until_ns; /* 0: free */
    } slot[BW_ASKED_MAX];
    uint32_t next;
} bw_asked;

/* Looks at a frame of ours: notes whom it asks for. */
void bw_asked_note_frame(bw_asked *asked, const uint8_t *frame, size_t bytes, int64_t steady_ns);
/* Whether `address` was asked for; it is not any more afterwards. */
bool bw_asked_take(bw_asked *asked, const uint8_t *address, bool six, int64_t steady_ns);

/* The answer to a checked ARP request or neighbour solicitation about us, written to `out`
 * (BW_ANSWER_BYTES_MAX). Returns its bytes, 0 if the packet asks for nothing. */
size_t bw_neighbour_answer(const bw_identity *identity, const uint8_t *frame, const bw_packet *packet,
                           uint8_t *out);

#endif
