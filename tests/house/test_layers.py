"""Floors: imports point down, one door to C in a room, the simulator shares nothing with the handlers."""

from __future__ import annotations

import re
from pathlib import Path

from house import FLOORS, imports, sources, text_of


def test_imports_point_down() -> None:
    wrong = []
    for path in sources(".py"):
        floor = FLOORS.index(path.parts[0])
        for line, module in imports(path):
            top = module.split(".")[0]
            if top in FLOORS and FLOORS.index(top) > floor:
                wrong.append(f"{path}:{line} imports {module}")
    assert wrong == []


def test_c_includes_point_down() -> None:
    homes = {path.name: path.parts[0] for path in sources(".h")}
    wrong = []
    for path in sources(".c", ".h"):
        for name in re.findall(r'^#include "([^"]+)"', text_of(path), re.MULTILINE):
            home = homes.get(Path(name).name)
            if home and FLOORS.index(home) > FLOORS.index(path.parts[0]):
                wrong.append(f"{path} includes {name} of {home}")
    assert wrong == []


def test_each_room_has_one_door_to_its_c() -> None:
    wrong = [
        f"{path}:{line} imports {module}"
        for path in sources(".py")
        for line, module in imports(path)
        if ("._native" in module and path.name != "_ffi.py")
        or (module.endswith("._dpdk") and path.name != "_dpdk_ffi.py")
    ]
    assert wrong == []
    doors = {path.parts[0] for path in sources(".py") if path.name == "_ffi.py"}
    assert {"handlers"} <= doors


def test_a_door_is_used_by_its_own_room_only() -> None:
    wrong = [
        f"{path}:{line} imports {module}"
        for path in sources(".py")
        for line, module in imports(path)
        if ("._ffi" in module or "._dpdk_ffi" in module) and module.split(".")[0] != path.parts[0]
    ]
    assert wrong == []


def test_simulator_and_handlers_know_nothing_of_each_other() -> None:
    wrong = []
    for path in sources(".py"):
        simulator = path.parts[:2] == ("appliance", "simulator")
        for line, module in imports(path):
            top = module.split(".")[0]
            if simulator and (top in ("handlers", "dpdk_bindings", "gateway", "hw")):
                wrong.append(f"{path}:{line} imports {module}")
            if path.parts[0] in ("handlers", "gateway") and module.startswith("appliance"):
                wrong.append(f"{path}:{line} imports {module}")
    assert wrong == []
