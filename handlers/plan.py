"""Compiles a venue's messages to the tables the native decoder runs (handlers/native/plan.h).

Two steps: ``compile_tables`` turns paths into a trie of keys with slots and level readers, in plain
Python, and refuses facts that no table can say; ``Plan`` hands the tables to C and owns the result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from handlers._ffi import ffi, lib
from handlers.errors import SetupError
from handlers.facts import Checksum, Levels, Message, OneLevel, Venue

KEY_BYTES = 31
SIDE_BYTES = 15
SLOTS = ("symbol", "first", "last", "previous", "time", "checksum")
LEVEL_SLOTS = ("price", "quantity", "side")


class PlanError(SetupError):
    """Facts that cannot be compiled: says the venue, the message and the path."""


@dataclass(frozen=True)
class Key:
    node: int
    text: str
    action: str  # "object", "items", "slot", "levels"
    target: int


@dataclass
class Tables:
    """What C gets, in plain values. Slots are names; tags are "tag0", "tag1", ..."""

    keys: dict[tuple[int, str], Key] = field(default_factory=dict)
    levels: list[Levels | OneLevel] = field(default_factory=list)
    slots: dict[str, str] = field(default_factory=dict)  # path -> slot
    messages: list[tuple[Message, list[tuple[str, str]], int]] = field(default_factory=list)
    nodes: int = 1


class _Compiler:
    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.tables = Tables()

    def run(self) -> Tables:
        for message in self.venue.messages:
            self._fields(message)
        for message in self.venue.messages:
            for path in message.when:
                if path not in self.tables.slots:
                    tags = sum(slot.startswith("tag") for slot in self.tables.slots.values())
                    self._slot(message, path, f"tag{tags}")
        for message in self.venue.messages:
            self._message(message)
        return self.tables

    def _fields(self, message: Message) -> None:
        for slot in SLOTS:
            path = getattr(message, slot)
            if path is not None:
                self._slot(message, path, slot)
        for levels in message.levels:
            self._levels(message, levels)
        if message.level is not None:
            for slot in LEVEL_SLOTS:
                self._slot(message, getattr(message.level, slot), slot)
            if message.level not in self.tables.levels:
                self.tables.levels.append(message.level)

    def _message(self, message: Message) -> None:
        conditions = []
        for path, literal in message.when.items():
            slot = self.tables.slots[path]
            if sum(other == slot for other in self.tables.slots.values()) > 1:
                raise self._error(message, path, f"ambiguous in a condition: other paths fill {slot} too")
            if literal == "":
                raise self._error(message, path, "an empty literal cannot be told from 'present'")
            conditions.append((slot, self._text(message, path, literal) if literal else ""))
        if len(conditions) > lib.BW_PLAN_CONDITIONS_MAX:
            raise self._error(message, "when", f"more than {lib.BW_PLAN_CONDITIONS_MAX} conditions")
        single = self.tables.levels.index(message.level) if message.level is not None else -1
        self.tables.messages.append((message, conditions, single))

    def _slot(self, message: Message, path: str, slot: str) -> None:
        if path.endswith("[]"):
            raise self._error(message, path, "a value cannot be an array")
        known = self.tables.slots.get(path)
        if known is not None and known != slot:
            raise self._error(message, path, f"one path cannot be both {known} and {slot}")
        self.tables.slots[path] = slot
        self._key(message, path, "slot", slot_number(slot))

    def _levels(self, message: Message, levels: Levels) -> None:
        numbers = [levels.price, levels.quantity]
        if levels.orders is not None:
            numbers.append(levels.orders)
        if levels.side not in ("bids", "asks"):
            numbers.append(levels.side)
            if not all(0 < len(text) <= SIDE_BYTES for text in (levels.bid, levels.ask)):
                raise self._error(message, levels.path, "a side field needs the texts of bid and ask")
        if len({type(number) for number in numbers}) > 1:
            raise self._error(message, levels.path, "positions and keys are mixed")
        if any(number < 0 for number in numbers if isinstance(number, int)):
            raise self._error(message, levels.path, "a position is negative")
        if levels not in self.tables.levels:
            self.tables.levels.append(levels)
        self._key(message, levels.path, "levels", self.tables.levels.index(levels))

    def _key(self, message: Message, path: str, action: str, target: int) -> None:
        node = 0
        *parents, leaf = path.split(".")
        for parent in parents:
            items = parent.endswith("[]")
            text = self._text(message, path, parent.removesuffix("[]"))
            others = (key for key in self.tables.keys.values() if key.action == "items")
            if items and any((key.node, key.text) != (node, text) for key in others):
                raise self._error(message, path, "a plan walks one array of items")
            node = self._add(message, path, Key(node, text, "items" if items else "object", -1)).target
        self._add(message, path, Key(node, self._text(message, path, leaf), action, target))

    def _add(self, message: Message, path: str, key: Key) -> Key:
        """The key as it stands: a node of its own is made for a new parent."""
        known = self.tables.keys.get((key.node, key.text))
        if known is None:
            if key.target < 0:
                key = Key(key.node, key.text, key.action, self.tables.nodes)
                self.tables.nodes += 1
            self.tables.keys[key.node, key.text] = known = key
        if known.action != key.action or key.target not in (-1, known.target):
            raise self._error(message, path, f"key {key.text!r} is used as {known.action} and {key.action}")
        return known

    def _text(self, message: Message, path: str, text: str) -> str:
        if not 0 < len(text.encode()) <= KEY_BYTES or not text.isprintable():
            raise self._error(message, path, f"{text!r} must have 1 to {KEY_BYTES} printable bytes")
        return text

    def _error(self, message: Message, path: str, why: str) -> PlanError:
        return PlanError(f"{self.venue.id}: {message.kind} message, path {path!r}: {why}")


def slot_number(slot: str) -> int:
    """enum bw_slot of a slot's name."""
    if slot.startswith("tag"):
        number = int(lib.BW_SLOT_TAG0) + int(slot.removeprefix("tag"))
        if number >= lib.BW_SLOT_COUNT:
            raise PlanError(f"conditions look at more than {lib.BW_SLOT_COUNT - lib.BW_SLOT_TAG0} paths")
        return number
    return int(getattr(lib, f"BW_SLOT_{slot.upper()}"))


def compile_tables(venue: Venue) -> Tables:
    """Tables of a venue's messages. Raises PlanError for facts that no table can say."""
    tables = _Compiler(venue).run()
    for name, count, most in (
        ("objects", tables.nodes, lib.BW_PLAN_NODES_MAX),
        ("keys", len(tables.keys), lib.BW_PLAN_KEYS_MAX),
        ("level readers", len(tables.levels), lib.BW_PLAN_LEVELS_MAX),
        ("messages", len(tables.messages), lib.BW_PLAN_MESSAGES_MAX),
    ):
        if count > most:
            raise PlanError(f"{venue.id}: {count} {name}, at most {most} fit a plan")
    return tables


class Plan:
    """A compiled plan in C. ``handle`` is a ``bw_plan *``, valid until close()."""

    def __init__(self, venue: Venue) -> None:
        tables = compile_tables(venue)
        keys = ffi.new("bw_key_spec[]", [_key_spec(key) for key in tables.keys.values()])
        levels = ffi.new("bw_levels_spec[]", [_levels_spec(row) for row in tables.levels])
        messages = ffi.new("bw_message_spec[]", [_message_spec(*row) for row in tables.messages])
        spec = ffi.new(
            "bw_plan_spec *",
            {
                "key_count": len(tables.keys),
                "key": keys,
                "levels_count": len(tables.levels),
                "levels": levels,
                "message_count": len(tables.messages),
                "message": messages,
                "sync_rule": int(venue.sync),
                "continuity": int(venue.continuity),
                "time_format": int(venue.time_format),
                "checksum": _checksum_spec(venue.checksum),
                "snapshot_levels": venue.snapshots[0].levels if venue.snapshots else 0,
                "depth": venue.depth,
                "client_cuts": int(venue.client_cuts),
                "text_heartbeat": venue.heartbeat.text_reply.encode(),
            },
        )
        error = ffi.new("char[]", 256)
        self.handle: Any = lib.bw_plan_new(spec, error, len(error))
        if self.handle == ffi.NULL:
            raise PlanError(f"{venue.id}: {ffi.string(error).decode(errors='replace')}")

    def close(self) -> None:
        """Frees the plan; the engine or feed made of it must be gone."""
        if self.handle != ffi.NULL:
            lib.bw_plan_free(self.handle)
            self.handle = ffi.NULL


def _key_spec(key: Key) -> dict[str, Any]:
    action = getattr(lib, f"BW_KEY_{key.action.upper()}")
    return {"node": key.node, "action": action, "target": key.target, "text": key.text.encode()}


def _levels_spec(levels: Levels | OneLevel) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "price_at": -1,
        "quantity_at": -1,
        "orders_at": -1,
        "side_at": -1,
        "bid_text": levels.bid.encode(),
        "ask_text": levels.ask.encode(),
    }
    if isinstance(levels, OneLevel):
        return {**spec, "shape": lib.BW_SHAPE_SLOTS, "side": lib.BW_LEVELS_BY_FIELD}
    objects = isinstance(levels.price, str)
    by_field = levels.side not in ("bids", "asks")
    side = "BY_FIELD" if by_field else str(levels.side).upper()
    places = {
        "price": levels.price,
        "quantity": levels.quantity,
        "orders": levels.orders,
        "side": levels.side if by_field else None,
    }
    for name, place in places.items():
        if place is not None:
            spec[f"{name}_key" if objects else f"{name}_at"] = str(place).encode() if objects else place
    shape = lib.BW_SHAPE_OBJECTS if objects else lib.BW_SHAPE_ARRAYS
    return {**spec, "shape": shape, "side": getattr(lib, f"BW_LEVELS_{side}")}


def _message_spec(message: Message, conditions: list[tuple[str, str]], single: int) -> dict[str, Any]:
    rows = [{"slot": slot_number(slot), "equals": literal.encode()} for slot, literal in conditions]
    kind = getattr(lib, f"BW_MESSAGE_{message.kind.upper()}")
    return {"kind": kind, "slots_level": single, "condition_count": len(rows), "condition": rows}


def _checksum_spec(checksum: Checksum | None) -> dict[str, Any]:
    if checksum is None:
        return {"levels": 0}
    order = {
        "asks then bids": lib.BW_CHECKSUM_ASKS_THEN_BIDS,
        "interleaved, bid first": lib.BW_CHECKSUM_INTERLEAVED_BID_FIRST,
    }[checksum.order]
    text = {"digits": lib.BW_CHECKSUM_DIGITS, "plain": lib.BW_CHECKSUM_PLAIN}[checksum.text]
    return {
        "levels": checksum.levels,
        "order": order,
        "text": text,
        "separator": checksum.separator.encode(),
        "is_signed": int(checksum.signed),
    }
