/* libFuzzer: the HTTP head of an upgrade, as client and as server.
 *
 *   clang -g -O1 -D_GNU_SOURCE -I. -fsanitize=fuzzer,address,undefined tests/fuzz_upgrade.c upgrade.c http_head.c -lcrypto
 */
#include "websocket.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static const char key[] = "dGhlIHNhbXBsZSBub25jZQ==";
    bw_upgrade request;
    bw_upgrade_answer answer;
    int head = bw_upgrade_request_parse((const char *)data, bytes, &request);
    if (head > 0 && (size_t)head > bytes) abort();
    if (head > 0 && request.upgrade) {
        char response[256];
        if (bw_upgrade_response(response, sizeof response, request.key) < 0) abort();
    }
    head = bw_upgrade_response_parse((const char *)data, bytes, true, key, &answer);
    if (head > 0 && ((size_t)head > bytes || answer.status != 101)) abort();
    return 0;
}
