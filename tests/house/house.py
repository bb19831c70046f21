"""What the house's tests share: which files there are."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FLOORS = ("hw", "dpdk_bindings", "handlers", "gateway", "appliance")


@cache
def listed() -> tuple[Path, ...]:
    """Names of the project, relative: what git tracks or would, else (no git) what is not built or hidden."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        names = [Path(name) for name in listed.stdout.decode().split("\0") if name]
    else:
        names = [path.relative_to(REPOSITORY) for path in REPOSITORY.rglob("*") if path.is_file()]
        built = {
            "build",
            ".venv",
            ".peers",
            ".peers-old",
            ".schemathesis",
            "node_modules",
            "__pycache__",
            "dist",
            ".git",
        }
        names = [name for name in names if not built & set(name.parts) and not name.name.endswith(".so")]
    return tuple(sorted(set(names)))


@cache
def tracked() -> tuple[Path, ...]:
    """Those that are files."""
    return tuple(name for name in listed() if (REPOSITORY / name).is_file())


def sources(*suffixes: str, under: tuple[str, ...] = FLOORS) -> list[Path]:
    """Product files with these suffixes, relative; tests of a room are not product."""
    return [
        path
        for path in tracked()
        if path.suffix in suffixes and path.parts[0] in under and "tests" not in path.parts
    ]


def text_of(path: Path) -> str:
    return (REPOSITORY / path).read_text(encoding="utf-8")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted module) of every import, inside functions too; relative ones made absolute."""
    for node in ast.walk(ast.parse(text_of(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = path.parts[: len(path.parts) - node.level] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"
