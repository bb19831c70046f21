/* What connections of one kind share: trust, suites, and the sessions clients may resume. */
#include "tls_private.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char suites_13[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char suites_12[] = "ECDHE+AESGCM:ECDHE+CHACHA20";
static const unsigned char http11[] = "\x08http/1.1";

const char *bw_tls_last_reason(void) {
    unsigned long code = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(code);
    if (reason) return reason;
    return ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : "unknown reason";
}

static int remember_session(SSL *ssl, SSL_SESSION *session) {
    bw_tls *tls = SSL_get_app_data(ssl);
    bw_tls_context *context = tls->context;
    bw_tls_session *slot = bw_tls_session_of(context, tls->host);
    if (!slot) {
        slot = &context->session[context->session_next++ % BW_TLS_SESSIONS];
        snprintf(slot->host, sizeof slot->host, "%s", tls->host);
    }
    SSL_SESSION_free(slot->session);
    slot->session = session;
    return 1; /* the reference is ours now */
}

bw_tls_session *bw_tls_session_of(bw_tls_context *context, const char *host) {
    for (unsigned i = 0; i < BW_TLS_SESSIONS; i++) {
        bw_tls_session *slot = &context->session[i];
        if (slot->session && strcmp(slot->host, host) == 0) return slot;
    }
    return NULL;
}

static bw_tls_context *context_new(const SSL_METHOD *method, char *error, uint32_t error_bytes) {
    bw_tls_context *context = calloc(1, sizeof *context);
    SSL_CTX *ssl = context ? SSL_CTX_new(method) : NULL;
    if (!ssl) {
        snprintf(error, error_bytes, "OpenSSL cannot start: %s",
                 context ? bw_tls_last_reason() : "out of memory");
        free(context);
        return NULL;
    }
    context->ssl = ssl;
    SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    SSL_CTX_set_ciphersuites(ssl, suites_13);
    SSL_CTX_set_cipher_list(ssl, suites_12);
    SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    /* buffers are kept between records: releasing them would be a malloc and a free per record */
    SSL_CTX_clear_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return context;
}

/* Keeps what the chain check objected to, in words, for bw_tls_error(). */
static int verified(int ok, X509_STORE_CTX *store) {
    if (!ok) {
        SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
        bw_tls_explain_certificate(SSL_get_app_data(ssl), store);
    }
    return ok;
}

static void take_secret(const SSL *ssl, const char *line) {
    bw_tls_take_secret(SSL_get_app_data(ssl), line);
}

bw_tls_context *bw_tls_client_context(const char *ca_file, char *error, uint32_t error_bytes) {
    bw_tls_context *context = context_new(TLS_client_method(), error, error_bytes);
    if (!context) return NULL;
    SSL_CTX *ssl = context->ssl;
    context->client = true;
    ERR_clear_error();
    if (ca_file && access(ca_file, R_OK) != 0) {
        snprintf(error, error_bytes, "CA file %s: %s", ca_file, strerror(errno));
        goto failed;
    }
    if (ca_file ? !SSL_CTX_load_verify_file(ssl, ca_file) : !SSL_CTX_set_default_verify_paths(ssl)) {
        snprintf(error, error_bytes, "CA file %s holds no PEM certificate: %s",
                 ca_file ? ca_file : "of the system", bw_tls_last_reason());
        goto failed;
    }
    snprintf(context->trust, sizeof context->trust, "%s", ca_file ? ca_file : "the system's CA store");
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, verified);
    SSL_CTX_set_keylog_callback(ssl, take_secret);
    SSL_CTX_set_alpn_protos(ssl, http11, sizeof http11 - 1);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ssl, remember_session);
    return context;
failed:
    bw_tls_context_free(context);
    return NULL;
}

static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_bytes, const unsigned char *in,
                       unsigned in_bytes, void *unused) {
    (void)ssl;
    (void)unused;
    unsigned char *chosen = NULL;
    int found = SSL_select_next_proto(&chosen, out_bytes, http11, sizeof http11 - 1, in, in_bytes);
    *out = chosen;
    return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

bw_tls_context *bw_tls_server_context(const char *certificate_file, const char *key_file, char *error,
                                      uint32_t error_bytes) {
    bw_tls_context *context = context_new(TLS_server_method(), error, error_bytes);
    if (!context) return NULL;
    SSL_CTX *ssl = context->ssl;
    ERR_clear_error();
    if (!SSL_CTX_use_certificate_chain_file(ssl, certificate_file)) {
        snprintf(error, error_bytes, "certificate file %s: %s", certificate_file, bw_tls_last_reason());
        goto failed;
    }
    if (!SSL_CTX_use_PrivateKey_file(ssl, key_file, SSL_FILETYPE_PEM)) {
        snprintf(error, error_bytes, "key file %s: %s", key_file, bw_tls_last_reason());
        goto failed;
    }
    if (!SSL_CTX_check_private_key(ssl)) {
        snprintf(error, error_bytes, "key file %s does not belong to certificate file %s", key_file,
                 certificate_file);
        goto failed;
    }
    SSL_CTX_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_read_ahead(ssl, 1);
    SSL_CTX_set_alpn_select_cb(ssl, choose_alpn, NULL);
    SSL_CTX_set_session_id_context(ssl, (const unsigned char *)"bookwire", 8);
    return context;
failed:
    bw_tls_context_free(context);
    return NULL;
}

void bw_tls_context_free(bw_tls_context *context) {
    if (!context) return;
    for (unsigned i = 0; i < BW_TLS_SESSIONS; i++) SSL_SESSION_free(context->session[i].session);
    SSL_CTX_free(context->ssl);
    free(context);
}
