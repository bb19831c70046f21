/* TLS over any transport, through OpenSSL: records are decrypted to where the caller says.
 *
 * Clients always verify the chain and the host name; there is no switch for that, a test CA is a
 * file. TLS 1.3 and 1.2, AES-GCM suites first, sessions resumed. After a client's TLS 1.3 handshake
 * the record layer is ours (tls_keys.h says why): no allocation, plaintext straight into the caller's
 * room, 1.5 to 2 times the records a second of SSL_read().
 */
#ifndef BW_TLS_H
#define BW_TLS_H

#include "transport.h"

typedef struct bw_tls_context bw_tls_context;
typedef struct bw_tls bw_tls;

/* `ca_file` NULL: the system's store. NULL on failure with the reason in error. A context belongs to one
 * thread at a time; it remembers client sessions by host. */
bw_tls_context *bw_tls_client_context(const char *ca_file, char *error, uint32_t error_bytes);
/* `certificate_file`: PEM, leaf first, then its chain. */
bw_tls_context *bw_tls_server_context(const char *certificate_file, const char *key_file, char *error,
                                      uint32_t error_bytes);
/* After all its connections. */
void bw_tls_context_free(bw_tls_context *context);

/* The transport stays the caller's, who closes it after bw_tls_free(). `host` is a name or a numeric
 * address; it is what the certificate must be for. NULL when memory is short. */
bw_tls *bw_tls_client(bw_tls_context *context, bw_transport *transport, const char *host);
bw_tls *bw_tls_server(bw_tls_context *context, bw_transport *transport);
void bw_tls_free(bw_tls *tls);

/* 1 done, 0 not yet, -1 failed (see bw_tls_error). */
int bw_tls_handshake(bw_tls *tls);
/* As bw_transport_ops.read/write, over plaintext; one record at most a call. *receive_ns is that of the
 * transport read that completed the record: several records of one read share it. -EPROTO: TLS itself
 * failed (see bw_tls_error). BW_TRANSPORT_EOF: ended, with or without close_notify. */
ssize_t bw_tls_read(bw_tls *tls, void *out, size_t room, int64_t *receive_ns);
ssize_t bw_tls_write(bw_tls *tls, const void *data, size_t bytes);
bool bw_tls_pending(const bw_tls *tls); /* decrypted or undecrypted bytes wait inside */
bool bw_tls_wants_write(const bw_tls *tls); /* what it did last waits for room in the transport */
/* For loops that spin: opens the record opened last once more, if it is still there, to keep cipher and
 * keys near. Changes nothing of the stream. */
void bw_tls_rehearse(bw_tls *tls);
bool bw_tls_resumed(const bw_tls *tls); /* the handshake took up an earlier session */
const char *bw_tls_error(const bw_tls *tls); /* one line for people: what failed and why; "" if nothing */
void bw_tls_shutdown(bw_tls *tls);           /* sends close_notify, best effort */

#endif
