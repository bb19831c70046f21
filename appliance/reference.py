"""The pages of docs/reference, made from the code: commands, settings, HTTP, messages, metrics.

``make docs`` writes them; a test holds the committed ones to what this makes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from appliance import config_read
from appliance.cli import COMMANDS, parser_of
from gateway.metrics import described
from gateway.openapi import document
from gateway.schemas import RECEIVED, SENT
from gateway.settings import HttpSettings

GENERATED = "<!-- made by `make docs` from {source}: edit that, not this page -->"


def _page(title: str, source: str, *parts: str) -> str:
    return "\n\n".join(
        [f"# {title}", GENERATED.format(source=source), *(part.rstrip() for part in parts), ""]
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(_cell(text) for text in row) + " |" for row in rows)])


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


def _option(action: argparse.Action) -> tuple[str, str]:
    """How it is written, and what it does."""
    value = action.metavar or ("" if action.nargs == 0 else action.dest.upper())
    if action.choices and not action.metavar:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.metavar or action.dest}`"
    takes = f" `{value}`" if action.option_strings and value and action.nargs != 0 else ""
    if isinstance(action, argparse.BooleanOptionalAction):
        takes = ""
    return names + takes, (action.help or "") % {"default": action.default, "prog": "bookwire"}


def commands() -> str:
    """Every command with its examples and options, as ``--help`` has them."""
    parts = []
    for name in COMMANDS:
        parser = parser_of(name)
        rows = [_option(action) for action in parser._actions if action.dest != "help"]
        options = _table(("argument", "meaning"), rows) if rows else ""
        examples = parser.examples.removeprefix("examples:\n").strip("\n")
        text = [
            f"## `bookwire {name}`",
            (parser.description or "").strip(),
            f"<!-- not run: a test parses them -->\n```text\n{examples}\n```",
            options,
        ]
        parts.append("\n\n".join(part for part in text if part))
    head = "What `bookwire COMMAND --help` says. Exit codes and the environment: [command line](../cli.md)."
    return _page("Commands and options", "appliance/commands", head, *parts)


def _kind(schema: dict[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "const" in schema:
        return (
            f'`"{schema["const"]}"`' if isinstance(schema["const"], str) else f"`{schema['const']}`".lower()
        )
    if "enum" in schema:
        words = [f"`{word}`" for word in schema["enum"]]
        return ", ".join(words) if len(words) <= 8 else f"one of {len(words)} names"
    if "oneOf" in schema:
        return " or ".join(dict.fromkeys(_kind(each) for each in schema["oneOf"]))
    if schema.get("type") == "array":
        items = schema.get("items", {})
        return "list" if isinstance(items, list) else f"list of {_kind(items)}"
    if list(schema.get("properties", ())) == ["data"]:
        return f"data: {_kind(schema['properties']['data'])}"
    told = schema.get("type", "any")
    return " or ".join(told) if isinstance(told, list) else str(told)


def _limits(schema: dict[str, Any]) -> str:
    told = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most"}
    words = [f"{word} {schema[key]:,}" for key, word in told.items() if key in schema]
    default = [f"default {schema['default']}"] if "default" in schema else []
    return ", ".join([*words, *default])


def _value(default: Any) -> str:
    """A default as the file would have it."""
    if isinstance(default, list) and len(default) > 5:
        return f"{len(default)}: " + ", ".join(f"`{each}`" for each in default)
    return "" if default is None else f"`{json.dumps(default)}`"


def configuration() -> str:
    """Every key of every table."""
    schema = config_read.schema()
    parts = []
    for name, table in schema["$defs"]["Config"]["properties"].items():
        several = "additionalProperties" in table
        told = schema["$defs"][
            (table["additionalProperties"] if several else table)["$ref"].rpartition("/")[2]
        ]
        rows = [
            (f"`{key}`", _setting(each), _value(each.get("default")),
             "; ".join(filter(None, (each.get("description", "").rstrip("."), _bounds(each)))))
            for key, each in told["properties"].items()
        ]  # fmt: skip
        title = f"## `[{name}.<id>]`" if several else f"## `[{name}]`"
        table_of_keys = _table(("key", "kind", "default", "meaning"), rows)
        parts.append(f"{title}\n\n{told['description'].replace('``', '`')}\n\n{table_of_keys}")
    head = (
        "Every key, made from the same source as [config.schema.json](../config.schema.json). How a file\n"
        "looks, and what is stronger than it: [configuration](../configuration.md)."
    )
    return _page("Every setting", "appliance/config.py", head, *parts)


def _setting(schema: dict[str, Any]) -> str:
    """The kind of a setting; one that may be left out is told by its empty default."""
    kinds = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
    return "table" if kinds[0].get("type") == "object" else " or ".join(map(_kind, kinds))


def _bounds(schema: dict[str, Any]) -> str:
    return _limits(
        {
            key: value
            for each in schema.get("anyOf", [schema])
            for key, value in each.items()
            if key != "default"
        }
    )


def _contents(answer: dict[str, Any]) -> str:
    return ", ".join(
        f"{media} ({_kind(told['schema'])})" if "schema" in told and media == "application/json" else media
        for media, told in answer.get("content", {}).items()
    )


def http() -> str:
    """Every path of the OpenAPI document."""
    settings = HttpSettings(Path(), Path())
    told = document(settings.depth_default, settings.depth_max)
    parts = []
    for path, methods in told["paths"].items():
        get = methods["get"]
        rows = [
            (f"`{each['name']}`", each["in"], _kind(each["schema"]),
             "; ".join(filter(None, (each.get("description", ""), _limits(each["schema"])))))
            for each in get.get("parameters", [])
        ]  # fmt: skip
        answers = [f"{status} {_contents(answer)}".strip() for status, answer in get["responses"].items()]
        table = _table(("parameter", "where", "kind", "meaning"), rows) if rows else ""
        text = [f"## `GET {path}`", f"{get['summary']} Answers: {'; '.join(answers)}.", table]
        parts.append("\n\n".join(part for part in text if part))
    head = (
        "What `/openapi.json` (OpenAPI 3.1) of a running box says. Errors are RFC 9457\n"
        "problem documents; their `code` is that of the stream's error of the same name\n"
        "([errors](../errors.md))."
    )
    shapes = [
        f"### {name}\n\n" + _table(("field", "kind", "always", "meaning"), _fields(schema))
        for name, schema in told["components"]["schemas"].items()
    ]
    return _page("HTTP", "gateway/openapi.py", head, *parts, "## Answers", *shapes)


def _fields(schema: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    required = set(schema.get("required", ()))
    for name, each in schema.get("properties", {}).items():
        about = "; ".join(filter(None, (each.get("description", ""), _limits(each))))
        yield f"`{name}`", _kind(each), "yes" if name in required else "", about


def messages() -> str:
    """Every message, each way, with its fields."""
    head = (
        "Each message of the stream, made from the same source as\n"
        "[messages.schema.json](../messages.schema.json) (JSON Schema) and\n"
        "[asyncapi.json](../asyncapi.json) (AsyncAPI 3). What they mean: [the stream](../gateway.md).\n"
        "Ignore fields and types that you do not know."
    )
    parts = []
    for title, which in (("What you send", RECEIVED), ("What the gateway sends", SENT)):
        parts.append(f"## {title}")
        for name, schema in which.items():
            parts.append(f"### {name}\n\n" + _table(("field", "kind", "always", "meaning"), _fields(schema)))
    return _page("Messages", "gateway/schemas.py", head, *parts)


def metrics() -> str:
    """Every metric that `/metrics` can show."""
    rows = [(f"`{name}`", kind, ", ".join(f"`{label}`" for label in labels), text)
            for name, kind, labels, text in described()]  # fmt: skip
    head = (
        "`/metrics` speaks Prometheus' text format. Histograms are in seconds. `bookwire_book_sequence`\n"
        "comes with `http.symbol_labels` only. Past the kernel each counter of the network is a metric that\n"
        "begins with `bookwire_datapath_`, of which the gauges are listed here. Alert rules and Grafana\n"
        "dashboards are in `appliance/monitoring`; what to do at an alert: [runbooks](../runbooks.md)."
    )
    return _page("Metrics", "gateway/metrics.py", head, _table(("metric", "kind", "labels", "meaning"), rows))


def pages() -> dict[str, str]:
    """File name -> text."""
    return {
        "commands.md": commands(),
        "configuration.md": configuration(),
        "http.md": http(),
        "messages.md": messages(),
        "metrics.md": metrics(),
    }


def main(directory: Path) -> int:
    """Writes them all."""
    directory.mkdir(exist_ok=True)
    for name, text in pages().items():
        (directory / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
