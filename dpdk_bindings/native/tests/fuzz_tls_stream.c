/* libFuzzer: what a peer that holds the keys may send in TLS 1.3 records: any content of any type, padded
 * or empty, cut anywhere, and bytes that are no record at all. Three bytes start each piece: what it
 * is, its length, and how many bytes a transport read brings.
 *
 *   clang -g -O1 -D_GNU_SOURCE -I. -fsanitize=fuzzer,address,undefined tests/fuzz_tls_stream.c \
 *     tests/pipe_transport.c tls*.c -lssl -lcrypto
 */
#include "pipe_transport.h"
#include "tls_private.h"

#include <string.h>

#define PIPE_BYTES (1u << 17)

static bw_tls_context *context;

static void keys(bw_tls_keys *out, bool sealing) {
    static const uint8_t secret[32] = {1, 2, 3};
    memset(out, 0, sizeof *out);
    if (!bw_tls_keys_init(out, EVP_aes_128_gcm(), EVP_sha256(), secret, sizeof secret, sealing)) abort();
}

static void read_all(bw_tls *tls, size_t room) {
    static uint8_t out[4096];
    int64_t stamp;
    for (int reads = 0; reads < 64; reads++) {
        ssize_t bytes = bw_tls_read(tls, out, room, &stamp);
        bw_tls_rehearse(tls);
        if (bytes > (ssize_t)room) abort();
        if (bytes <= 0) return;
    }
}

static void send_piece(pipe_end *end, bw_tls_keys *peer, uint8_t what, const uint8_t *data, size_t bytes) {
    static uint8_t record[BW_TLS_OUT_BYTES], content[1024];
    static const uint8_t types[4] = {BW_TLS_DATA, BW_TLS_HANDSHAKE, BW_TLS_ALERT, 0};
    memcpy(content, data, bytes);
    if (what & 4) { /* not a record */
        end->transport.ops->write(&end->transport, content, bytes);
        return;
    }
    ssize_t sealed = bw_tls_seal(peer, types[what & 3], content, bytes, record);
    if (sealed < 0) abort();
    end->transport.ops->write(&end->transport, record, (size_t)sealed);
    bool update = (what & 3) == 1 && bytes == 5 && data[0] == 24 && data[4] <= 1;
    if (update && !bw_tls_keys_update(peer)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    pipe_end client, server;
    bw_tls_keys peer;
    char error[256];
    if (!context) context = bw_tls_client_context(NULL, error, sizeof error);
    if (!context) abort();
    pipe_open(&client, &server, PIPE_BYTES);
    bw_tls *tls = bw_tls_client(context, &client.transport, "exchange.example");
    if (!tls) abort();
    keys(&peer, true);
    keys(&tls->stream->read_keys, false);
    keys(&tls->stream->write_keys, true);
    tls->stream->active = true;
    tls->stream->lent = 0;
    while (bytes >= 3) {
        uint8_t what = data[0];
        size_t piece = data[1];
        client.bytes_a_read = data[2];
        data += 3;
        bytes -= 3;
        if (piece > bytes) piece = bytes;
        send_piece(&server, &peer, what, data, piece);
        if (what & 8) read_all(tls, 1 + (what >> 4) * 60u);
        data += piece;
        bytes -= piece;
    }
    read_all(tls, 4096);
    bw_tls_keys_free(&peer);
    bw_tls_free(tls);
    pipe_free(&client, &server);
    return 0;
}
