/* One direction of TLS 1.3 record protection (RFC 8446, 5.2 to 5.4): sealing and opening records.
 *
 * Why not leave it to libssl: OpenSSL 3.0 takes memory for every record it opens or seals (a 40-byte
 * WPACKET sub-packet), copies the plaintext once more, and costs about twice the cipher. The
 * cipher, the key schedule's HMAC and the whole handshake are OpenSSL's; only the record layer after it
 * is here. Nothing allocates after bw_tls_keys_new().
 */
#ifndef BW_TLS_KEYS_H
#define BW_TLS_KEYS_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BW_TLS_HEADER_BYTES 5u
#define BW_TLS_TAG_BYTES 16u
#define BW_TLS_PLAIN_MAX (1u << 14)
#define BW_TLS_BODY_MAX (BW_TLS_PLAIN_MAX + 256u)
#define BW_TLS_SECRET_MAX EVP_MAX_MD_SIZE

enum bw_tls_content { BW_TLS_CHANGE_CIPHER = 20, BW_TLS_ALERT = 21, BW_TLS_HANDSHAKE = 22, BW_TLS_DATA = 23 };

typedef struct bw_tls_keys {
    EVP_CIPHER_CTX *context;
    const EVP_CIPHER *cipher;
    const EVP_MD *digest;
    bool sealing;
    uint64_t sequence;
    uint8_t iv[12];
    uint8_t secret[BW_TLS_SECRET_MAX];
    size_t secret_bytes;
} bw_tls_keys;

/* False when memory is short or the secret does not fit the digest. */
bool bw_tls_keys_init(bw_tls_keys *keys, const EVP_CIPHER *cipher, const EVP_MD *digest,
                      const uint8_t *secret, size_t secret_bytes, bool sealing);
void bw_tls_keys_free(bw_tls_keys *keys); /* wipes */
/* KeyUpdate: the next generation (RFC 8446, 7.2). */
bool bw_tls_keys_update(bw_tls_keys *keys);

/* Opens the record at `record` (header and body, complete) into `out`, which needs room for the body
 * without its tag. Returns the content's bytes and *type, or -1 if it was not sealed with these keys. */
ssize_t bw_tls_open(bw_tls_keys *keys, const uint8_t *record, uint8_t *out, uint8_t *type);

/* Opens the record that was opened last once more and moves on nowhere. */
void bw_tls_reopen(bw_tls_keys *keys, const uint8_t *record, uint8_t *out);

/* Seals up to BW_TLS_PLAIN_MAX bytes into `out` (room for 5 + bytes + 1 + 16); returns the record's
 * bytes, or -1. */
ssize_t bw_tls_seal(bw_tls_keys *keys, uint8_t type, const void *data, size_t bytes, uint8_t *out);

static inline size_t bw_tls_body_bytes(const uint8_t *record) {
    return (size_t)record[3] << 8 | record[4];
}

#endif
