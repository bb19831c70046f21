"""Rules of books that the further exchanges brought: bound ids, audits, checksums apart, jumps, rounding."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import orjson

from handlers._ffi import lib
from handlers.capture import Replay
from handlers.facts import Continuity, Instrument
from handlers.registry import VENUES
from handlers.shm_layout import BookState

BOUND = '{"event":"subscribed","channel":"book","chanId":%d,"symbol":"%s"}'


def levels(run: Replay, symbol: str) -> tuple[list[Any], list[Any]]:
    book = run.book(symbol)
    return book.decimals("bids"), book.decimals("asks")


def bitfinex(*symbols: str, **changes: Any) -> Replay:
    return Replay(
        replace(VENUES["bitfinex"], **changes),
        [Instrument(symbol, "A", f"B{at}", 0, 8) for at, symbol in enumerate(symbols)],
    )


def test_an_id_means_a_book_until_its_connection_ends() -> None:
    with bitfinex("tA", "tB") as run:
        run.frame(b"[5,[[10,1,1],[11,1,-1]],1]")  # before its acknowledgement
        run.frame(b"[6,[[20,1,1],[21,1,-1]],2]")
        assert run.book("tA").state is BookState.SYNCING
        run.frame((BOUND % (5, "tA")).encode())
        run.frame((BOUND % (6, "tB")).encode())
        assert levels(run, "tA")[0] == [(Decimal(10), Decimal(1))]
        assert levels(run, "tB")[0] == [(Decimal(20), Decimal(1))]
        run.disconnected()
        run.connected()
        run.frame(b"[6,[[30,1,1],[31,1,-1]],1]")
        run.frame((BOUND % (6, "tA")).encode())
        assert levels(run, "tA")[0] == [(Decimal(30), Decimal(1))]
        assert run.book("tB").state is not BookState.LIVE
        assert run.segment.stats["unknown_symbols"] == 0


def test_frames_for_ids_that_are_never_bound_are_counted_as_others_need_the_room() -> None:
    with bitfinex("tA") as run:
        for number in range(20):
            run.frame(f"[{100 + number},[[10,1,1]],{number + 1}]".encode())
        assert run.segment.stats["unknown_symbols"] == 4  # 16 wait
        run.disconnected()
        assert run.segment.stats["unknown_symbols"] == 20


def test_a_checksum_of_its_own_refutes_the_book_it_is_about() -> None:
    with bitfinex("tA") as run:
        run.frame((BOUND % (5, "tA")).encode())
        run.frame(b"[5,[[6000,1,1],[5900,3,2],[6100,1,-3],[6200,2,-4]],1]")
        run.frame(b'[5,"cs",1756193398,2]')
        assert run.book("tA").header["checksums_ok"] == 1
        assert run.book("tA").header["verifier_state"] == lib.BW_VERIFIER_OK
        run.frame(b"[5,[5900,1,2.5],3]")
        assert run.book("tA").header["verifier_state"] == lib.BW_VERIFIER_OK, (
            "an update says nothing about it"
        )
        run.frame(b'[5,"cs",1756193398,4]')
        assert run.book("tA").header["checksums_bad"] == 1
        assert run.book("tA").state is BookState.RESYNC
        assert lib.BW_EVENT_NEED_RESUBSCRIBE in {event.type for event in run.events()}


def test_a_missing_number_of_the_connection_costs_all_its_books() -> None:
    with bitfinex("tA", "tB") as run:
        for at, symbol in ((5, "tA"), (6, "tB")):
            run.frame((BOUND % (at, symbol)).encode())
        run.frame(b"[5,[[10,1,1],[11,1,-1]],1]")
        run.frame(b"[6,[[20,1,1],[21,1,-1]],2]")
        run.frame(b'[5,"hb",3]')
        run.frame(b'[6,"cs",1,5]')
        assert {run.book(symbol).state for symbol in ("tA", "tB")} == {BookState.RESYNC}


def phemex(kind: str, sequence: int, bids: list[Any], asks: list[Any]) -> bytes:
    book = {"bids": bids, "asks": asks}
    return orjson.dumps(
        {
            "orderbook_p": book,
            "depth": 0,
            "sequence": sequence,
            "symbol": "BTCUSDT",
            "timestamp": 1,
            "type": kind,
        }
    )


def test_an_audit_that_agrees_leaves_the_book_and_one_that_differs_replaces_it() -> None:
    with Replay(VENUES["phemex"], [Instrument("BTCUSDT", "BTC", "USDT", 1, 3)]) as run:
        run.frame(phemex("snapshot", 10, [["99", "1"], ["98", "2"]], [["101", "1"]]))
        run.frame(phemex("incremental", 15, [["99.5", "1"]], []))
        epoch = run.book("BTCUSDT").header["epoch"]
        run.frame(phemex("snapshot", 15, [["98", "2"], ["99.5", "1.000"], ["99", "1"]], [["101.0", "1"]]))
        book = run.book("BTCUSDT")
        assert (book.header["audits"], book.header["audit_mismatches"], book.header["epoch"]) == (1, 0, epoch)
        run.frame(phemex("incremental", 16, [["99.5", "3"]], []))
        run.frame(phemex("snapshot", 20, [["99.5", "1"]], [["101", "1"]]))
        book = run.book("BTCUSDT")
        assert (book.header["audits"], book.header["audit_mismatches"], book.header["epoch"]) == (
            2,
            1,
            epoch + 1,
        )
        assert (book.state, book.decimals("bids")) == (BookState.LIVE, [(Decimal("99.5"), Decimal(1))])
        run.frame(phemex("incremental", 19, [["1", "1"]], []))
        assert run.book("BTCUSDT").state is BookState.RESYNC, "out of order"


def bingx(action: str, number: int, bids: Any, asks: Any) -> bytes:
    data = {"action": action, "lastUpdateId": number, "bids": bids, "asks": asks}
    return orjson.dumps({"code": 0, "dataType": "BTC-USDT@incrDepth", "data": data})


def test_jumps_are_taken_and_counted_and_what_comes_late_is_a_gap() -> None:
    venue = replace(VENUES["bingx"], continuity=Continuity.JUMPS)
    with Replay(venue, [Instrument("BTC-USDT", "BTC", "USDT", 2, 6)]) as run:
        run.frame(bingx("all", 10, {"99": "1"}, [["101", "1"]]))
        run.frame(bingx("update", 11, {}, {"101": "2"}))
        run.frame(bingx("update", 14, {"98": "1"}, {}))
        assert (run.book("BTC-USDT").state, run.book("BTC-USDT").header["jumps"]) == (BookState.LIVE, 1)
        run.frame(bingx("update", 14, {"97": "1"}, {}))
        assert run.book("BTC-USDT").header["duplicates"] == 1
        run.frame(bingx("update", 12, {"97": "1"}, {}))
        assert run.book("BTC-USDT").state is BookState.RESYNC


def test_noise_is_rounded_to_what_fits_beside_the_largest_quantity_and_counted() -> None:
    with Replay(VENUES["bingx"], [Instrument("BTC-USDT", "BTC", "USDT", 2, 6)]) as run:
        run.frame(bingx("all", 10, {"99": "250000000", "98": "0.1"}, {"101": "1"}))
        run.frame(bingx("update", 11, {"97": "0.12345678901250000", "96": "0.000000000000000004"}, {}))
        book = run.book("BTC-USDT")
        held = dict(book.decimals("bids"))
        assert held[Decimal(99)] == Decimal(250000000)
        assert held[Decimal(97)] == Decimal("0.1234567890")
        assert held[Decimal(96)] == Decimal("1e-10"), "never rounded to nothing: that would delete"
        assert (book.state, book.header["rounded"], book.quantity_exponent) == (BookState.LIVE, 2, 10)
        assert run.segment.stats["decode_failures"] == 0
