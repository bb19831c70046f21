"""A venue file states facts: short, without a socket, a loop over levels or arithmetic on prices."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import imports, sources, text_of

LINES_MAX = 200
LINES_MEDIAN = 120  # below this
IO = {"socket", "ssl", "asyncio", "aiohttp", "websockets", "threading", "http"}
FILES = [path for path in sources(".py") if path.parts[:2] == ("handlers", "venues") and path.name[0] != "_"]
# Names under which exchanges send levels.
LEVELS = {"b", "a", "bid", "ask", "bids", "asks", "book", "levels", "changes", "updates", "orderbook_units"}
NUMBERS = {"Decimal", "Fraction", "float", "round", "divmod", "pow", "sum", "min", "max", "abs"}
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def test_they_are_short() -> None:
    sizes = {path.name: len(text_of(path).splitlines()) for path in FILES}
    assert len(sizes) >= 21
    assert {name: size for name, size in sizes.items() if size > LINES_MAX} == {}
    assert statistics.median(sizes.values()) < LINES_MEDIAN


@each_file
def test_no_socket(path: Path) -> None:
    assert [module for _, module in imports(path) if module.split(".")[0] in IO] == []


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(text_of(path)))


def iterated(path: Path) -> Iterator[ast.expr]:
    """What is looped over, unless it stands there itself."""
    for node in nodes(path):
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension) and not isinstance(
            node.iter, ast.Tuple
        ):
            yield node.iter


def texts(node: ast.AST) -> set[str]:
    return {
        each.value
        for each in ast.walk(node)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    }


@each_file
def test_no_loop_over_levels(path: Path) -> None:
    """Loops go over symbols, symbol lists and the parts of answers."""
    assert [node for node in nodes(path) if isinstance(node, ast.While)] == []
    assert [ast.unparse(each) for each in iterated(path) if texts(each) & LEVELS] == []


@each_file
def test_no_arithmetic_on_prices(path: Path) -> None:
    """What remains: text put together, requests counted, a unit of time."""
    functions = [node for node in nodes(path) if isinstance(node, ast.FunctionDef | ast.Lambda)]
    wrong = set()
    for node in (each for function in functions for each in ast.walk(function)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NUMBERS:
            wrong.add(ast.unparse(node))
        elif isinstance(node, ast.BinOp) and not isinstance(node.op, ast.Add):
            milliseconds = isinstance(node.right, ast.Constant) and node.right.value == 1000
            if not (isinstance(node.op, ast.Div) and milliseconds):
                wrong.add(ast.unparse(node))
    assert wrong == set()
