"""Files one can read at a sitting, functions that fit a screen."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from house import REPOSITORY, sources, text_of, tracked

FILE_LINES_MAX = 450
FUNCTION_LINES_MAX = 70
LINE_CHARACTERS_MAX = 110


def _ours(*suffixes: str) -> list[Path]:
    return [*sources(*suffixes, under=("hw", "dpdk_bindings", "handlers", "gateway", "appliance", "bench"))]


def test_no_file_is_too_long() -> None:
    shipped = sources(".py", ".js", ".rs", under=("clients",))
    long = {
        str(path): count
        for path in [*_ours(".py", ".c", ".h", ".js"), *shipped]
        if (count := len(text_of(path).splitlines())) > FILE_LINES_MAX
    }
    assert long == {}


def test_python_functions_fit_a_screen() -> None:
    long = [
        f"{path}:{node.lineno} {node.name} {node.end_lineno - node.lineno + 1}"
        for path in _ours(".py")
        for node in ast.walk(ast.parse(text_of(path)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


def c_functions(text: str) -> list[tuple[int, int, str]]:
    """(line, lines, heading) of definitions: from an unindented opening brace to the brace that closes it."""
    found = []
    start = 0
    heading = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not start and re.match(r"[A-Za-z_].*\)\s*\{$", line):
            start, heading = number, line
        elif not start and line == "{":
            start, heading = number, "{"
        elif start and line == "}":
            found.append((start, number - start + 1, heading))
            start = 0
    return found


def test_c_functions_fit_a_screen() -> None:
    long = [
        f"{path}:{line} {lines} {heading}"
        for path in _ours(".c", ".h")
        for line, lines, heading in c_functions(text_of(path))
        if lines > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_lines_of_c_fit_the_page() -> None:
    """Python's are held by ruff."""
    wide = [
        f"{path}:{number} {len(line)}"
        for path in _ours(".c", ".h")
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if len(line) > LINE_CHARACTERS_MAX and "http" not in line
    ]
    assert wide == []


def test_every_file_says_what_it_is_for() -> None:
    mute = [
        str(path)
        for path in _ours(".py")
        if text_of(path).strip() and not ast.get_docstring(ast.parse(text_of(path)))
    ]
    mute += [
        str(path)
        for path in _ours(".h")
        if "cdef" not in path.parts
        and path.name != "prelude.h"
        and not text_of(path).lstrip().startswith("/*")
    ]
    assert mute == []


def test_nothing_big_or_built_is_tracked() -> None:
    assert [str(path) for path in tracked() if (REPOSITORY / path).stat().st_size > 600_000] == []
    assert [str(path) for path in tracked() if path.suffix in (".so", ".o", ".pyc", ".pem", ".key")] == []
