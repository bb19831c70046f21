"""The book as a map from price to quantity that forgets its worst first: whatever is done to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from handlers._ffi import ffi, lib

Side = dict[int, tuple[int, int]]  # price -> quantity, orders

CAPACITY = 150
PRICES = st.integers(1, 400)
CHANGE = st.tuples(st.just("set"), st.integers(0, 1), PRICES, st.integers(0, 3), st.integers(0, 2))
RUN = st.tuples(st.just("run"), st.integers(0, 1), PRICES, st.integers(1, 100), st.booleans())
CUT = st.tuples(st.just("cut"), st.integers(0, 1), st.integers(0, CAPACITY))
CLEAR = st.tuples(st.just("clear"))
SCALE = st.tuples(st.just("scale"), st.integers(0, 2), st.integers(0, 2))
STEPS = st.lists(st.one_of(CHANGE, CHANGE, RUN, RUN, CUT, CLEAR, SCALE), max_size=60)


class Model:
    """Two dicts and the rules of book.h."""

    def __init__(self) -> None:
        self.sides: list[Side] = [{}, {}]
        self.scale = 1
        self.digits = [0, 0]

    def worst(self, side: int) -> int:
        return max(self.sides[side]) if side else min(self.sides[side])

    def set(self, side: int, price: int, quantity: int, orders: int) -> int | None:
        """The price that has to leave, if any; the new one itself when it is beyond."""
        levels = self.sides[side]
        if quantity == 0:
            levels.pop(price, None)
            return None
        levels[price] = quantity, orders
        if len(levels) <= CAPACITY:
            return None
        leaves = self.worst(side)
        del levels[leaves]
        return leaves

    def best_first(self, side: int) -> list[tuple[int, int, int]]:
        prices = sorted(self.sides[side], reverse=side == 0)
        return [(price, *self.sides[side][price]) for price in prices]


class Native:
    """The same through C."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.book = lib.bw_book_store_at(store, 0)
        self.room = ffi.new("bw_level[]", CAPACITY + 1)
        self.left = ffi.new("int64_t[]", CAPACITY + 1)

    def set(self, side: int, price: int, quantity: int, orders: int) -> tuple[int, int]:
        self.left[0] = -1
        result = lib.bw_book_set(self.store, self.book, side, price, quantity, orders, self.left)
        return int(result), int(self.left[0])

    def best_first(self, side: int) -> list[tuple[int, int, int]]:
        count = lib.bw_book_copy(self.store, self.book, side, CAPACITY + 1, self.room)
        return [(level.price, level.quantity, level.orders) for level in self.room[0:count]]


@contextmanager
def native(chunks: int = 0) -> Iterator[Native]:
    store = lib.bw_book_store_new(1, CAPACITY, chunks)
    assert store != ffi.NULL
    yield Native(store)
    lib.bw_book_store_free(store)


def set_both(book: Native, model: Model, side: int, price: int, quantity: int, orders: int) -> None:
    price *= model.scale
    held = price in model.sides[side]
    result, evicted = book.set(side, price, quantity, orders if quantity else 0)
    leaves = model.set(side, price, quantity, orders if quantity else 0)
    if leaves == price:
        assert result == lib.BW_SET_BEYOND
    elif leaves is not None:
        assert (result, evicted) == (lib.BW_SET_EVICTED, leaves)
    elif quantity:
        assert result == (lib.BW_SET_CHANGED if held else lib.BW_SET_INSERTED)
    else:
        assert result == (lib.BW_SET_REMOVED if held else lib.BW_SET_ABSENT)


def take(book: Native, model: Model, step: tuple[Any, ...]) -> None:
    match step:
        case "set", side, price, quantity, orders:
            set_both(book, model, side, price, quantity, orders)
        case "run", side, start, count, rising:
            prices = range(start, start + count) if rising else range(start + count, start, -1)
            for price in prices:
                set_both(book, model, side, price, price % 7, 1)
        case "cut", side, depth:
            gone = lib.bw_book_cut(book.store, book.book, side, depth, book.left, CAPACITY)
            expected = [price for price, _, _ in reversed(model.best_first(side)[depth:])]
            assert list(book.left[0:gone]) == expected
            for price in expected:
                del model.sides[side][price]
        case ("clear",):
            lib.bw_book_clear(book.store, book.book)
            model.sides = [{}, {}]
        case "scale", price_up, quantity_up if model.scale < 10**9:
            assert lib.bw_book_rescale(book.store, book.book, price_up, quantity_up)
            model.scale *= 10**price_up
            model.digits = [model.digits[0] + price_up, model.digits[1] + quantity_up]
            model.sides = [
                {p * 10**price_up: (q * 10**quantity_up, o) for p, (q, o) in side.items()}
                for side in model.sides
            ]


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_a_book_does_what_a_sorted_map_does(steps: list[tuple[Any, ...]]) -> None:
    model = Model()
    with native() as book:
        for step in steps:
            lib.bw_book_begin(book.book)
            take(book, model, step)
            lib.bw_book_end(book.store, book.book)
            for side in (0, 1):
                expected = model.best_first(side)
                assert book.best_first(side) == expected
                top = book.book.top[side][0 : book.book.top_count[side]]
                assert [(level.price, level.quantity, level.orders) for level in top] == expected[:4]
            assert [book.book.price_exponent, book.book.quantity_exponent] == model.digits


@settings(max_examples=100, deadline=None)
@given(st.sets(st.integers(-1000, 1000), max_size=CAPACITY + 50), st.integers(0, 1), STEPS)
def test_a_loaded_book_goes_on_like_any_other(
    prices: set[int], side: int, steps: list[tuple[Any, ...]]
) -> None:
    model = Model()
    best_first = sorted(prices, reverse=side == 0)
    with native() as book:
        levels = ffi.new("bw_level[]", [(price, 5, 2, 0) for price in best_first])
        kept = lib.bw_book_load(book.store, book.book, side, levels, len(best_first))
        assert kept == min(len(best_first), CAPACITY)
        model.sides[side] = dict.fromkeys(best_first[:kept], (5, 2))
        for step in steps:
            take(book, model, step)
        assert [book.best_first(each) for each in (0, 1)] == [model.best_first(each) for each in (0, 1)]


def test_rescaling_past_64_bits_changes_nothing() -> None:
    with native() as book:
        book.set(0, 2**62, 1, 0)
        book.set(1, 2**62 + 1, 1, 0)
        assert not lib.bw_book_rescale(book.store, book.book, 1, 0)
        assert not lib.bw_book_rescale(book.store, book.book, 0, 19)
        assert lib.bw_book_rescale(book.store, book.book, 0, 18)
        assert book.best_first(0) == [(2**62, 10**18, 0)]
        assert (book.book.price_exponent, book.book.quantity_exponent) == (0, 18)


def test_what_was_evicted_bounds_what_is_verified() -> None:
    with native() as book:
        for price in range(1000, 1000 + CAPACITY):
            book.set(0, price, 1, 0)
        assert book.book.side[0].verified_price == 0
        assert book.set(0, 999, 1, 0)[0] == lib.BW_SET_BEYOND
        assert book.book.side[0].verified_price == 1000
        assert book.set(0, 2000, 1, 0) == (lib.BW_SET_EVICTED, 1000)
        assert book.book.side[0].verified_price == 1001
        book.set(0, 1500, 0, 0)
        book.set(0, 1001, 0, 0)
        assert book.set(0, 1001, 1, 0)[0] == lib.BW_SET_INSERTED
        assert book.book.side[0].verified_price == 1001
        assert (book.book.evicted, book.book.absent_deletes) == (1, 1)
