"""What one fault did, in the words of `faults.json`; and the register of all faults."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.faults.scene import Scene


@dataclass(frozen=True, slots=True)
class Outcome:
    """Numbers after a fault. `broken` names every other promise that did not hold, in one sentence each.

    `deliveries` are distinct frames that a broker took over, or that were handed to the agent; `rows` are those
    of frames; `recovery_s` is None where the line did not come back, else the time from when the cause was gone
    until a frame sent after that had its row.
    """

    fault: str
    deliveries: int
    rows: int
    missed: int
    double_rows: int
    rejects_without_row: int
    recovery_s: float | None
    broken: tuple[str, ...] = field(default=())

    @property
    def holds(self) -> bool:
        """Nothing lost, nothing twice, no reject without a row, and no other promise broken."""
        return not (self.missed or self.double_rows or self.rejects_without_row or self.broken)

    def record(self) -> dict[str, Any]:
        """The fault's entry in `faults.json`."""
        names = ("fault", "deliveries", "rows", "missed", "double_rows", "rejects_without_row", "recovery_s")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `cause` sets its scene, does it, and leaves the scene's account to be read."""

    name: str
    is_fast: bool
    cause: Callable[[Scene], None]


_REGISTER: dict[str, Fault] = {}


def register(name: str, cause: Callable[[Scene], None], *, is_fast: bool = False) -> None:
    """For faults that differ by a parameter only. Raises ValueError for a name that is taken."""
    if name in _REGISTER:
        raise ValueError(f"two faults are called {name!r}")
    _REGISTER[name] = Fault(name, is_fast, cause)


def fault(name: str, *, is_fast: bool = False) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    """Registers the function as the fault of that name."""

    def enter(cause: Callable[[Scene], None]) -> Callable[[Scene], None]:
        register(name, cause, is_fast=is_fast)
        return cause

    return enter


def all_faults() -> list[Fault]:
    """Every fault of every module of this package, by module and then in the order it is written there."""
    package = importlib.import_module("tests.faults")
    for module in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
        if module != "__main__":
            importlib.import_module(f"tests.faults.{module}")
    return list(_REGISTER.values())
