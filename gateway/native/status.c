/* The status channel: exchanges and books going live, stale, resyncing or down, with the reason. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_TEXT_BYTES 512
#define STATUS_BOOKS_MAX 1000u /* books not live told in a snapshot */

static void status_push(bw_gateway *gateway, const char *text, int bytes) {
    uint8_t frame[BW_WS_HEADER_MAX + STATUS_TEXT_BYTES];
    size_t header = bw_ws_header(frame, BW_WS_OP_TEXT, (size_t)bytes, NULL);
    memcpy(frame + header, text, (size_t)bytes);
    bw_group_push(gateway, gateway->status, frame, header + (size_t)bytes);
}

void bw_status_book(bw_gateway *gateway, const bw_source *source, uint32_t book, uint32_t state,
                    uint32_t reason) {
    if (!gateway->status) return;
    char text[STATUS_TEXT_BYTES];
    int bytes = snprintf(
        text, sizeof text,
        "{\"type\":\"status\",\"channel\":\"status\",\"data\":{\"exchange\":\"%s\",\"symbol\":\"%s\","
        "\"state\":\"%s\",\"reason\":\"%s\",\"ts\":%lld}}",
        source->id, bw_segment_symbol(source->segment, book)->canonical, bw_state_text(state),
        bw_reason_text(reason), (long long)(gateway->wall_ns / 1000000));
    status_push(gateway, text, bytes);
}

void bw_status_exchange(bw_gateway *gateway, const bw_source *source, const char *why) {
    bw_pipe_message event = {.type = BW_GATEWAY_EXCHANGE, .code = source->number, .tag = source->alive};
    bw_pipe_put(&gateway->event, event, why, (uint32_t)strlen(why), NULL, 0, true);
    if (!gateway->status) return;
    char text[STATUS_TEXT_BYTES];
    int bytes =
        snprintf(text, sizeof text,
                 "{\"type\":\"status\",\"channel\":\"status\",\"data\":{\"exchange\":\"%s\",\"state\":\"%s\","
                 "\"reason\":\"%s\",\"ts\":%lld}}",
                 source->id, source->alive ? "live" : "down", why, (long long)(gateway->wall_ns / 1000000));
    status_push(gateway, text, bytes);
}

static bool put_format(bw_queue *out, size_t room, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool put_format(bw_queue *out, size_t room, const char *format, ...) {
    char *at = (char *)bw_queue_reserve(out, room);
    if (!at) return false;
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(at, room, format, arguments);
    va_end(arguments);
    if (bytes < 0 || (size_t)bytes >= room) return false;
    bw_queue_filled(out, (size_t)bytes);
    return true;
}

static bool taken_out(const bw_source *source, uint32_t book) {
    return source->state[book] == BW_BOOK_DOWN && source->reason[book] == BW_REASON_OPERATOR;
}

static bool put_exchanges(const bw_gateway *gateway, bw_queue *text) {
    bool put = true;
    for (uint32_t i = 0; i < gateway->source_count; i++) {
        const bw_source *source = &gateway->source[i];
        uint32_t live = 0, books = 0;
        for (uint32_t book = 0; book < source->book_count; book++) {
            live += source->state[book] == BW_BOOK_LIVE;
            books += !taken_out(source, book);
        }
        put = put &&
              put_format(text, 128, "%s{\"exchange\":\"%s\",\"state\":\"%s\",\"books\":%u,\"live\":%u}",
                         i ? "," : "", source->id, source->alive ? "live" : "down", books, live);
    }
    return put;
}

static bool put_books(const bw_gateway *gateway, bw_queue *text) {
    bool put = true;
    uint32_t told = 0;
    for (uint32_t i = 0; i < gateway->source_count; i++) {
        const bw_source *source = &gateway->source[i];
        for (uint32_t book = 0; put && book < source->book_count && told < STATUS_BOOKS_MAX; book++) {
            if (source->state[book] == BW_BOOK_LIVE || taken_out(source, book)) continue;
            put = put_format(
                text, 192, "%s{\"exchange\":\"%s\",\"symbol\":\"%s\",\"state\":\"%s\",\"reason\":\"%s\"}",
                told++ ? "," : "", source->id, bw_segment_symbol(source->segment, book)->canonical,
                bw_state_text(source->state[book]), bw_reason_text(source->reason[book]));
        }
    }
    return put;
}

/* Every exchange, and every book that is not live. */
bool bw_status_snapshot(bw_gateway *gateway, bw_client *client, uint64_t conflated) {
    bw_queue text = {0};
    bool put = put_format(&text, 96, "{\"type\":\"snapshot\",\"channel\":\"status\",");
    if (conflated > 0)
        put = put && put_format(&text, 48, "\"conflated\":%llu,", (unsigned long long)conflated);
    put = put && put_format(&text, 32, "\"data\":{\"exchanges\":[") && put_exchanges(gateway, &text) &&
          put_format(&text, 16, "],\"books\":[") && put_books(gateway, &text) &&
          put_format(&text, 48, "],\"ts\":%lld}}", (long long)(gateway->wall_ns / 1000000));
    const uint8_t *all = text.data + text.start;
    size_t bytes = bw_queue_bytes(&text);
    uint8_t header[BW_WS_HEADER_MAX];
    size_t header_bytes = bw_ws_header(header, BW_WS_OP_TEXT, bytes, NULL);
    put = put && (client->events ? bw_events_put(client, all, bytes)
                                 : bw_queue_put(&client->out, header, header_bytes) &&
                                       bw_queue_put(&client->out, all, bytes));
    bw_queue_free(&text);
    return put;
}
