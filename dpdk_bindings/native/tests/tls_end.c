/* One end of a TLS stream for tests over real wires: kernel sockets at the venue, either way at the client.
 *
 *   tls-end serve ADDRESS PORT CERTIFICATE KEY
 *   tls-end receive WAY ADDRESS PORT AUTHORITY BYTES
 *   tls-end receive-late DEVICE ADDRESS PORT AUTHORITY BYTES
 *   tls-end echo WAY ADDRESS PORT AUTHORITY MESSAGES
 *
 * WAY is "sockets", or DRIVER,INTERFACE,OUR-ADDRESS/PREFIX for a DPDK device that EAL makes. `receive` compares
 * every byte with the seeded stream, `receive-late` lets the window fill first. One line of JSON on stdout.
 */
#include "clock.h"
#include "dpdk_network.h"
#include "tcp_peer.h"
#include "tls.h"
#include "check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define SEED 17
#define CHUNK 16000 /* below a TLS record */
#define ECHO_BYTES 200
#define IDLE_TURNS 200
#define NAP_NS 50000
#define LATE_BYTES 3000000
#define LATE_NS 50000000
#define GIVE_UP_NS INT64_C(30000000000) /* nothing at all came for so long */

typedef struct way {
    bw_network *network; /* NULL: sockets */
    bw_transport *transport;
    bw_tls *tls;
} way;

static socklen_t parse(const char *text, const char *port, struct sockaddr_storage *out) {
    struct sockaddr_in *four = (struct sockaddr_in *)out;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof *out);
    four->sin_port = htons((uint16_t)atoi(port));
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        return sizeof *four;
    }
    CHECK(inet_pton(AF_INET6, text, &six->sin6_addr) == 1);
    six->sin6_family = AF_INET6;
    return sizeof *six;
}

/* Until the peer says what it wants, and while it wants more. Blocking, one connection. */
static void talk(bw_tls *tls, int descriptor) {
    static uint8_t data[CHUNK];
    uint64_t at = 0, total = 0, waiting = 0;
    bool echoes = false, told = false;
    int64_t receive_ns;
    for (;;) {
        short events = POLLIN;
        if (waiting || at < total) events |= POLLOUT;
        struct pollfd ready = {.fd = descriptor, .events = events};
        if (!bw_tls_pending(tls)) poll(&ready, 1, 60000);
        if (waiting) { /* what came has to go back first */
            ssize_t wrote = bw_tls_write(tls, data, waiting);
            if (wrote < 0) return;
            memmove(data, data + wrote, waiting - (size_t)wrote);
            waiting -= (uint64_t)wrote;
        } else if (at < total) {
            size_t piece = total - at < CHUNK ? (size_t)(total - at) : CHUNK;
            seeded_bytes(SEED, at, data, piece);
            ssize_t wrote = bw_tls_write(tls, data, piece);
            if (wrote < 0) return;
            at += (uint64_t)wrote;
            continue;
        }
        ssize_t bytes = waiting ? 0 : bw_tls_read(tls, data, CHUNK, &receive_ns);
        if (bytes < 0) return;
        if (bytes >= 9 && !told) {
            told = true;
            echoes = data[0] == 'E';
            memcpy(&total, data + 1, sizeof total);
            if (echoes) total = 0;
        } else if (bytes && echoes) {
            waiting = (uint64_t)bytes;
        }
    }
}

static int serve(char **argv) {
    char error[256];
    struct sockaddr_storage address;
    int one = 1;
    bw_tls_context *context = bw_tls_server_context(argv[4], argv[5], error, sizeof error);
    socklen_t bytes = parse(argv[2], argv[3], &address);
    int listener = socket(address.ss_family, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    CHECK(context && bind(listener, (struct sockaddr *)&address, bytes) == 0 && listen(listener, 8) == 0);
    puts("ready");
    fflush(stdout);
    for (;;) {
        int descriptor = accept(listener, NULL, NULL), result = 0;
        if (descriptor < 0) return 1;
        bw_transport *transport = bw_socket_adopt(descriptor);
        bw_tls *tls = bw_tls_server(context, transport);
        while ((result = bw_tls_handshake(tls)) == 0) {
            struct pollfd ready = {.fd = descriptor, .events = POLLIN};
            if (poll(&ready, 1, 30000) == 0) break;
        }
        if (result == 1) talk(tls, descriptor);
        bw_tls_free(tls);
        transport->ops->close(transport);
    }
}

static bw_network *open_device(char *text) {
    char driver[16], interface[16], address[64], lcore[32], vdev[160], error[256];
    int prefix;
    CHECK(sscanf(text, "%15[^,],%15[^,],%63[^/]/%d", driver, interface, address, &prefix) == 4);
    const char *options = strcmp(driver, "af_packet") == 0 ? "blocksz=65536,framesz=2048,framecnt=4096"
                                                           : "start_queue=0,queue_count=1";
    snprintf(vdev, sizeof vdev, "--vdev=net_%s0,iface=%s,%s", driver, interface, options);
    snprintf(lcore, sizeof lcore, "--lcores=0@%d", sched_getcpu());
    bw_dpdk_spec spec = {
        .eal = {"tls-end", lcore, "--no-pci", "--no-huge", "--no-shconf", "-m", "600", "--no-telemetry",
                "--log-level=*:error", vdev},
        .eal_count = 10,
        .port = {.mtu = 1500, .buffers = 16383, .descriptors = 1024},
        .stack = {.mtu = 1500, .address_count = 1, .route_count = 1, .secret = {(uint64_t)getpid(), 3}}};
    snprintf(spec.port.device, sizeof spec.port.device, "net_%s0", driver);
    bw_stack_address *own = &spec.stack.address[0];
    own->six = strchr(address, ':') != NULL;
    CHECK(inet_pton(own->six ? AF_INET6 : AF_INET, address, own->address) == 1);
    spec.stack.route[0].six = own->six;
    bw_network *network = bw_dpdk_network(bw_dpdk_new(&spec));
    if (network->ops->start(network, error, sizeof error) == 0) return network;
    fprintf(stderr, "%s\n", error);
    exit(1);
}

/* Naps where nothing comes, as a loop on a shared core does: spinning would take the core from the wire. */
static void turn(const way *w) {
    static unsigned idle;
    struct timespec nap = {.tv_nsec = NAP_NS};
    if (!w->network) {
        struct pollfd ready = {.fd = w->transport->ops->poll_fd(w->transport), .events = POLLIN};
        ppoll(&ready, 1, &nap, NULL);
        return;
    }
    w->network->ops->flush(w->network);
    idle = w->network->ops->poll(w->network) ? 0 : idle + 1;
    if (idle > IDLE_TURNS) ppoll(NULL, 0, &nap, NULL);
}

static way open_way(char **argv) {
    struct sockaddr_storage address;
    char error[256];
    int code, result;
    way w = {.network = strcmp(argv[2], "sockets") == 0 ? NULL : open_device(argv[2])};
    socklen_t bytes = parse(argv[3], argv[4], &address);
    const struct sockaddr *to = (struct sockaddr *)&address;
    w.transport = w.network ? w.network->ops->connect(w.network, to, NULL, &code)
                            : bw_socket_connect(to, bytes, NULL, 0, 0, &code);
    bw_tls_context *context = bw_tls_client_context(argv[5], error, sizeof error);
    CHECK(w.transport && context);
    while ((result = w.transport->ops->connected(w.transport)) == 0) turn(&w);
    if (result < 0) fprintf(stderr, "connect: %s\n", strerror(-result));
    CHECK_EQUAL(result, 1);
    w.tls = bw_tls_client(context, w.transport, "localhost");
    while ((result = bw_tls_handshake(w.tls)) == 0) turn(&w);
    if (result < 0) fprintf(stderr, "TLS: %s\n", bw_tls_error(w.tls));
    CHECK_EQUAL(result, 1);
    return w;
}

static void say(const way *w, char what, uint64_t number) {
    uint8_t command[9] = {(uint8_t)what};
    memcpy(command + 1, &number, sizeof number);
    CHECK_EQUAL(bw_tls_write(w->tls, command, sizeof command), sizeof command);
}

static void finish(const way *w, const char *figures) {
    bw_stack_counters stack = {0};
    bw_port_counters port = {0};
    bw_tls_shutdown(w->tls);
    bw_tls_free(w->tls);
    w->transport->ops->close(w->transport);
    for (int64_t until = bw_steady_ns() + 200000000; w->network && bw_steady_ns() < until;) turn(w);
    if (w->network) bw_dpdk_counters((bw_dpdk *)w->network, &stack, &port);
    printf("{%s, \"retransmits\": %llu, \"no_memory\": %llu, \"missed\": %llu, \"no_buffer\": %llu, "
           "\"buffers_free\": %llu}\n",
           figures, (unsigned long long)stack.retransmits, (unsigned long long)stack.no_memory,
           (unsigned long long)port.missed, (unsigned long long)port.no_buffer,
           (unsigned long long)port.buffers_free);
    if (w->network) w->network->ops->stop(w->network);
}

/* Lets what came lie until the window is nearly full, or for a while. */
static bool let_lie(const way *w, int64_t last_ns) {
    return w->network->ops->waiting(w->network) < LATE_BYTES && bw_steady_ns() - last_ns < LATE_NS;
}

/* Nothing comes any more: says how things stand. */
static void stuck(const way *w, uint64_t at) {
    bw_stack_counters stack = {0};
    bw_port_counters port = {0};
    if (w->network) bw_dpdk_counters((bw_dpdk *)w->network, &stack, &port);
    fprintf(stderr, "nothing came after byte %llu; drops:", (unsigned long long)at);
    for (int i = 1; i < BW_DROP_COUNT; i++) {
        if (stack.drop[i]) fprintf(stderr, " %s %llu", bw_drop_name(i), (unsigned long long)stack.drop[i]);
    }
    fprintf(stderr,
            "; frames %llu of %llu, segments %llu, bytes %llu, waiting %llu, connections %llu, drops inside "
            "lwIP %llu, no memory %llu, challenges %llu, free buffers %llu, missed %llu, no buffer %llu, "
            "errors %llu, sent %llu of %llu, full %llu, no mbuf %llu\n",
            (unsigned long long)stack.frames, (unsigned long long)port.frames,
            (unsigned long long)stack.segments, (unsigned long long)stack.bytes,
            (unsigned long long)stack.waiting_bytes, (unsigned long long)stack.connections,
            (unsigned long long)stack.stack_drops, (unsigned long long)stack.no_memory,
            (unsigned long long)stack.challenges, (unsigned long long)port.buffers_free,
            (unsigned long long)port.missed, (unsigned long long)port.no_buffer,
            (unsigned long long)port.receive_errors, (unsigned long long)port.frames_sent,
            (unsigned long long)stack.frames_sent, (unsigned long long)port.send_full,
            (unsigned long long)port.send_no_mbuf);
    exit(1);
}

static int receive(char **argv, bool late) {
    static uint8_t got[65536], expected[65536];
    uint64_t total = strtoull(argv[6], NULL, 10), at = 0;
    way w = open_way(argv);
    char figures[128];
    int64_t receive_ns, begin_ns = bw_steady_ns(), last_ns = begin_ns;
    say(&w, 'R', total);
    while (at < total) {
        turn(&w);
        ssize_t bytes = 0;
        if (late && let_lie(&w, last_ns)) continue;
        while ((bytes = bw_tls_read(w.tls, got, sizeof got, &receive_ns)) > 0) {
            seeded_bytes(SEED, at, expected, (size_t)bytes);
            CHECK(memcmp(got, expected, (size_t)bytes) == 0);
            at += (uint64_t)bytes;
            last_ns = bw_steady_ns();
        }
        CHECK(bytes >= 0);
        if (bw_steady_ns() - last_ns > GIVE_UP_NS) stuck(&w, at);
    }
    snprintf(figures, sizeof figures, "\"bytes\": %llu, \"seconds\": %.6f", (unsigned long long)at,
             (double)(last_ns - begin_ns) * 1e-9);
    finish(&w, figures);
    return 0;
}

static int compare(const void *a, const void *b) {
    int64_t x, y;
    memcpy(&x, a, 8);
    memcpy(&y, b, 8);
    return x < y ? -1 : x > y;
}

static int echo(char **argv) {
    unsigned messages = (unsigned)atoi(argv[6]);
    int64_t *took = calloc(messages, sizeof *took), receive_ns;
    uint8_t sent[ECHO_BYTES], got[ECHO_BYTES];
    char figures[160];
    way w = open_way(argv);
    CHECK(messages && took);
    say(&w, 'E', 0);
    for (unsigned i = 0; i < messages; i++) {
        int64_t begin_ns = bw_steady_ns();
        seeded_bytes(i, 0, sent, ECHO_BYTES);
        CHECK_EQUAL(bw_tls_write(w.tls, sent, ECHO_BYTES), ECHO_BYTES);
        for (size_t at = 0; at < ECHO_BYTES;) {
            turn(&w);
            ssize_t bytes = bw_tls_read(w.tls, got + at, ECHO_BYTES - at, &receive_ns);
            CHECK(bytes >= 0 && bw_steady_ns() - begin_ns < GIVE_UP_NS);
            at += (size_t)bytes;
        }
        CHECK(memcmp(sent, got, ECHO_BYTES) == 0);
        took[i] = bw_steady_ns() - begin_ns;
    }
    qsort(took, messages, sizeof *took, compare);
    snprintf(figures, sizeof figures, "\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f",
             (double)took[messages / 2] / 1e3, (double)took[messages * 99 / 100] / 1e3,
             (double)took[messages - 1] / 1e3);
    finish(&w, figures);
    return 0;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    if (argc == 6 && strcmp(argv[1], "serve") == 0) return serve(argv);
    if (argc == 7 && strcmp(argv[1], "receive") == 0) return receive(argv, false);
    if (argc == 7 && strcmp(argv[1], "receive-late") == 0) return receive(argv, true);
    if (argc == 7 && strcmp(argv[1], "echo") == 0) return echo(argv);
    fprintf(stderr, "usage: tls-end serve|receive|echo ...\n");
    return 2;
}
