"""Lays out what `make site` makes a site of: every page, and every file that a page links to.

    python docs/site/stage.py BUILD_DIRECTORY

The tree is a mirror of the project's, so that a link which leads somewhere there leads somewhere on the site,
and is checked by the strict build. Pages are what people read; sources that no page names stay away.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CHANGELOG.md", "docs/**/*.md", "clients/*/README.md", "ansible/README.md")
STYLE = Path("docs/site/site.css")
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


def pages() -> list[Path]:
    """Relative to the project."""
    found = {path for pattern in PAGES for path in PROJECT.glob(pattern)}
    return sorted(path.relative_to(PROJECT) for path in found)


def linked(page: Path) -> set[Path]:
    """Files that a page links to, relative to the project."""
    targets = LINK.findall((PROJECT / page).read_text(encoding="utf-8"))
    whole = ((PROJECT / page.parent / target).resolve() for target in targets)
    return {path.relative_to(PROJECT) for path in whole if path.is_file() and path.is_relative_to(PROJECT)}


def main(build: Path) -> int:
    """Writes BUILD_DIRECTORY/pages anew."""
    staged = build / "pages"
    shutil.rmtree(staged, ignore_errors=True)
    wanted = {file for page in pages() for file in (page, *linked(page))}
    for path in sorted(wanted | {STYLE}):
        (staged / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / path, staged / path)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
