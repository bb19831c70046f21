"""The text form of Prometheus: samples by metric, histograms from the native buckets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import accumulate

from gateway import observe

PREFIX = "bookwire_"
LE_NS = [1 << octave for octave in range(7, 35)]  # 128 ns .. 17 s


class Exposition:
    """Collects samples by metric, so that each metric's HELP and TYPE stand once."""

    def __init__(self) -> None:
        self._metrics: dict[str, tuple[str, str, list[str]]] = {}

    def add(self, name: str, kind: str, text: str, value: float, /, **labels: str) -> None:
        """One sample of a gauge or counter."""
        self._samples(name, kind, text).append(f"{PREFIX}{name}{_labels(labels)} {_value(value)}")

    def histogram(
        self,
        name: str,
        text: str,
        buckets: list[int],
        total: float | None = None,
        *,
        edges: list[int] = LE_NS,
        per_s: float = 1e9,
        **labels: str,
    ) -> None:
        """A histogram in seconds from counts by native bucket; these and ``edges`` are in units of which
        a second has ``per_s``.

        ``total`` is the sum of all that was measured; None: as if each stood at its bucket's floor.
        """
        samples = self._samples(name, "histogram", text)
        below = list(accumulate(buckets))
        floors = observe.histogram_floors()
        if total is None:
            total = sum(count * floor for count, floor in zip(buckets, floors, strict=True))
        for edge in edges:
            at = sum(1 for floor in floors if floor < edge) - 1
            labelled = _labels({**labels, "le": _value(edge / per_s)})
            samples.append(f"{PREFIX}{name}_bucket{labelled} {below[at]}")
        samples.append(f"{PREFIX}{name}_bucket{_labels({**labels, 'le': '+Inf'})} {below[-1]}")
        samples.append(f"{PREFIX}{name}_sum{_labels(labels)} {_value(total / per_s)}")
        samples.append(f"{PREFIX}{name}_count{_labels(labels)} {below[-1]}")

    def _samples(self, name: str, kind: str, text: str) -> list[str]:
        return self._metrics.setdefault(name, (kind, text, []))[2]

    def lines(self) -> Iterable[str]:
        for name, (kind, text, samples) in self._metrics.items():
            yield f"# HELP {PREFIX}{name} {text}"
            yield f"# TYPE {PREFIX}{name} {kind}"
            yield from samples

    def described(self) -> Iterable[tuple[str, str, list[str], str]]:
        """(name, kind, labels of a sample, help) of each metric."""
        for name, (kind, text, samples) in self._metrics.items():
            labels = re.findall(r'[{,](\w+)="', samples[0])
            yield f"{PREFIX}{name}", kind, [label for label in labels if label != "le"], text

    def text(self) -> str:
        return "\n".join([*self.lines(), ""])


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    escaped = {
        key: value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        for key, value in labels.items()
    }
    return "{" + ",".join(f'{key}="{value}"' for key, value in escaped.items()) + "}"


def _value(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
