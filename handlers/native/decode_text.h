/* Strings, numbers and skipped containers of the walk. Included by decode_walk.c only. */
#ifndef BW_DECODE_TEXT_H
#define BW_DECODE_TEXT_H

#include "decode_simd.h"

/* Returns NULL, so that `return text_fail(...)` ends the walk. The first failure counts. */
static const char *text_fail(bw_decoder *d, const char *p, const char *why) {
    if (!d->failure) {
        d->failure = why;
        d->failure_at = (uint32_t)((p < d->end ? p : d->end) - d->text);
    }
    return NULL;
}

static inline const char *skip_space(const bw_decoder *d, const char *p) {
    if (__builtin_expect((unsigned char)*p > ' ', 1)) return p;
    while (p < d->end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
    return p;
}

static inline bool is_hex(char c) {
    return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

/* Behind the escape that starts at p, or NULL if it is none of JSON's. */
static const char *skip_escape(bw_decoder *d, const char *p) {
    if (d->end - p < 2) return text_fail(d, p, "a string has no end");
    switch (p[1]) {
    case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't': return p + 2;
    case 'u':
        if (d->end - p >= 6 && is_hex(p[2]) && is_hex(p[3]) && is_hex(p[4]) && is_hex(p[5])) return p + 6;
        break;
    default: break;
    }
    return text_fail(d, p, "a malformed escape");
}

/* p behind the opening quote; returns the closing quote. */
static inline const char *string_end(bw_decoder *d, const char *p, bool *escaped) {
    *escaped = false;
    for (;;) {
        const char *stop = find_string_stop(p, d->end);
        if (stop >= d->end) return text_fail(d, p, "a string has no end");
        if (__builtin_expect(*stop == '"', 1)) return stop;
        if (*stop != '\\') return text_fail(d, stop, "a control character in a string");
        *escaped = true;
        p = skip_escape(d, stop);
        if (!p) return NULL;
    }
}

/* p at the opening quote; returns behind the closing one. */
static inline const char *take_string(bw_decoder *d, const char *p, bw_value *value) {
    bool escaped;
    const char *stop = string_end(d, p + 1, &escaped);
    if (!stop) return NULL;
    *value = (bw_value){.at = (uint32_t)(p + 1 - d->text), .bytes = (uint32_t)(stop - p - 1),
                        .kind = BW_VALUE_STRING, .escaped = escaped};
    return stop + 1;
}

static inline const char *skip_digits(const bw_decoder *d, const char *p) {
    while (p < d->end && is_digit(*p)) p++;
    return p;
}

/* A number as JSON's grammar has it. */
static const char *skip_number(bw_decoder *d, const char *p) {
    const char *start = p, *behind = skip_whole(p, d->end);
    if (behind) return behind;
    if (*p == '-') p++;
    const char *digits = p;
    p = skip_digits(d, p);
    if (p == digits || (*digits == '0' && p - digits > 1)) return text_fail(d, start, "a malformed value");
    if (p < d->end && *p == '.') {
        digits = p + 1;
        p = skip_digits(d, digits);
        if (p <= digits) return text_fail(d, start, "a malformed number");
    }
    if (p < d->end && (*p | 0x20) == 'e') {
        p++;
        if (p < d->end && (*p == '+' || *p == '-')) p++;
        digits = p;
        p = skip_digits(d, digits);
        if (p <= digits) return text_fail(d, start, "a malformed number");
    }
    return p;
}

static inline const char *skip_word(bw_decoder *d, const char *p, const char *word, uint32_t bytes) {
    if (d->end - p < (ptrdiff_t)bytes || memcmp(p, word, bytes) != 0)
        return text_fail(d, p, "a malformed value");
    return p + bytes;
}

static inline const char *skip_bare(bw_decoder *d, const char *p) {
    if (p >= d->end) return text_fail(d, p, "a value was expected");
    switch (*p) {
    case 't': return skip_word(d, p, "true", 4);
    case 'f': return skip_word(d, p, "false", 5);
    case 'n': return skip_word(d, p, "null", 4);
    default: return skip_number(d, p);
    }
}

/* p at the bracket; returns behind the one that closes it. */
static const char *skip_container(bw_decoder *d, const char *p) {
    const char *start = p;
    uint64_t kinds = 0; /* a bit per open bracket, the innermost lowest: 1 for '{' */
    uint32_t depth = 0;
    do {
        p = find_structure(p, d->end);
        if (p >= d->end) return text_fail(d, start, "a bracket is never closed");
        char c = *p++;
        if (c == '"') {
            bool escaped;
            p = string_end(d, p, &escaped);
            if (!p) return NULL;
            p++;
        } else if (c == '{' || c == '[') {
            if (depth == BW_NEST_MAX) return text_fail(d, p - 1, "nested too deep");
            kinds = kinds << 1 | (c == '{');
            depth++;
        } else {
            if ((kinds & 1) != (c == '}')) return text_fail(d, p - 1, "brackets do not match");
            kinds >>= 1;
            depth--;
        }
    } while (depth);
    return p;
}

static inline const char *skip_value(bw_decoder *d, const char *p) {
    if (*p == '"') {
        bool escaped;
        const char *stop = string_end(d, p + 1, &escaped);
        return stop ? stop + 1 : NULL;
    }
    if (*p == '{' || *p == '[') return skip_container(d, p);
    return skip_bare(d, p);
}

#endif
