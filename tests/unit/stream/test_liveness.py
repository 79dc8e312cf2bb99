"""A gate is not ready where live frames would be too old. One slow marker says nothing about the frames after it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from inspector.config.loading import parse
from inspector.stream.pipeline.liveness import GRACE_S, Liveness
from inspector.testing.clock import FakeClock

MS = 1_000_000
CONFIG = parse(
    {
        "agent": {"name": "agent"},
        "camera": [{"name": name, "on_unjudged": "reject"} for name in ("left", "right")],
        "gate": [{"name": "gate", "cameras": ["left", "right"], "window_ms": 200}],
    },
    None,
)
GATE = CONFIG.gate[0]
YOUNG, OLD = 20.0, 900.0
GRACE_MS = GRACE_S * 1000


class Cameras:
    """Two cameras whose frames are of this age. It has what a liveness takes from the pipeline's shared state."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.age_ms: dict[str, float | None] = {"left": YOUNG, "right": YOUNG}
        sources = {name: SimpleNamespace(age_bound_ns=self._age_ns) for name in self.age_ms}
        self.shared: Any = SimpleNamespace(config=CONFIG, clock=self.clock, sources=sources)
        self.liveness = Liveness(self.shared)

    def _age_ns(self, camera: str) -> int | None:
        age_ms = self.age_ms[camera]
        return None if age_ms is None else int(age_ms * MS)

    def is_live_after(self, ms: float) -> bool:
        self.clock.advance(ms / 1000)
        return self.liveness.is_live(GATE)


@pytest.fixture
def cameras() -> Cameras:
    return Cameras()


@pytest.mark.parametrize("camera", ["left", "right"])
def test_one_slow_marker_leaves_the_gate_ready(cameras: Cameras, camera: str) -> None:
    assert cameras.liveness.is_live(GATE)
    cameras.age_ms[camera] = OLD
    assert cameras.is_live_after(GRACE_MS / 2)
    cameras.age_ms[camera] = YOUNG
    assert cameras.is_live_after(GRACE_MS * 10)


@pytest.mark.parametrize("camera", ["left", "right"])
def test_frames_that_stay_too_old_end_readiness_until_one_is_young(cameras: Cameras, camera: str) -> None:
    assert cameras.liveness.is_live(GATE)
    cameras.age_ms[camera] = OLD
    assert not cameras.is_live_after(GRACE_MS)
    assert not cameras.is_live_after(GRACE_MS)
    cameras.age_ms[camera] = YOUNG
    assert cameras.is_live_after(1)


def test_backlog_at_the_start_is_never_ready(cameras: Cameras) -> None:
    cameras.age_ms["left"] = OLD
    assert not cameras.liveness.is_live(GATE)
    assert not cameras.is_live_after(1)


def test_age_that_can_not_be_proved_ends_readiness_at_once(cameras: Cameras) -> None:
    assert cameras.liveness.is_live(GATE)
    cameras.age_ms["left"] = None
    assert not cameras.is_live_after(1)
    cameras.age_ms["left"] = OLD
    assert not cameras.is_live_after(1)
