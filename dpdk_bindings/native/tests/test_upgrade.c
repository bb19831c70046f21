/* The HTTP upgrade, both ends: what is accepted, what is refused and with which words or status. */
#include "check.h"
#include "websocket.h"

#include <string.h>

/* RFC 6455 1.3 */
static const char key[] = "dGhlIHNhbXBsZSBub25jZQ==";
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
#define GOOD                                                                                                 \
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n" ACCEPT

static int parse(const char *text, bool deflate, bw_upgrade_answer *answer) {
    size_t bytes = strlen(text);
    for (size_t cut = 0; cut + 1 < bytes; cut++) { /* never decided too early */
        int early = bw_upgrade_response_parse(text, cut, deflate, key, answer);
        CHECK(early <= 0);
        if (early < 0) break;
    }
    return bw_upgrade_response_parse(text, bytes, deflate, key, answer);
}

static void test_response(void) {
    bw_upgrade_answer answer;
    CHECK_EQUAL(parse(GOOD "\r\n", false, &answer), strlen(GOOD) + 2);
    CHECK_EQUAL(answer.status, 101);
    CHECK_EQUAL(parse("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 17\r\n\r\n", false, &answer), -1);
    CHECK_EQUAL(answer.status, 429);
    CHECK_EQUAL(answer.retry_after, 17);
    CHECK(strcmp(answer.why, "HTTP/1.1 429 Too Many Requests") == 0);
    CHECK_EQUAL(parse("SSH-2.0-OpenSSH_9.2\r\n", false, &answer), -1);
    CHECK_EQUAL(answer.status, 0);
    CHECK_EQUAL(parse("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", false, &answer),
                -1);
    CHECK_EQUAL(parse("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n" ACCEPT "\r\n", false, &answer), -1);
    CHECK_EQUAL(
        parse("HTTP/1.1 101 x\r\nSec-WebSocket-Accept: c29tZXRoaW5nIGVsc2UgYWx0b2c=\r\n\r\n", false, &answer),
        -1);
    CHECK(strstr(answer.why, "Sec-WebSocket-Accept"));
    CHECK_EQUAL(parse(GOOD "Bad header\r\n\r\n", false, &answer), -1);
    CHECK_EQUAL(parse(GOOD "Sec-WebSocket-Protocol: chat\r\n\r\n", false, &answer), -1);
}

static void test_response_extensions(void) {
    bw_upgrade_answer answer;
    CHECK_EQUAL(parse(GOOD "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", false, &answer), -1);
    CHECK(parse(GOOD "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
                     "client_no_context_takeover; server_max_window_bits=12\r\n\r\n", true, &answer) > 0);
    CHECK(answer.deflate);
    CHECK(parse(GOOD "\r\n", true, &answer) > 0);
    CHECK(!answer.deflate);
    CHECK_EQUAL(parse(GOOD "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=7\r\n\r\n",
                      true, &answer),
                -1);
    CHECK_EQUAL(parse(GOOD "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=9\r\n\r\n",
                      true, &answer),
                -1);
    CHECK_EQUAL(parse(GOOD "Sec-WebSocket-Extensions: x-other\r\n\r\n", true, &answer), -1);
}

static void test_request_and_answer_fit(void) {
    char request[1024], response[256], made[BW_UPGRADE_KEY_BYTES];
    bw_upgrade upgrade;
    bw_upgrade_answer answer;
    bw_upgrade_key((const uint8_t *)"the sample nonce", made);
    CHECK(strcmp(made, key) == 0);
    int bytes = bw_upgrade_request(request, sizeof request, "localhost:8443", "/ws?x=1",
                                   "Origin: https://a.example\r\nAuthorization: Bearer t\r\n", false, made);
    CHECK(bytes > 0);
    for (int cut = 0; cut < bytes; cut++)
        CHECK_EQUAL(bw_upgrade_request_parse(request, (size_t)cut, &upgrade), 0);
    CHECK_EQUAL(bw_upgrade_request_parse(request, (size_t)bytes, &upgrade), bytes);
    CHECK(upgrade.upgrade && upgrade.get && strcmp(upgrade.path, "/ws?x=1") == 0 &&
          strcmp(upgrade.key, key) == 0);
    CHECK(strcmp(upgrade.origin, "https://a.example") == 0 && strcmp(upgrade.authorization, "Bearer t") == 0);
    int reply = bw_upgrade_response(response, sizeof response, upgrade.key);
    CHECK_EQUAL(reply, 129);
    CHECK_EQUAL(bw_upgrade_response_parse(response, (size_t)reply, false, key, &answer), reply);
    CHECK_EQUAL(bw_upgrade_response(response, 129, upgrade.key), -1);
    CHECK_EQUAL(bw_upgrade_request(request, 40, "a", "/", "", false, key), -1);
    CHECK_EQUAL(bw_upgrade_request(request, sizeof request, "a\r\nX: y", "/", "", false, key), -1);
    CHECK_EQUAL(bw_upgrade_request(request, sizeof request, "a", "/a b", "", false, key), -1);
    CHECK_EQUAL(bw_upgrade_request(request, sizeof request, "a", "/", "X: y", false, key), -1);
    CHECK_EQUAL(bw_upgrade_request(request, sizeof request, "a", "/", "X: y\r\n\r\nbody\r\n", false, key),
                -1);
}

static int asks(const char *fields) {
    char request[2048];
    bw_upgrade upgrade;
    snprintf(request, sizeof request, "GET / HTTP/1.1\r\n%s\r\n", fields);
    int result = bw_upgrade_request_parse(request, strlen(request), &upgrade);
    return result > 0 ? upgrade.upgrade : result;
}

static void test_request_refusals(void) {
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define REST "Host: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
    bw_upgrade upgrade;
    CHECK_EQUAL(asks(REST KEY "Sec-WebSocket-Version: 13\r\n"), 1);
    CHECK_EQUAL(asks("Host: a\r\nAccept: */*\r\n"), 0);
    CHECK_EQUAL(asks(REST KEY "Sec-WebSocket-Version: 8\r\n"), -426);
    CHECK_EQUAL(asks(REST KEY), -426);
    CHECK_EQUAL(asks(REST "Sec-WebSocket-Version: 13\r\n"), -400);
    CHECK_EQUAL(asks(REST KEY KEY "Sec-WebSocket-Version: 13\r\n"), -400);
    CHECK_EQUAL(asks(REST "Sec-WebSocket-Key: short\r\nSec-WebSocket-Version: 13\r\n"), -400);
    CHECK_EQUAL(asks("Host: a\r\nUpgrade: websocket\r\n" KEY "Sec-WebSocket-Version: 13\r\n"), -400);
    CHECK_EQUAL(asks("Upgrade: websocket\r\nConnection: upgrade\r\n" KEY "Sec-WebSocket-Version: 13\r\n"),
                -400);
    CHECK_EQUAL(asks("no colon\r\n"), -400);
    CHECK_EQUAL(bw_upgrade_request_parse("\x16\x03\x01\r\n\r\n", 7, &upgrade), -400);
    static char large[BW_UPGRADE_BYTES_MAX];
    memset(large, 'a', sizeof large);
    CHECK_EQUAL(bw_upgrade_request_parse(large, sizeof large, &upgrade), -431);
    char long_path[1200];
    snprintf(long_path, sizeof long_path, "GET /%01100d HTTP/1.1\r\nHost: a\r\n\r\n", 0);
    CHECK_EQUAL(bw_upgrade_request_parse(long_path, strlen(long_path), &upgrade), -414);
}

int main(void) {
    test_response();
    test_response_extensions();
    test_request_and_answer_fit();
    test_request_refusals();
    return 0;
}
