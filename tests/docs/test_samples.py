"""Every block of every page is run, checked, or says why not: a comment in the line before it.

<!-- run -->                    it must end with 0; what it connects to is a live box on simulators
<!-- run until it prints -->    it goes on for ever: a line on stdout is what it must bring
<!-- ..., behind the block above -->    after the earlier blocks of the page in the same language
<!-- configuration -->          TOML that `bookwire check-config` takes
<!-- messages -->, <!-- request -->     JSON that the published schema takes
<!-- output -->                 what one sees
<!-- not run: REASON -->
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from box import Box, running
from node_room import ROOM, node
from stage import PROJECT, pages

from appliance import config_read
from appliance.cli import COMMANDS, parser_of

KINDS = r"run(?: until it prints(?:, behind the block above)?)?|configuration|messages|request|output"
MARK = re.compile(rf"<!-- (?:({KINDS})|(not run): \S.*) -->")
FENCE = re.compile(r"^```(\w*)$(.*?)^```$", re.MULTILINE | re.DOTALL)
PYTHON = """import ast, asyncio, sys
code = compile(open(sys.argv[1]).read(), sys.argv[1], "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
told = eval(code, {"__name__": "__main__"})
if told is not None:
    asyncio.run(told)
"""
# A browser's global, for blocks that are for browsers.
NODE = 'globalThis.WebSocket ??= require("ws").WebSocket;\n'
PATIENCE_S, TRIES = 60, 3


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str
    mark: str  # "" where there is none

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = (PROJECT / page).read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        before = text[: found.start()].rsplit("\n", 2)[-2]
        mark = MARK.fullmatch(before)
        line = text.count("\n", 0, found.start()) + 1
        yield Block(page, line, found[1], found[2].lstrip("\n"), (mark[1] or mark[2]) if mark else "")


ALL = [block for page in pages() for block in blocks(page)]
RUN = [block for block in ALL if block.mark.startswith("run")]


def of(mark: str) -> list[Block]:
    return [block for block in ALL if block.mark == mark]


def marked(block: Block) -> Any:
    """The everyday tasks are many commands one after the other: run by `make test-long`."""
    return pytest.param(block, marks=[pytest.mark.long] if block.page.name == "how-to.md" else [])


def test_every_block_says_what_becomes_of_it() -> None:
    assert len(ALL) > 40
    assert [str(block) for block in ALL if not block.mark] == []
    fences = [
        f"{page}:{number}"
        for page in pages()
        for number, line in enumerate((PROJECT / page).read_text(encoding="utf-8").splitlines(), 1)
        if re.match(r"\s*(```|~~~)", line) and not re.match(r"```\w*$", line)
    ]
    assert fences == [], "a block that this test does not see"


def test_languages_that_can_run_do() -> None:
    """Nobody can leave out a Python or JavaScript block."""
    left = [str(block) for block in ALL if block.language in ("python", "js") and block not in RUN]
    assert left == []


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    config = "[simulate]\nlevels = 200\nrate = 20\n"
    with running(
        "--exchanges", "binance,okx,kraken", "--symbols", "BTC-USDT,ETH-USDT", config=config
    ) as started:
        yield started


def here(text: str, box: Box) -> str:
    """The text with the box's own addresses."""
    for told, own in (
        ("127.0.0.1:8081", f"127.0.0.1:{box.port}"),
        ("localhost:8081", f"localhost:{box.port}"),
        ("127.0.0.1:8080", f"127.0.0.1:{box.http_port}"),
        ("/dev/shm/bookwire", str(box.shm_dir)),
    ):
        text = text.replace(told, own)
    return text


def command(block: Block, text: str, directory: Path) -> list[str]:
    """What runs the text, which it writes into the directory."""
    script = directory / "block"
    if block.language == "sh":
        script.write_text(text)
        return ["sh", "-eu", str(script)]
    if block.language == "python":
        script.write_text(text)
        return [sys.executable, "-c", PYTHON, str(script)]
    assert block.language == "js", f"{block}: nothing runs {block.language!r}"
    program = node()
    packages = directory / "node_modules"
    packages.mkdir()
    (packages / "ws").symlink_to(ROOM / "node_modules" / "ws")
    (packages / "bookwire-client").symlink_to(PROJECT / "clients" / "node")
    (directory / "first.cjs").write_text(NODE)
    script = directory / ("block.mjs" if re.search(r"^import ", text, re.MULTILINE) else "block.cjs")
    script.write_text(text)
    return [
        program,
        "--preserve-symlinks",
        "--preserve-symlinks-main",
        "-r",
        str(directory / "first.cjs"),
        str(script),
    ]


@pytest.mark.timeout(TRIES * PATIENCE_S + 30)
@pytest.mark.parametrize("block", [marked(block) for block in RUN], ids=str)
def test_a_block_runs(block: Block, box: Box, tmp_path: Path) -> None:
    """Tried again where it fails: on a busy machine a book may be stale for a moment; `status` says so."""
    earlier = [
        one.text
        for one in ALL
        if one.page == block.page and one.language == block.language and one.line < block.line
    ]
    before = "".join(earlier) if "behind the block above" in block.mark else ""
    text = here(before + block.text, box)
    wrong = ""
    for at in range(TRIES):
        directory = tmp_path / str(at)
        directory.mkdir()
        wrong = trouble(block, command(block, text, directory), directory, box)
        if not wrong:
            return
    pytest.fail(wrong)


def trouble(block: Block, words: list[str], directory: Path, box: Box) -> str:
    """Runs it; what was wrong, "" if nothing."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BOOKWIRE_")}
    own = {"PATH": path, "BOOKWIRE_CONFIG": str(box.run_dir / "up.toml"), "PYTHONUNBUFFERED": "1"}
    own["PYTHONPATH"] = str(PROJECT / "clients" / "python")
    process = subprocess.Popen(
        words, cwd=directory, env=clean | own, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        if "until it prints" in block.mark:
            assert process.stdout is not None
            return "" if process.stdout.readline() else f"nothing: {process.communicate()[1][-3000:]}"
        out, err = process.communicate(timeout=PATIENCE_S)
        said = bool(out) or "kill" in block.text
        return (
            "" if process.returncode == 0 and said else f"{process.returncode}: {out[-1500:]}\n{err[-3000:]}"
        )
    except subprocess.TimeoutExpired:
        return f"not done after {PATIENCE_S} s"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("block", of("configuration"), ids=str)
def test_a_configuration_is_one(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "bookwire.toml"
    path.write_text(block.text)
    config_read.load(path, environment={})


def documents(text: str) -> Iterator[Any]:
    decoder, at = json.JSONDecoder(), 0
    while rest := text[at:].strip():
        at = len(text) - len(rest)
        found, length = decoder.raw_decode(rest)
        at += length
        yield found


@pytest.mark.parametrize("block", [*of("messages"), *of("request")], ids=str)
def test_messages_are_of_the_schema(block: Block) -> None:
    schema = json.loads((PROJECT / "docs" / "messages.schema.json").read_text())
    if block.mark == "request":
        schema |= schema["definitions"]["request"]
    found = list(documents(block.text))
    assert found
    for one in found:
        jsonschema.validate(one, schema)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_a_command_are_its_own(name: str) -> None:
    """They parse: no option that is gone, no argument too many."""
    module = import_module(f"appliance.commands.{name.replace('-', '_')}")
    lines = [line.strip() for line in module.EXAMPLES.splitlines() if line.strip()]
    assert lines
    for line in lines:
        words = shlex.split(re.split(r" {2,}|\s[|>#]\s", line)[0])
        assert words[:2] == ["bookwire", name], line
        parser_of(name).parse_args(words[2:])
