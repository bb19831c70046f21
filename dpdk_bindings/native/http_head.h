/* Reading an HTTP/1.1 head (RFC 9112) where it lies: lines, header fields, token lists. */
#ifndef BW_HTTP_HEAD_H
#define BW_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>

typedef struct bw_text {
    const char *at;
    size_t bytes;
} bw_text;

/* Bytes of the head up to and with its empty line, 0 if that is not there yet. */
size_t bw_head_bytes(const char *data, size_t bytes);

/* Cuts the next CRLF line off *rest (which must be a whole head); false at the empty line. */
bool bw_head_line(bw_text *rest, bw_text *line);

/* Splits "Name: value", value without blanks around it; false if it is not a header field. */
bool bw_head_field(bw_text line, bw_text *name, bw_text *value);

bool bw_text_is(bw_text text, const char *what); /* letters of any case */
/* Next element of a comma (or other `separator`) list, trimmed; false when the list is done. */
bool bw_text_split(bw_text *rest, char separator, bw_text *element);
bool bw_text_lists(bw_text list, const char *token); /* a comma list has the token */
/* Decimal number up to `max`, or -1. */
long bw_text_number(bw_text text, long max);
/* Copies with a NUL; false when it does not fit. */
bool bw_text_copy(bw_text text, char *out, size_t room);

#endif
