"""The order flow's shape, and the windows that exchanges show of it."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.simulator.book import Window
from appliance.simulator.flow import CHANGES_MAX, Flow
from appliance.simulator.instruments import make_instrument
from appliance.simulator.numbers import fixed, shortest

SYMBOLS = st.sampled_from(["BTC-USDT", "ETH-USD", "DOGE-USDT", "PEPE-USDT", "ETH-BTC", "BTC-PERPETUAL"])


@settings(max_examples=40, deadline=None)
@given(SYMBOLS, st.integers(1, 120), st.integers(0, 10**6), st.integers(1, 60), st.booleans())
def test_a_window_told_by_its_changes_is_the_top_of_the_book(
    symbol: str, levels: int, seed: int, depth: int, tell_leaving: bool
) -> None:
    flow = Flow(make_instrument(symbol), levels, str(seed))
    window = Window(flow.book, depth, tell_leaving=tell_leaving)
    shown = [{price: quantity for price, quantity, _ in side.top(depth)} for side in flow.book.sides]
    for _ in range(60):
        for change in window.shift(flow.step()):
            if change.quantity:
                shown[change.side][change.price] = change.quantity
            else:
                del shown[change.side][change.price]  # a deletion always names a level that is held
        for number, side in enumerate(flow.book.sides):
            if tell_leaving:
                assert len(shown[number]) <= depth
            for price in sorted(shown[number], reverse=number == 0)[depth:]:
                del shown[number][price]
            assert shown[number] == {price: quantity for price, quantity, _ in side.top(depth)}


@settings(max_examples=30, deadline=None)
@given(SYMBOLS, st.integers(1, 400), st.integers(0, 10**6))
def test_the_flow_keeps_the_book_whole(symbol: str, levels: int, seed: int) -> None:
    instrument = make_instrument(symbol)
    flow = Flow(instrument, levels, str(seed))
    mirror: list[dict[int, int]] = [{p: q for p, q, _ in side.top()} for side in flow.book.sides]
    for _ in range(80):
        changes = flow.step()
        assert 1 <= len(changes) <= CHANGES_MAX
        assert len({(each.side, each.price) for each in changes}) == len(changes)
        for each in changes:
            assert mirror[each.side].get(each.price, 0) == each.before != each.quantity >= 0
            assert each.price > 0
            assert each.price % instrument.tick == 0
            if each.quantity:
                assert each.orders >= 1
                mirror[each.side][each.price] = each.quantity
            else:
                del mirror[each.side][each.price]
        bids, asks = flow.book.sides
        assert bids.best() < asks.best()
        assert [{p: q for p, q, _ in side.top()} for side in flow.book.sides] == mirror
        assert all(side.keys == sorted(side.keys) for side in flow.book.sides)


def test_the_flow_has_a_realistic_shape() -> None:
    flow = Flow(make_instrument("BTC-USDT"), 1000, "shape")
    sizes, near, total, bests = [], 0, 0, set()
    for _ in range(4000):
        tops = [{side.sign * key for key in side.keys[-20:]} for side in flow.book.sides]
        changes = flow.step()
        sizes.append(len(changes))
        near += sum(each.price in tops[each.side] for each in changes)
        total += len(changes)
        bests.add(flow.book.bids.best())
    assert min(sizes) == 1
    assert max(sizes) == CHANGES_MAX
    assert 3 <= statistics.median(sizes) <= 8
    assert near / total > 0.4
    assert len(bests) > 50  # the price walks
    assert all(800 < len(side.keys) < 1200 for side in flow.book.sides)


def test_deep_books_are_deep_and_thin_ones_thin() -> None:
    for symbol in ("BTC-USDT", "SOL-USDT", "ETH-BTC", "DOGE-USDT"):
        deep = Flow(make_instrument(symbol, 50_000), 50_000, "deep")
        assert min(len(side.keys) for side in deep.book.sides) == 50_000
    thin = Flow(make_instrument("BTC-USDT"), 50, "thin")
    counts: Counter[int] = Counter()
    for _ in range(1000):
        thin.step()
        counts[len(thin.book.bids.keys)] += 1
    assert max(counts) < 80


@given(st.integers(0, 10**20), st.integers(0, 12))
def test_decimal_text(units: int, decimals: int) -> None:
    text = fixed(units, decimals)
    assert int(text.replace(".", "")) == units
    assert len(text.partition(".")[2]) == decimals
    short = shortest(units, decimals)
    assert short == (text.rstrip("0").rstrip(".") if "." in text else text)


@pytest.mark.parametrize(
    ("name", "kind", "quote"),
    [
        ("BTC-USDT", "spot", "USDT"),
        ("BTC-USDT-PERPETUAL", "linear", "USDT"),
        ("BTC-USDC-PERPETUAL", "linear", "USDC"),
        ("BTC-PERPETUAL", "inverse", "USD"),
    ],
)
def test_kinds_have_canonical_names(name: str, kind: str, quote: str) -> None:
    instrument = make_instrument(name.lower())
    assert (instrument.symbol, instrument.kind, instrument.quote) == (name, kind, quote)
    assert instrument.base == "BTC"


def test_quantities_are_whole_lots() -> None:
    instrument = replace(make_instrument("BTC-PERPETUAL"), lot=10)
    flow = Flow(instrument, 200, "lots")
    for _ in range(200):
        assert all(each.quantity % 10 == 0 for each in flow.step())
    dollars = [quantity for side in flow.book.sides for quantity, _ in side.levels.values()]
    assert all(each % 10 == 0 for each in dollars)
    assert statistics.mean(dollars) > 5000  # dollars, not coins
    assert instrument.step_text == "10"


NAMES = ["", "BTC", "BTC-", "-USDT", "BTC-USDT-SWAP", "BTC/USDT", "B C-USDT", "-PERPETUAL", "A-B-C-PERPETUAL"]


@pytest.mark.parametrize("name", NAMES)
def test_bad_symbols_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="BASE-QUOTE"):
        make_instrument(name)
