#!/bin/sh
# make_fuzz.sh DIR: builds fuzz_plan into DIR with libFuzzer, ASan and UBSan (clang 14 or later), and makes the seeds
# DIR/seeds. Then: DIR/fuzz_plan -max_len=65000 -max_total_time=600 DIR/corpus DIR/seeds
set -e
mkdir -p "$1"
out=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
clang=${CLANG:-clang-14}
flags="-g -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -std=gnu17"
flags="$flags -D_GNU_SOURCE -DBW_BOOK_VARIANTS -I. -I../../dpdk_bindings/native"
avx2="-mavx2 -mbmi -mbmi2 -mlzcnt"
avx512="$avx2 -mpopcnt -mavx512f -mavx512bw -mavx512vl -mavx512vbmi"
rm -f "$out"/*.o
for source in bell book book_batch book_set book_store checksum checksum_joined control crc32 decode decode_protobuf \
    decode_walk engine engine_apply engine_fit engine_life engine_names engine_prove engine_rehearse engine_repair \
    number pending \
    plan plan_levels shm_copy shm_create shm_reader shm_writer sync fuzz/fuzz_plan \
    ../../dpdk_bindings/native/clock; do
    $clang $flags -c "$source.c" -o "$out/$(basename "$source").o"
done
$clang $flags $avx2 -DBW_WALK=bw_decode_walk_avx2 -c decode_walk.c -o "$out/decode_walk_avx2.o"
$clang $flags $avx512 -DBW_WALK=bw_decode_walk_avx512 -c decode_walk.c -o "$out/decode_walk_avx512.o"
for source in book_batch book_set; do
    $clang $flags $avx2 -DBW_BOOK_SET=bw_book_set_avx2 -DBW_BOOK_SET_MANY=bw_book_set_many_avx2 \
        -c $source.c -o "$out/${source}_avx2.o"
    $clang $flags $avx512 -DBW_BOOK_SET=bw_book_set_avx512 -DBW_BOOK_SET_MANY=bw_book_set_many_avx512 \
        -c $source.c -o "$out/${source}_avx512.o"
done
$clang -fsanitize=fuzzer,address,undefined "$out"/*.o -lz -lpthread -o "$out/fuzz_plan"
cd ../..
mkdir -p "$out/corpus"
"${PYTHON:-python3}" -m bench.fuzz_seeds "$out/seeds"
