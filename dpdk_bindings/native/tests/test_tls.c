/* TLS over a pipe in memory: who is trusted, what is said when not, records, resumption, ends. */
#include "certificates.h"
#include "check.h"
#include "pipe_transport.h"
#include "tls_private.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define PIPE_BYTES (1u << 20)

static char directory[64] = "/tmp/bw-tls-XXXXXX";
static char path_text[4][128];

static const char *path(int slot, const char *name, const char *suffix) {
    snprintf(path_text[slot], sizeof path_text[slot], "%s/%s%s", directory, name, suffix);
    return path_text[slot];
}

typedef struct pair {
    pipe_end client_end, server_end;
    bw_tls *client, *server;
} pair;

static bw_tls_context *client_context(const char *authority) {
    char error[512] = "";
    bw_tls_context *context = bw_tls_client_context(path(0, authority, ".pem"), error, sizeof error);
    if (!context) fprintf(stderr, "%s\n", error);
    CHECK(context);
    return context;
}

static bw_tls_context *server_context(const char *certificate) {
    char error[512] = "";
    bw_tls_context *context = bw_tls_server_context(path(0, certificate, ".pem"),
                                                    path(1, certificate, ".key"), error, sizeof error);
    if (!context) fprintf(stderr, "%s\n", error);
    CHECK(context);
    return context;
}

static void open_pair(pair *both, bw_tls_context *client, bw_tls_context *server, const char *host) {
    pipe_open(&both->client_end, &both->server_end, PIPE_BYTES);
    both->client = bw_tls_client(client, &both->client_end.transport, host);
    both->server = bw_tls_server(server, &both->server_end.transport);
    CHECK(both->client && both->server);
}

static void free_pair(pair *both) {
    bw_tls_free(both->client);
    bw_tls_free(both->server);
    pipe_free(&both->client_end, &both->server_end);
}

/* The client's verdict: 1 or -1. */
static int shake(pair *both) {
    for (int turn = 0; turn < 10; turn++) {
        int client = bw_tls_handshake(both->client);
        int server = bw_tls_handshake(both->server);
        if (client < 0) return -1;
        if (client == 1 && server == 1) return 1;
    }
    return 0;
}

static void expect_refused(const char *authority, const char *certificate, const char *host,
                           const char *words) {
    bw_tls_context *client = client_context(authority), *server = server_context(certificate);
    pair both;
    open_pair(&both, client, server, host);
    CHECK_EQUAL(shake(&both), -1);
    if (!strstr(bw_tls_error(both.client), words)) {
        fprintf(stderr, "expected \"%s\" in \"%s\"\n", words, bw_tls_error(both.client));
        exit(1);
    }
    free_pair(&both);
    bw_tls_context_free(client);
    bw_tls_context_free(server);
}

static void read_all(pair *both, char *out, size_t bytes) {
    size_t have = 0;
    int64_t stamp;
    while (have < bytes) {
        ssize_t got = bw_tls_read(both->client, out + have, bytes - have, &stamp);
        CHECK(got >= 0);
        CHECK(got == 0 || stamp > 0);
        have += (size_t)got;
    }
    CHECK_EQUAL(bw_tls_read(both->client, out, 1, &stamp), 0);
    CHECK(!bw_tls_pending(both->client));
}

static void test_data_and_resumption(void) {
    static char sent[100000], got[100000];
    bw_tls_context *client = client_context("authority"), *server = server_context("good");
    for (size_t i = 0; i < sizeof sent; i++) sent[i] = (char)(i * 7);
    for (int round = 0; round < 2; round++) {
        pair both;
        open_pair(&both, client, server, "exchange.example");
        CHECK_EQUAL(shake(&both), 1);
        CHECK_EQUAL(bw_tls_resumed(both.client), round > 0);
        both.client_end.bytes_a_read = round ? 77 : 0;
        for (size_t at = 0; at < sizeof sent;) {
            ssize_t wrote = bw_tls_write(both.server, sent + at, sizeof sent - at);
            CHECK(wrote > 0);
            at += (size_t)wrote;
        }
        read_all(&both, got, sizeof got);
        CHECK(memcmp(sent, got, sizeof sent) == 0);
        bw_tls_shutdown(both.server);
        int64_t stamp;
        CHECK_EQUAL(bw_tls_read(both.client, got, 1, &stamp), BW_TRANSPORT_EOF);
        free_pair(&both);
    }
    bw_tls_context_free(client);
    bw_tls_context_free(server);
}

static void send_from(bw_tls *from, bw_tls *to, const char *sent, char *got, size_t bytes) {
    size_t wrote = 0, have = 0;
    int64_t stamp;
    while (have < bytes) { /* the pipe is narrow: both ends take turns */
        ssize_t result = bw_tls_write(from, sent + wrote, bytes - wrote);
        CHECK(result >= 0);
        wrote += (size_t)result;
        result = bw_tls_read(to, got + have, bytes - have < 1000 ? bytes - have : 1000, &stamp);
        CHECK(result >= 0);
        bw_tls_rehearse(to); /* whatever stands inside: it changes nothing */
        have += (size_t)result;
    }
    CHECK(memcmp(sent, got, bytes) == 0);
}

/* Both ways through pipes of 5,000 bytes, in rooms of 1,000, in every suite, with keys renewed on the way. */
static void test_both_ways(const char *suites, int version) {
    static char sent[150000], got[150000];
    bw_tls_context *client = client_context("authority"), *server = server_context("good");
    pair both;
    for (size_t i = 0; i < sizeof sent; i++) sent[i] = (char)(i * 31 + i / 256);
    CHECK(SSL_CTX_set_ciphersuites(server->ssl, suites) &&
          SSL_CTX_set_max_proto_version(server->ssl, version));
    open_pair(&both, client, server, "exchange.example");
    CHECK_EQUAL(shake(&both), 1);
    CHECK_EQUAL(both.client->stream->active, version == TLS1_3_VERSION);
    both.client_end.capacity = both.server_end.capacity = 5000;
    for (int round = 0; round < 3; round++) {
        send_from(both.server, both.client, sent, got, sizeof sent);
        send_from(both.client, both.server, sent, got, sizeof sent);
        if (version == TLS1_3_VERSION) {
            CHECK(SSL_key_update(both.server->ssl,
                                 round ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED));
        }
    }
    bw_tls_shutdown(both.client);
    int64_t stamp;
    CHECK_EQUAL(bw_tls_read(both.server, got, sizeof got, &stamp), BW_TRANSPORT_EOF);
    free_pair(&both);
    bw_tls_context_free(client);
    bw_tls_context_free(server);
}

/* One transport read serves many records; that is what makes small frames cheap. */
static void test_read_ahead(void) {
    bw_tls_context *client = client_context("authority"), *server = server_context("good");
    pair both;
    char got[64 * 50];
    open_pair(&both, client, server, "exchange.example");
    CHECK_EQUAL(shake(&both), 1);
    int64_t stamp;
    CHECK_EQUAL(bw_tls_read(both.client, got, sizeof got, &stamp), 0); /* takes the session tickets */
    for (int i = 0; i < 50; i++) CHECK_EQUAL(bw_tls_write(both.server, "0123456789", 10), 10);
    uint64_t before = both.client_end.reads;
    for (int i = 0; i < 50; i++) CHECK_EQUAL(bw_tls_read(both.client, got, sizeof got, &stamp), 10);
    CHECK_EQUAL(both.client_end.reads - before, 1);
    bw_tls_stream *stream = both.client->stream;
    memset(stream->plain, 0, 10);
    bw_tls_rehearse(both.client); /* the last record once more, where nobody looks for it */
    CHECK(memcmp(stream->plain, "0123456789", 10) == 0 && !bw_tls_pending(both.client));
    CHECK_EQUAL(bw_tls_write(both.server, "9876543210", 10), 10);
    CHECK_EQUAL(bw_tls_read(both.client, got, sizeof got, &stamp), 10);
    CHECK(memcmp(got, "9876543210", 10) == 0);
    free_pair(&both);
    bw_tls_context_free(client);
    bw_tls_context_free(server);
}

/* A flipped bit anywhere in a record is an end, never data. */
static void test_flipped_bits(void) {
    bw_tls_context *client = client_context("authority"), *server = server_context("good");
    char got[64];
    int64_t stamp;
    for (size_t at = 0; at < BW_TLS_HEADER_BYTES + 10 + 1 + BW_TLS_TAG_BYTES; at++) {
        pair both;
        open_pair(&both, client, server, "exchange.example");
        CHECK_EQUAL(shake(&both), 1);
        CHECK_EQUAL(bw_tls_read(both.client, got, sizeof got, &stamp), 0);
        CHECK_EQUAL(bw_tls_write(both.server, "0123456789", 10), 10);
        both.client_end.data[both.client_end.begin + at] ^= 0x20;
        ssize_t result = bw_tls_read(both.client, got, sizeof got, &stamp);
        bool longer = at == 3 || at == 4; /* another length: the record may still be on its way */
        if (result != -EPROTO) CHECK(longer && result == 0);
        free_pair(&both);
    }
    bw_tls_context_free(client);
    bw_tls_context_free(server);
}

static void test_garbage_and_cut(void) {
    bw_tls_context *client = client_context("authority"), *server = server_context("good");
    pair both;
    char got[16];
    int64_t stamp;
    open_pair(&both, client, server, "exchange.example");
    CHECK_EQUAL(bw_tls_handshake(both.client), 0);
    both.server_end.transport.ops->write(&both.server_end.transport, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
    CHECK_EQUAL(bw_tls_handshake(both.client), -1);
    CHECK(strstr(bw_tls_error(both.client), "exchange.example"));
    free_pair(&both);
    open_pair(&both, client, server, "exchange.example");
    CHECK_EQUAL(shake(&both), 1);
    both.client_end.closed = true; /* the stream ends without close_notify */
    CHECK_EQUAL(bw_tls_read(both.client, got, sizeof got, &stamp), 0 + BW_TRANSPORT_EOF);
    free_pair(&both);
    open_pair(&both, client, server, "exchange.example");
    CHECK_EQUAL(shake(&both), 1);
    CHECK_EQUAL(bw_tls_read(both.client, got, sizeof got, &stamp), 0);
    both.server_end.transport.ops->write(&both.server_end.transport,
                                         "\x17\x03\x03\x00\x20................................", 37);
    CHECK_EQUAL(bw_tls_read(both.client, got, sizeof got, &stamp), -EPROTO);
    CHECK(*bw_tls_error(both.client));
    free_pair(&both);
    bw_tls_context_free(client);
    bw_tls_context_free(server);
}

static void test_bad_files(void) {
    char error[512];
    CHECK(!bw_tls_client_context("/nonexistent/ca.pem", error, sizeof error));
    CHECK(strstr(error, "/nonexistent/ca.pem") && strstr(error, "No such file"));
    CHECK(!bw_tls_client_context(path(0, "good", ".key"), error, sizeof error));
    CHECK(!bw_tls_server_context(path(0, "good", ".pem"), path(1, "expired", ".key"), error, sizeof error));
    CHECK(strstr(error, "expired.key"));
}

int main(void) {
    CHECK(mkdtemp(directory));
    test_authority *authority = test_authority_new(directory, "authority");
    test_authority *other = test_authority_new(directory, "other");
    test_authority_issue(authority, "good", "exchange.example", -60, 3600);
    test_authority_issue(authority, "expired", "exchange.example", -3600, -60);
    test_authority_issue(authority, "early", "exchange.example", 3000, 3600);
    expect_refused("other", "good", "exchange.example", "not signed by an authority in");
    expect_refused("authority", "good", "other.example", "not for other.example");
    expect_refused("authority", "good", "127.0.0.1", "not for 127.0.0.1");
    expect_refused("authority", "expired", "exchange.example", "certificate of exchange.example expired 20");
    expect_refused("authority", "early", "exchange.example", "not valid before 20");
    test_data_and_resumption();
    test_both_ways("TLS_AES_128_GCM_SHA256", TLS1_3_VERSION);
    test_both_ways("TLS_AES_256_GCM_SHA384", TLS1_3_VERSION);
    test_both_ways("TLS_CHACHA20_POLY1305_SHA256", TLS1_3_VERSION);
    test_both_ways("TLS_AES_128_GCM_SHA256", TLS1_2_VERSION);
    test_read_ahead();
    test_flipped_bits();
    test_garbage_and_cut();
    test_bad_files();
    test_authority_free(authority);
    test_authority_free(other);
    static const char *files[] = {"authority.pem", "other.pem", "good.pem", "good.key", "expired.pem",
                                  "expired.key", "early.pem", "early.key"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) CHECK_EQUAL(unlink(path(0, files[i], "")), 0);
    CHECK_EQUAL(rmdir(directory), 0);
    return 0;
}
