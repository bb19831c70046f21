/* packet_check.h and neighbours.h: each reason to drop is reached, each good frame passes, IPv4 and IPv6. */
#include "frame.h"
#include "frames.h"
#include "inet_sum.h"
#include "neighbours.h"
#include "packet_check.h"
#include "check.h"

#include <string.h>

static const uint8_t our_mac[6] = {2, 0, 0, 0, 0, 1}, peer_mac[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t our_four[16] = {10, 9, 0, 2}, peer_four[16] = {10, 9, 0, 1};
static const uint8_t our_six[16] = {0xfd, [15] = 2}, peer_six[16] = {0xfd, [15] = 1};
static bw_identity identity;
static uint8_t frame[BW_FRAME_BYTES_MAX + 64];
static bw_packet packet;
static bool reached[BW_DROP_COUNT];

static frame_path path(bool six) {
    frame_path p = {.from_port = 443, .to_port = 40000, .six = six};
    memcpy(p.from_mac, peer_mac, 6);
    memcpy(p.to_mac, our_mac, 6);
    memcpy(p.from, six ? peer_six : peer_four, 16);
    memcpy(p.to, six ? our_six : our_four, 16);
    return p;
}

static size_t tcp(bool six, uint8_t flags, const void *options, size_t option_bytes, const char *data) {
    frame_path p = path(six);
    frame_tcp t = {.sequence = 1,
                   .acknowledged = 2,
                   .flags = flags,
                   .window = 100,
                   .options = options,
                   .option_bytes = option_bytes,
                   .data = data,
                   .bytes = strlen(data)};
    return frame_make_tcp(&p, &t, frame);
}

static void expect(size_t bytes, uint32_t flags, enum bw_drop drop, int line) {
    enum bw_drop got = bw_packet_check(&identity, frame, bytes, flags, &packet);
    reached[got] = true;
    if (got == drop) return;
    fprintf(stderr, "%s:%d: got %s, expected %s\n", __FILE__, line, bw_drop_name(got), bw_drop_name(drop));
    exit(1);
}
#define EXPECT(bytes, drop) expect(bytes, 0, BW_DROP_##drop, __LINE__)
#define EXPECT_NONE(bytes) expect(bytes, 0, BW_DROP_NONE, __LINE__)

static size_t icmp(bool six, uint8_t type, uint8_t code, const void *rest, size_t bytes, uint8_t hop_limit) {
    uint8_t message[256] = {type, code};
    frame_path p = path(six);
    if (bytes) memcpy(message + 4, rest, bytes);
    return frame_make_icmp(&p, message, 4 + bytes, hop_limit, frame);
}

static void good_frames(void) {
    static const uint8_t padding[30];
    for (int six = 0; six < 2; six++) {
        size_t bytes = tcp(six, FRAME_ACK, NULL, 0, "hello");
        EXPECT_NONE(bytes);
        CHECK_EQUAL(packet.kind, BW_PACKET_TCP);
        CHECK_EQUAL(packet.end - packet.payload, 5);
        memcpy(frame + bytes, padding, sizeof padding); /* Ethernet's padding is not the packet's */
        EXPECT_NONE(bytes + sizeof padding);
        CHECK_EQUAL(packet.end, bytes);
        EXPECT_NONE(icmp(six, six ? 128 : 8, 0, "\0\1\0\1pingpong", 12, 64));
        CHECK_EQUAL(packet.kind, BW_PACKET_ECHO);
    }
    EXPECT_NONE(frame_make_arp(1, peer_mac, peer_four, (const uint8_t[6]){0}, our_four, frame));
    EXPECT_NONE(frame_make_arp(2, peer_mac, peer_four, our_mac, our_four, frame));
    EXPECT_NONE(icmp(false, 3, 4, "\0\0\5\0quoted packet of twenty-eight", 33, 64));
    CHECK_EQUAL(packet.kind, BW_PACKET_MTU);
}

static void bad_ethernet(void) {
    size_t bytes = tcp(false, FRAME_ACK, NULL, 0, "x");
    EXPECT(13, frame_short);
    expect(bytes, BW_FRAME_SEGMENTED, BW_DROP_frame_segmented, __LINE__);
    frame[5] ^= 1;
    EXPECT(bytes, frame_not_ours);
    memset(frame, 0xff, 6); /* IP by Ethernet broadcast (RFC 1122 3.3.6) */
    EXPECT(bytes, frame_not_ours);
    bytes = tcp(false, FRAME_ACK, NULL, 0, "x");
    frame[6] |= 1;
    EXPECT(bytes, frame_source);
    bytes = tcp(false, FRAME_ACK, NULL, 0, "x");
    frame_put16(frame + 12, 0x8100);
    EXPECT(bytes, frame_type);
}

static void bad_four(void) {
    size_t bytes;
#define BENT(statement, drop)                                                                                \
    bytes = tcp(false, FRAME_ACK, NULL, 0, "hello");                                                         \
    statement;                                                                                               \
    EXPECT(bytes, drop)
    uint8_t *ip = frame + 14;
    BENT(ip[0] = 0x65, ip_bad);
    BENT(ip[0] = 0x44, ip_bad);
    BENT(frame_put16(ip + 2, 19), ip_bad);
    BENT(frame_put16(ip + 2, 47), ip_bad);
    BENT(bytes -= 1, ip_bad);
    BENT(ip[8]--, ip_checksum);
    BENT(ip[6] = 0x20; frame_sum(frame, bytes), ip_fragment);
    BENT(ip[7] = 1; frame_sum(frame, bytes), ip_fragment);
    BENT(ip[12] = 127; frame_sum(frame, bytes), ip_source);
    BENT(ip[12] = 224; frame_sum(frame, bytes), ip_source);
    BENT(memcpy(ip + 12, our_four, 4); frame_sum(frame, bytes), ip_source);
    BENT(ip[19]++; frame_sum(frame, bytes), ip_not_ours);
    BENT(ip[9] = 17; frame_sum(frame, bytes), ip_protocol);
    bytes = tcp(false, FRAME_ACK, NULL, 0, "hello");
    memmove(ip + 24, ip + 20, bytes - 34);
    memset(ip + 20, 1, 4);
    ip[0] = 0x46;
    frame_put16(ip + 2, (unsigned)(bytes - 10));
    frame_sum(frame, bytes + 4);
    EXPECT(bytes + 4, ip_options);
}

static void bad_six(void) {
    size_t bytes;
    uint8_t *ip = frame + 14;
#undef BENT
#define BENT(statement, drop)                                                                                \
    bytes = tcp(true, FRAME_ACK, NULL, 0, "hello");                                                          \
    statement;                                                                                               \
    EXPECT(bytes, drop)
    BENT(ip[0] = 0x40, ip_bad);
    BENT(frame_put16(ip + 4, 26), ip_bad);
    BENT(bytes = 53, ip_bad);
    BENT(ip[6] = 44, ip_fragment);
    BENT(ip[6] = 43, ip_options);
    BENT(ip[6] = 17, ip_protocol);
    BENT(ip[8] = 0xff, ip_source);
    BENT(memcpy(ip + 8, our_six, 16), ip_source);
    BENT(ip[39]++, ip_not_ours);
    BENT(ip[39]++; ip[6] = 0, ip_not_ours);
    EXPECT(icmp(true, 134, 0, "router advertisement", 20, 255), nd_router);
    EXPECT(icmp(true, 137, 0, "redirect of some length and more", 32, 255), icmp_redirect);
    EXPECT(icmp(true, 1, 0, "\0\0\0\0quoted", 10, 64), icmp_error);
    EXPECT(icmp(true, 129, 0, "\0\1\0\1", 4, 64), icmp_type);
    EXPECT_NONE(icmp(true, 2, 0, "\0\0\5\0quoted", 10, 64));
}

static void bad_neighbours(void) {
    uint8_t rest[28] = {0};
    memcpy(rest + 4, our_six, 16);
    memcpy(rest + 20, "\1\1\2\0\0\0\0\2", 8);
    EXPECT_NONE(icmp(true, 135, 0, rest, 28, 255));
    CHECK_EQUAL(packet.kind, BW_PACKET_NEIGHBOUR);
    EXPECT(icmp(true, 135, 0, rest, 28, 254), nd_bad);
    EXPECT(icmp(true, 135, 1, rest, 28, 255), nd_bad);
    EXPECT(icmp(true, 135, 0, rest, 19, 255), nd_bad);
    EXPECT(icmp(true, 135, 0, rest, 26, 255), nd_bad);
    rest[21] = 0; /* an option of no length: others have looped for ever on it */
    EXPECT(icmp(true, 135, 0, rest, 28, 255), nd_bad);
    rest[21] = 1;
    rest[20] = 2;
    EXPECT(icmp(true, 135, 0, rest, 28, 255), nd_bad);
    EXPECT_NONE(icmp(true, 136, 0, rest, 28, 255));
    rest[4] = 0xff;
    EXPECT(icmp(true, 136, 0, rest, 28, 255), nd_bad);
}

static void bad_arp(void) {
    static const uint8_t nobody[6];
    size_t bytes = frame_make_arp(1, peer_mac, peer_four, nobody, our_four, frame);
    EXPECT(41, arp_bad);
    frame[14 + 4] = 8;
    EXPECT(bytes, arp_bad);
    bytes = frame_make_arp(3, peer_mac, peer_four, nobody, our_four, frame);
    EXPECT(bytes, arp_bad);
    bytes = frame_make_arp(1, peer_mac, our_four, nobody, our_four, frame);
    EXPECT(bytes, arp_conflict);
    bytes = frame_make_arp(1, peer_mac, peer_four, nobody, (const uint8_t[4]){10, 9, 0, 77}, frame);
    EXPECT(bytes, arp_not_ours);
}

static void bad_icmp_and_tcp(void) {
    size_t bytes = icmp(false, 8, 0, "\0\1\0\1", 4, 64);
    frame[bytes - 1]++;
    EXPECT(bytes, icmp_checksum);
    EXPECT(icmp(false, 8, 0, "\0\1", 2, 64), icmp_bad);
    EXPECT(icmp(false, 5, 0, "\12\11\0\1quoted", 10, 64), icmp_redirect);
    EXPECT(icmp(false, 3, 1, "\0\0\0\0quoted", 10, 64), icmp_error);
    EXPECT(icmp(false, 0, 0, "\0\1\0\1", 4, 64), icmp_type);
    for (int six = 0; six < 2; six++) {
        uint8_t *at = frame + (six ? 54 : 34);
        bytes = tcp(six, FRAME_ACK, NULL, 0, "hello");
        frame[bytes - 1] ^= 1;
        EXPECT(bytes, tcp_checksum);
        expect(bytes, BW_FRAME_L4_SUM_GOOD, BW_DROP_NONE, __LINE__); /* the device's word counts */
        bytes = tcp(six, FRAME_ACK, NULL, 0, "hello");
        expect(bytes, BW_FRAME_L4_SUM_BAD, BW_DROP_tcp_checksum, __LINE__);
        at[12] = 0x40;
        EXPECT(bytes, tcp_bad);
        at[12] = 0xf0;
        EXPECT(bytes, tcp_bad);
        EXPECT(tcp(six, 0, NULL, 0, ""), tcp_flags);
        EXPECT(tcp(six, FRAME_SYN | FRAME_FIN | FRAME_ACK, NULL, 0, ""), tcp_flags);
        EXPECT(tcp(six, FRAME_SYN | FRAME_RST, NULL, 0, ""), tcp_flags);
        EXPECT(tcp(six, FRAME_SYN, NULL, 0, ""), tcp_syn_unasked);
        EXPECT(tcp(six, FRAME_SYN | FRAME_ACK, "\2\4\0\57", 4, ""), tcp_mss);
        EXPECT_NONE(tcp(six, FRAME_SYN | FRAME_ACK, "\2\4\0\60", 4, ""));
    }
}

static void options(void) {
    static const struct {
        const char *bytes;
        bool good;
    } cases[] = {
        {"\1\1\1\1", true},
        {"\0\377\377\377", true},
        {"\10\12\0\0\0\1\0\0\0\2\1\1", true},
        {"\1\1\1\2", false},
        {"\2\3\1\1", false},
        {"\2\1\5\264", false},
        {"\3\0\1\1", false},
        {"\3\4\1\1", false},
        {"\10\11\0\0\0\1\0\0\0\2\1\1", false},
        {"\1\1\5\10", false},
        {"\5\12\0\0\0\1\0\0\0\2\1\1", true},
        {"\5\13\0\0\0\1\0\0\0\2\1\1", false},
        {"\376\4\1\2", true},
        {"\376\5\1\2", false},
        {"\375\1\1\1", false},
    };
    static const size_t sizes[] = {4, 4, 12, 4, 4, 4, 4, 4, 12, 4, 12, 12, 4, 4, 4};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t bytes = tcp(false, FRAME_ACK, cases[i].bytes, sizes[i], "x");
        expect(bytes, 0, cases[i].good ? BW_DROP_NONE : BW_DROP_tcp_options, __LINE__ * 100 + (int)i);
    }
    /* an MSS outside of a SYN is blanked: lwIP would take it */
    EXPECT_NONE(tcp(false, FRAME_ACK, "\2\4\0\100", 4, "x"));
    CHECK(memcmp(frame + 54, "\1\1\1\1", 4) == 0);
    EXPECT_NONE(tcp(false, FRAME_SYN | FRAME_ACK, "\2\4\5\264", 4, ""));
    CHECK(memcmp(frame + 54, "\2\4\5\264", 4) == 0);
}

static void neighbours(void) {
    bw_asked asked = {0};
    uint8_t answer[BW_ANSWER_BYTES_MAX], question[BW_ANSWER_BYTES_MAX], rest[28] = {0};
    static const uint8_t nobody[6];
    CHECK(!bw_asked_take(&asked, peer_four, false, 1));
    size_t bytes = frame_make_arp(1, our_mac, our_four, nobody, peer_four, question);
    bw_asked_note_frame(&asked, question, bytes, 1);
    CHECK(!bw_asked_take(&asked, our_four, false, 2));
    CHECK(bw_asked_take(&asked, peer_four, false, 2));
    CHECK(!bw_asked_take(&asked, peer_four, false, 3)); /* used up */
    bw_asked_note_frame(&asked, question, bytes, 4);
    CHECK(!bw_asked_take(&asked, peer_four, false, INT64_C(3000000005))); /* too late */
    EXPECT_NONE(frame_make_arp(1, peer_mac, peer_four, nobody, our_four, frame));
    CHECK_EQUAL(bw_neighbour_answer(&identity, frame, &packet, answer), 42);
    frame_make_arp(2, our_mac, our_four, peer_mac, peer_four, question);
    CHECK(memcmp(answer, question, 42) == 0);
    EXPECT_NONE(frame_make_arp(1, peer_mac, peer_four, nobody, peer_four, frame)); /* announces itself */
    CHECK_EQUAL(bw_neighbour_answer(&identity, frame, &packet, answer), 0);
    memcpy(rest + 4, our_six, 16);
    memcpy(rest + 20, "\1\1\2\0\0\0\0\2", 8);
    EXPECT_NONE(icmp(true, 135, 0, rest, 28, 255));
    CHECK_EQUAL(bw_neighbour_answer(&identity, frame, &packet, answer), 86);
    CHECK(memcmp(answer + 54 + 8, our_six, 16) == 0 && memcmp(answer + 54 + 26, our_mac, 6) == 0);
    memcpy(question, answer, 86);
    frame_sum(question, 86);
    CHECK(memcmp(answer, question, 86) == 0); /* its checksum is right */
    bw_asked_note_frame(&asked, frame, 86, 10);
    CHECK(bw_asked_take(&asked, our_six, true, 11));
}

static void sums(void) {
    uint8_t data[300];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 37 + 255);
    for (size_t begin = 0; begin < 8; begin++) {
        for (size_t bytes = 0; begin + bytes <= sizeof data; bytes++) {
            uint32_t sum = 0;
            for (size_t i = 0; i < bytes; i++)
                sum += i & 1 ? data[begin + i] : (uint32_t)data[begin + i] << 8;
            while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
            uint16_t got = bw_inet_fold(bw_inet_sum(data + begin, bytes));
            CHECK_EQUAL(frame_get16((const uint8_t *)&got), sum);
        }
    }
}

int main(void) {
    memcpy(identity.mac, our_mac, 6);
    identity.four_count = identity.six_count = 1;
    memcpy(identity.four, our_four, 4);
    memcpy(identity.six[0], our_six, 16);
    sums();
    good_frames();
    bad_ethernet();
    bad_four();
    bad_six();
    bad_neighbours();
    bad_arp();
    bad_icmp_and_tcp();
    options();
    neighbours();
    static const enum bw_drop of_the_stack[] = {
        BW_DROP_arp_unasked, BW_DROP_icmp_limit,    BW_DROP_icmp_mtu_unproven,
        BW_DROP_nd_unasked,  BW_DROP_tcp_unknown,   BW_DROP_tcp_old_timestamp,
        BW_DROP_tcp_bad_ack, BW_DROP_tcp_bad_reset, BW_DROP_tcp_bad_syn,
        BW_DROP_tcp_duplicate, BW_DROP_tcp_pieces,    BW_DROP_tcp_limit};
    for (size_t i = 0; i < sizeof of_the_stack / sizeof *of_the_stack; i++) reached[of_the_stack[i]] = true;
    for (int drop = 0; drop < BW_DROP_COUNT; drop++) {
        if (!reached[drop]) fprintf(stderr, "never dropped for %s\n", bw_drop_name((enum bw_drop)drop));
        CHECK(reached[drop]);
    }
    return 0;
}
