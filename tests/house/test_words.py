"""What the tree must not say."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from house import REPOSITORY, listed, sources, text_of, tracked

LATER = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
BINARY = {".gz", ".png", ".svg", ".ico", ".parquet", ".bin"}
# Paths of somebody's machine.
MACHINE = re.compile(r"/(?:home|root|Users|work)/(?!you/)\w")
# A lock must not pin a user to one package index.
INDEX = re.compile(r"--(?:extra-)?index-url|\"resolved\"")


def texts() -> list[tuple[Path, str]]:
    return [(path, text_of(path)) for path in tracked() if path.suffix not in BINARY]


def test_nothing_is_left_for_later() -> None:
    assert [f"{path}: {found.group()}" for path, text in texts() if (found := LATER.search(text))] == []


def test_nothing_belongs_to_one_machine() -> None:
    found = [
        f"{path}:{number} {line.strip()[:80]}"
        for path, text in texts()
        if path.parts[:2] != ("tests", "house")
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE.search(line)
    ]
    assert found == []


def test_nothing_is_a_link() -> None:
    """Where it leads there is something else on another machine."""
    assert [str(path) for path in listed() if (REPOSITORY / path).is_symlink()] == []


def test_no_lock_names_a_package_index() -> None:
    locks = [
        (path, text) for path, text in texts() if path.suffix == ".lock" or path.name == "package-lock.json"
    ]
    assert len(locks) >= 4
    assert [str(path) for path, text in locks if INDEX.search(text)] == []


def test_product_code_never_sleeps_and_never_catches_everything() -> None:
    wrong = []
    for path in sources(".py"):
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep":
                wrong.append(f"{path}:{node.lineno} time.sleep")
            if isinstance(node, ast.ExceptHandler):
                caught = "" if node.type is None else ast.unparse(node.type)
                if caught in ("", "Exception", "BaseException"):
                    wrong.append(f"{path}:{node.lineno} except {caught}")
    assert wrong == []


def test_product_code_prints_only_where_a_person_asked() -> None:
    """stdout is data: only commands, the supervisor's ready line and the simulator's line go there."""
    allowed = {"appliance", "bench"}
    wrong = []
    for path in sources(".py"):
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
                to_file = any(keyword.arg == "file" for keyword in node.keywords)
                if not to_file and path.parts[0] not in allowed:
                    wrong.append(f"{path}:{node.lineno}")
    assert wrong == []


def test_certificates_are_always_verified() -> None:
    wrong = re.compile(
        r"CERT_"
        r"NONE|verify_mode\s*=\s*0|check_hostname\s*=\s*Fal"
        r"se|ssl\s*=\s*Fal"
        r"se|SSL_VERIFY_"
        r"NONE"
    )
    assert [
        f"{path}: {found.group()}"
        for path in sources(".py", ".c", ".h")
        if (found := wrong.search(text_of(path)))
    ] == []
