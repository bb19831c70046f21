#include "tls_keys.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <string.h>

/* HKDF-Expand-Label (RFC 8446, 7.1) with an empty context. No output here is longer than one HMAC. */
static bool expand(const bw_tls_keys *keys, const char *label, uint8_t *out, size_t bytes) {
    uint8_t info[64], mac[EVP_MAX_MD_SIZE];
    unsigned mac_bytes = 0;
    size_t label_bytes = strlen(label), at = 0;
    info[at++] = (uint8_t)(bytes >> 8);
    info[at++] = (uint8_t)bytes;
    info[at++] = (uint8_t)(6 + label_bytes);
    memcpy(info + at, "tls13 ", 6);
    memcpy(info + at + 6, label, label_bytes);
    at += 6 + label_bytes;
    info[at++] = 0; /* context */
    info[at++] = 1; /* counter of HKDF-Expand */
    if (!HMAC(keys->digest, keys->secret, (int)keys->secret_bytes, info, at, mac, &mac_bytes)) return false;
    if (bytes > mac_bytes) return false;
    memcpy(out, mac, bytes);
    OPENSSL_cleanse(mac, sizeof mac);
    return true;
}

static bool set_keys(bw_tls_keys *keys) {
    uint8_t key[EVP_MAX_KEY_LENGTH];
    size_t key_bytes = (size_t)EVP_CIPHER_get_key_length(keys->cipher);
    bool good = expand(keys, "key", key, key_bytes) && expand(keys, "iv", keys->iv, sizeof keys->iv) &&
                EVP_CipherInit_ex(keys->context, keys->cipher, NULL, key, keys->iv, keys->sealing) == 1;
    OPENSSL_cleanse(key, sizeof key);
    keys->sequence = 0;
    return good;
}

bool bw_tls_keys_init(bw_tls_keys *keys, const EVP_CIPHER *cipher, const EVP_MD *digest,
                      const uint8_t *secret, size_t secret_bytes, bool sealing) {
    if (secret_bytes != (size_t)EVP_MD_get_size(digest) || EVP_CIPHER_get_iv_length(cipher) != 12)
        return false;
    keys->context = EVP_CIPHER_CTX_new();
    keys->cipher = cipher;
    keys->digest = digest;
    keys->sealing = sealing;
    keys->secret_bytes = secret_bytes;
    memcpy(keys->secret, secret, secret_bytes);
    return keys->context && set_keys(keys);
}

void bw_tls_keys_free(bw_tls_keys *keys) {
    EVP_CIPHER_CTX_free(keys->context);
    OPENSSL_cleanse(keys, sizeof *keys);
}

bool bw_tls_keys_update(bw_tls_keys *keys) {
    return expand(keys, "traffic upd", keys->secret, keys->secret_bytes) && set_keys(keys);
}

/* The record's nonce: the IV xor its sequence number. */
static bool start_record(bw_tls_keys *keys, const uint8_t *header) {
    uint8_t nonce[12];
    uint64_t low;
    int bytes;
    memcpy(nonce, keys->iv, sizeof nonce);
    memcpy(&low, nonce + 4, sizeof low);
    low ^= __builtin_bswap64(keys->sequence++);
    memcpy(nonce + 4, &low, sizeof low);
    return EVP_CipherInit_ex(keys->context, NULL, NULL, NULL, nonce, -1) == 1 &&
           EVP_CipherUpdate(keys->context, NULL, &bytes, header, BW_TLS_HEADER_BYTES) == 1;
}

ssize_t bw_tls_open(bw_tls_keys *keys, const uint8_t *record, uint8_t *out, uint8_t *type) {
    size_t body = bw_tls_body_bytes(record);
    const uint8_t *sealed = record + BW_TLS_HEADER_BYTES;
    int bytes = 0, last = 0;
    if (body <= BW_TLS_TAG_BYTES || body > BW_TLS_BODY_MAX) return -1;
    size_t inner = body - BW_TLS_TAG_BYTES;
    void *tag = (void *)(uintptr_t)(sealed + inner);
    if (!start_record(keys, record) ||
        EVP_CipherUpdate(keys->context, out, &bytes, sealed, (int)inner) != 1 ||
        EVP_CIPHER_CTX_ctrl(keys->context, EVP_CTRL_AEAD_SET_TAG, BW_TLS_TAG_BYTES, tag) != 1 ||
        EVP_CipherFinal_ex(keys->context, out + bytes, &last) != 1) {
        OPENSSL_cleanse(out, inner); /* nothing unproved gets further */
        return -1;
    }
    while (inner && out[inner - 1] == 0) inner--; /* padding; the type is the last byte that is not 0 */
    if (!inner || inner - 1 > BW_TLS_PLAIN_MAX) return -1;
    *type = out[inner - 1];
    return (ssize_t)inner - 1;
}

void bw_tls_reopen(bw_tls_keys *keys, const uint8_t *record, uint8_t *out) {
    uint8_t type;
    uint64_t sequence = keys->sequence;
    if (!sequence) return; /* other keys opened it */
    keys->sequence--;
    bw_tls_open(keys, record, out, &type);
    keys->sequence = sequence;
}

ssize_t bw_tls_seal(bw_tls_keys *keys, uint8_t type, const void *data, size_t bytes, uint8_t *out) {
    size_t body = bytes + 1 + BW_TLS_TAG_BYTES;
    uint8_t *sealed = out + BW_TLS_HEADER_BYTES;
    int some = 0, more = 0, last = 0;
    if (bytes > BW_TLS_PLAIN_MAX) return -1;
    out[0] = BW_TLS_DATA;
    out[1] = 3;
    out[2] = 3;
    out[3] = (uint8_t)(body >> 8);
    out[4] = (uint8_t)body;
    if (!start_record(keys, out) || EVP_CipherUpdate(keys->context, sealed, &some, data, (int)bytes) != 1 ||
        EVP_CipherUpdate(keys->context, sealed + some, &more, &type, 1) != 1 ||
        EVP_CipherFinal_ex(keys->context, sealed + some + more, &last) != 1 ||
        EVP_CIPHER_CTX_ctrl(keys->context, EVP_CTRL_AEAD_GET_TAG, BW_TLS_TAG_BYTES, sealed + bytes + 1) !=
            1) {
        return -1;
    }
    return (ssize_t)(BW_TLS_HEADER_BYTES + body);
}
