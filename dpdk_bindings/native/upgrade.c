/* The HTTP upgrade that opens a WebSocket, both ends (RFC 6455, 4; RFC 7692, 7). */
#include "http_head.h"
#include "websocket.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#define ACCEPT_BYTES 29u /* base64 of a SHA-1, and its NUL */

static void accept_text(const char *key, char out[ACCEPT_BYTES]) {
    char joined[BW_UPGRADE_KEY_BYTES + 36];
    uint8_t digest[SHA_DIGEST_LENGTH];
    int bytes = snprintf(joined, sizeof joined, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    SHA1((const uint8_t *)joined, (size_t)bytes, digest);
    EVP_EncodeBlock((uint8_t *)out, digest, sizeof digest);
}

void bw_upgrade_key(const uint8_t random[16], char key[BW_UPGRADE_KEY_BYTES]) {
    EVP_EncodeBlock((uint8_t *)key, random, 16);
}

static bool one_line(const char *text) {
    return strpbrk(text, "\r\n") == NULL;
}

int bw_upgrade_request(char *out, size_t room, const char *host, const char *path, const char *extra_headers,
                       bool deflate, const char key[BW_UPGRADE_KEY_BYTES]) {
    size_t extra = strlen(extra_headers);
    if (!one_line(host) || !one_line(path) || strchr(path, ' ')) return -1;
    if (extra &&
        (extra < 2 || memcmp(extra_headers + extra - 2, "\r\n", 2) || strstr(extra_headers, "\r\n\r\n"))) {
        return -1;
    }
    int bytes = snprintf(
        out, room,
        "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bookwire\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%s%s\r\n",
        *path ? path : "/", host, key,
        deflate ? "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n" : "",
        extra_headers);
    return bytes > 0 && (size_t)bytes < room ? bytes : -1;
}

static int refuse(bw_upgrade_answer *answer, const char *why) {
    snprintf(answer->why, sizeof answer->why, "%s", why);
    return -1;
}

/* "HTTP/1.1 101 Switching Protocols" */
static int status_of(bw_text line) {
    if (line.bytes < 12 || memcmp(line.at, "HTTP/1.", 7) != 0 || line.at[8] != ' ') return 0;
    if (line.bytes > 12 && line.at[12] != ' ') return 0;
    long status = bw_text_number((bw_text){line.at + 9, 3}, 999);
    return status >= 100 ? (int)status : 0;
}

/* Agrees to permessage-deflate with parameters that ask nothing of us (RFC 7692, 7.1). */
static bool extension_allowed(bw_text value, bw_upgrade_answer *answer) {
    bw_text parameter;
    if (answer->deflate) return false; /* once at most */
    bw_text_split(&value, ';', &parameter);
    if (!bw_text_is(parameter, "permessage-deflate")) return false;
    while (bw_text_split(&value, ';', &parameter)) {
        bw_text name;
        bw_text_split(&parameter, '=', &name);
        if (bw_text_is(name, "server_no_context_takeover") ||
            bw_text_is(name, "client_no_context_takeover")) {
            continue;
        }
        if (!bw_text_is(name, "server_max_window_bits") || bw_text_number(parameter, 15) < 8) return false;
    }
    return answer->deflate = true;
}

typedef struct answer_fields {
    bool upgrade, connection, accept;
} answer_fields;

static int response_field(bw_text name, bw_text value, bool deflate_offered, const char *accept,
                          answer_fields *seen, bw_upgrade_answer *answer) {
    if (bw_text_is(name, "Upgrade")) {
        seen->upgrade = bw_text_is(value, "websocket");
    } else if (bw_text_is(name, "Connection")) {
        seen->connection |= bw_text_lists(value, "Upgrade");
    } else if (bw_text_is(name, "Sec-WebSocket-Accept")) {
        if (seen->accept || value.bytes != strlen(accept) || memcmp(value.at, accept, value.bytes) != 0) {
            return refuse(answer, "Sec-WebSocket-Accept does not answer our key");
        }
        seen->accept = true;
    } else if (bw_text_is(name, "Sec-WebSocket-Extensions")) {
        if (!deflate_offered || !extension_allowed(value, answer)) {
            return refuse(answer, "an extension was switched on that was not offered");
        }
    } else if (bw_text_is(name, "Sec-WebSocket-Protocol")) {
        return refuse(answer, "a subprotocol was chosen that was not offered");
    } else if (bw_text_is(name, "Retry-After")) {
        long seconds = bw_text_number(value, 86400L * 7);
        answer->retry_after = seconds > 0 ? (int)seconds : 0;
    }
    return 0;
}

int bw_upgrade_response_parse(const char *data, size_t bytes, bool deflate_offered,
                              const char key[BW_UPGRADE_KEY_BYTES], bw_upgrade_answer *answer) {
    char accept[ACCEPT_BYTES];
    bw_text line, name, value;
    answer_fields seen = {0};
    memset(answer, 0, sizeof *answer);
    if (bytes && memcmp(data, "HTTP/1.", bytes < 7 ? bytes : 7) != 0)
        return refuse(answer, "the answer is not HTTP");
    size_t head = bw_head_bytes(data, bytes < BW_UPGRADE_BYTES_MAX ? bytes : BW_UPGRADE_BYTES_MAX);
    if (!head && bytes < BW_UPGRADE_BYTES_MAX) return 0;
    if (!head) return refuse(answer, "the answer's head is too large");
    bw_text rest = {data, head};
    if (!bw_head_line(&rest, &line) || !(answer->status = status_of(line))) {
        return refuse(answer, "the answer has no HTTP status line");
    }
    snprintf(answer->why, sizeof answer->why, "%.*s", (int)line.bytes, line.at);
    accept_text(key, accept);
    while (bw_head_line(&rest, &line)) {
        if (!bw_head_field(line, &name, &value))
            return refuse(answer, "a header line of the answer is malformed");
        if (answer->status != 101 && !bw_text_is(name, "Retry-After")) continue;
        if (response_field(name, value, deflate_offered, accept, &seen, answer) < 0) return -1;
    }
    if (answer->status != 101) return -1;
    if (!seen.upgrade || !seen.connection || !seen.accept) {
        return refuse(answer, "101 without the Upgrade, Connection or Sec-WebSocket-Accept it must have");
    }
    return (int)head;
}

/* "GET /path HTTP/1.1". 0, or minus the status to answer with. */
static int request_line(bw_text line, bw_upgrade *out) {
    bw_text method, path;
    if (!bw_text_split(&line, ' ', &method) || !bw_text_split(&line, ' ', &path)) return -400;
    if (!method.bytes || !path.bytes || path.at[0] != '/' || !bw_text_is(line, "HTTP/1.1")) return -400;
    out->get = method.bytes == 3 && memcmp(method.at, "GET", 3) == 0;
    return bw_text_copy(path, out->path, sizeof out->path) ? 0 : -414;
}

/* Which of the fields an upgrade must have were there. */
typedef struct request_fields {
    int hosts, keys;
    bool upgrade, connection, version;
} request_fields;

static int request_field(bw_text name, bw_text value, request_fields *asked, bw_upgrade *out) {
    if (bw_text_is(name, "Host")) {
        asked->hosts++;
    } else if (bw_text_is(name, "Upgrade")) {
        asked->upgrade |= bw_text_lists(value, "websocket");
    } else if (bw_text_is(name, "Connection")) {
        asked->connection |= bw_text_lists(value, "Upgrade");
    } else if (bw_text_is(name, "Sec-WebSocket-Version")) {
        asked->version = bw_text_is(value, "13");
    } else if (bw_text_is(name, "Sec-WebSocket-Key")) {
        uint8_t decoded[18];
        if (value.bytes != 24 || EVP_DecodeBlock(decoded, (const uint8_t *)value.at, 24) != 18) return -400;
        if (asked->keys++ || value.at[22] != '=' || value.at[23] != '=') return -400; /* 16 bytes exactly */
        bw_text_copy(value, out->key, sizeof out->key);
    } else if (bw_text_is(name, "Origin")) {
        if (!bw_text_copy(value, out->origin, sizeof out->origin)) return -431;
    } else if (bw_text_is(name, "Authorization")) {
        if (!bw_text_copy(value, out->authorization, sizeof out->authorization)) return -431;
    }
    return 0;
}

int bw_upgrade_request_parse(const char *data, size_t bytes, bw_upgrade *out) {
    bw_text line, name, value;
    request_fields asked = {0};
    memset(out, 0, sizeof *out);
    size_t head = bw_head_bytes(data, bytes < BW_UPGRADE_BYTES_MAX ? bytes : BW_UPGRADE_BYTES_MAX);
    if (!head) return bytes < BW_UPGRADE_BYTES_MAX ? 0 : -431;
    bw_text rest = {data, head};
    if (!bw_head_line(&rest, &line)) return -400;
    int result = request_line(line, out);
    while (result == 0 && bw_head_line(&rest, &line)) {
        result = bw_head_field(line, &name, &value) ? request_field(name, value, &asked, out) : -400;
    }
    if (result < 0) return result;
    if (asked.hosts != 1) return -400;
    if (!asked.upgrade) return (int)head;
    if (!asked.version) return -426;
    if (!out->get || !asked.connection || asked.keys != 1) return -400;
    out->upgrade = true;
    return (int)head;
}

int bw_upgrade_response(char *out, size_t room, const char key[BW_UPGRADE_KEY_BYTES]) {
    char accept[ACCEPT_BYTES];
    accept_text(key, accept);
    int bytes = snprintf(out, room,
                         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Accept: %s\r\n\r\n",
                         accept);
    return bytes > 0 && (size_t)bytes < room ? bytes : -1;
}
