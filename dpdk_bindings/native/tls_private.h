/* What tls.c, tls_context.c and tls_stream.c share. */
#ifndef BW_TLS_PRIVATE_H
#define BW_TLS_PRIVATE_H

#include "tls.h"
#include "tls_keys.h"

#include <openssl/ssl.h>

#define BW_TLS_SESSIONS 16u
#define BW_TLS_HOST_BYTES 256u
#define BW_TLS_IN_BYTES (40u << 10) /* one recv() serves many records and stays in the first-level cache */
#define BW_TLS_OUT_BYTES (BW_TLS_HEADER_BYTES + BW_TLS_PLAIN_MAX + 1u + BW_TLS_TAG_BYTES)

typedef struct bw_tls_session {
    char host[BW_TLS_HOST_BYTES];
    SSL_SESSION *session;
} bw_tls_session;

struct bw_tls_context {
    SSL_CTX *ssl;
    bool client;
    char trust[256]; /* where the trusted authorities come from, for messages */
    unsigned session_next;
    bw_tls_session session[BW_TLS_SESSIONS];
};

/* A client's bytes: what came and was not taken yet, plaintext that did not fit the caller's room, and
 * the record that is being sent. */
typedef struct bw_tls_stream {
    bool active; /* TLS 1.3 after the handshake: the record layer is ours */
    bw_tls_keys read_keys, write_keys;
    size_t in_begin, in_end;
    size_t opened_at; /* the record opened last, still in `in`; SIZE_MAX: none */
    size_t lent;       /* bytes of `in` that libssl may take; SIZE_MAX during the handshake */
    bool in_step;      /* libssl has had every record so far: it can still take session tickets */
    bool owes_update;  /* the peer asked for new keys of ours */
    bool ended;        /* close_notify came */
    size_t plain_begin, plain_end;
    size_t out_begin, out_end, out_plain; /* out_plain: the caller's bytes in the record on its way */
    uint8_t in[BW_TLS_IN_BYTES];
    uint8_t plain[BW_TLS_BODY_MAX];
    uint8_t out[BW_TLS_OUT_BYTES];
} bw_tls_stream;

struct bw_tls {
    SSL *ssl;
    bw_transport *transport;
    bw_tls_context *context;
    bw_tls_stream *stream;    /* of a client; a server's records are libssl's */
    ssize_t transport_result; /* of the last transport call; below 0 it is over */
    int64_t receive_ns;
    size_t secret_bytes[2]; /* traffic secrets as libssl derived them: [0] the server's, [1] ours */
    uint8_t secret[2][BW_TLS_SECRET_MAX];
    char host[BW_TLS_HOST_BYTES];
    char error[768];
};

bw_tls_session *bw_tls_session_of(bw_tls_context *context, const char *host);
const char *bw_tls_last_reason(void);
void bw_tls_explain_certificate(bw_tls *tls, X509_STORE_CTX *store);
/* One line of SSLKEYLOGFILE's format; kept in the connection, written nowhere. */
void bw_tls_take_secret(bw_tls *tls, const char *line);

/* Takes the record layer over if the session is TLS 1.3; else libssl goes on. */
void bw_tls_stream_start(bw_tls *tls);
void bw_tls_stream_free(bw_tls_stream *stream);
/* Reads once from the transport behind what is there: bytes, 0, or its negative end. */
ssize_t bw_tls_stream_fill(bw_tls *tls);
ssize_t bw_tls_stream_read(bw_tls *tls, void *out, size_t room);
ssize_t bw_tls_stream_write(bw_tls *tls, const void *data, size_t bytes);
void bw_tls_stream_rehearse(bw_tls_stream *stream);
bool bw_tls_stream_pending(const bw_tls_stream *stream);
void bw_tls_stream_shutdown(bw_tls *tls);

#endif
