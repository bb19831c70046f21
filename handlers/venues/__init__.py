"""One file per exchange: facts, no code that touches a socket, a level or a number.

Files in ``venues/`` of the directories that $BOOKWIRE_ADD_EXCHANGES names belong to this package too.
"""

import os

_ADDED = filter(None, os.environ.get("BOOKWIRE_ADD_EXCHANGES", "").split(os.pathsep))
__path__ = [*__path__, *(os.path.join(directory, "venues") for directory in _ADDED)]
