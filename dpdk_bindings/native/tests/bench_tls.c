/* TLS + WebSocket receive, one frame a record, against a bare OpenSSL loop over the same bytes.
 *
 * Records are encrypted beforehand, so that the sender is only send(). Every variant gets a connection
 * of its own over loopback TCP, non-blocking with poll() when it is empty. Time is the receiving
 * thread's CPU time: what a busy machine does beside it does not count. Variants take turns; the
 * medians are compared. Usage: bench_tls [payload bytes] [records] [rounds] */
#include "certificates.h"
#include "clock.h"
#include "tls.h"
#include "websocket.h"
#include "wire_check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static char directory[64] = "/tmp/bw-bench-XXXXXX";
static char authority_file[128], certificate_file[128], key_file[128];
static size_t payload_bytes = 300, records = 200000;

/* The server's transport: its socket during the handshake, then memory. */
typedef struct recorder {
    bw_transport transport;
    bw_transport *socket;
    uint8_t *out; /* NULL: pass through */
    size_t bytes, capacity;
} recorder;

static ssize_t recorder_read(bw_transport *transport, void *out, size_t room, int64_t *receive_ns) {
    recorder *self = (recorder *)transport;
    return self->socket->ops->read(self->socket, out, room, receive_ns);
}

static ssize_t recorder_write(bw_transport *transport, const void *data, size_t bytes) {
    recorder *self = (recorder *)transport;
    if (!self->out) return self->socket->ops->write(self->socket, data, bytes);
    CHECK(self->bytes + bytes <= self->capacity);
    memcpy(self->out + self->bytes, data, bytes);
    self->bytes += bytes;
    return (ssize_t)bytes;
}

static const bw_transport_ops recorder_ops = {.read = recorder_read, .write = recorder_write};

static int64_t cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void wait_for(int descriptor, short what) {
    struct pollfd one = {.fd = descriptor, .events = what};
    poll(&one, 1, -1);
}

typedef struct bench_stage {
    int client, server; /* descriptors */
    recorder recorder;
    bw_tls_context *server_context;
    bw_tls *server_tls;
    pthread_t sender;
} bench_stage;

static void connect_pair(bench_stage *stage) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    char error[512];
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &bytes) == 0);
    stage->client = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(stage->client, (struct sockaddr *)&address, sizeof address) == 0);
    stage->server = accept(listener, NULL, NULL);
    close(listener);
    stage->recorder = (recorder){.transport = {&recorder_ops}, .socket = bw_socket_adopt(stage->server)};
    stage->server_context = bw_tls_server_context(certificate_file, key_file, error, sizeof error);
    CHECK(stage->server_context);
    stage->server_tls = bw_tls_server(stage->server_context, &stage->recorder.transport);
}

static void encrypt(bench_stage *stage) {
    uint8_t *frame = malloc(payload_bytes + BW_WS_HEADER_MAX);
    size_t bytes = bw_ws_header(frame, BW_WS_OP_TEXT, payload_bytes, NULL);
    for (size_t i = 0; i < payload_bytes; i++) frame[bytes + i] = "{\"price\":\"45000.12\",\"quantity\":\"0.5\"}"[i % 37];
    bytes += payload_bytes;
    stage->recorder.capacity = records * (bytes + 64) + 65536;
    stage->recorder.out = malloc(stage->recorder.capacity);
    for (size_t i = 0; i < records; i++) CHECK_EQUAL(bw_tls_write(stage->server_tls, frame, bytes), bytes);
    free(frame);
}

static void *send_all(void *argument) {
    bench_stage *stage = argument;
    size_t at = 0;
    while (at < stage->recorder.bytes) {
        ssize_t sent = send(stage->server, stage->recorder.out + at, stage->recorder.bytes - at, MSG_NOSIGNAL);
        if (sent > 0) at += (size_t)sent;
        else wait_for(stage->server, POLLOUT);
    }
    return NULL;
}

static void start_sender(bench_stage *stage) {
    encrypt(stage);
    CHECK(pthread_create(&stage->sender, NULL, send_all, stage) == 0);
}

static void end_stage(bench_stage *stage) {
    pthread_join(stage->sender, NULL);
    bw_tls_free(stage->server_tls);
    bw_tls_context_free(stage->server_context);
    stage->recorder.socket->ops->close(stage->recorder.socket);
    free(stage->recorder.out);
}

/* ns of CPU a record */
static double bare(int read_ahead) {
    static char buffer[32768];
    bench_stage stage;
    size_t total = 0, expected = records * (payload_bytes + (payload_bytes < 126 ? 2 : 4));
    connect_pair(&stage);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_load_verify_file(context, authority_file);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256");
    SSL_CTX_set_read_ahead(context, read_ahead);
    if (read_ahead) SSL_CTX_set_default_read_buffer_len(context, 32768);
    SSL *ssl = SSL_new(context);
    bw_transport *adopted = bw_socket_adopt(stage.client); /* the same socket options, non-blocking */
    SSL_set_fd(ssl, stage.client);
    SSL_set1_host(ssl, "localhost");
    while (SSL_connect(ssl) != 1) bw_tls_handshake(stage.server_tls);
    CHECK_EQUAL(bw_tls_handshake(stage.server_tls), 1);
    start_sender(&stage);
    int64_t start = cpu_ns();
    while (total < expected) {
        int bytes = SSL_read(ssl, buffer, sizeof buffer);
        if (bytes > 0) {
            total += (size_t)bytes;
        } else {
            CHECK_EQUAL(SSL_get_error(ssl, bytes), SSL_ERROR_WANT_READ);
            wait_for(stage.client, POLLIN);
        }
    }
    int64_t took = cpu_ns() - start;
    SSL_free(ssl);
    SSL_CTX_free(context);
    adopted->ops->close(adopted);
    end_stage(&stage);
    return (double)took / (double)records;
}

/* The loop's own way: records decrypted into the WebSocket's room, stamped, messages taken. */
static double ours(int unused) {
    bench_stage stage;
    char error[512];
    size_t messages = 0;
    volatile int64_t stamps = 0;
    (void)unused;
    connect_pair(&stage);
    bw_tls_context *context = bw_tls_client_context(authority_file, error, sizeof error);
    CHECK(context);
    bw_transport *transport = bw_socket_adopt(stage.client);
    bw_tls *tls = bw_tls_client(context, transport, "localhost");
    bw_ws *ws = bw_ws_new(BW_WS_CLIENT, 1 << 20, false);
    bw_clock_calibrate();
    while (bw_tls_handshake(tls) != 1) bw_tls_handshake(stage.server_tls);
    CHECK_EQUAL(bw_tls_handshake(stage.server_tls), 1);
    start_sender(&stage); /* takes long enough to calibrate over */
    bw_clock_calibrate();
    int64_t start = cpu_ns();
    while (messages < records) {
        size_t room;
        int64_t receive_ns;
        bw_ws_event event;
        uint8_t *into = bw_ws_room(ws, &room);
        ssize_t bytes = bw_tls_read(tls, into, room, &receive_ns);
        CHECK(bytes >= 0);
        if (bytes == 0) {
            wait_for(stage.client, POLLIN);
            continue;
        }
        bw_ws_filled(ws, (size_t)bytes);
        stamps = stamps + bw_wall_ns() - receive_ns;
        while (bw_ws_next(ws, &event) == BW_WS_TEXT) messages++;
    }
    int64_t took = cpu_ns() - start;
    bw_tls_free(tls);
    bw_tls_context_free(context);
    bw_ws_free(ws);
    transport->ops->close(transport);
    end_stage(&stage);
    return (double)took / (double)records;
}

static int ascending(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

int main(int count, char **argument) {
    size_t rounds = 5;
    if (count > 1) payload_bytes = (size_t)atol(argument[1]);
    if (count > 2) records = (size_t)atol(argument[2]);
    if (count > 3) rounds = (size_t)atol(argument[3]);
    CHECK(rounds >= 1 && rounds <= 99 && payload_bytes >= 1 && payload_bytes <= 16000);
    CHECK(mkdtemp(directory));
    test_authority *authority = test_authority_new(directory, "authority");
    test_authority_issue(authority, "localhost", "localhost", -60, 3600);
    test_authority_free(authority);
    snprintf(authority_file, sizeof authority_file, "%s/authority.pem", directory);
    snprintf(certificate_file, sizeof certificate_file, "%s/localhost.pem", directory);
    snprintf(key_file, sizeof key_file, "%s/localhost.key", directory);
    double took[3][99];
    for (size_t i = 0; i < rounds; i++) {
        took[0][i] = bare(0);
        took[1][i] = bare(1);
        took[2][i] = ours(0);
    }
    static const char *names[] = {"bare SSL_read", "bare SSL_read, read-ahead", "bookwire TLS + WebSocket"};
    for (int variant = 0; variant < 3; variant++) {
        qsort(took[variant], rounds, sizeof **took, ascending);
        double ns = took[variant][rounds / 2];
        printf("%-28s %7.1f ns CPU a record  %5.2f M records/s\n", names[variant], ns, 1000 / ns);
    }
    printf("payload %zu bytes: ratio to bare %.2f, to bare with read-ahead %.2f\n", payload_bytes,
           took[0][rounds / 2] / took[2][rounds / 2], took[1][rounds / 2] / took[2][rounds / 2]);
    unlink(authority_file);
    unlink(certificate_file);
    unlink(key_file);
    return rmdir(directory);
}
