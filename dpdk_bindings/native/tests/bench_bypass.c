/* Cycles of the way past the kernel, by stage, without any kernel: a venue in this process sends WebSocket
 * frames in TLS 1.3 records over rings. One line of JSON on stdout.
 *
 * segment: burst out of the ring and through TCP; tls: a record to plaintext (its copy out of the stack
 * included); websocket: frame to message; message: what bench_message.h makes of it (decode, book, ring where
 * the books are linked); send: acknowledgements handed over. recv is what one successful recv() of one such
 * record costs on a TCP socket over loopback, in the same run.
 *
 *   bench-bypass CERTIFICATE KEY AUTHORITY RECORDS RECORDS_A_SEGMENT
 */
#include "bench_message.h"
#include "clock.h"
#include "frame.h"
#include "pipe_transport.h"
#include "port.h"
#include "ring_wire.h"
#include "stack.h"
#include "tcp_peer.h"
#include "tls.h"
#include "websocket.h"
#include "check.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#define WARM_UP 2000
#define RECORDS_MAX (1u << 18)

typedef struct venue {
    bw_tls *tls;
    pipe_end inner, outer; /* the server's end, and ours to carry bytes */
    tcp_peer peer;
    uint8_t *source, *received;
    size_t carried; /* of what the client sent */
} venue;

typedef struct cycles {
    uint64_t segments, records, segment, tls, websocket, message, send, total;
} cycles;

static int64_t now_ns = 1000000000;

static void carry_to_server(venue *v) {
    size_t fresh = v->peer.received - v->carried;
    if (fresh) v->outer.transport.ops->write(&v->outer.transport, v->received + v->carried, fresh);
    v->carried += fresh;
}

static void carry_from_server(venue *v) {
    int64_t ns;
    ssize_t bytes =
        v->outer.transport.ops->read(&v->outer.transport, v->source + v->peer.to_send, 1 << 20, &ns);
    if (bytes > 0) v->peer.to_send += (uint64_t)bytes;
}

static unsigned offer(venue *v) {
    uint8_t frame[BW_FRAME_BYTES_MAX];
    unsigned frames = 0;
    size_t bytes;
    while (frames < BW_BURST_MAX && (bytes = tcp_peer_output(&v->peer, now_ns, frame))) {
        CHECK(ring_wire_put(frame, bytes));
        frames++;
    }
    return frames;
}

static void collect(venue *v) {
    uint8_t frame[BW_FRAME_BYTES_MAX];
    size_t bytes;
    while ((bytes = ring_wire_take(frame))) tcp_peer_input(&v->peer, frame, bytes, now_ns);
    now_ns += 10000;
}

static void handshake(venue *v, bw_stack *stack, bw_transport *transport, bw_tls *client) {
    int ours = 0, theirs = 0;
    for (int i = 0; i < 10000 && !(ours == 1 && theirs == 1); i++) {
        offer(v);
        bw_stack_turn(stack, now_ns);
        if (transport->ops->connected(transport) == 1 && ours == 0) ours = bw_tls_handshake(client);
        bw_stack_flush(stack);
        collect(v);
        carry_to_server(v);
        if (theirs == 0) theirs = bw_tls_handshake(v->tls);
        carry_from_server(v);
    }
    if (ours != 1 || theirs != 1)
        fprintf(stderr, "handshake: %s %s\n", bw_tls_error(client), bw_tls_error(v->tls));
    CHECK(ours == 1 && theirs == 1);
}

static void write_records(venue *v, size_t payload, unsigned records) {
    uint8_t frame[BW_WS_HEADER_MAX + BENCH_MESSAGE_BYTES_MAX];
    size_t header = bw_ws_header(frame, BW_WS_OP_TEXT, payload, NULL);
    for (unsigned i = 0; i < records; i++) {
        CHECK_EQUAL(bench_message_make((char *)frame + header), payload);
        CHECK(bw_tls_write(v->tls, frame, header + payload) == (ssize_t)(header + payload));
        carry_from_server(v);
    }
}

/* One burst through all stages. */
static void turn(venue *v, bw_stack *stack, bw_tls *client, bw_ws *ws, size_t payload, cycles *sum) {
    bw_ws_event event;
    int64_t receive_ns;
    unsigned frames = offer(v);
    bw_clock_calibrate();
    if (!frames) { /* only an acknowledgement or a timer is due */
        bw_stack_turn(stack, now_ns);
        bw_stack_flush(stack);
        collect(v);
        return;
    }
    uint64_t begin = bw_eal_cycles();
    bw_stack_turn(stack, now_ns);
    uint64_t at = bw_eal_cycles();
    sum->segment += at - begin;
    sum->segments += frames;
    for (;;) {
        size_t room;
        uint8_t *into = bw_ws_room(ws, &room);
        ssize_t bytes = bw_tls_read(client, into, room, &receive_ns);
        uint64_t plain = bw_eal_cycles();
        CHECK(bytes >= 0);
        if (!bytes) break;
        sum->tls += plain - at;
        bw_ws_filled(ws, (size_t)bytes);
        at = plain;
        while (bw_ws_next(ws, &event) != BW_WS_NONE) {
            CHECK(event.type == BW_WS_TEXT && event.payload_bytes == payload);
            uint64_t whole = bw_eal_cycles();
            sum->websocket += whole - at;
            bench_message_take(event.payload, event.payload_bytes, receive_ns);
            at = bw_eal_cycles();
            sum->message += at - whole;
            sum->records++;
        }
        uint64_t none = bw_eal_cycles();
        sum->websocket += none - at;
        at = none;
    }
    at = bw_eal_cycles();
    bw_stack_flush(stack);
    uint64_t end = bw_eal_cycles();
    sum->send += end - at;
    sum->total += end - begin;
    collect(v);
}

static int compare(const void *a, const void *b) {
    uint64_t x, y;
    memcpy(&x, a, 8);
    memcpy(&y, b, 8);
    return x < y ? -1 : x > y;
}

/* The median of successful receives of a record, each sent just before on the same core. */
static uint64_t recv_cycles(size_t bytes) {
    enum { TIMES = 20001 };
    static uint64_t took[TIMES];
    uint8_t data[2048];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    CHECK(connect(client, (struct sockaddr *)&address, size) == 0);
    int server = accept(listener, NULL, NULL);
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    memset(data, 1, sizeof data);
    for (int i = 0; i < TIMES; i++) {
        CHECK(send(server, data, bytes, 0) == (ssize_t)bytes);
        uint64_t begin = bw_eal_cycles();
        ssize_t got = recv(client, data, sizeof data, MSG_DONTWAIT);
        took[i] = bw_eal_cycles() - begin;
        CHECK(got == (ssize_t)bytes);
    }
    close(server);
    close(client);
    close(listener);
    qsort(took, TIMES, sizeof *took, compare);
    return took[TIMES / 2];
}

static bw_stack *open_stack(bw_port **port) {
    char error[256];
    bw_port_spec spec = {.mtu = 1500, .mac = {2, 0, 0, 0, 0, 2}, .buffers = 8191, .descriptors = 512};
    bw_stack_spec stack = {.mtu = 1500, .address_count = 1, .route_count = 1, .secret = {7, 9}};
    ring_wire_start_eal();
    snprintf(spec.device, sizeof spec.device, "%s", ring_wire_open(8191));
    *port = bw_port_open(&spec, error, sizeof error);
    CHECK(*port);
    memcpy(stack.mac, spec.mac, 6);
    inet_pton(AF_INET, "10.9.0.2", stack.address[0].address);
    bw_stack *opened = bw_stack_new(&stack, bw_port_device(*port), now_ns, error, sizeof error);
    CHECK(opened);
    return opened;
}

int main(int argc, char **argv) {
    char error[256];
    char first[BENCH_MESSAGE_BYTES_MAX];
    CHECK_EQUAL(argc, 6);
    bench_message_start();
    size_t payload = bench_message_make(first);
    unsigned records = (unsigned)atoi(argv[4]), together = (unsigned)atoi(argv[5]);
    bw_tls_context *server_context = bw_tls_server_context(argv[1], argv[2], error, sizeof error);
    bw_tls_context *client_context = bw_tls_client_context(argv[3], error, sizeof error);
    CHECK(server_context && client_context && payload < 1400 && records < RECORDS_MAX);
    venue v = {
        .peer = {.path = {.from_port = 443, .to_mac = {2, 0, 0, 0, 0, 2}, .from_mac = {2, 0, 0, 0, 0, 1}},
                 .window = 65535,
                 .mss = 1460,
                 .flight = 400000,
                 .rto_ns = 200000000,
                 .kept_room = 1 << 20}};
    inet_pton(AF_INET, "10.9.0.1", v.peer.path.from);
    inet_pton(AF_INET, "10.9.0.2", v.peer.path.to);
    v.source = malloc((size_t)(records + WARM_UP) * (payload + 64) + (1 << 21));
    v.peer.source = v.source;
    v.received = v.peer.kept = malloc(v.peer.kept_room);
    pipe_open(&v.inner, &v.outer, 1 << 20);
    v.tls = bw_tls_server(server_context, &v.inner.transport);
    bw_port *port;
    bw_stack *stack = open_stack(&port);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(443)};
    memcpy(&to.sin_addr, v.peer.path.from, 4);
    int code;
    bw_transport *transport = bw_stack_connect(stack, (struct sockaddr *)&to, NULL, &code);
    bw_tls *client = bw_tls_client(client_context, transport, "localhost");
    bw_ws *ws = bw_ws_new(BW_WS_CLIENT, 1 << 20, false);
    CHECK(v.tls && client && ws);
    handshake(&v, stack, transport, client);
    uint64_t before = v.peer.to_send;
    write_records(&v, payload, 1);
    size_t record = (size_t)(v.peer.to_send - before);
    write_records(&v, payload, WARM_UP + records - 1);
    v.peer.step = (uint32_t)record * together;
    cycles warm = {0}, sum = {0};
    for (int i = 0; i < 1000000 && warm.records < WARM_UP; i++) turn(&v, stack, client, ws, payload, &warm);
    for (int i = 0; i < 10000000 && sum.records < records - BW_BURST_MAX * 8; i++) {
        turn(&v, stack, client, ws, payload, &sum);
    }
    CHECK(sum.records);
    double a_segment = (double)sum.segments, a_record = (double)sum.records;
    bench_message_end((unsigned)(warm.records + sum.records));
    printf("{\"segment\": %.0f, \"tls\": %.0f, \"websocket\": %.0f, \"message\": %.0f, \"send\": %.0f, "
           "\"record\": %.0f, \"recv\": %.0f, \"payload\": %zu, "
           "\"segments\": %.0f, \"records\": %.0f, \"hz\": %.0f}\n",
           (double)sum.segment / a_segment, (double)sum.tls / a_record, (double)sum.websocket / a_record,
           (double)sum.message / a_record, (double)sum.send / a_segment, (double)sum.total / a_record,
           (double)recv_cycles(record), payload, a_segment, a_record, (double)bw_eal_cycles_hz());
    return 0;
}
