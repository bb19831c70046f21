#!/bin/sh
# make_fuzz.sh DIR: builds fuzz_stack into DIR with libFuzzer, ASan and UBSan (clang 14 or later).
set -e
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/../bypass"
lwip=../../../subprojects/lwip-2.2.1/src
clang=${CLANG:-clang-14}
flags="-g -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -std=gnu17 -D_GNU_SOURCE"
flags="$flags -I. -I.. -I../tests -Ilwip -isystem $lwip/include"
for source in $lwip/core/[!a]*.c $lwip/core/ipv4/*.c $lwip/core/ipv6/*.c $lwip/netif/ethernet.c; do
    $clang $flags -w -fno-sanitize=shift,alignment -c "$source" -o "$out/lwip_$(basename "$source" .c).o"
done
$clang $flags -Wno-gnu -fno-sanitize=alignment -fsanitize=fuzzer stack*.c packet_check.c neighbours.c inet_sum.c \
    ../tests/fuzz_stack.c ../tests/frames.c ../tests/impair.c ../tests/memory_device.c ../tests/tcp_peer.c "$out"/lwip_*.o -o "$out/fuzz_stack"
