"""Things that are said twice and must agree: registry and files, dependencies and docs, headers and cdef."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

from house import REPOSITORY, sources, text_of, tracked

from appliance.cli import COMMANDS
from handlers.registry import VENUES


def test_the_registry_knows_every_venue_file_and_each_venue_its_row() -> None:
    files = {
        path.stem
        for path in sources(".py")
        if path.parts[:2] == ("handlers", "venues") and not path.name.startswith("_")
    }
    assert files == set(VENUES)
    for name, venue in VENUES.items():
        assert venue.id == name
        assert venue.verified.date, f"{name} does not say when its facts were last checked"


def test_every_venue_has_a_row_in_the_docs() -> None:
    text = text_of(Path("docs/exchanges/README.md"))
    assert [
        name for name, venue in VENUES.items() if f"[{venue.name}]({name}.md) | `{name}`" not in text
    ] == []


def test_every_command_has_a_module_help_and_a_row_in_the_docs() -> None:
    text = text_of(Path("docs/cli.md"))
    for name in COMMANDS:
        module = importlib.import_module(f"appliance.commands.{name.replace('-', '_')}")
        assert module.__doc__, name
        assert f"bookwire {name}" in module.EXAMPLES, name
        assert f"`bookwire {name}" in text, name


def test_every_dependency_is_documented_and_locked() -> None:
    project = tomllib.loads(text_of(Path("pyproject.toml")))["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    names = {re.split(r"[<>=!~\[ ]", name)[0].lower() for name in wanted}
    documented = {
        found.lower()
        for found in re.findall(r"^\| `([^`]+)` \|", text_of(Path("docs/dependencies.md")), re.MULTILINE)
    }
    system = {
        "openssl",
        "zlib",
        "dpdk",
        "lwip",
        "chromium",
        "node",
        "rust",
        "cppcheck",
        "debootstrap",
        "postgresql",
        "java",
        "gcc-aarch64-linux-gnu",
    }
    assert documented - system == names
    for lock, extras in (("requirements.lock", ("build",)), ("requirements-dev.lock", ("build", "dev"))):
        locked = set(re.findall(r"^([a-z0-9._-]+)==", text_of(Path(lock)).lower(), re.MULTILINE))
        here = [
            *project["dependencies"],
            *(name for extra in extras for name in project["optional-dependencies"][extra]),
        ]
        assert {re.split(r"[<>=!~\[ ]", name)[0].lower() for name in here} <= locked, (
            f"run `make lock` for {lock}"
        )


def test_locks_are_pinned_by_hash() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        text = text_of(Path(lock))
        pinned = re.findall(r"^[a-z0-9._-]+==.*(?:\\\n.*)+", text, re.MULTILINE | re.IGNORECASE)
        assert pinned
        assert [block.splitlines()[0] for block in pinned if "--hash=sha256:" not in block] == []


def _structs(text: str) -> dict[str, list[str]]:
    """Field declarations of each typedef struct, in order, stripped of comments, alignment and atomics."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    text = re.sub(r"alignas\([^)]*\)|_Atomic", "", text)
    found = {}
    for name, body in re.findall(r"typedef struct (\w+) \{(.*?)\n?\} \w+;", text, re.DOTALL):
        fields = [re.sub(r"\s+", " ", field).strip() for field in body.split(";")]
        found[name] = [_plain(field) for field in fields if field]
    return found


def _plain(field: str) -> str:
    """A field with array bounds left out: cdef writes numbers where headers write names."""
    return re.sub(r"\[[^\]]*\]", "[]", field)


def test_cdef_structs_are_in_step_with_the_headers() -> None:
    headers: dict[str, list[str]] = {}
    for path in sources(".h"):
        if "cdef" not in path.parts:
            headers.update(_structs(text_of(path)))
    compared = 0
    for path in sources(".h"):
        if "cdef" not in path.parts:
            continue
        for name, fields in _structs(text_of(path)).items():
            if any("..." in field for field in fields) or name not in headers:
                continue
            if any("BW_" in field and "(" in field for field in headers[name]):
                continue  # made by a macro
            compared += 1
            assert fields == headers[name], f"{path}: struct {name}"
    assert compared > 0


def test_the_readme_names_the_two_commands_and_they_exist() -> None:
    readme = text_of(Path("README.md"))
    first_screen = "\n".join(readme.splitlines()[:40])
    makefile = text_of(Path("Makefile"))
    for target in ("run", "test"):
        assert f"make {target}" in first_screen
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert (REPOSITORY / "LICENSE").is_file()
    assert text_of(Path("CHANGELOG.md")).startswith("# Changelog")


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        f"{path}: {target}"
        for path in tracked()
        if path.suffix == ".md"
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text_of(path))
        if not (REPOSITORY / path.parent / target).exists()
    ]
    assert broken == []
