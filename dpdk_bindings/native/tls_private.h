/* What tls.c and tls_context.c share. */
#ifndef BW_TLS_PRIVATE_H
#define BW_TLS_PRIVATE_H

#include "tls.h"

#include <openssl/ssl.h>

#define BW_TLS_SESSIONS 16u
#define BW_TLS_HOST_BYTES 256u

typedef struct bw_tls_session {
    char host[BW_TLS_HOST_BYTES];
    SSL_SESSION *session;
} bw_tls_session;

struct bw_tls_context {
    SSL_CTX *ssl;
    char trust[256]; /* where the trusted authorities come from, for messages */
    unsigned session_next;
    bw_tls_session session[BW_TLS_SESSIONS];
};

struct bw_tls {
    SSL *ssl;
    bw_transport *transport;
    bw_tls_context *context;
    ssize_t transport_result; /* of the last transport call; below 0 it is over */
    int64_t receive_ns;
    char host[BW_TLS_HOST_BYTES];
    char error[768];
};

bw_tls_session *bw_tls_session_of(bw_tls_context *context, const char *host);
const char *bw_tls_last_reason(void);
void bw_tls_explain_certificate(bw_tls *tls, X509_STORE_CTX *store);

#endif
