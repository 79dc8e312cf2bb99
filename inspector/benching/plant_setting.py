"""What the plant of a bench looks like: its agents, cameras and products, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from inspector.config.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantSetting:
    """What the bench's plant looks like.

    `config`: the person's own; its engine section is used, and its user and secret where `broker` is its broker.
    `copied`: products of that configuration to copy, which `images` shows. `gate_window_ms`: each camera stands at a
    gate with this window; None for no gates. `state`: folder in which the bench makes its own; None for one within the
    configured state folder, because it is on the same disk. `engine` and `threads` None: as configured. `agents`: on
    this machine, with one store; they share cameras and, unless `threads` says how many each has, cores.
    """

    config: Config
    cameras: int = 4
    agents: int = 1
    products: int = 1
    profile: str = "standard"
    head: str = "prototype"
    engine: str | None = None
    threads: int | None = None
    broker: str | None = None
    images: Path | None = None
    copied: tuple[str, ...] = ()
    state: Path | None = None
    gate_window_ms: float | None = None

    @property
    def base(self) -> Path:
        return self.state or self.config.agent.state_dir / "bench"
