/* One end of a memif between two processes: no kernel, no NIC between them. One line of JSON on stdout.
 *
 *   memif-end send SOCKET MESSAGES SECONDS
 *   memif-end receive SOCKET
 *
 * MESSAGES: records of a byte (the stream, below STREAMS), a little-endian u32 and so many bytes of a
 * WebSocket frame. `send` cuts them into TCP segments, a port a stream, and plays them over and over, as fast
 * as the other end takes them, with sequence numbers that go on. It says "ready" when `receive` may start,
 * whose driver does not dial twice. `receive` checks each frame as the product does, looks for holes in each
 * stream and takes the messages out of it, until every stream has ended.
 */
#include "check.h"
#include "clock.h"
#include "frames.h"
#include "packet_check.h"
#include "port.h"
#include "websocket.h"

#include <arpa/inet.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#define STREAMS 5u
#define PORT 443u
#define SEGMENT_BYTES 1400u
#define FRAMES_MAX 65536u
#define BUFFERS 8191u
#define PATIENCE_NS INT64_C(20000000000)
#define SEQUENCE_AT 38u /* of a frame of Ethernet, IPv4 without options, TCP */
#define SUM_AT 50u

typedef struct ready_frame { /* its sequence number is 0 within, its checksum goes with that */
    uint16_t bytes, payload;
    uint8_t stream, data[1600];
} ready_frame;

static ready_frame *frames;
static uint32_t frame_count;

static frame_path path_of(unsigned stream) {
    frame_path path = {.from_port = (uint16_t)(PORT + stream), .to_port = 40000,
                       .from_mac = {2, 0, 0, 0, 0, 1}, .to_mac = {2, 0, 0, 0, 0, 2}};
    inet_pton(AF_INET, "10.9.0.1", path.from);
    inet_pton(AF_INET, "10.9.0.2", path.to);
    return path;
}

static bw_port *open_port(const char *role, const char *socket) {
    char lcore[32], prefix[32], device[256], error[256] = "";
    const char *arguments[] = {"memif-end", lcore, "--no-pci", "--no-huge", "--no-shconf", "-m", "300",
                               prefix, "--no-telemetry", "--log-level=*:error", device};
    bw_port_spec spec = {.device = "net_memif0", .mtu = 1500, .mac = {2, 0, 0, 0, 0, 2}, .buffers = BUFFERS,
                         .descriptors = 1024};
    uint64_t mbps;
    snprintf(lcore, sizeof lcore, "--lcores=0@%d", sched_getcpu());
    snprintf(prefix, sizeof prefix, "--file-prefix=memif-%s-%d", role, (int)getpid());
    snprintf(device, sizeof device,
             "--vdev=net_memif0,role=%s,socket=%s,socket-abstract=no,zero-copy=no,rsize=11", role, socket);
    bw_port *port = NULL;
    if (bw_eal_start(sizeof arguments / sizeof *arguments, arguments, error, sizeof error) == 0)
        port = bw_port_open(&spec, error, sizeof error);
    if (!port) fprintf(stderr, "%s\n", error);
    CHECK(port);
    puts("ready");
    fflush(stdout);
    for (int64_t until = bw_steady_ns() + PATIENCE_NS; !bw_port_link(port, &mbps); sched_yield())
        CHECK(bw_steady_ns() < until);
    return port;
}

static void add_frame(unsigned stream, const uint8_t *data, size_t bytes, unsigned flags) {
    frame_path path = path_of(stream);
    frame_tcp tcp = {.flags = (uint8_t)flags, .window = 1000, .data = data, .bytes = bytes};
    ready_frame *frame = &frames[frame_count++];
    CHECK(frame_count < FRAMES_MAX);
    frame->bytes = (uint16_t)frame_make_tcp(&path, &tcp, frame->data);
    frame->payload = (uint16_t)bytes;
    frame->stream = (uint8_t)stream;
}

static uint32_t load(const char *path) {
    FILE *file = fopen(path, "rb");
    static uint8_t message[1 << 20];
    uint8_t head[5];
    uint32_t messages = 0;
    CHECK(file);
    frames = calloc(FRAMES_MAX, sizeof *frames);
    CHECK(frames);
    for (; fread(head, 1, sizeof head, file) == sizeof head; messages++) {
        uint32_t bytes;
        memcpy(&bytes, head + 1, sizeof bytes);
        CHECK(head[0] < STREAMS && bytes <= sizeof message && fread(message, 1, bytes, file) == bytes);
        for (uint32_t at = 0; at < bytes; at += SEGMENT_BYTES) {
            uint32_t piece = bytes - at < SEGMENT_BYTES ? bytes - at : SEGMENT_BYTES;
            add_frame(head[0], message + at, piece, FRAME_ACK | FRAME_PSH);
        }
    }
    fclose(file);
    return messages;
}

/* RFC 1624: the sum with the sequence number in it. */
static void put_sequence(uint8_t *frame, uint32_t sequence) {
    uint32_t sum = (uint16_t)~frame_get16(frame + SUM_AT);
    sum += (sequence >> 16) + (sequence & 0xffff);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    frame_put32(frame + SEQUENCE_AT, sequence);
    frame_put16(frame + SUM_AT, (uint16_t)~sum);
}

/* All of them, however long the ring is full: what is lost is lost on the way. */
static void send_burst(struct rte_mbuf **burst, uint16_t count) {
    uint16_t sent = 0;
    for (int64_t until = 0; sent < count;) {
        uint16_t now = rte_eth_tx_burst(0, 0, burst + sent, (uint16_t)(count - sent));
        sent = (uint16_t)(sent + now);
        if (now) {
            until = 0;
        } else if (!until) {
            until = bw_steady_ns() + PATIENCE_NS;
        } else {
            sched_yield(); /* the other end may want this core */
            CHECK(bw_steady_ns() < until);
        }
    }
}

static void run_send(const char *socket, const char *file, double seconds) {
    uint32_t sequence[STREAMS] = {0}, messages = load(file), lap_frames = frame_count, at = 0;
    struct rte_mbuf *burst[BW_BURST_MAX];
    uint64_t sent = 0, laps = 0;
    for (unsigned stream = 0; stream < STREAMS; stream++) add_frame(stream, NULL, 0, FRAME_ACK | FRAME_FIN);
    bw_port *port = open_port("server", socket);
    struct rte_mempool *pool =
        rte_pktmbuf_pool_create("send", BUFFERS, 256, 0, RTE_PKTMBUF_HEADROOM + 2048, -1);
    CHECK(pool);
    int64_t began = bw_steady_ns(), until = began + (int64_t)(seconds * 1e9);
    while (laps == 0 || at > 0 || bw_steady_ns() < until) { /* whole laps: streams end with a message */
        uint32_t rest = lap_frames - at, count = rest < BW_BURST_MAX ? rest : BW_BURST_MAX;
        CHECK(rte_pktmbuf_alloc_bulk(pool, burst, count) == 0);
        for (uint32_t i = 0; i < count; i++) {
            const ready_frame *frame = &frames[at + i];
            uint8_t *to = (uint8_t *)rte_pktmbuf_append(burst[i], frame->bytes);
            memcpy(to, frame->data, frame->bytes);
            put_sequence(to, sequence[frame->stream]);
            sequence[frame->stream] += frame->payload;
        }
        send_burst(burst, (uint16_t)count);
        sent += count;
        at = (at + count) % lap_frames;
        laps += at == 0;
    }
    int64_t took = bw_steady_ns() - began;
    CHECK(rte_pktmbuf_alloc_bulk(pool, burst, STREAMS) == 0);
    for (unsigned stream = 0; stream < STREAMS; stream++) {
        const ready_frame *frame = &frames[lap_frames + stream];
        uint8_t *to = (uint8_t *)rte_pktmbuf_append(burst[stream], frame->bytes);
        memcpy(to, frame->data, frame->bytes);
        put_sequence(to, sequence[stream]);
    }
    send_burst(burst, STREAMS);
    for (int64_t late = bw_steady_ns() + PATIENCE_NS; !rte_eth_rx_burst(0, 0, burst, 1); sched_yield())
        CHECK(bw_steady_ns() < late); /* the other end has them all when it answers */
    printf("{\"frames\": %llu, \"messages\": %llu, \"seconds\": %.3f}\n", (unsigned long long)sent,
           (unsigned long long)(laps * messages), (double)took / 1e9);
    bw_port_close(port);
}

typedef struct stream {
    bw_ws *ws;
    uint32_t next;
    bool ended;
    uint64_t messages, holes;
} stream;

static void take_segment(stream *of, const uint8_t *frame, const bw_packet *packet) {
    size_t bytes = (size_t)packet->end - packet->payload, room;
    uint32_t sequence = frame_get32(frame + packet->transport + 4);
    bw_ws_event event;
    of->holes += sequence != of->next;
    of->next = sequence + (uint32_t)bytes;
    of->ended |= frame[packet->transport + 13] & FRAME_FIN;
    if (!bytes) return;
    uint8_t *into = bw_ws_room(of->ws, &room);
    CHECK(room >= bytes);
    memcpy(into, frame + packet->payload, bytes);
    bw_ws_filled(of->ws, bytes);
    for (int type; (type = bw_ws_next(of->ws, &event)) != BW_WS_NONE;) {
        CHECK(type == BW_WS_TEXT || type == BW_WS_BINARY);
        of->messages++;
    }
}

static unsigned long pages(void) {
    unsigned long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%lu %lu", &size, &resident) == 2);
    fclose(file);
    return resident;
}

static void answer(bw_device *device) {
    frame_path path = path_of(0);
    frame_tcp tcp = {.flags = FRAME_ACK};
    uint8_t frame[128];
    size_t bytes = frame_make_tcp(&path, &tcp, frame);
    uint8_t *room = device->ops->claim(device, (uint32_t)bytes);
    CHECK(room);
    memcpy(room, frame, bytes);
    device->ops->flush(device);
}

static void run_receive(const char *socket) {
    stream streams[STREAMS] = {0};
    bw_identity identity = {.mac = {2, 0, 0, 0, 0, 2}, .four_count = 1};
    bw_frame burst[BW_BURST_MAX];
    uint64_t taken = 0, dropped = 0, messages = 0, holes = 0;
    unsigned long begin_pages = 0;
    inet_pton(AF_INET, "10.9.0.2", &identity.four[0]);
    for (unsigned i = 0; i < STREAMS; i++) CHECK((streams[i].ws = bw_ws_new(BW_WS_CLIENT, 1 << 20, false)));
    bw_port *port = open_port("client", socket);
    bw_device *device = bw_port_device(port);
    bw_port_counters before, after;
    bw_port_read(port, &before);
    for (int64_t last = bw_steady_ns(); !(streams[0].ended && streams[1].ended && streams[2].ended &&
                                          streams[3].ended && streams[4].ended);) {
        uint32_t count = device->ops->receive(device, burst, BW_BURST_MAX);
        if (!count) {
            CHECK(bw_steady_ns() - last < PATIENCE_NS);
            sched_yield();
            continue;
        }
        last = bw_steady_ns();
        for (uint32_t i = 0; i < count; i++) {
            bw_packet packet;
            if (bw_packet_check(&identity, burst[i].data, burst[i].bytes, burst[i].flags, &packet)) {
                dropped++;
            } else {
                unsigned number = frame_get16(burst[i].data + packet.transport) - PORT;
                CHECK(number < STREAMS);
                take_segment(&streams[number], burst[i].data, &packet);
                taken++;
            }
            device->ops->release(device, burst[i].buffer);
        }
        if (!begin_pages && taken > 100000) begin_pages = pages(); /* all buffers were touched once */
    }
    unsigned long grown = begin_pages ? pages() - begin_pages : 0;
    bw_port_read(port, &after);
    for (unsigned i = 0; i < STREAMS; i++) {
        messages += streams[i].messages;
        holes += streams[i].holes;
    }
    answer(device);
    printf("{\"frames\": %llu, \"messages\": %llu, \"holes\": %llu, \"dropped\": %llu, \"missed\": %llu, "
           "\"buffers_gone\": %lld, \"grown_pages\": %ld}\n",
           (unsigned long long)taken, (unsigned long long)messages, (unsigned long long)holes,
           (unsigned long long)dropped, (unsigned long long)(after.missed + after.no_buffer),
           (long long)(before.buffers_free - after.buffers_free), (long)grown);
    fflush(stdout);
    /* The answer is in a ring that ends with this process: until the other one has gone. The driver has a
     * thread that takes the port apart then, so it is not closed here: both at once free memory twice. */
    uint64_t mbps;
    for (int64_t until = bw_steady_ns() + PATIENCE_NS; bw_port_link(port, &mbps) && bw_steady_ns() < until;)
        sched_yield();
}

int main(int argc, char **argv) {
    if (argc == 5 && strcmp(argv[1], "send") == 0) {
        run_send(argv[2], argv[3], atof(argv[4]));
    } else {
        CHECK(argc == 3 && strcmp(argv[1], "receive") == 0);
        run_receive(argv[2]);
    }
    return 0;
}
