/* TLS connections: OpenSSL over a BIO that is our transport; see tls_stream.c for a client's records. */
#include "tls_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static BIO_METHOD *transport_method;
static pthread_once_t transport_method_once = PTHREAD_ONCE_INIT;

/* A client's libssl reads what our read-ahead holds: exactly the records that are its business. */
static int bio_read_ahead(BIO *bio, char *out, size_t room, size_t *bytes) {
    bw_tls *tls = BIO_get_data(bio);
    bw_tls_stream *stream = tls->stream;
    BIO_clear_retry_flags(bio);
    if (stream->in_begin == stream->in_end && !stream->active) bw_tls_stream_fill(tls);
    size_t have = stream->in_end - stream->in_begin;
    if (have > stream->lent) have = stream->lent;
    if (have > room) have = room;
    if (!have) {
        if (stream->active || tls->transport_result >= 0) BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(out, stream->in + stream->in_begin, have);
    stream->in_begin += have;
    if (stream->active) stream->lent -= have;
    *bytes = have;
    return 1;
}

static int bio_read(BIO *bio, char *out, size_t room, size_t *bytes) {
    bw_tls *tls = BIO_get_data(bio);
    int64_t receive_ns = 0;
    if (tls->stream) return bio_read_ahead(bio, out, room, bytes);
    ssize_t result = tls->transport->ops->read(tls->transport, out, room, &receive_ns);
    BIO_clear_retry_flags(bio);
    tls->transport_result = result;
    if (result > 0) {
        tls->receive_ns = receive_ns;
        *bytes = (size_t)result;
        return 1;
    }
    if (result == 0) BIO_set_retry_read(bio);
    return 0;
}

static int bio_write(BIO *bio, const char *data, size_t bytes, size_t *written) {
    bw_tls *tls = BIO_get_data(bio);
    ssize_t result = tls->transport->ops->write(tls->transport, data, bytes);
    BIO_clear_retry_flags(bio);
    if (result < 0) tls->transport_result = result;
    if (result > 0) {
        *written = (size_t)result;
        return 1;
    }
    if (result == 0) BIO_set_retry_write(bio);
    return 0;
}

static long bio_control(BIO *bio, int command, long number, void *pointer) {
    (void)number;
    (void)pointer;
    const bw_tls *tls = BIO_get_data(bio);
    if (command == BIO_CTRL_EOF) return tls->transport_result == BW_TRANSPORT_EOF;
    return command == BIO_CTRL_FLUSH;
}

static void make_method(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "bookwire transport");
    if (!method) return;
    BIO_meth_set_read_ex(method, bio_read);
    BIO_meth_set_write_ex(method, bio_write);
    BIO_meth_set_ctrl(method, bio_control);
    transport_method = method;
}

static bw_tls *tls_new(bw_tls_context *context, bw_transport *transport) {
    pthread_once(&transport_method_once, make_method);
    bw_tls *tls = calloc(1, sizeof *tls);
    bw_tls_stream *stream = context->client ? calloc(1, sizeof *stream) : NULL;
    SSL *ssl = tls ? SSL_new(context->ssl) : NULL;
    BIO *bio = ssl && transport_method && (stream || !context->client) ? BIO_new(transport_method) : NULL;
    if (!bio) {
        SSL_free(ssl);
        free(stream);
        free(tls);
        return NULL;
    }
    tls->stream = stream;
    if (stream) stream->lent = stream->opened_at = SIZE_MAX;
    tls->ssl = ssl;
    tls->transport = transport;
    tls->context = context;
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_app_data(ssl, tls);
    return tls;
}

static bool numeric_address(const char *host) {
    struct in6_addr scratch;
    return inet_pton(AF_INET, host, &scratch) == 1 || inet_pton(AF_INET6, host, &scratch) == 1;
}

bw_tls *bw_tls_client(bw_tls_context *context, bw_transport *transport, const char *host) {
    bw_tls *tls = tls_new(context, transport);
    if (!tls) return NULL;
    int set;
    snprintf(tls->host, sizeof tls->host, "%s", host);
    SSL_set_connect_state(tls->ssl);
    if (numeric_address(host)) {
        set = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), host);
    } else {
        SSL_set_hostflags(tls->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        set = SSL_set1_host(tls->ssl, host) && SSL_set_tlsext_host_name(tls->ssl, host);
    }
    if (!set || !*host) { /* without a name to check there is no connection */
        bw_tls_free(tls);
        return NULL;
    }
    bw_tls_session *known = bw_tls_session_of(context, host);
    if (known) SSL_set_session(tls->ssl, known->session);
    return tls;
}

bw_tls *bw_tls_server(bw_tls_context *context, bw_transport *transport) {
    bw_tls *tls = tls_new(context, transport);
    if (tls) SSL_set_accept_state(tls->ssl);
    return tls;
}

void bw_tls_free(bw_tls *tls) {
    if (!tls) return;
    /* else OpenSSL takes an unfinished goodbye for an attack and voids the session we kept */
    SSL_set_shutdown(tls->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(tls->ssl);
    bw_tls_stream_free(tls->stream);
    OPENSSL_cleanse(tls->secret, sizeof tls->secret);
    free(tls);
}

static void time_text(const ASN1_TIME *time, char out[32]) {
    struct tm when;
    if (!ASN1_TIME_to_tm(time, &when) || !strftime(out, 32, "%Y-%m-%d %H:%M:%S UTC", &when)) strcpy(out, "?");
}

void bw_tls_explain_certificate(bw_tls *tls, X509_STORE_CTX *store) {
    int code = X509_STORE_CTX_get_error(store);
    const X509 *certificate = X509_STORE_CTX_get_current_cert(store);
    char when[32] = "?", name[128] = "?";
    if (certificate) X509_NAME_oneline(X509_get_subject_name(certificate), name, sizeof name);
    switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        if (certificate) time_text(X509_get0_notAfter(certificate), when);
        snprintf(tls->error, sizeof tls->error,
                 "certificate of %s expired %s (or this machine's clock is wrong)", tls->host, when);
        return;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        if (certificate) time_text(X509_get0_notBefore(certificate), when);
        snprintf(tls->error, sizeof tls->error,
                 "certificate of %s is not valid before %s (or this machine's clock is wrong)", tls->host,
                 when);
        return;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        snprintf(tls->error, sizeof tls->error, "certificate is not for %s but for another host (subject %s)",
                 tls->host, name);
        return;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        snprintf(tls->error, sizeof tls->error, "certificate of %s is not signed by an authority in %s (%s)",
                 tls->host, tls->context->trust, X509_verify_cert_error_string(code));
        return;
    default:
        snprintf(tls->error, sizeof tls->error, "certificate of %s: %s", tls->host,
                 X509_verify_cert_error_string(code));
    }
}

static const char *peer_of(const bw_tls *tls) {
    return *tls->host ? tls->host : "the client";
}

/* What a call that returned `result` <= 0 means: 0 not now, or the negative end; keeps the reason. */
static ssize_t outcome(bw_tls *tls, int result) {
    int kind = SSL_get_error(tls->ssl, result);
    if (kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) return 0;
    if (kind == SSL_ERROR_ZERO_RETURN) return BW_TRANSPORT_EOF;
    if (tls->transport_result < 0) {
        ERR_clear_error();
        return tls->transport_result;
    }
    if (!*tls->error) {
        snprintf(tls->error, sizeof tls->error, "TLS with %s failed: %s", peer_of(tls), bw_tls_last_reason());
    }
    ERR_clear_error();
    return -EPROTO;
}

int bw_tls_handshake(bw_tls *tls) {
    ERR_clear_error();
    if (tls->stream && tls->stream->active) return 1;
    int result = SSL_do_handshake(tls->ssl);
    if (result == 1 && tls->stream) bw_tls_stream_start(tls);
    if (result == 1) return 1;
    ssize_t end = outcome(tls, result);
    if (end == 0) return 0;
    if (!*tls->error) {
        snprintf(tls->error, sizeof tls->error, "TLS handshake with %s: %s", peer_of(tls),
                 end == BW_TRANSPORT_EOF ? "the peer closed the connection" : strerror((int)-end));
    }
    return -1;
}

ssize_t bw_tls_read(bw_tls *tls, void *out, size_t room, int64_t *receive_ns) {
    size_t bytes;
    if (tls->stream && tls->stream->active) {
        ssize_t taken = bw_tls_stream_read(tls, out, room);
        *receive_ns = tls->receive_ns;
        return taken;
    }
    int result = SSL_read_ex(tls->ssl, out, room, &bytes);
    *receive_ns = tls->receive_ns;
    return result == 1 ? (ssize_t)bytes : outcome(tls, result);
}

ssize_t bw_tls_write(bw_tls *tls, const void *data, size_t bytes) {
    size_t written;
    if (!bytes) return 0;
    if (tls->stream && tls->stream->active) return bw_tls_stream_write(tls, data, bytes);
    int result = SSL_write_ex(tls->ssl, data, bytes, &written);
    return result == 1 ? (ssize_t)written : outcome(tls, result);
}

bool bw_tls_pending(const bw_tls *tls) {
    const bw_tls_stream *stream = tls->stream;
    if (stream && stream->active) return bw_tls_stream_pending(stream);
    return SSL_has_pending(tls->ssl) || (stream && stream->in_begin < stream->in_end);
}

bool bw_tls_wants_write(const bw_tls *tls) {
    if (tls->stream && tls->stream->active) return tls->stream->out_end > 0;
    return SSL_want_write(tls->ssl);
}

void bw_tls_rehearse(bw_tls *tls) {
    if (tls->stream && tls->stream->active) bw_tls_stream_rehearse(tls->stream);
}

bool bw_tls_resumed(const bw_tls *tls) {
    return SSL_session_reused(tls->ssl);
}

const char *bw_tls_error(const bw_tls *tls) {
    return tls->error;
}

void bw_tls_shutdown(bw_tls *tls) {
    if (SSL_in_init(tls->ssl) || tls->transport_result < 0) return;
    if (tls->stream && tls->stream->active) {
        bw_tls_stream_shutdown(tls);
        return;
    }
    ERR_clear_error();
    SSL_shutdown(tls->ssl);
    ERR_clear_error();
}
