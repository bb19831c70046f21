/* The user-space stack on a net_ring port, driven over stdin and stdout by a test that plays the peer.
 *
 * Commands are a letter, a little-endian length of 4 bytes and as many bytes; each is answered with a
 * result, a string, and the frames that the stack sent meanwhile. The time is the driver's: nothing happens by itself.
 *
 *   n                      closes what is open and begins with a new stack: 10.9.0.2 and fd00::2
 *   c SLOT SIX             connects to port 443 of 10.9.0.1 or fd00::1
 *   f (LENGTH2 FRAME)...   frames arrive, the stack has a turn after each
 *   t NS8                  time passes, a turn each millisecond
 *   r SLOT                 reads what has come; the result is that of the last read
 *   w SLOT DATA            writes; the result is how much was taken
 *   x SLOT                 closes
 *   s                      counters as JSON
 */
#include "frame.h"
#include "port.h"
#include "ring_wire.h"
#include "stack.h"
#include "check.h"

#include <arpa/inet.h>
#include <string.h>

#define SLOTS BW_STACK_CONNECTIONS_MAX
#define COMMAND_MAX (8u << 20)
#define READ_MAX (8u << 20)
#define OUT_MAX (4u << 20)
#define BUFFERS 16383u
#define MS INT64_C(1000000)

static int64_t now_ns = 1000 * MS;
static bw_port *port;
static bw_stack *stack;
static bw_transport *transport[SLOTS];
static uint8_t command[COMMAND_MAX], text[READ_MAX], out[OUT_MAX];
static uint32_t out_bytes, out_count, text_bytes;

static void collect(void) {
    uint8_t frame[BW_FRAME_BYTES_MAX];
    size_t bytes;
    bw_stack_flush(stack);
    while ((bytes = ring_wire_take(frame))) {
        uint16_t length = (uint16_t)bytes;
        CHECK(out_bytes + sizeof length + bytes <= OUT_MAX);
        memcpy(out + out_bytes, &length, sizeof length);
        memcpy(out + out_bytes + sizeof length, frame, bytes);
        out_bytes += (uint32_t)(sizeof length + bytes);
        out_count++;
    }
}

static void turn(void) {
    while (bw_stack_turn(stack, now_ns)) {}
    collect();
}

static void new_stack(void) {
    char error[256] = "";
    bw_stack_spec spec = {.mtu = 1500, .mac = {2, 0, 0, 0, 0, 2}, .address_count = 2, .route_count = 2};
    for (unsigned i = 0; i < SLOTS; i++) {
        if (transport[i]) transport[i]->ops->close(transport[i]);
        transport[i] = NULL;
    }
    if (stack) turn();
    bw_stack_free(stack);
    spec.secret[0] = (uint64_t)now_ns;
    inet_pton(AF_INET, "10.9.0.2", spec.address[0].address);
    inet_pton(AF_INET6, "fd00::2", spec.address[1].address);
    spec.address[1].six = spec.route[1].six = 1;
    stack = bw_stack_new(&spec, bw_port_device(port), now_ns, error, sizeof error);
    if (!stack) fprintf(stderr, "%s\n", error);
    CHECK(stack);
}

static int connect_slot(unsigned slot, bool six) {
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(443)};
    struct sockaddr_in6 sixth = {.sin6_family = AF_INET6, .sin6_port = htons(443)};
    int error = 0;
    inet_pton(AF_INET, "10.9.0.1", &four.sin_addr);
    inet_pton(AF_INET6, "fd00::1", &sixth.sin6_addr);
    transport[slot] = bw_stack_connect(stack, six ? (void *)&sixth : (void *)&four, NULL, &error);
    turn();
    return -error;
}

static int frames(const uint8_t *at, const uint8_t *end) {
    int lost = 0;
    while (at < end) {
        uint16_t bytes;
        memcpy(&bytes, at, sizeof bytes);
        CHECK(bytes <= end - at - 2);
        lost += !ring_wire_put(at + sizeof bytes, bytes);
        at += sizeof bytes + bytes;
        turn();
    }
    return lost;
}

static int read_slot(unsigned slot) {
    ssize_t bytes;
    int64_t receive_ns;
    bw_transport *t = transport[slot];
    while ((bytes = t->ops->read(t, text + text_bytes, READ_MAX - text_bytes, &receive_ns)) > 0) {
        text_bytes += (uint32_t)bytes;
    }
    turn();
    return (int)bytes;
}

static void tell(void) {
    bw_stack_counters counters;
    bw_port_counters port_counters;
    bw_stack_read_counters(stack, &counters);
    bw_port_read(port, &port_counters);
    int bytes = snprintf(
        (char *)text, sizeof text,
        "{\"held\": %u, \"connections\": %llu, \"time_waits\": %llu, \"waiting\": %llu, \"no_memory\": %llu, "
        "\"challenges\": %llu, \"resets\": %llu, \"retransmits\": %llu, \"send_failed\": %llu, \"drops\": {",
        ring_wire_buffers_out(), (unsigned long long)counters.connections,
        (unsigned long long)counters.time_waits, (unsigned long long)counters.waiting_bytes,
        (unsigned long long)counters.no_memory, (unsigned long long)counters.challenges,
        (unsigned long long)counters.resets_sent, (unsigned long long)counters.retransmits,
        (unsigned long long)(port_counters.send_full + port_counters.send_no_mbuf));
    for (int i = 1; i < BW_DROP_COUNT; i++) {
        bytes += snprintf((char *)text + bytes, sizeof text - (size_t)bytes, "%s\"%s\": %llu",
                          i > 1 ? ", " : "", bw_drop_name(i), (unsigned long long)counters.drop[i]);
    }
    bytes += snprintf((char *)text + bytes, sizeof text - (size_t)bytes, "}}");
    text_bytes = (uint32_t)bytes;
}

static int obey(char what, uint32_t bytes) {
    int64_t until;
    switch (what) {
    case 'n': new_stack(); return 0;
    case 'c': return connect_slot(command[0], command[1]);
    case 'f': return frames(command, command + bytes);
    case 't':
        memcpy(&until, command, sizeof until);
        for (until += now_ns; now_ns < until; turn()) now_ns += until - now_ns < MS ? until - now_ns : MS;
        return 0;
    case 'r': return read_slot(command[0]);
    case 'w': {
        int wrote = (int)transport[command[0]]->ops->write(transport[command[0]], command + 1, bytes - 1);
        turn();
        return wrote;
    }
    case 'x':
        transport[command[0]]->ops->close(transport[command[0]]);
        transport[command[0]] = NULL;
        turn();
        return 0;
    default: tell(); return 0;
    }
}

int main(void) {
    char error[256] = "", what;
    uint32_t bytes;
    bw_port_spec spec = {.mtu = 1500, .mac = {2, 0, 0, 0, 0, 2}, .buffers = 1023, .descriptors = 512};
    ring_wire_start_eal();
    snprintf(spec.device, sizeof spec.device, "%s", ring_wire_open(BUFFERS));
    port = bw_port_open(&spec, error, sizeof error);
    if (!port) fprintf(stderr, "%s\n", error);
    CHECK(port);
    new_stack();
    while (fread(&what, 1, 1, stdin) == 1 && fread(&bytes, 4, 1, stdin) == 1) {
        CHECK(bytes <= COMMAND_MAX && fread(command, 1, bytes, stdin) == bytes);
        out_bytes = out_count = text_bytes = 0;
        int32_t result = obey(what, bytes);
        uint32_t head[4] = {(uint32_t)result, text_bytes, out_count, out_bytes};
        fwrite(head, sizeof head, 1, stdout);
        fwrite(text, 1, text_bytes, stdout);
        fwrite(out, 1, out_bytes, stdout);
        fflush(stdout);
    }
    return 0;
}
