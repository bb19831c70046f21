"""The exchanges, played on this machine without Internet: real TLS, real protocols, scripted faults.

Each exchange's protocol is written from its documentation and shares nothing with the feed handlers, so that
an error in one of the two does not hide in the other.
"""

from .runner import Simulator, SimulatorError, run
from .settings import SimulatorSettings

__all__ = ["Simulator", "SimulatorError", "SimulatorSettings", "run"]
