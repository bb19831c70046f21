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

    def decode(self, frame: str) -> list[tuple[Pairs, Pairs]] | None:
        """Bids and asks of each item, None for a broken frame."""
        raw = frame.encode()
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


@pytest.fixture(scope="module", params=["", "avx2", "portable"])
def decoders(request: pytest.FixtureRequest) -> Iterator[dict[str, Decoder]]:
    made = {venue: Decoder(venue, request.param) for venue in ("binance", "kraken", "coinbase", "okx")}
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
            "side", "price_level", "new_quantity"}  # fmt: skip


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
