#include "compose.h"

bool bw_compose(bw_composition *step, const bw_view_input *input, uint32_t inputs, bw_message *message) {
    bw_view *view = step->view, *fresh = step->fresh;
    enum bw_view_kind kind = step->encoding->kind;
    fresh->price_exponent = view->price_exponent;
    fresh->quantity_exponent = view->quantity_exponent;
    bw_view_build(fresh, kind, input, inputs);
    bool rescaled = fresh->price_exponent != view->price_exponent ||
                    fresh->quantity_exponent != view->quantity_exponent;
    if (rescaled) bw_view_rescale(view, fresh->price_exponent, fresh->quantity_exponent);
    bool binary_rescaled = rescaled && step->encoding->format == BW_FORMAT_BINARY;
    bool snapshot = !step->deltas || step->turned || binary_rescaled;
    step->restarts = snapshot || rescaled;
    message->kind = snapshot ? BW_PUSH_SNAPSHOT : BW_PUSH_DELTA;
    message->price_exponent = fresh->price_exponent;
    message->quantity_exponent = fresh->quantity_exponent;
    for (uint32_t side = 0; side < BW_SIDES; side++) {
        message->level[side] = snapshot ? fresh->level[side] : step->change[side];
        message->count[side] =
            snapshot ? fresh->count[side] : bw_view_diff(view, fresh, kind, side, step->change[side]);
    }
    if (snapshot) return step->turned || binary_rescaled || !bw_view_equal(view, fresh);
    return message->count[0] + message->count[1] > 0;
}
