"""One fault from its cause to its numbers, whatever happens on the way."""

from __future__ import annotations

from pathlib import Path

from tests.faults.outcome import Fault, Outcome
from tests.faults.scene import Scene, Workshop


def run_fault(fault: Fault, folder: Path, workshop: Workshop) -> Outcome:
    """A scene that ends early is counted as it stands, and says why it ended."""
    with Scene(folder, workshop) as scene:
        failure = None
        try:
            fault.cause(scene)
        except Exception as error:  # noqa: BLE001 - the suite goes on, and the fault fails by its name
            failure = f"{type(error).__name__}: {error}"
        return scene.outcome(fault, failure)
