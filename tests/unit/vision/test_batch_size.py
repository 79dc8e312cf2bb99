"""The batch of an engine: larger ones where they cost less a frame, and never a pass that a gate can't wait for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from inspector.errors import EngineError
from inspector.vision.engines.protocols import Patches
from inspector.vision.serving.batch_size import best_batch


class Machine:
    """An engine whose pass over n frames takes `pass_ms(n)`, on a clock of its own."""

    def __init__(self, pass_ms: Callable[[int], float]) -> None:
        self._pass_ms = pass_ms
        self.now_s = 0.0
        self.tried: list[int] = []

    def __call__(self, pixels: np.ndarray) -> list[Patches]:
        assert pixels.dtype == np.uint8
        assert pixels.shape[1:] == (4, 6, 3)
        self.tried.append(len(pixels))
        self.now_s += self._pass_ms(len(pixels)) / 1e3
        return []


@pytest.mark.parametrize(
    ("pass_ms", "batch"),
    [
        pytest.param(lambda n: 2.0 + 0.1 * n, 64, id="launches cost, frames do not"),
        pytest.param(lambda n: 2.8 + 0.7 * n, 16, id="up to the longest pass"),
        pytest.param(lambda n: 4.0 * n, 1, id="nothing to gain"),
        pytest.param(lambda n: 4.0 * n * (0.95 if n > 1 else 1.0), 1, id="too little to wait for"),
        pytest.param(lambda n: 8.0 * n * (0.8 if n > 1 else 1.0), 2, id="two frames pay, and four take too long"),
        pytest.param(lambda n: 60.0 * n, 1, id="one frame takes too long already"),
        pytest.param(lambda n: 3.0 * n if n < 8 else 0.5 * n, 8, id="a step that comes late"),
    ],
)
def test_best_batch_costs_least_a_frame_and_takes_25_ms_at_most(pass_ms: Callable[[int], float], batch: int) -> None:
    machine = Machine(pass_ms)
    assert best_batch(machine, (4, 6), now_s=lambda: machine.now_s) == batch


def test_best_batch_ends_at_the_first_pass_that_takes_too_long() -> None:
    machine = Machine(lambda n: 10.0 * n)
    best_batch(machine, (4, 6), now_s=lambda: machine.now_s)
    assert sorted(set(machine.tried)) == [1, 2, 4]


@pytest.mark.parametrize(("most", "batch"), [(1, 1), (4, 4), (32, 32)])
def test_best_batch_ends_where_memory_does_not_suffice(most: int, batch: int) -> None:
    def pass_ms(frames: int) -> float:
        if frames > most:
            raise EngineError("torch can't run the pass: CUDA out of memory.")
        return 2.0 + 0.1 * frames

    machine = Machine(pass_ms)
    assert best_batch(machine, (4, 6), now_s=lambda: machine.now_s) == batch


def test_best_batch_of_a_pass_that_fails_for_one_frame_is_that_failure() -> None:
    def pass_ms(_: int) -> float:
        raise EngineError("torch can't run the pass: no such device")

    with pytest.raises(EngineError, match="no such device"):
        best_batch(Machine(pass_ms), (4, 6))


def test_best_batch_one_slow_round_does_not_decide() -> None:
    machine = Machine(lambda n: 2.0 + 0.1 * n)
    hiccup = iter([0.0] * 7 + [500.0])

    def now_s() -> float:
        return machine.now_s + next(hiccup, 500.0)  # the machine stands still once, within a round

    assert best_batch(machine, (4, 6), now_s=now_s) == 64
