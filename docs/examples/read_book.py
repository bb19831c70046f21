"""Prints a book of an exchange's shared memory, then follows it: read_book.py SEGMENT SYMBOL [RECORDS]"""

import sys
import time

from handlers.shm import OverrunError, Segment
from handlers.shm_layout import RecordType

path, symbol = sys.argv[1:3]
wanted = int(sys.argv[3]) if len(sys.argv) > 3 else 10

with Segment.open(path) as segment:
    index = segment.index(symbol)
    book, position = segment.book_at(symbol)
    print("book", symbol, "sequence", book.sequence, "state", book.state.name)
    print("best bid", *book.decimals("bids")[0], "best ask", *book.decimals("asks")[0])
    ring = segment.records(position)
    while wanted > 0 and segment.alive():
        try:
            for record in ring:
                if record.book != index or record.sequence <= book.sequence:
                    continue
                bids, asks = len(record.bids), len(record.asks)
                print("record", record.type.name, record.sequence, bids, "bids", asks, "asks")
                for side, changes in (("bids", record.bids), ("asks", record.asks)):
                    for level in changes.tolist():  # price, quantity, orders as mantissas; quantity 0: gone
                        print(" ", side, *level[:2])
                wanted -= 1
                if wanted == 0:
                    break
                if record.type is RecordType.RESET:
                    raise OverrunError("replaced or rescaled")
        except OverrunError:
            book, position = segment.book_at(symbol)
            ring = segment.records(position)
        time.sleep(0.001)
