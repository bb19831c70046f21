/* The loop by itself: real sockets, a real WebSocket peer, doubles for engine and segment.
 * `test_feed CYCLES` sets how many connections the leak test opens and closes (default 200). */
#include "certificates.h"
#include "check.h"
#include "clock.h"
#include "feed.h"
#include "feed_doubles.h"
#include "wire_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

static char directory[64] = "/tmp/bw-feed-XXXXXX";
static char authority_file[128], certificate_file[128], key_file[128];
static bool secure;
static uint32_t spec_frames;

typedef struct runner {
    bw_feed *feed;
    pthread_t thread;
    bw_event waiting[64];
    uint32_t waiting_count, waiting_at;
} runner;

static void *run(void *argument) {
    CHECK_EQUAL(bw_feed_run(argument), 0);
    return NULL;
}

static runner start(uint32_t poll_mode) {
    char error[512] = "";
    static bw_feed_spec spec = {.cpu = -1, .connections_max = 2, .message_bytes_max = 4096};
    runner out = {0};
    spec.ca_file = authority_file;
    spec.poll = poll_mode;
    spec.frames = spec_frames;
    spec.shm = double_segment();
    out.feed = bw_feed_new(&spec, error, sizeof error);
    if (!out.feed) fprintf(stderr, "%s\n", error);
    CHECK(out.feed);
    return out;
}

static void go(runner *of) {
    CHECK(pthread_create(&of->thread, NULL, run, of->feed) == 0);
}

/* The next event, waited for. */
static bw_event next(runner *of) {
    while (of->waiting_at == of->waiting_count) {
        struct pollfd one = {.fd = bw_feed_event_fd(of->feed), .events = POLLIN};
        CHECK(poll(&one, 1, 10000) == 1);
        of->waiting_at = 0;
        of->waiting_count = bw_feed_events(of->feed, of->waiting, 64);
    }
    return of->waiting[of->waiting_at++];
}

static bw_event expect(runner *of, uint32_t type, uint32_t code, int64_t a) {
    bw_event event = next(of);
    if (event.type != type || event.code != code || event.a != a) {
        fprintf(stderr, "event %u code %u a %ld \"%.*s\", expected %u %u %ld\n", event.type, event.code,
                (long)event.a, (int)event.text_bytes, event.text, type, code, (long)a);
        exit(1);
    }
    return event;
}

static void stop(runner *of) {
    CHECK_EQUAL(bw_feed_stop(of->feed), 0);
    while (next(of).type != BW_EVENT_STOPPED) continue;
    pthread_join(of->thread, NULL);
    CHECK_EQUAL(seen.ups, seen.downs);
    bw_feed_free(of->feed);
}

static bw_connect_spec target(unsigned port) {
    return (bw_connect_spec){.secure = secure,
                             .address = "127.0.0.1",
                             .port = (uint16_t)port,
                             .host = "localhost",
                             .path = "/feed"};
}

static wire_server *serve(void (*talk)(wire_peer *peer, void *context), void *context) {
    return wire_server_start(secure ? certificate_file : NULL, key_file, talk, context);
}

static void talk_conversation(wire_peer *peer, void *context) {
    bw_ws_event event;
    (void)context;
    CHECK(wire_receive(peer, &event));
    CHECK_EQUAL(event.type, BW_WS_TEXT);
    CHECK(event.payload_bytes == 9 && memcmp(event.payload, "subscribe", 9) == 0);
    CHECK(wire_receive(peer, &event));
    CHECK_EQUAL(event.type, BW_WS_PING);
    CHECK(wire_send_text(peer, "one", 3));
    CHECK(wire_send(peer, "\x89\x04tick\x01\x02tw\x80\x01o", 6 + 4 + 3));
    CHECK(wire_receive(peer, &event));
    CHECK_EQUAL(event.type, BW_WS_PONG);
    CHECK(event.payload_bytes == 4 && memcmp(event.payload, "tick", 4) == 0);
    CHECK(wire_send(peer, "\x8a\x00", 2));
    CHECK(wire_send_text(peer, "three", 5));
    CHECK(wire_send(peer, "\x88\x07\x03\xf9sorry", 9)); /* 1017 may not be sent: our peer objects */
    CHECK(wire_receive(peer, &event));
    CHECK_EQUAL(event.type, BW_WS_CLOSED);
    CHECK_EQUAL(event.close_code, 1002);
}

static void test_conversation(uint32_t mode) {
    runner feed = start(mode);
    wire_server *server = serve(talk_conversation, NULL);
    bw_connect_spec spec = target(wire_server_port(server));
    bw_connection_view view;
    CHECK_EQUAL(bw_feed_connect(feed.feed, &spec), 0); /* before the loop runs: waits */
    go(&feed);
    expect(&feed, BW_EVENT_CONNECTED, 0, 0);
    CHECK_EQUAL(bw_feed_send_text(feed.feed, 0, "subscribe", 9), 0);
    CHECK_EQUAL(bw_feed_send_ping(feed.feed, 0), 0);
    bw_event closed = expect(&feed, BW_EVENT_CLOSED, BW_CLOSE_PROTOCOL, 1002);
    CHECK(memcmp(closed.text, "close code", 10) == 0);
    CHECK_EQUAL(seen.frames, 3);
    CHECK_EQUAL(seen.frame_bytes, 3 + 3 + 5);
    CHECK_EQUAL(seen.bad_stamps, 0);
    CHECK(strcmp(seen.last_frame, "three") == 0);
    bw_feed_connection(feed.feed, 0, &view);
    CHECK_EQUAL(view.state, BW_CONNECTION_FREE);
    CHECK(view.messages == 3 && view.pings == 1 && view.pongs == 1 && view.last_receive_ns > 0);
    stop(&feed);
    wire_server_stop(server);
}

typedef struct ending {
    const char *bytes;
    size_t count;
    uint32_t cause;
    int64_t a;
} ending;

static void talk_ending(wire_peer *peer, void *context) {
    const ending *script = context;
    bw_ws_event event;
    wire_send(peer, script->bytes, script->count);
    if (script->cause != BW_CLOSE_EOF) {
        while (wire_receive(peer, &event)) continue;
    }
}

static void test_endings(uint32_t mode) {
    static ending endings[] = {
        {"\x88\x02\x03\xe9", 4, BW_CLOSE_PEER, 1001},
        {"\x88\x00", 2, BW_CLOSE_PEER, 1005},
        {"", 0, BW_CLOSE_EOF, 0},
        {"\x81\x03tru", 4, BW_CLOSE_EOF, 0},
        {"\x81\x83....abc", 9, BW_CLOSE_PROTOCOL, 1002},
        {"\xf1\x00", 2, BW_CLOSE_PROTOCOL, 1002},
        {"HTTP/1.1 400 Bad Request\r\n\r\n", 28, BW_CLOSE_PROTOCOL, 1002},
        {"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10, BW_CLOSE_TOO_LARGE, 1009},
        {"\x81\x02\xff\xfe", 4, BW_CLOSE_UTF8, 1007},
    };
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        runner feed = start(mode);
        wire_server *server = serve(talk_ending, &endings[i]);
        bw_connect_spec spec = target(wire_server_port(server));
        go(&feed);
        CHECK_EQUAL(bw_feed_connect(feed.feed, &spec), 0);
        expect(&feed, BW_EVENT_CONNECTED, 0, 0);
        expect(&feed, BW_EVENT_CLOSED, endings[i].cause, endings[i].a);
        bool broken = endings[i].cause >= BW_CLOSE_PROTOCOL && endings[i].cause <= BW_CLOSE_UTF8;
        CHECK_EQUAL(seen.quarantined, broken);
        CHECK_EQUAL(seen.downs, 1);
        stop(&feed);
        wire_server_stop(server);
    }
}

/* Text, then binary messages of "one" in the three forms, then one that cannot be read. */
static void talk_binary(wire_peer *peer, void *context) {
    static const char gzip[] = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcb\xcf\x4b\x05\x00\xf1\x86\x6c\x7a"
                               "\x03\x00\x00\x00";
    uint32_t frames = *(const uint32_t *)context;
    bw_ws_event event;
    CHECK(wire_send_text(peer, "two", 3));
    if (frames == BW_FRAMES_PLAIN) CHECK(wire_send(peer, "\x82\x03one", 5));
    if (frames == BW_FRAMES_DEFLATE) CHECK(wire_send(peer, "\x82\x05\xcb\xcf\x4b\x05\x00", 7));
    if (frames == BW_FRAMES_GZIP) CHECK(wire_send(peer, "\x82\x17", 2) && wire_send(peer, gzip, 23));
    CHECK(wire_send(peer, "\x82\x03\xff\xff\xff", 5));
    while (wire_receive(peer, &event)) continue;
}

static void test_binary_frames(uint32_t mode) {
    for (uint32_t frames = BW_FRAMES_PLAIN; frames <= BW_FRAMES_DEFLATE; frames++) {
        spec_frames = frames;
        runner feed = start(mode);
        spec_frames = BW_FRAMES_PLAIN;
        wire_server *server = serve(talk_binary, &frames);
        bw_connect_spec spec = target(wire_server_port(server));
        go(&feed);
        CHECK_EQUAL(bw_feed_connect(feed.feed, &spec), 0);
        expect(&feed, BW_EVENT_CONNECTED, 0, 0);
        expect(&feed, BW_EVENT_CLOSED, BW_CLOSE_UTF8, 1007);
        CHECK_EQUAL(seen.frames, 2);
        CHECK(strcmp(seen.last_frame, "one") == 0);
        CHECK_EQUAL(seen.quarantined, 1);
        stop(&feed);
        wire_server_stop(server);
    }
}

static void talk_until_gone(wire_peer *peer, void *context) {
    bw_ws_event event;
    (void)context;
    while (wire_receive(peer, &event)) {
        if (event.type == BW_WS_CLOSED) wire_send(peer, "\x88\x02\x03\xe8", 4);
    }
}

static void test_cycles(uint32_t mode, unsigned cycles) {
    runner feed = start(mode);
    wire_server *server = serve(talk_until_gone, NULL);
    bw_connect_spec spec = target(wire_server_port(server));
    go(&feed);
    for (unsigned i = 0; i < cycles; i++) {
        CHECK_EQUAL(bw_feed_connect(feed.feed, &spec), 0);
        expect(&feed, BW_EVENT_CONNECTED, 0, 0);
        if (i % 2) { /* the id is taken */
            CHECK_EQUAL(bw_feed_connect(feed.feed, &spec), 0);
            expect(&feed, BW_EVENT_REFUSED, 0, 0);
        }
        if (i % 3) {
            CHECK_EQUAL(bw_feed_close(feed.feed, 0, 1000), 0);
            expect(&feed, BW_EVENT_CLOSED, BW_CLOSE_ASKED, 1000);
            continue;
        }
        CHECK_EQUAL(bw_feed_close(feed.feed, 0, 0), 0);
        CHECK_EQUAL(bw_feed_connect(feed.feed, &spec), 0); /* carried out in one go with the close */
        expect(&feed, BW_EVENT_CLOSED, BW_CLOSE_ASKED, 0);
        expect(&feed, BW_EVENT_CONNECTED, 0, 0);
        CHECK_EQUAL(bw_feed_close(feed.feed, 0, 0), 0);
        expect(&feed, BW_EVENT_CLOSED, BW_CLOSE_ASKED, 0);
    }
    bw_connection_view view;
    CHECK_EQUAL(bw_feed_connect(feed.feed, &spec), 0);
    expect(&feed, BW_EVENT_CONNECTED, 0, 0);
    bw_feed_connection(feed.feed, 0, &view);
    CHECK_EQUAL(view.tls_resumed, secure);
    stop(&feed); /* while open */
    wire_server_stop(server);
}

/* A listener whose backlog accepts and where nobody ever answers. */
static int mute_listener(unsigned *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 8) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &bytes) == 0);
    *port = ntohs(address.sin_port);
    return listener;
}

static void test_never_open(uint32_t mode) {
    unsigned port;
    int listener = mute_listener(&port);
    runner feed = start(mode);
    bw_connect_spec spec = target(port);
    go(&feed);
    spec.connect_timeout_ms = 60;
    CHECK_EQUAL(bw_feed_connect(feed.feed, &spec), 0);
    CHECK_EQUAL(bw_feed_send_text(feed.feed, 0, "early", 5), 0);
    expect(&feed, BW_EVENT_REFUSED, 0, 0);
    expect(&feed, BW_EVENT_CLOSED, BW_CLOSE_TIMEOUT, ETIMEDOUT);
    spec.connect_timeout_ms = 0;
    CHECK_EQUAL(bw_feed_connect(feed.feed, &spec), 0);
    CHECK_EQUAL(bw_feed_close(feed.feed, 0, 1000), 0);
    expect(&feed, BW_EVENT_CLOSED, BW_CLOSE_ASKED, 0);
    close(listener);
    CHECK_EQUAL(bw_feed_connect(feed.feed, &spec), 0);
    expect(&feed, BW_EVENT_CLOSED, BW_CLOSE_CONNECT, ECONNREFUSED);
    CHECK_EQUAL(seen.ups, 0);
    stop(&feed);
}

static void test_commands(uint32_t mode) {
    runner feed = start(mode);
    bw_connect_spec spec = target(1);
    bw_book_request book = {.symbol = {.native = "BTCUSDT"}, .price_exponent = 2, .quantity_exponent = 8};
    bw_book_request other = {.symbol = {.native = "ETHUSDT"}, .topic = "ob.ETHUSDT"};
    spec.connection = 2;
    CHECK_EQUAL(bw_feed_connect(feed.feed, &spec), -EINVAL);
    spec.connection = 0;
    strcpy(spec.address, "localhost");
    CHECK_EQUAL(bw_feed_connect(feed.feed, &spec), -EINVAL);
    CHECK_EQUAL(bw_feed_add_book(feed.feed, &book), 0);
    CHECK_EQUAL(bw_feed_add_book(feed.feed, &book), -EEXIST);
    CHECK_EQUAL(bw_feed_bind(feed.feed, 0, 1), 0);
    CHECK(seen.books == 1 && seen.binds == 1); /* done at once while nothing runs */
    CHECK_EQUAL(bw_feed_bind(feed.feed, 1, 1), -EINVAL);
    CHECK_EQUAL(bw_feed_load_snapshot(feed.feed, 1, "{}", 2), -EINVAL);
    CHECK_EQUAL(bw_feed_load_snapshot(feed.feed, 0, "{\"bids\":[]}", 11), 0);
    CHECK_EQUAL(bw_feed_resync(feed.feed, 0, BW_REASON_COUNT), -EINVAL);
    CHECK_EQUAL(bw_feed_resync(feed.feed, 0, BW_REASON_OPERATOR), 0);
    CHECK_EQUAL(bw_feed_set_state(feed.feed, 0, BW_BOOK_STALE, BW_REASON_SILENT), 0);
    CHECK_EQUAL(bw_feed_add_bell(feed.feed, "bell", "fifo"), 0);
    unsigned posted = 4;
    while (bw_feed_send_ping(feed.feed, 1) == 0) posted++;
    CHECK_EQUAL(posted, BW_FEED_COMMANDS);
    CHECK_EQUAL(bw_feed_send_text(feed.feed, 1, "x", 1), -EAGAIN);
    go(&feed);
    for (unsigned i = 4; i < posted; i++) expect(&feed, BW_EVENT_REFUSED, 0, 0);
    CHECK(seen.snapshots == 1 && strcmp(seen.last_frame, "{\"bids\":[]}") == 0);
    CHECK(seen.resyncs == 1 && seen.states == 1 && seen.bells == 1);
    CHECK_EQUAL(bw_feed_add_book(feed.feed, &other), 1);
    CHECK_EQUAL(bw_feed_add_bell(feed.feed, "no bell", "fifo"), 0);
    expect(&feed, BW_EVENT_REFUSED, 0, 0);
    CHECK_EQUAL(seen.books, 2);
    stop(&feed);
}

static void test_heartbeat_while_idle(uint32_t mode) {
    runner feed = start(mode);
    const bw_shm_header *header = bw_shm_writer_header(NULL);
    go(&feed);
    while (!atomic_load(&header->heartbeat_ns)) continue;
    int64_t end_ns = bw_wall_ns() + 400000000, oldest_ns = 0;
    while (bw_wall_ns() < end_ns) {
        int64_t age_ns = bw_wall_ns() - (int64_t)atomic_load(&header->heartbeat_ns);
        if (age_ns > oldest_ns) oldest_ns = age_ns;
        poll(NULL, 0, 5);
    }
    CHECK(oldest_ns < 100000000);
    CHECK_EQUAL(atomic_load(&header->state), BW_SEGMENT_RUNNING);
    stop(&feed);
}

static void make_certificates(void) {
    CHECK(mkdtemp(directory));
    test_authority *authority = test_authority_new(directory, "authority");
    test_authority_issue(authority, "localhost", "localhost", -60, 3600);
    test_authority_free(authority);
    snprintf(authority_file, sizeof authority_file, "%s/authority.pem", directory);
    snprintf(certificate_file, sizeof certificate_file, "%s/localhost.pem", directory);
    snprintf(key_file, sizeof key_file, "%s/localhost.key", directory);
}

int main(int count, char **argument) {
    unsigned cycles = count > 1 ? (unsigned)atoi(argument[1]) : 200;
    make_certificates();
    for (uint32_t mode = BW_POLL_EPOLL; mode <= BW_POLL_BUSY; mode++) {
        for (int tls = 0; tls < 2; tls++) {
            secure = tls;
            test_conversation(mode);
            test_endings(mode);
            test_cycles(mode, cycles / 4);
            test_never_open(mode);
        }
        test_binary_frames(mode);
        test_commands(mode);
        test_heartbeat_while_idle(mode);
    }
    unlink(authority_file);
    unlink(certificate_file);
    unlink(key_file);
    CHECK_EQUAL(rmdir(directory), 0);
    return 0;
}
