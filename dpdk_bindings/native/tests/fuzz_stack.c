/* libFuzzer: anything a wire can bring to the stack while a connection is open on it.
 *
 * The input is a script: raw frames, segments of the connection with bent fields, ICMP that quotes it, time
 * that passes, reads and writes. Nothing may crash, and every buffer must come back.
 *
 *   clang -fsanitize=fuzzer,address,undefined ... fuzz_stack.c (make_fuzz.sh); run with -max_len=4096
 */
#include "memory_device.h"
#include "stack.h"
#include "tcp_peer.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 2}, peer_mac[6] = {2, 0, 0, 0, 0, 1};
static memory_device *device;
static int64_t now_ns = 1000000000;

typedef struct script {
    const uint8_t *at, *end;
} script;

static uint32_t take(script *script, unsigned bytes) {
    uint32_t value = 0;
    while (bytes-- && script->at < script->end) value = value << 8 | *script->at++;
    return value;
}

static bw_stack *open_stack(bool six) {
    char error[128];
    bw_stack_spec spec = {.mtu = 1500, .address_count = 2, .route_count = 2, .secret = {1, 2}};
    memcpy(spec.mac, our_mac, 6);
    inet_pton(AF_INET, "10.9.0.2", spec.address[0].address);
    inet_pton(AF_INET6, "fd00::2", spec.address[1].address);
    spec.address[1].six = spec.route[1].six = 1;
    (void)six;
    bw_stack *stack = bw_stack_new(&spec, memory_device_face(device), now_ns, error, sizeof error);
    if (!stack) abort();
    return stack;
}

static void exchange(bw_stack *stack, tcp_peer *peer) {
    uint8_t frame[BW_FRAME_BYTES_MAX];
    size_t bytes;
    while (bw_stack_turn(stack, now_ns)) {}
    while ((bytes = memory_device_take(device, frame))) tcp_peer_input(peer, frame, bytes, now_ns);
    for (int i = 0; i < 8 && (bytes = tcp_peer_output(peer, now_ns, frame)); i++) {
        memory_device_put(device, frame, bytes, now_ns);
    }
}

/* A segment of the connection, as the script bends it. */
static size_t segment(script *script, const tcp_peer *peer, uint8_t *out) {
    uint8_t data[1600], options[40];
    frame_path path = peer->path;
    uint32_t bent = take(script, 1), option_bytes = (bent >> 4 & 7) * 4,
             bytes = take(script, 1) * (bent & 8 ? 6 : 1);
    frame_tcp tcp = {.sequence = peer->highest,
                     .acknowledged = peer->receive_next,
                     .window = 1000,
                     .flags = (uint8_t)(bent & 2 ? take(script, 1) : FRAME_ACK)};
    if (bent & 1) tcp.sequence += (uint32_t)(int16_t)take(script, 2);
    if (bent & 4) tcp.acknowledged += (uint32_t)(int16_t)take(script, 2);
    for (uint32_t i = 0; i < option_bytes; i++) options[i] = (uint8_t)take(script, 1);
    memset(data, (int)bent, sizeof data);
    if (bytes > 1400) bytes = 1400;
    tcp.options = options;
    tcp.option_bytes = option_bytes;
    tcp.data = data;
    tcp.bytes = bytes;
    return frame_make_tcp(&path, &tcp, out);
}

static size_t raw(script *script, const tcp_peer *peer, uint8_t *out) {
    static const uint16_t types[4] = {0x0800, 0x86dd, 0x0806, 0x8100};
    uint32_t how = take(script, 1), bytes = take(script, 1) * (how & 16 ? 6 : 1);
    memcpy(out, our_mac, 6);
    memcpy(out + 6, peer_mac, 6);
    frame_put16(out + 12, types[how & 3]);
    if (bytes > 1500) bytes = 1500;
    for (uint32_t i = 0; i < bytes; i++) out[14 + i] = (uint8_t)take(script, 1);
    if ((how & 4) && bytes >= 20 && (how & 3) == 0) { /* right addresses and sums: deeper */
        out[14] = 0x45;
        frame_put16(out + 16, bytes);
        memcpy(out + 26, peer->path.from, 4);
        inet_pton(AF_INET, "10.9.0.2", out + 30);
        frame_put16(out + 24, 0);
        if (bytes >= 40) frame_sum(out, 14 + bytes);
    }
    if ((how & 4) && bytes >= 60 && (how & 3) == 1) {
        out[14] = 0x60;
        frame_put16(out + 18, bytes - 40);
        inet_pton(AF_INET6, "fd00::2", out + 38);
        frame_sum(out, 14 + bytes);
    }
    return 14 + bytes;
}

/* Path MTU, unreachable and redirect messages that quote the connection. */
static size_t icmp(script *script, const tcp_peer *peer, uint8_t *out) {
    uint8_t message[96];
    size_t quoted = peer->path.six ? 40 : 20;
    for (size_t i = 0; i < sizeof message; i++) message[i] = (uint8_t)take(script, 1);
    message[0] = peer->path.six ? 2 : 3;
    if (!peer->path.six) message[1] = 4;
    uint8_t *ip = message + 8;
    memset(ip, 0, quoted);
    ip[0] = peer->path.six ? 0x60 : 0x45;
    ip[peer->path.six ? 6 : 9] = 6;
    memcpy(ip + (peer->path.six ? 24 : 16), peer->path.from, peer->path.six ? 16 : 4);
    frame_put16(ip + quoted, peer->path.to_port);
    frame_put16(ip + quoted + 2, peer->path.from_port);
    frame_put32(ip + quoted + 4, peer->receive_next + message[95] % 4 - 1);
    return frame_make_icmp(&peer->path, message, 8 + quoted + 8, 64, out);
}

static void use(script *script, bw_transport *transport, uint32_t how) {
    static uint8_t bytes[4000];
    int64_t receive_ns;
    if (how & 1) {
        transport->ops->write(transport, bytes, take(script, 2) % sizeof bytes);
    } else {
        transport->ops->read(transport, bytes, take(script, 2) % sizeof bytes, &receive_ns);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!device) device = memory_device_new(512);
    script script = {data, data + size};
    uint8_t frame[BW_FRAME_BYTES_MAX];
    uint32_t first = take(&script, 1);
    bool six = first & 1;
    bw_stack *stack = open_stack(six);
    tcp_peer peer = {.path = {.from_port = 443, .six = six},
                     .seed = 3,
                     .sack = first & 4,
                     .to_send = first & 2 ? 100000 : 0,
                     .window = 65535,
                     .mss = 1400,
                     .flight = 20000,
                     .rto_ns = 200000000};
    memcpy(peer.path.from_mac, peer_mac, 6);
    memcpy(peer.path.to_mac, our_mac, 6);
    inet_pton(six ? AF_INET6 : AF_INET, six ? "fd00::1" : "10.9.0.1", peer.path.from);
    inet_pton(six ? AF_INET6 : AF_INET, six ? "fd00::2" : "10.9.0.2", peer.path.to);
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(443)};
    struct sockaddr_in6 sixth = {.sin6_family = AF_INET6, .sin6_port = htons(443)};
    memcpy(&four.sin_addr, peer.path.from, 4);
    memcpy(&sixth.sin6_addr, peer.path.from, 16);
    int error;
    bw_transport *transport = bw_stack_connect(stack, six ? (void *)&sixth : (void *)&four, NULL, &error);
    if (!transport) fprintf(stderr, "connect: %d\n", error), abort();
    for (int i = 0; i < 8; i++, now_ns += 1000000) exchange(stack, &peer);
    while (script.at < script.end) {
        uint32_t how = take(&script, 1);
        size_t bytes = 0;
        switch (how & 7) {
        case 0:
        case 1: bytes = raw(&script, &peer, frame); break;
        case 2:
        case 3: bytes = segment(&script, &peer, frame); break;
        case 4: bytes = icmp(&script, &peer, frame); break;
        case 5: now_ns += (int64_t)take(&script, 2) * 100000; break;
        case 6: use(&script, transport, how >> 3); break;
        default: exchange(stack, &peer);
        }
        if (bytes) memory_device_put(device, frame, bytes, now_ns);
        while (bw_stack_turn(stack, now_ns)) {}
        while (!(how & 128) && memory_device_take(device, frame)) {}
    }
    transport->ops->close(transport);
    while (bw_stack_turn(stack, now_ns)) {}
    bw_stack_free(stack);
    while (memory_device_take(device, frame)) {}
    if (memory_device_held(device)) abort();
    return 0;
}
