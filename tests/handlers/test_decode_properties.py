"""The native decoder against json.loads and Decimal, on frames no venue would send but JSON allows."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers._ffi import ffi, lib
from handlers.plan import Plan
from handlers.registry import VENUES

PADDING = 64
Pairs = list[tuple[Decimal, Decimal]]


class Decoder:
    """One variant of the decoder with a venue's plan."""

    def __init__(self, venue: str, variant: str) -> None:
        self.plan = Plan(VENUES[venue])
        before = os.environ.get("BOOKWIRE_DECODER", "")
        os.environ["BOOKWIRE_DECODER"] = variant
        self.decoder = lib.bw_decoder_new(self.plan.handle, 4096)
        os.environ["BOOKWIRE_DECODER"] = before

    def decode(self, frame: str | bytes) -> list[tuple[Pairs, Pairs]] | None:
        """Bids and asks of each item, None for a broken frame."""
        raw = frame.encode() if isinstance(frame, str) else frame
        text = ffi.new("char[]", raw + b'"' * PADDING)
        if not lib.bw_decode(self.decoder, text, len(raw)):
            return None
        rows = [lib.bw_decoder_item(self.decoder, i) for i in range(lib.bw_decoder_items(self.decoder))]
        return [(self._levels(row, 0), self._levels(row, 1)) for row in rows]

    def _levels(self, item: Any, side: int) -> Pairs:
        assert item.fault == ffi.NULL, ffi.string(item.fault)
        levels = lib.bw_decoder_levels(self.decoder, side)
        first = item.level_first[side]
        return [
            (
                Decimal(levels[i].price).scaleb(-levels[i].price_decimals),
                Decimal(levels[i].quantity).scaleb(-levels[i].quantity_decimals),
            )
            for i in range(first, first + item.level_count[side])
        ]

    def close(self) -> None:
        lib.bw_decoder_free(self.decoder)
        self.plan.close()


USED = ("binance", "kraken", "coinbase", "okx", "upbit", "mexc", "bitfinex", "bingx")


@pytest.fixture(scope="module", params=["", "avx2", "portable"])
def decoders(request: pytest.FixtureRequest) -> Iterator[dict[str, Decoder]]:
    made = {venue: Decoder(venue, request.param) for venue in USED}
    yield made
    for decoder in made.values():
        decoder.close()


@st.composite
def numbers(draw: st.DrawFn) -> str:
    """A decimal as exchanges write them: padded or not, small or large, with an exponent at times."""
    whole = draw(st.one_of(st.integers(0, 9), st.integers(0, 10**6), st.integers(0, 10**9)))
    places = draw(st.integers(0, 9))
    fraction = "".join(draw(st.lists(st.sampled_from("0123456789"), min_size=places, max_size=places)))
    exponent = draw(st.sampled_from(["", "", "", "", "e-2", "E+1", "e0"]))
    return f"{whole}{'.' if fraction else ''}{fraction}{exponent}"


pairs = st.lists(st.tuples(numbers(), numbers()), max_size=12)
sided = st.tuples(st.sampled_from(["bid", "offer"]), numbers(), numbers())
strings = st.text(st.characters(exclude_characters="#", exclude_categories=["Cs"]), max_size=40)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), strings),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(strings, inner, max_size=4)),
    max_leaves=12,
)


@st.composite
def spellings(draw: st.DrawFn) -> tuple[str, str, bool]:
    """Separators and whether what is not ASCII is escaped."""
    before, behind = draw(st.sampled_from(["", "", " ", "\n"])), draw(st.sampled_from(["", " ", "\t  "]))
    return before + "," + behind, before + ":" + behind, draw(st.booleans())


def spell(value: Any, how: tuple[str, str, bool]) -> str:
    comma, colon, ascii_only = how
    return json.dumps(value, separators=(comma, colon), ensure_ascii=ascii_only)


def exact(rows: list[tuple[str, str]]) -> Pairs:
    return [(Decimal(price), Decimal(quantity)) for price, quantity in rows]


def shuffled(draw: Callable[..., Any], members: dict[str, Any]) -> dict[str, Any]:
    """The members in any order, with strangers between them."""
    extra = draw(st.dictionaries(strings, anything, max_size=3))
    everything = {**{k: v for k, v in extra.items() if k not in RESERVED}, **members}
    return {key: everything[key] for key in draw(st.permutations(sorted(everything)))}


RESERVED = {"data", "b", "a", "e", "s", "u", "U", "E", "bids", "asks", "lastUpdateId", "id", "code", "error",
            "channel", "type", "symbol", "checksum", "timestamp", "method", "events", "updates", "product_id",
            "sequence_num", "arg", "action", "event", "instId", "ts", "seqId", "prevSeqId", "price", "qty",
            "side", "price_level", "new_quantity", "orderbook_units", "dataType"}  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(data=st.data(), bids=pairs, asks=pairs, how=spellings())
def test_lists_of_strings(
    decoders: dict[str, Decoder], data: st.DataObject, bids: Any, asks: Any, how: Any
) -> None:
    book = shuffled(data.draw, {"e": "depthUpdate", "s": "BTCUSDT", "u": 7, "U": 5, "b": bids, "a": asks})
    frame = spell(shuffled(data.draw, {"data": book}), how)
    assert decoders["binance"].decode(frame) == [(exact(bids), exact(asks))]


@settings(max_examples=80, deadline=None)
@given(data=st.data(), bids=pairs, asks=pairs, how=spellings())
def test_objects_of_numbers(
    decoders: dict[str, Decoder], data: st.DataObject, bids: Any, asks: Any, how: Any
) -> None:
    def side(rows: Any) -> list[Any]:
        order = data.draw(st.booleans())
        keys = ("price", "qty") if order else ("qty", "price")
        named = [{"price": f"#{price}#", "qty": f"#{quantity}#"} for price, quantity in rows]
        return [shuffled(data.draw, {}) | {key: row[key] for key in keys} for row in named]

    item = shuffled(data.draw, {"symbol": "BTC/USD", "bids": side(bids), "asks": side(asks), "checksum": 1})
    frame = spell(shuffled(data.draw, {"channel": "book", "type": "update", "data": [item]}), how)
    frame = frame.replace('"#', "").replace('#"', "")
    assert decoders["kraken"].decode(frame) == [(exact(bids), exact(asks))]


@settings(max_examples=80, deadline=None)
@given(data=st.data(), items=st.lists(st.lists(sided, max_size=8), max_size=4), how=spellings())
def test_sides_by_field(decoders: dict[str, Decoder], data: st.DataObject, items: Any, how: Any) -> None:
    events = [
        shuffled(data.draw, {
            "type": "update", "product_id": "BTC-USD",
            "updates": [
                {"side": side, "event_time": "x", "price_level": price, "new_quantity": quantity}
                for side, price, quantity in rows
            ],
        })
        for rows in items
    ]  # fmt: skip
    frame = spell(shuffled(data.draw, {"channel": "l2_data", "sequence_num": 3, "events": events}), how)
    wanted = [
        tuple(exact([row[1:] for row in rows if row[0] == side]) for side in ("bid", "offer"))
        for rows in items
    ]
    assert decoders["coinbase"].decode(frame) == (wanted or [([], [])])


def bare(value: Any, how: Any) -> str:
    """Texts between # become JSON numbers."""
    return spell(value, how).replace('"#', "").replace('#"', "")


@settings(max_examples=80, deadline=None)
@given(data=st.data(), bids=pairs, asks=pairs, how=spellings())
def test_a_bid_and_an_ask_in_one_element(
    decoders: dict[str, Decoder], data: st.DataObject, bids: Any, asks: Any, how: Any
) -> None:
    """The shorter side is padded with a price of 0, which is no level."""
    empty = ("0", "0")
    units = []
    for at in range(max(len(bids), len(asks))):
        bid, ask = (rows[at] if at < len(rows) else empty for rows in (bids, asks))
        names = ("bid_price", "bid_size", "ask_price", "ask_size")
        unit = dict(zip(names, (f"#{text}#" for text in (*bid, *ask)), strict=True))
        units.append({name: unit[name] for name in data.draw(st.permutations(names))})
    frame = bare(shuffled(data.draw, {"type": "orderbook", "code": "KRW-BTC", "orderbook_units": units}), how)
    wanted = tuple([row for row in exact(rows) if row[0]] for rows in (bids, asks))
    assert decoders["upbit"].decode(frame) == [wanted]


@settings(max_examples=80, deadline=None)
@given(bids=pairs, asks=pairs, how=spellings(), single=st.booleans())
def test_the_sign_is_the_side(
    decoders: dict[str, Decoder], bids: Any, asks: Any, how: Any, single: bool
) -> None:
    """A count of 0 deletes; a list of one level may stand for the level itself."""
    rows = [(price, 3, quantity) for price, quantity in bids]
    rows += [(price, 0, "-" + quantity) for price, quantity in asks if Decimal(quantity)]
    spelt = [[f"#{price}#", count, f"#{quantity}#"] for price, count, quantity in rows]
    payload = spelt[0] if single and len(spelt) == 1 else spelt
    asked = [(Decimal(price), Decimal(0)) for price, _, quantity in rows if quantity.startswith("-")]
    assert decoders["bitfinex"].decode(bare([17082, payload, 5], how)) == [(exact(bids), asked)]


@settings(max_examples=80, deadline=None)
@given(data=st.data(), bids=pairs, asks=pairs, how=spellings())
def test_objects_of_prices(
    decoders: dict[str, Decoder], data: st.DataObject, bids: Any, asks: Any, how: Any
) -> None:
    by_price = {price: data.draw(st.sampled_from([quantity, f"#{quantity}#"])) for price, quantity in bids}
    book = shuffled(data.draw, {"action": "update", "lastUpdateId": 3, "bids": by_price, "asks": asks})
    frame = bare(shuffled(data.draw, {"dataType": "BTC-USDT@incrDepth", "data": book}), how)
    wanted = exact([(price, str(quantity).strip("#")) for price, quantity in by_price.items()])
    assert decoders["bingx"].decode(frame) == [(wanted, exact(asks))]


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


strange = st.one_of(
    st.tuples(st.integers(20, 300), st.integers(0, 2**64 - 1)).map(lambda one: field(*one)),
    st.tuples(st.integers(20, 300), st.binary(max_size=40)).map(lambda one: field(*one)),
    st.binary(min_size=8, max_size=8).map(lambda eight: varint(99 << 3 | 1) + eight),
    st.binary(min_size=4, max_size=4).map(lambda four: varint(98 << 3 | 5) + four),
)


@settings(max_examples=120, deadline=None)
@given(data=st.data(), bids=pairs, asks=pairs, more=st.lists(strange, max_size=4), how=spellings())
def test_protobuf_and_json_of_one_plan_say_the_same(
    decoders: dict[str, Decoder], data: st.DataObject, bids: Any, asks: Any, more: list[bytes], how: Any
) -> None:
    """Fields in any order between strangers; levels keep their own order within a side."""

    def level(row: tuple[str, str]) -> bytes:
        parts = [field(1, row[0].encode()), field(2, row[1].encode()), *more[:1]]
        return b"".join(data.draw(st.permutations(parts)))

    sides = [[field(2, level(row)) for row in bids], [field(1, level(row)) for row in asks]]
    others = [field(4, b"41"), field(5, b"42"), *more]
    body = b"".join(b"".join(part) for part in data.draw(st.permutations([*sides, others])))
    wrapper = [field(1, b"spot@x"), field(3, b"BTCUSDT"), field(6, 1754741322152), field(313, body), *more]
    frame = b"".join(data.draw(st.permutations(wrapper)))
    wanted = [(exact(bids), exact(asks))]
    assert decoders["mexc"].decode(frame) == wanted
    named = [[{"price": price, "quantity": quantity} for price, quantity in rows] for rows in (bids, asks)]
    depths = {"bids": named[0], "asks": named[1], "fromVersion": "41", "toVersion": "42"}
    text = spell({"channel": "spot@x", "symbol": "BTCUSDT", "publicAggreDepths": depths}, how).lstrip()
    assert decoders["mexc"].decode(text) == wanted
    for cut in range(0, len(frame), 1 + len(frame) // 40):
        decoders["mexc"].decode(frame[:cut])


@settings(max_examples=100, deadline=None)
@given(frame=st.one_of(anything.map(json.dumps), st.text(max_size=80)), cut=st.integers(0, 200))
def test_what_json_refuses_is_refused(decoders: dict[str, Decoder], frame: str, cut: int) -> None:
    """Cut anywhere: whatever is no JSON object for Python is none for us (what is skipped is checked for
    strings, numbers and brackets only, so the reverse holds for whole objects)."""
    text = '{"data":' + frame[:cut]
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        assert not text.endswith("}") or json_like(text) or decoders["binance"].decode(text) is None


def json_like(text: str) -> bool:
    """Brackets and strings are balanced though the grammar is not: the skipped part is not parsed."""
    return text.count("{") == text.count("}") and text.count('"') % 2 == 0
