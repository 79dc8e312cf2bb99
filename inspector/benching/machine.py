"""This machine, in words: what a figure was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from inspector import __version__
from inspector.agent.process_figures import processor_name

BUSY_SHARE: Final = 0.2
"""A load beyond this share of the cores, before anything was started, means that other work runs here."""


@dataclass(frozen=True, slots=True)
class Machine:
    """`load`: mean number of running processes over the last minute, before the bench began."""

    cpu: str
    cores: int
    memory_gib: float
    system: str
    python: str
    software: str
    onnxruntime: str | None
    measured_at: str
    load: float

    @property
    def is_busy(self) -> bool:
        return self.load > BUSY_SHARE * self.cores

    def facts(self) -> list[tuple[str, str]]:
        """Names and values for people."""
        return [
            ("machine", f"{self.cpu}, {self.cores} cores, {self.memory_gib:.1f} GiB"),
            ("system", f"{self.system}, Python {self.python}"),
            ("software", f"inspector {self.software}, onnxruntime {self.onnxruntime or 'not installed'}"),
            ("measured", self.measured_at),
        ]

    def notes(self) -> list[str]:
        if not self.is_busy:
            return []
        return [
            f"Other work ran on this machine before the bench began (load {self.load:.1f} on {self.cores} cores). "
            "Figures of time are too high by an unknown amount; ratios of one run suffer less."
        ]


def this_machine() -> Machine:
    cores = len(os.sched_getaffinity(0))
    return Machine(
        cpu=processor_name(),
        cores=cores,
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        software=__version__,
        onnxruntime=_version("onnxruntime"),
        measured_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        load=round(os.getloadavg()[0], 2),
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
