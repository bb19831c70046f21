/* libFuzzer: WebSocket frames, both roles, any cut; what comes out must not depend on the cut.
 *
 * The first byte chooses role and deflate, the second the size of the pieces.
 *
 *   clang -g -O1 -D_GNU_SOURCE -I. -fsanitize=fuzzer,address,undefined tests/fuzz_websocket.c websocket.c inflate.c utf8.c -lz
 */
#include "websocket.h"

#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX 4096u

typedef struct digest {
    uint64_t value;
    unsigned events;
} digest;

static void add(digest *sum, const void *data, size_t bytes) {
    const uint8_t *at = data;
    for (size_t i = 0; i < bytes; i++) sum->value = (sum->value ^ at[i]) * UINT64_C(0x100000001b3);
}

static digest run(const uint8_t *data, size_t bytes, enum bw_ws_role role, bool deflate, size_t piece) {
    digest sum = {UINT64_C(0xcbf29ce484222325), 0};
    bw_ws *ws = bw_ws_new(role, MESSAGE_MAX, deflate);
    bw_ws_event event;
    if (!ws) abort();
    while (bytes) {
        size_t room;
        uint8_t *into = bw_ws_room(ws, &room);
        size_t step = bytes < piece ? bytes : piece;
        if (step > room) step = room;
        if (!step) break; /* full: only after the end, when nothing is parsed any more */
        memcpy(into, data, step);
        bw_ws_filled(ws, step);
        data += step;
        bytes -= step;
        while (bw_ws_next(ws, &event) != BW_WS_NONE) {
            if (event.payload_bytes > MESSAGE_MAX && event.type != BW_WS_FAILED) abort();
            if (event.type == BW_WS_TEXT && !bw_utf8_valid(event.payload, event.payload_bytes)) abort();
            add(&sum, &event.type, sizeof event.type);
            add(&sum, &event.close_code, event.type >= BW_WS_CLOSED ? sizeof event.close_code : 0);
            add(&sum, event.payload, event.payload_bytes);
            sum.events++;
        }
    }
    bw_ws_free(ws);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (bytes < 2) return 0;
    enum bw_ws_role role = data[0] & 1 ? BW_WS_SERVER : BW_WS_CLIENT;
    bool deflate = data[0] & 2;
    digest whole = run(data + 2, bytes - 2, role, deflate, SIZE_MAX);
    digest cut = run(data + 2, bytes - 2, role, deflate, 1 + data[1] % 32u);
    if (whole.value != cut.value || whole.events != cut.events) abort();
    return 0;
}
