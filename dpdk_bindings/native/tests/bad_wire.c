/* A bad wire between two interfaces, both directions alike, by a seed. Runs until it is told to stop.
 *
 *   bad-wire ONE OTHER LOSS REORDER DUPLICATE DELAY_US JITTER_US SEED NS_A_BYTE
 */
#include "clock.h"
#include "impair.h"
#include "check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <linux/if_ether.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#define BURST 64

static volatile sig_atomic_t stopped;

static void stop(int signal) {
    (void)signal;
    stopped = 1;
}

static int open_interface(const char *name) {
    int descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL)), room = 16 << 20, one = 1;
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(name)};
    CHECK(descriptor >= 0 && address.sll_ifindex);
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
    setsockopt(descriptor, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one);
    struct packet_mreq all = {.mr_ifindex = address.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
    CHECK(setsockopt(descriptor, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) == 0);
    CHECK(bind(descriptor, (struct sockaddr *)&address, sizeof address) == 0);
    return descriptor;
}

static void move(int from, int to, impair_wire *wire) {
    unsigned char frame[2048];
    for (int i = 0; i < BURST; i++) {
        ssize_t bytes = recv(from, frame, sizeof frame, MSG_DONTWAIT);
        if (bytes <= 0) break;
        impair_push(wire, frame, (size_t)bytes, bw_steady_ns());
    }
    size_t bytes;
    while ((bytes = impair_pop(wire, bw_steady_ns(), frame))) {
        ssize_t sent = send(to, frame, bytes, 0);
        (void)sent; /* a full queue loses frames, as wires do */
    }
}

int main(int argc, char **argv) {
    CHECK_EQUAL(argc, 10);
    impair_spec spec = {.loss = atof(argv[3]),
                        .reorder = atof(argv[4]),
                        .duplicate = atof(argv[5]),
                        .delay_ns = atoll(argv[6]) * 1000,
                        .jitter_ns = atoll(argv[7]) * 1000,
                        .seed = (uint64_t)atoll(argv[8]),
                        .byte_ns = atoll(argv[9])};
    struct pollfd ends[2] = {{.fd = open_interface(argv[1]), .events = POLLIN},
                             {.fd = open_interface(argv[2]), .events = POLLIN}};
    impair_wire *there = impair_new(&spec);
    spec.seed++;
    impair_wire *back = impair_new(&spec);
    CHECK(there && back);
    signal(SIGTERM, stop);
    puts("ready");
    fflush(stdout);
    while (!stopped) {
        int64_t due_ns = impair_due(there) < impair_due(back) ? impair_due(there) : impair_due(back);
        int64_t wait_ns = due_ns == INT64_MAX ? 100000000 : due_ns - bw_steady_ns();
        if (wait_ns > 100000) {
            struct timespec wait = {wait_ns / 1000000000, wait_ns % 1000000000};
            ppoll(ends, 2, &wait, NULL);
        }
        move(ends[0].fd, ends[1].fd, there);
        move(ends[1].fd, ends[0].fd, back);
    }
    printf("{\"lost\": [%llu, %llu]}\n", (unsigned long long)impair_lost(there),
           (unsigned long long)impair_lost(back));
    return 0;
}
