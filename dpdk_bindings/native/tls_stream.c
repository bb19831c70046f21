/* A client's records after a TLS 1.3 handshake: opened from our read-ahead straight into the caller's
 * room, sealed into one record at a time. libssl keeps the handshake and session tickets. */
#include "tls_private.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_KEY_UPDATE 24u
#define MESSAGE_SESSION_TICKET 4u

static int digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void bw_tls_take_secret(bw_tls *tls, const char *line) {
    static const char *const labels[2] = {"SERVER_TRAFFIC_SECRET_0 ", "CLIENT_TRAFFIC_SECRET_0 "};
    for (int which = 0; which < 2; which++) {
        size_t label = strlen(labels[which]);
        if (strncmp(line, labels[which], label) != 0) continue;
        const char *hex = strrchr(line, ' ') + 1;
        size_t bytes = 0;
        for (; bytes < BW_TLS_SECRET_MAX && digit(hex[0]) >= 0 && digit(hex[1]) >= 0; hex += 2) {
            tls->secret[which][bytes++] = (uint8_t)(digit(hex[0]) << 4 | digit(hex[1]));
        }
        tls->secret_bytes[which] = bytes;
    }
}

void bw_tls_stream_start(bw_tls *tls) {
    bw_tls_stream *stream = tls->stream;
    const SSL_CIPHER *suite = SSL_get_current_cipher(tls->ssl);
    if (SSL_version(tls->ssl) == TLS1_3_VERSION && suite) {
        const EVP_CIPHER *cipher = EVP_get_cipherbynid(SSL_CIPHER_get_cipher_nid(suite));
        const EVP_MD *digest = SSL_CIPHER_get_handshake_digest(suite);
        stream->active =
            cipher && digest &&
            bw_tls_keys_init(&stream->read_keys, cipher, digest, tls->secret[0], tls->secret_bytes[0],
                             false) &&
            bw_tls_keys_init(&stream->write_keys, cipher, digest, tls->secret[1], tls->secret_bytes[1], true);
        stream->in_step = stream->active;
        stream->lent = stream->active ? 0 : SIZE_MAX;
    }
    OPENSSL_cleanse(tls->secret, sizeof tls->secret);
}

void bw_tls_stream_free(bw_tls_stream *stream) {
    if (!stream) return;
    bw_tls_keys_free(&stream->read_keys);
    bw_tls_keys_free(&stream->write_keys);
    free(stream);
}

ssize_t bw_tls_stream_fill(bw_tls *tls) {
    bw_tls_stream *stream = tls->stream;
    size_t have = stream->in_end - stream->in_begin;
    int64_t receive_ns = 0;
    if (stream->in_begin) { /* at most a part of a record */
        memmove(stream->in, stream->in + stream->in_begin, have);
        stream->in_begin = 0;
        stream->in_end = have;
    }
    ssize_t bytes = tls->transport->ops->read(tls->transport, stream->in + have, BW_TLS_IN_BYTES - have,
                                              &receive_ns);
    tls->transport_result = bytes;
    if (bytes > 0) {
        stream->opened_at = SIZE_MAX;
        tls->receive_ns = receive_ns;
        stream->in_end += (size_t)bytes;
    }
    return bytes;
}

static ssize_t broken(bw_tls *tls, const char *what) {
    if (!*tls->error) snprintf(tls->error, sizeof tls->error, "TLS with %s failed: %s", tls->host, what);
    return -EPROTO;
}

/* Bytes of the complete record that stands first, 0 if it is not complete, -1 if it cannot be one. */
static ssize_t complete_record(const bw_tls_stream *stream) {
    const uint8_t *at = stream->in + stream->in_begin;
    size_t have = stream->in_end - stream->in_begin;
    if (have < BW_TLS_HEADER_BYTES) return 0;
    size_t body = bw_tls_body_bytes(at);
    if (body > BW_TLS_BODY_MAX || at[1] != 3) return -1;
    return have < BW_TLS_HEADER_BYTES + body ? 0 : (ssize_t)(BW_TLS_HEADER_BYTES + body);
}

/* 1 when nothing is left to send, 0 not now, below 0 the transport's end. */
static ssize_t flush(bw_tls *tls) {
    bw_tls_stream *stream = tls->stream;
    while (stream->out_begin < stream->out_end) {
        ssize_t sent = tls->transport->ops->write(tls->transport, stream->out + stream->out_begin,
                                                  stream->out_end - stream->out_begin);
        if (sent < 0) return tls->transport_result = sent;
        if (sent == 0) return 0;
        stream->out_begin += (size_t)sent;
    }
    stream->out_begin = stream->out_end = 0;
    return 1;
}

static ssize_t seal(bw_tls *tls, uint8_t type, const void *data, size_t bytes) {
    bw_tls_stream *stream = tls->stream;
    ssize_t sealed = bw_tls_seal(&stream->write_keys, type, data, bytes, stream->out);
    if (sealed < 0) return broken(tls, "a record could not be sealed");
    stream->out_begin = 0;
    stream->out_end = (size_t)sealed;
    return sealed;
}

/* Answers the peer's wish for new keys, when no record is on its way. 0 done, not yet, or below. */
static ssize_t pay_update(bw_tls *tls) {
    static const uint8_t update[5] = {MESSAGE_KEY_UPDATE, 0, 0, 1, 0};
    bw_tls_stream *stream = tls->stream;
    if (!stream->owes_update || stream->out_end) return 0;
    if (seal(tls, BW_TLS_HANDSHAKE, update, sizeof update) < 0) return -EPROTO;
    if (!bw_tls_keys_update(&stream->write_keys)) return broken(tls, "new keys could not be derived");
    stream->owes_update = false;
    ssize_t sent = flush(tls);
    return sent < 0 ? sent : 0;
}

/* Gives libssl the record that stands first, sealed as it came: it knows what to do with a ticket. */
static void lend_record(bw_tls *tls, size_t record_bytes) {
    bw_tls_stream *stream = tls->stream;
    size_t end = stream->in_begin + record_bytes, took;
    uint8_t unused;
    stream->lent = record_bytes;
    ERR_clear_error();
    int result = SSL_read_ex(tls->ssl, &unused, 1, &took);
    if (result == 1 || SSL_get_error(tls->ssl, result) != SSL_ERROR_WANT_READ) stream->in_step = false;
    ERR_clear_error();
    stream->lent = 0;
    stream->in_begin = end - record_bytes; /* the caller steps over it */
}

static ssize_t handshake_message(bw_tls *tls, const uint8_t *text, size_t bytes, size_t record_bytes) {
    bw_tls_stream *stream = tls->stream;
    if (bytes == 5 && text[0] == MESSAGE_KEY_UPDATE && text[4] <= 1) {
        stream->in_step = false;
        stream->owes_update |= text[4];
        if (!bw_tls_keys_update(&stream->read_keys)) return broken(tls, "new keys could not be derived");
        return pay_update(tls);
    }
    if (bytes < 4 || text[0] != MESSAGE_SESSION_TICKET) return broken(tls, "unexpected handshake message");
    if (stream->in_step) lend_record(tls, record_bytes);
    return 0;
}

static ssize_t alert(bw_tls *tls, const uint8_t *text, size_t bytes) {
    if (bytes == 2 && text[1] == SSL_AD_CLOSE_NOTIFY) {
        tls->stream->ended = true;
        return BW_TRANSPORT_EOF;
    }
    return broken(tls, bytes == 2 ? SSL_alert_desc_string_long(text[1]) : "malformed alert");
}

/* Opens the record that stands first. Bytes of data in `out`, 0 if it held none, or the end. */
static ssize_t open_record(bw_tls *tls, size_t record_bytes, uint8_t *out) {
    bw_tls_stream *stream = tls->stream;
    const uint8_t *record = stream->in + stream->in_begin;
    uint8_t type;
    ssize_t result = 0;
    if (record[0] == BW_TLS_DATA) {
        ssize_t bytes = bw_tls_open(&stream->read_keys, record, out, &type);
        if (bytes < 0) return broken(tls, "a record is not what the peer sealed (bad record mac)");
        if (type == BW_TLS_DATA) {
            stream->opened_at = stream->in_begin;
            stream->in_step = false;
            result = bytes;
        } else if (type == BW_TLS_HANDSHAKE) {
            result = handshake_message(tls, out, (size_t)bytes, record_bytes);
        } else {
            result = type == BW_TLS_ALERT ? alert(tls, out, (size_t)bytes) : broken(tls, "unexpected record");
        }
    } else if (record[0] != BW_TLS_CHANGE_CIPHER || record_bytes != BW_TLS_HEADER_BYTES + 1) {
        return broken(tls, "unexpected record"); /* a lone change_cipher_spec means nothing (RFC 8446, 5) */
    }
    stream->in_begin += record_bytes;
    return result;
}

static ssize_t take_plain(bw_tls_stream *stream, void *out, size_t room) {
    size_t bytes = stream->plain_end - stream->plain_begin;
    if (bytes > room) bytes = room;
    memcpy(out, stream->plain + stream->plain_begin, bytes);
    stream->plain_begin += bytes;
    return (ssize_t)bytes;
}

ssize_t bw_tls_stream_read(bw_tls *tls, void *out, size_t room) {
    bw_tls_stream *stream = tls->stream;
    if (stream->plain_begin < stream->plain_end) return take_plain(stream, out, room);
    if (stream->ended) return BW_TRANSPORT_EOF;
    ssize_t due = stream->out_end && !stream->out_plain ? flush(tls) : 0; /* an update on its way */
    if (due >= 0) due = pay_update(tls);
    if (due < 0) return due;
    for (;;) {
        ssize_t record = complete_record(stream);
        if (record < 0) return broken(tls, "what came is no TLS record");
        if (record == 0) {
            ssize_t filled = bw_tls_stream_fill(tls);
            if (filled <= 0) return filled;
            continue;
        }
        bool direct = (size_t)record - BW_TLS_HEADER_BYTES - BW_TLS_TAG_BYTES <= room;
        ssize_t bytes = open_record(tls, (size_t)record, direct ? out : stream->plain);
        if (bytes == 0) continue;
        if (bytes < 0 || direct) return bytes;
        stream->plain_begin = 0;
        stream->plain_end = (size_t)bytes;
        return take_plain(stream, out, room);
    }
}

ssize_t bw_tls_stream_write(bw_tls *tls, const void *data, size_t bytes) {
    bw_tls_stream *stream = tls->stream;
    ssize_t result = flush(tls);
    if (result <= 0) return result;
    if (!stream->out_plain) { /* else the record just sent held the caller's first bytes already */
        result = pay_update(tls);
        if (result < 0 || stream->out_end) return result;
        stream->out_plain = bytes < BW_TLS_PLAIN_MAX ? bytes : BW_TLS_PLAIN_MAX;
        result = seal(tls, BW_TLS_DATA, data, stream->out_plain);
        if (result < 0) return result;
        result = flush(tls);
        if (result <= 0) return result; /* not accepted before it is gone: the caller comes again with it */
    }
    size_t accepted = stream->out_plain;
    stream->out_plain = 0;
    return (ssize_t)accepted;
}

bool bw_tls_stream_pending(const bw_tls_stream *stream) {
    return stream->plain_begin < stream->plain_end || complete_record(stream) != 0;
}

void bw_tls_stream_rehearse(bw_tls_stream *stream) {
    bool idle = stream->in_begin == stream->in_end && stream->plain_begin == stream->plain_end;
    if (!idle || stream->opened_at == SIZE_MAX) return;
    bw_tls_reopen(&stream->read_keys, stream->in + stream->opened_at, stream->plain);
}

void bw_tls_stream_shutdown(bw_tls *tls) {
    static const uint8_t notify[2] = {1, SSL_AD_CLOSE_NOTIFY};
    if (flush(tls) == 1 && seal(tls, BW_TLS_ALERT, notify, sizeof notify) > 0) flush(tls);
}
