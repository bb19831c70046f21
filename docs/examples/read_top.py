"""The best levels of every book, with nothing but the standard library: read_top.py SEGMENT

The offsets are those of docs/shared-memory.md; the same lines work in any language that can map a file.
"""

import mmap
import struct
import sys

with open(sys.argv[1], "rb") as file:
    memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def at(form, offset):
    return struct.unpack_from("<" + form, memory, offset)


assert memory[:8] == b"BOOKWIRE"
assert at("I", 8) == (1,), "another layout version"
symbol_offset, book_offset = at("QQ", 72)
(book_count,) = at("I", 140)

for index in range(book_count):
    name = memory[symbol_offset + index * 128 :][:32].rstrip(b"\0").decode()
    start = book_offset + index * 512
    for _ in range(10_000):
        (before,) = at("Q", start)
        copy = memory[start : start + 512]
        if before % 2 == 0 and at("Q", start) == (before,):
            break
    else:
        print(name, "the writer is gone or busy: treat as DOWN")
        continue
    state, price_exponent, quantity_exponent = struct.unpack_from("<I4xBB", copy, 28)
    counts = struct.unpack_from("<II", copy, 40)
    print(name, "state", state, end="")
    for side, count in enumerate(counts):
        if count:
            price, quantity = struct.unpack_from("<qq", copy, 128 + side * 96)
            print(
                "", ("bid", "ask")[side], price / 10**price_exponent, quantity / 10**quantity_exponent, end=""
            )
    print()
