"""Compiles a venue's messages to the tables the native decoder runs (handlers/native/plan.h).

Two steps: ``compile_tables`` turns paths into a trie of keys with slots and level readers, in plain
Python, and refuses facts that no table can say; ``Plan`` hands the tables to C and owns the result.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from handlers._ffi import ffi, lib
from handlers.errors import SetupError
from handlers.facts import Checksum, Condition, Form, Levels, Message, OneLevel, Pairs, Same, Venue

KEY_BYTES = 31
SIDE_BYTES = 15
ROLES = ("symbol", "first", "last", "previous", "time", "checksum")
LEVEL_ROLES = ("price", "quantity", "side")
SIDES = ("bids", "asks", "sign")
SEGMENT = re.compile(r"([^\[\].]*)((?:\[\d*\])*)")

Read = Levels | Pairs | OneLevel


class PlanError(SetupError):
    """Facts that cannot be compiled: says the venue, the message and the path."""


@dataclass
class Key:
    """One key of the trie: a name in an object, or (``position``) an element of an array."""

    node: int
    text: str
    action: str  # "object", "items", "slot", "levels"
    target: int
    position: int | None = None
    also: str | None = None  # slot that remembers the value besides
    number: int = 0  # protobuf field


@dataclass(frozen=True)
class Test:
    """A condition on a slot: equals a literal ("" for present), holds what another holds, has a form."""

    __test__ = False
    slot: str
    equals: str = ""
    same: str | None = None
    form: Form | None = None


@dataclass(frozen=True)
class Compiled:
    """A message as C gets it: its tests, the slots of its roles where they are not the usual ones."""

    message: Message
    tests: list[Test]
    roles: dict[str, str]
    single: int  # level reader that the message itself is, or -1


@dataclass
class Tables:
    """What C gets, in plain values. Slots are names; tags are "tag0", "tag1", ..."""

    keys: dict[tuple[int, str], Key] = field(default_factory=dict)
    levels: list[Read] = field(default_factory=list)
    slots: dict[str, str] = field(default_factory=dict)  # path -> slot
    messages: list[Compiled] = field(default_factory=list)
    nodes: int = 1


class _Compiler:
    """A path has one slot. The first path of a role, if it has no other, fills the slot of that name."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.tables = Tables()
        self._roles: dict[str, set[str]] = {}  # path -> what messages read it as

    def run(self) -> Tables:
        for message in self.venue.messages:
            for role, path in self._paths(message):
                self._roles.setdefault(path, set()).add(role)
        for message in self.venue.messages:
            self._fields(message)
        tested = {path: message for message in self.venue.messages for path in _tested(message)}
        for path in sorted(tested, key=len, reverse=True):  # what stands above others comes after them
            self._slot(tested[path], path, None)
        for message in self.venue.messages:
            self._message(message)
        return self.tables

    def _paths(self, message: Message) -> Iterator[tuple[str, str]]:
        named = [(role, getattr(message, role)) for role in (*ROLES, "binds")]
        if message.level is not None:
            named += [(role, getattr(message.level, role)) for role in LEVEL_ROLES]
        return ((role, path) for role, path in named if path is not None)

    def _fields(self, message: Message) -> None:
        for role, path in self._paths(message):
            self._slot(message, path, role)
        for levels in message.levels:
            self._levels(message, levels)
        if message.level is not None and message.level not in self.tables.levels:
            self.tables.levels.append(message.level)

    def _message(self, message: Message) -> None:
        tests = [self._test(message, path, wanted) for path, wanted in message.when.items()]
        if len(tests) > lib.BW_PLAN_CONDITIONS_MAX:
            raise self._error(message, "when", f"more than {lib.BW_PLAN_CONDITIONS_MAX} conditions")
        slots = {role: self.tables.slots[path] for role, path in self._paths(message)}
        for role in LEVEL_ROLES:
            if message.level is not None and slots[role] != role:
                raise self._error(message, getattr(message.level, role), f"cannot be both {role} and another")
        if message.binds is not None and (message.kind != "control" or message.symbol is None):
            raise self._error(message, message.binds, "only a control message with a symbol binds an id")
        roles = {role: slot for role, slot in slots.items() if slot != role and role not in LEVEL_ROLES}
        single = self.tables.levels.index(message.level) if message.level is not None else -1
        self.tables.messages.append(Compiled(message, tests, roles, single))

    def _test(self, message: Message, path: str, wanted: Condition) -> Test:
        slot = self.tables.slots[path]
        if isinstance(wanted, Same):
            return Test(slot, same=self.tables.slots[wanted.path])
        if isinstance(wanted, Form):
            return Test(slot, form=wanted)
        if wanted == "":
            raise self._error(message, path, "an empty literal cannot be told from 'present'")
        return Test(slot, self._text(message, path, wanted) if wanted else "")

    def _slot(self, message: Message, path: str, role: str | None) -> None:
        """Gives the path its slot, if it has none yet."""
        if path in self.tables.slots:
            return
        usual = role if self._roles.get(path) == {role} and role != "binds" else None
        if usual is None or usual in self.tables.slots.values():
            usual = f"tag{sum(slot.startswith('tag') for slot in self.tables.slots.values())}"
        self.tables.slots[path] = usual
        key = self._key(message, path, "slot", slot_number(usual), besides=role is None)
        if key.action != "slot":
            key.also = usual

    def _levels(self, message: Message, levels: Levels | Pairs) -> None:
        if isinstance(levels, Levels):
            self._check_levels(message, levels)
        if levels not in self.tables.levels:
            self.tables.levels.append(levels)
        self._key(message, levels.path, "levels", self.tables.levels.index(levels))

    def _check_levels(self, message: Message, levels: Levels) -> None:
        numbers = [levels.price, levels.quantity]
        if levels.orders is not None:
            numbers.append(levels.orders)
        if levels.side not in SIDES:
            numbers.append(levels.side)
            if not all(0 < len(text) <= SIDE_BYTES for text in (levels.bid, levels.ask)):
                raise self._error(message, levels.path, "a side field needs the texts of bid and ask")
        if len({type(number) for number in numbers}) > 1:
            raise self._error(message, levels.path, "positions and keys are mixed")
        if any(number < 0 for number in numbers if isinstance(number, int)):
            raise self._error(message, levels.path, "a position is negative")
        if levels.orders_delete and levels.orders is None:
            raise self._error(message, levels.path, "orders_delete needs orders")
        if set(levels.forms) - {Form.ROWS, Form.ROW, Form.OBJECT} or Form.ROWS not in levels.forms:
            raise self._error(message, levels.path, "levels are ROWS, and at most ROW and OBJECT besides")
        if len(levels.forms) > 1 and isinstance(levels.price, str):
            raise self._error(message, levels.path, "only levels by position have other forms than rows")
        if Form.OBJECT in levels.forms and levels.side not in ("bids", "asks"):
            raise self._error(message, levels.path, "an object of prices needs a known side")

    def _key(self, message: Message, path: str, action: str, target: int, besides: bool = False) -> Key:
        """Puts a path into the trie. ``besides``: its last key may already lead elsewhere."""
        steps, items = self._steps(message, path), False
        node, name = 0, ""
        for at, (text, position, walks) in enumerate(steps):
            last = at == len(steps) - 1
            name = f"{name}.{text}".lstrip(".") if position is None else name
            if walks and (last or items):
                raise self._error(
                    message, path, "a value cannot be an array" if last else "items inside items"
                )
            items |= walks
            others = (key for key in self.tables.keys.values() if key.action == "items")
            if walks and any((key.node, key.text) != (node, text) for key in others):
                raise self._error(message, path, "a plan walks one array of items")
            way = action if last else "items" if walks else "object"
            number = self.venue.protobuf.get(name, 0)
            key = Key(node, text, way, target if last else -1, position, number=number)
            key = self._add(message, path, key, besides and last)
            node = key.target
        return key

    def _steps(self, message: Message, path: str) -> list[tuple[str, int | None, bool]]:
        """Keys of a path: text, position, and whether its elements are walked."""
        steps: list[tuple[str, int | None, bool]] = []
        for piece in path.split("."):
            match = SEGMENT.fullmatch(piece)
            if match is None:
                raise self._error(message, path, f"{piece!r} is no key, [position] or []")
            name, brackets = match[1], re.findall(r"\[(\d*)\]", match[2])
            if name or not brackets or brackets[0] == "":
                walks = brackets[:1] == [""]
                steps.append((self._text(message, path, name), None, walks))
                brackets = brackets[1:] if walks else brackets
            for number in brackets:
                if number == "" or int(number) >= lib.BW_PLAN_POSITIONS_MAX:
                    most = lib.BW_PLAN_POSITIONS_MAX - 1
                    raise self._error(message, path, f"positions go from 0 to {most}; [] stands behind a key")
                steps.append((f"[{number}]", int(number), False))
        return steps

    def _add(self, message: Message, path: str, key: Key, besides: bool) -> Key:
        """The key as it stands: a node of its own is made for a new parent."""
        known = self.tables.keys.get((key.node, key.text))
        if known is None:
            if key.target < 0:
                key = replace(key, target=self.tables.nodes)
                self.tables.nodes += 1
            self.tables.keys[key.node, key.text] = known = key
        if not besides and (known.action != key.action or key.target not in (-1, known.target)):
            raise self._error(message, path, f"key {key.text!r} is used as {known.action} and {key.action}")
        return known

    def _text(self, message: Message, path: str, text: str) -> str:
        if not 0 < len(text.encode()) <= KEY_BYTES or not text.isprintable():
            raise self._error(message, path, f"{text!r} must have 1 to {KEY_BYTES} printable bytes")
        return text

    def _error(self, message: Message, path: str, why: str) -> PlanError:
        return PlanError(f"{self.venue.id}: {message.kind} message, path {path!r}: {why}")


def _tested(message: Message) -> Iterator[str]:
    """Paths that its conditions look at."""
    for path, wanted in message.when.items():
        yield path
        if isinstance(wanted, Same):
            yield wanted.path


def slot_number(slot: str) -> int:
    """enum bw_slot of a slot's name."""
    if slot.startswith("tag"):
        number = int(lib.BW_SLOT_TAG0) + int(slot.removeprefix("tag"))
        if number >= lib.BW_SLOT_COUNT:
            raise PlanError(
                f"roles and conditions look at more than {lib.BW_SLOT_COUNT - lib.BW_SLOT_TAG0} paths"
            )
        return number
    return int(getattr(lib, f"BW_SLOT_{slot.upper()}"))


def compile_tables(venue: Venue) -> Tables:
    """Tables of a venue's messages. Raises PlanError for facts that no table can say."""
    tables = _Compiler(venue).run()
    if (venue.frames == "protobuf") != bool(venue.protobuf):
        raise PlanError(f"{venue.id}: frames are protobuf where field numbers are given, and only there")
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
        levels = ffi.new("bw_levels_spec[]", [_levels_spec(row, venue) for row in tables.levels])
        messages = ffi.new("bw_message_spec[]", [_message_spec(row) for row in tables.messages])
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
                "snapshot_levels": venue.snapshots[0].levels if venue.snapshots else venue.snapshot_levels,
                "depth": venue.depth,
                "client_cuts": int(venue.client_cuts),
                "text_heartbeat": venue.heartbeat.text_reply.encode(),
                "straddle": int(venue.straddle),
                "audit": int(venue.audit),
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
    return {
        "node": key.node,
        "action": getattr(lib, f"BW_KEY_{key.action.upper()}"),
        "target": key.target,
        "text": key.text.encode(),
        "also": 0 if key.also is None else 1 + slot_number(key.also),
        "position": 0 if key.position is None else 1 + key.position,
        "number": key.number,
    }


def _levels_spec(levels: Read, venue: Venue) -> dict[str, Any]:
    spec: dict[str, Any] = {"price_at": -1, "quantity_at": -1, "orders_at": -1, "side_at": -1}
    if isinstance(levels, Pairs):
        names = ("price_key", "quantity_key", "ask_price_key", "ask_quantity_key")
        keys = (levels.bid_price, levels.bid_quantity, levels.ask_price, levels.ask_quantity)
        return {
            **spec,
            "shape": lib.BW_SHAPE_PAIRS,
            **{n: k.encode() for n, k in zip(names, keys, strict=True)},
        }
    spec |= {"bid_text": levels.bid.encode(), "ask_text": levels.ask.encode()}
    if isinstance(levels, OneLevel):
        return {**spec, "shape": lib.BW_SHAPE_SLOTS, "side": lib.BW_LEVELS_BY_FIELD}
    objects = isinstance(levels.price, str)
    by_field = levels.side not in SIDES
    side = "BY_FIELD" if by_field else "BY_SIGN" if levels.side == "sign" else str(levels.side).upper()
    places = {
        "price": levels.price,
        "quantity": levels.quantity,
        "orders": levels.orders,
        "side": levels.side if by_field else None,
    }
    for name, place in places.items():
        if place is not None:
            spec[f"{name}_key" if objects else f"{name}_at"] = str(place).encode() if objects else place
    numbers = [venue.protobuf.get(f"{levels.path}.{place}", 0) for place in places.values()]
    return {
        **spec,
        "shape": lib.BW_SHAPE_OBJECTS if objects else lib.BW_SHAPE_ARRAYS,
        "side": getattr(lib, f"BW_LEVELS_{side}"),
        "orders_delete": int(levels.orders_delete),
        "forms": sum(1 << form for form in levels.forms),
        "number": numbers,
    }


def _message_spec(compiled: Compiled) -> dict[str, Any]:
    roles = [compiled.roles.get(role) for role in ROLES]
    binds = compiled.roles.get("binds")
    return {
        "kind": getattr(lib, f"BW_MESSAGE_{compiled.message.kind.upper()}"),
        "slots_level": compiled.single,
        "condition_count": len(compiled.tests),
        "condition": [_condition_spec(test) for test in compiled.tests],
        "role": [0 if slot is None else 1 + slot_number(slot) for slot in roles],
        "binds": 0 if binds is None else 1 + slot_number(binds),
    }


def _condition_spec(test: Test) -> dict[str, Any]:
    spec: dict[str, Any] = {"slot": slot_number(test.slot), "equals": test.equals.encode()}
    if test.same is not None:
        return {**spec, "test": lib.BW_TEST_SAME, "other": slot_number(test.same)}
    if test.form is not None:
        return {**spec, "test": lib.BW_TEST_FORM, "other": int(test.form)}
    return spec


def _checksum_spec(checksum: Checksum | None) -> dict[str, Any]:
    if checksum is None:
        return {"levels": 0}
    order = {
        "asks then bids": lib.BW_CHECKSUM_ASKS_THEN_BIDS,
        "bids then asks": lib.BW_CHECKSUM_BIDS_THEN_ASKS,
        "interleaved, bid first": lib.BW_CHECKSUM_INTERLEAVED_BID_FIRST,
    }[checksum.order]
    return {
        "levels": checksum.levels,
        "order": order,
        "text": getattr(lib, f"BW_CHECKSUM_{checksum.text.upper()}"),
        "separator": checksum.separator.encode(),
        "is_signed": int(checksum.signed),
        "negative_asks": int(checksum.negative_asks),
    }
