#include "http_head.h"

#include <string.h>
#include <strings.h>

size_t bw_head_bytes(const char *data, size_t bytes) {
    const char *end = memmem(data, bytes, "\r\n\r\n", 4);
    return end ? (size_t)(end - data) + 4 : 0;
}

bool bw_head_line(bw_text *rest, bw_text *line) {
    const char *end = memmem(rest->at, rest->bytes, "\r\n", 2);
    if (!end || end == rest->at) return false;
    line->at = rest->at;
    line->bytes = (size_t)(end - rest->at);
    rest->at = end + 2;
    rest->bytes -= line->bytes + 2;
    return true;
}

static bw_text trimmed(const char *from, const char *to) {
    while (from < to && (*from == ' ' || *from == '\t')) from++;
    while (from < to && (to[-1] == ' ' || to[-1] == '\t')) to--;
    return (bw_text){from, (size_t)(to - from)};
}

/* RFC 9110 5.6.2 */
static bool token_character(char c) {
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
    return c && strchr("!#$%&'*+-.^_`|~", c);
}

bool bw_head_field(bw_text line, bw_text *name, bw_text *value) {
    const char *colon = memchr(line.at, ':', line.bytes);
    if (!colon || colon == line.at) return false;
    for (const char *c = line.at; c < colon; c++) {
        if (!token_character(*c)) return false;
    }
    *name = (bw_text){line.at, (size_t)(colon - line.at)};
    *value = trimmed(colon + 1, line.at + line.bytes);
    for (size_t i = 0; i < value->bytes; i++) {
        unsigned char c = (unsigned char)value->at[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) return false;
    }
    return true;
}

bool bw_text_is(bw_text text, const char *what) {
    return text.bytes == strlen(what) && strncasecmp(text.at, what, text.bytes) == 0;
}

bool bw_text_split(bw_text *rest, char separator, bw_text *element) {
    if (!rest->at) return false;
    const char *end = rest->at + rest->bytes;
    const char *cut = memchr(rest->at, separator, rest->bytes);
    *element = trimmed(rest->at, cut ? cut : end);
    *rest = cut ? (bw_text){cut + 1, (size_t)(end - cut) - 1} : (bw_text){NULL, 0};
    return true;
}

bool bw_text_lists(bw_text list, const char *token) {
    bw_text element;
    while (bw_text_split(&list, ',', &element)) {
        if (bw_text_is(element, token)) return true;
    }
    return false;
}

long bw_text_number(bw_text text, long max) {
    long number = 0;
    if (!text.bytes) return -1;
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') return -1;
        number = number * 10 + (text.at[i] - '0');
        if (number > max) return -1;
    }
    return number;
}

bool bw_text_copy(bw_text text, char *out, size_t room) {
    if (text.bytes >= room) return false;
    memcpy(out, text.at, text.bytes);
    out[text.bytes] = 0;
    return true;
}
