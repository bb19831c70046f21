"""The docs as a site: built strictly, nothing loaded from elsewhere; the reference is what the code makes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from stage import PROJECT, main, pages

from appliance import cli, reference
from gateway.errors import Refusal
from handlers import errors
from handlers.shm_layout import Reason

MKDOCS = PROJECT / ".site" / "bin" / "mkdocs"
ERRORS = (PROJECT / "docs" / "errors.md").read_text(encoding="utf-8")


CONFIG = (
    (PROJECT / "docs" / "site" / "mkdocs.yml").read_text(encoding="utf-8").replace("../../build/site/", "")
)
LOADS = re.compile(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(https?:[^"]+)"')


def built(directory: Path, config: str) -> subprocess.CompletedProcess[str]:
    """The strict build of ``directory``/pages into ``directory``/html."""
    if not MKDOCS.is_file():
        pytest.skip("no MkDocs here (`make site` installs it)")
    (directory / "mkdocs.yml").write_text(config)
    command = [MKDOCS, "build", "--strict", "-f", directory / "mkdocs.yml"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_site_is_whole_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    main(tmp_path)
    done, html = built(tmp_path, CONFIG), tmp_path / "html"
    assert done.returncode == 0, done.stderr[-3000:]
    texts = {path.relative_to(html): path.read_text(encoding="utf-8") for path in html.rglob("*.html")}
    for page in pages():
        assert (
            page.parent / "index.html" if page.stem == "README" else page.with_suffix(".html")
        ) in texts, page
    assert [f"{path}: {found}" for path, text in texts.items() for found in LOADS.findall(text)] == []


def test_a_link_that_leads_nowhere_ends_the_build(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "README.md").write_text("# Here\n\n[gone](nowhere.md) [lost](README.md#no-such)\n")
    done = built(tmp_path, CONFIG.split("\nnav:")[0])
    assert done.returncode != 0
    assert "nowhere.md" in done.stderr
    assert "no-such" in done.stderr


def test_the_committed_reference_is_what_the_code_makes() -> None:
    directory = PROJECT / "docs" / "reference"
    made = reference.pages()
    assert {path.name for path in directory.iterdir()} == set(made)
    assert [name for name, text in made.items() if (directory / name).read_text() != text] == [], (
        "run `make docs`"
    )


def rows(heading: str) -> list[list[str]]:
    """Cells of the table under a heading of the catalogue of errors."""
    section = ERRORS.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    found = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    assert all(cell for row in found for cell in row), "a code without its cause, or without what to do"
    return found


def test_every_refusal_is_in_the_catalogue() -> None:
    told = {(int(code), text.strip("`")) for code, text, *_ in rows("Refused requests")}
    assert told == {(each.code, each.text) for each in Refusal}


def test_every_exit_code_is_in_the_catalogue_and_the_command_line_page() -> None:
    kinds = [errors.SetupError, *errors.SetupError.__subclasses__()]
    codes = {kind.exit_code for kind in kinds} | {
        0,
        75,
        cli.USAGE,
        cli.FAILURE,
        cli.PERMISSION,
        cli.INTERRUPTED,
    }
    assert {int(code) for code, *_ in rows("Exit codes")} == codes
    page = (PROJECT / "docs" / "cli.md").read_text().split("## Exit codes")[1].split("\n## ")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} == codes


def test_every_close_code_and_early_status_is_in_the_catalogue() -> None:
    sources = "\n".join(path.read_text() for path in (PROJECT / "gateway" / "native").glob("*.c"))
    closed = {int(code) for code in re.findall(r"bw_client_(?:kill|close)\([^;]*?\b(1\d\d\d)\b", sources)}
    closed -= {1006, 1015}  # never sent: what the connection was lost by, for ourselves
    assert len(closed) >= 4
    told = {int(code) for code, *_ in rows("The end of a connection")}
    assert closed <= told
    early = {int(code) for code in re.findall(r'"(4\d\d|5\d\d) [A-Z]', sources)} | {400}
    assert {int(code) for code, *_ in rows("Before the connection stands")} == early


def test_every_reason_is_in_the_catalogue() -> None:
    assert [name.strip("`") for name, *_ in rows("Why a book is not live")] == [
        each.name.lower() for each in Reason
    ]


def test_python_reads_what_it_stages(tmp_path: Path) -> None:
    """The Makefile runs it with whatever Python there is, without our packages."""
    script = PROJECT / "docs" / "site" / "stage.py"
    interpreter = shutil.which("python3") or sys.executable
    subprocess.run([interpreter, "-I", script, tmp_path], check=True)
    assert (tmp_path / "pages" / "docs" / "gateway.md").is_file()
