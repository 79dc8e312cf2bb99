"""How a student is trained: steps, batch, rates, seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How a student is trained. `folder`: where its checkpoint is kept, None = nowhere, so it can't go on.

    The same images, plan, device and number of threads give the same student, even after interruptions.
    """

    steps: int = 2000
    batch: int = 4
    learning_rate: float = 5e-4
    weight_decay: float = 1e-5
    seed: int = 0
    check_every: int = 100
    patience: int = 5
    folder: Path | None = None

    def to_manifest(self) -> dict[str, Any]:
        """All that made the weights; where the checkpoint lay did not."""
        return {name: value for name, value in asdict(self).items() if name != "folder"}
