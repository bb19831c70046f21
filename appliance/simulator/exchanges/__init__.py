"""One file per exchange, each with its protocol written from the exchange's documentation.

A file holds one class derived from ``Exchange`` and is found by being there, also in ``simulator/`` of the
directories that $BOOKWIRE_ADD_EXCHANGES names.
"""

from __future__ import annotations

import os
from importlib import import_module
from pkgutil import iter_modules

from appliance.simulator.exchange import Exchange

_ADDED = filter(None, os.environ.get("BOOKWIRE_ADD_EXCHANGES", "").split(os.pathsep))
__path__ = [*__path__, *(os.path.join(directory, "simulator") for directory in _ADDED)]


def _found() -> dict[str, type[Exchange]]:
    modules = [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
    classes = {
        each.id: each
        for module in modules
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Exchange) and each.__module__ == module.__name__
    }
    return {name: classes[name] for name in sorted(classes)}


EXCHANGES = _found()
