/* The step every stream takes, live or played: from what was shown to what is now, as one message. Pure. */
#ifndef BW_COMPOSE_H
#define BW_COMPOSE_H

#include "encode.h"

typedef struct bw_composition {
    const bw_encoding *encoding;
    bw_view *view;  /* as last sent */
    bw_view *fresh; /* room for the new one; it becomes the next `view` where a message is made */
    bw_view_level *const *change; /* a side each, room for twice the depth */
    bool deltas;
    bool turned;   /* one exchange's book became live, or ceased to be: always a snapshot */
    bool restarts; /* out: changes told before do not lead to what comes after */
} bw_composition;

/* Builds `fresh` from the inputs and fills the kind, levels and exponents of `message`. False: nothing that
 * a subscriber sees has changed, and no message is due. */
bool bw_compose(bw_composition *step, const bw_view_input *input, uint32_t inputs, bw_message *message);

#endif
