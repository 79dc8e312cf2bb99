"""The last measured capacity of this machine, kept in the state folder, and the gates whose window it does not fill.

`inspector capacity` measures and keeps it. `inspector run` and `inspector doctor` read it. A file that can't be read
counts as no measurement, and is said to be so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from inspector.config.config import Config
from inspector.config.line_sections import GateSection
from inspector.errors import StateUnusable
from inspector.files import make_folder, read_regular, write_text
from inspector.text import MOST_TEXT_BYTES

FILE: Final = "capacity.json"
SCHEMA: Final = 1


@dataclass(frozen=True, slots=True)
class Capacity:
    """`rate_fps`: the highest rate of all cameras together at which 99.9 % of parts were in time; None if none was.

    `p999_ms`: 99.9 % of parts took at most this long at that rate, or at the lowest rate tried if `rate_fps` is None.
    It is None if nothing is known but that the deadline does not hold. `frames`: of the trial that says so.
    `profile` and `head`: of the product that was shown, empty in earlier files. `measured_at`: RFC 3339, UTC.
    """

    deadline_ms: float
    rate_fps: float | None
    p999_ms: float | None
    frames: int
    cameras: int
    products: int
    engine: str
    cores: int
    software: str
    measured_at: str
    profile: str = ""
    head: str = ""


@dataclass(frozen=True, slots=True)
class NarrowGate:
    """A gate whose window is shorter than the measured p99.9. `detail`: what was measured and what to do."""

    gate: str
    detail: str


def keep_capacity(state_dir: Path, capacity: Capacity) -> Path:
    """Writes the file; a reader sees the old one or the new one. Raises StateUnusable."""
    path = state_dir / FILE
    try:
        make_folder(state_dir)
        write_text(path, json.dumps({"schema": SCHEMA, **asdict(capacity)}, indent=2) + "\n")
    except OSError as error:
        raise StateUnusable(
            f"The capacity can't be kept in {state_dir} ({error.strerror}); run this as the owner of the state folder."
        ) from error
    return path


def kept_capacity(state_dir: Path) -> Capacity | None:
    """The last measurement; None if there is none. Raises StateUnusable if the file is there and can't be read."""
    path = state_dir / FILE
    try:
        return _typed(json.loads(read_regular(path, MOST_TEXT_BYTES)))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        reason = error.strerror or str(error)
    except (KeyError, TypeError, ValueError, RecursionError):
        reason = "it does not hold what `inspector capacity` writes"
    raise StateUnusable(f"The measured capacity in {path} can't be read ({reason}); measure it again, or remove it.")


def narrow_gates(config: Config, capacity: Capacity) -> Iterator[NarrowGate]:
    """The gates whose window is under the measured p99.9, in the order of the configuration."""
    for gate in config.gate:
        needed_ms = capacity.p999_ms if capacity.p999_ms is not None else capacity.deadline_ms
        if gate.window_ms < needed_ms or (capacity.p999_ms is None and gate.window_ms == needed_ms):
            yield NarrowGate(gate.name, _detail(gate, capacity))


def said(capacity: Capacity) -> str:
    """The measurement as a phrase."""
    day = capacity.measured_at.partition("T")[0]
    if capacity.profile:
        day = f"{day} with profile {capacity.profile}"
    if capacity.p999_ms is None:
        return f"even at the lowest rate more than 1 part in 1000 took over {capacity.deadline_ms:g} ms, measured {day}"
    if capacity.rate_fps is None:
        return f"99.9 % of parts took up to {capacity.p999_ms:.3g} ms even at the lowest rate, measured {day}"
    return f"99.9 % of parts took up to {capacity.p999_ms:.3g} ms at {capacity.rate_fps:.3g} a second, measured {day}"


def now_text() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _detail(gate: GateSection, capacity: Capacity) -> str:
    return (
        f"its window is {gate.window_ms:g} ms, but {said(capacity)}. Widen window_ms, "
        f"or see which rate it holds with `inspector capacity --deadline-ms {gate.window_ms:g}`"
    )


def _typed(stored: Any) -> Capacity:
    if stored["schema"] != SCHEMA:
        raise ValueError(f"schema {stored['schema']!r}")
    rate_fps, p999_ms = (None if stored[name] is None else float(stored[name]) for name in ("rate_fps", "p999_ms"))
    return Capacity(
        deadline_ms=float(stored["deadline_ms"]),
        rate_fps=rate_fps,
        p999_ms=p999_ms,
        frames=int(stored["frames"]),
        cameras=int(stored["cameras"]),
        products=int(stored["products"]),
        engine=str(stored["engine"]),
        cores=int(stored["cores"]),
        software=str(stored["software"]),
        measured_at=str(stored["measured_at"]),
        profile=str(stored.get("profile", "")),
        head=str(stored.get("head", "")),
    )
