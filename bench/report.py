"""The one table of ``make bench``: what was measured, what was asked, and whether it held."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One line. ``held`` None: no target belongs to it, or it could not be measured (``note`` says)."""

    what: str
    measured: str
    target: str = ""
    held: bool | None = None
    note: str = ""


@dataclass
class Report:
    """Sections in the order they ran."""

    sections: dict[str, list[Row]] = field(default_factory=dict)

    def add(self, section: str, *rows: Row) -> None:
        self.sections.setdefault(section, []).extend(rows)

    @property
    def missed(self) -> int:
        return sum(row.held is False for rows in self.sections.values() for row in rows)

    def show(self, console: Console) -> None:
        table = Table(show_edge=False, pad_edge=False, highlight=False)
        for name in ("measure", "measured", "target", "held", "note"):
            table.add_column(name, overflow="fold")
        for section, rows in self.sections.items():
            table.add_section()
            table.add_row(section.upper())
            for row in rows:
                held = {None: "", True: "held", False: "NOT HELD"}[row.held]
                table.add_row(row.what, row.measured, row.target, held, row.note)
        console.print(table)


def paired(ours: list[float], theirs: list[float]) -> float:
    """Median over the rounds of theirs / ours: both of a pair ran within the same minute."""
    return median(b / a for a, b in zip(ours, theirs, strict=True))


def at_most(what: str, value: float, limit: float, unit: str, note: str = "") -> Row:
    return Row(what, f"{value:,.2f} {unit}".rstrip(), f"<= {limit:g} {unit}".rstrip(), value <= limit, note)


def at_least(what: str, value: float, limit: float, unit: str, note: str = "") -> Row:
    return Row(what, f"{value:,.2f} {unit}".rstrip(), f">= {limit:g} {unit}".rstrip(), value >= limit, note)
