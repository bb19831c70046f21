"""From file, environment and flags to a Config, and back to text.

Every complaint names the file and line (or the variable, or the flag), what is wrong there, and what would
be right. Nothing is guessed and nothing unknown is passed over.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from appliance.config import Config, Exchange
from appliance.slips import suggestion
from handlers.errors import SetupError, UsageError
from handlers.registry import VENUES

T = TypeVar("T")
PREFIX = "BOOKWIRE_"
FILE_VARIABLE = "BOOKWIRE_CONFIG"
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>[^`]*)`")
_AT = re.compile(r" - at `\$(?P<path>[^`]*)`$")


def load(
    path: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
    exchanges: Sequence[str] | None = None,
) -> Config:
    """The effective configuration.

    ``path`` None: the file named by $BOOKWIRE_CONFIG, or none. ``flags`` are tables of the values that
    were given on the command line. ``exchanges`` run where nothing says which, None: the usual.
    Raises SetupError (78), UsageError (64) for unknown exchanges.
    """
    environment = os.environ if environment is None else environment
    if path is None and environment.get(FILE_VARIABLE):
        path = Path(environment[FILE_VARIABLE])
    source = _File(path)
    config = source.checked(source.tables)
    tables = dict(source.tables)
    for layer in (_from_environment(environment), flags or {}):
        for table, values in layer.items():
            tables[table] = {**tables.get(table, {}), **values}
    if exchanges is not None:
        tables["exchanges"] = {"enabled": list(exchanges), **tables.get("exchanges", {})}
    merged = source.checked(tables) if tables != source.tables else config
    _check_names(merged, source)
    return merged


class _File:
    """A TOML file and where in it things stand."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.text = ""
        self.tables: dict[str, Any] = {}
        if path is None:
            return
        try:
            self.text = path.read_text(encoding="utf-8")
            self.tables = tomllib.loads(self.text)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise SetupError(
                f"cannot read the configuration: {reason}",
                where=str(path),
                do="check the path given by --config",
            ) from error
        except tomllib.TOMLDecodeError as error:
            raise SetupError(f"not TOML: {error}", where=str(path), do="mend that line") from error

    def where(self, *path: str) -> str:
        """``file:line`` of a key, or of its table's heading."""
        if self.path is None:
            return ".".join(path)
        line = line_of(self.text, path)
        return f"{self.path}:{line}" if line else f"{self.path} ({'.'.join(path)})"

    def checked(self, tables: Mapping[str, Any]) -> Config:
        """Tables as a Config; a complaint in the user's terms otherwise."""
        each = tables.get("exchange", {})
        if isinstance(each, dict):  # one by one, so that a complaint can say whose key it is
            for name, table in each.items():
                self._converted(table, Exchange, ("exchange", name))
        return self._converted(tables, Config, ())

    def _converted(self, value: object, kind: type[T], base: tuple[str, ...]) -> T:
        try:
            return msgspec.convert(value, kind, dec_hook=_decode)
        except msgspec.ValidationError as error:
            text = str(error)
            at = _AT.search(text)
            path = base + tuple(re.findall(r"\.(\w+)", at["path"]) if at else ())
            unknown = _UNKNOWN.match(text)
            if unknown:
                key = unknown["key"]
                what = f"unknown key {key!r}" + (f" in [{'.'.join(path)}]" if path else "")
                raise SetupError(
                    what, where=self.where(*path, key), do=suggestion(key, known_keys(path))
                ) from error
            what = text[: at.start()] if at else text
            raise SetupError(
                f"{'.'.join(path)}: {what[0].lower()}{what[1:]}",
                where=self.where(*path),
                do="docs/configuration.md lists every key and its kind",
            ) from error


def _decode(kind: type[Any], value: object) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value).expanduser()
    raise NotImplementedError(kind)  # how a dec_hook of msgspec says "not mine"; it then names key and value


def known_keys(table: Sequence[str]) -> tuple[str, ...]:
    """Keys a table may hold; of the file's top level for an empty path."""
    if not table:
        return Config.__struct_fields__
    if table[0] == "exchange":
        return Exchange.__struct_fields__
    kind: type[msgspec.Struct] = Config
    for name in table:
        kind = get_type_hints(kind)[name]
    return kind.__struct_fields__


def line_of(text: str, path: Sequence[str]) -> int:
    """Line (from 1) at which the key or table ``path`` stands in TOML text; 0 if it cannot be told."""
    wanted = list(path)
    table: list[str] = []
    heading = 0
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            table = _keys(stripped.strip("[]").split("]")[0])
            if table == wanted:
                heading = number
        elif "=" in stripped and not stripped.startswith("#"):
            key = table + _keys(stripped.split("=", 1)[0])
            if key == wanted:
                return number
    return heading


def _keys(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]


def _from_environment(environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """``BOOKWIRE_GATEWAY_PORT=9000`` -> {"gateway": {"port": 9000}}; lists are separated by commas."""
    layers: dict[str, dict[str, Any]] = {}
    hints = get_type_hints(Config, include_extras=True)
    for table in (name for name in Config.__struct_fields__ if name != "exchange"):
        start = f"{PREFIX}{table.upper()}_"
        types = get_type_hints(hints[table], include_extras=True)
        for variable in (name for name in environment if name.startswith(start)):
            key = variable.removeprefix(start).lower()
            if key not in types:
                raise SetupError(
                    f"unknown variable {variable}",
                    where="environment",
                    do=suggestion(variable, (f"{start}{name.upper()}" for name in types)),
                )
            text = environment[variable]
            value: object = [part.strip() for part in text.split(",")] if _is_list(types[key]) else text
            try:
                decoded = msgspec.convert(value, types[key], strict=False, dec_hook=_decode)
            except msgspec.ValidationError as error:
                raise SetupError(
                    f"{variable}={text!r}: {error}", where="environment", do="mend or unset it"
                ) from error
            layers.setdefault(table, {})[key] = msgspec.to_builtins(decoded, enc_hook=str)
    return layers


def _is_list(kind: Any) -> bool:
    return "tuple[" in str(kind)


def _check_names(config: Config, source: _File) -> None:
    """Exchanges must be ones that have facts; the same one twice is a slip."""
    for place, table in ((("arb", "fees"), config.arb.fees), (("simulate", "skew"), config.simulate.skew)):
        for name in table:
            if name not in VENUES:
                raise UsageError(
                    f"exchange {name!r} is unknown",
                    where=source.where(*place, name),
                    do=suggestion(name, VENUES),
                )
    for path, names in (
        (("exchanges", "enabled"), config.exchanges.enabled),
        (("exchange",), tuple(config.exchange)),
    ):
        for name in names:
            if name not in VENUES:
                raise UsageError(
                    f"exchange {name!r} is unknown",
                    where=source.where(*path, *((name,) if path == ("exchange",) else ())),
                    do=suggestion(name, VENUES),
                )
        if len(set(names)) != len(names):
            raise SetupError("an exchange stands twice", where=source.where(*path), do="name each once")
    if not config.exchanges.enabled:
        raise SetupError(
            "no exchange is enabled", where=source.where("exchanges", "enabled"), do="name at least one"
        )
    if (config.gateway.tls_certificate is None) != (config.gateway.tls_key is None):
        raise SetupError(
            "tls_certificate and tls_key go together",
            where=source.where("gateway"),
            do="give both or neither",
        )


def to_toml(config: Config) -> str:
    """The whole configuration as a file that ``load`` reads back to the same; None is left out."""
    plain = msgspec.to_builtins(config, enc_hook=str)
    lines: list[str] = []
    for table, values in plain.items():
        if table == "exchange":
            for name, own in values.items():
                lines += [f"[exchange.{name}]", *_assignments(own), ""]
        else:
            own = {key: value for key, value in values.items() if isinstance(value, dict)}
            plain_ones = {key: value for key, value in values.items() if key not in own}
            lines += [f"[{table}]", *_assignments(plain_ones), ""]
            for key, inner in own.items():
                lines += [f"[{table}.{key}]", *_assignments(inner), ""] if inner else []
    return "\n".join(lines)


def _assignments(values: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_literal(value)}" for key, value in values.items() if value is not None]


def _literal(value: Any) -> str:
    # A JSON string is a TOML basic string, and so are its numbers, booleans and arrays of these.
    return json.dumps(value, ensure_ascii=False)


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the file, for editors."""
    made = msgspec.json.schema(Config, schema_hook=lambda kind: {"type": "string"} if kind is Path else {})
    definitions = made["$defs"]
    for definition in definitions.values():
        definition.pop("required", None)  # nothing is
    definitions["Config"]["properties"]["exchange"]["propertyNames"] = {"enum": [*VENUES]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Bookwire configuration",
        **made,
    }


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))
