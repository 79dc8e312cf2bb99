"""Frames made to exhaust a decoder: each is refused, or decoded within a camera's usual limits, and soon done.

All run in one child process whose address space and processor time are limited. Processor time, not the
clock: another process on the machine can't make this fail.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.queues
import resource

import pytest

from inspector.agent.camera_limits import decode_for
from inspector.config.line_sections import CameraSection
from inspector.domain import Action
from inspector.errors import UndecodableFrame
from tests.fuzz.pictures import BOMBS
from tests.fuzz.runner import MOST_GROWTH_BYTES, limit_growth

pytestmark = pytest.mark.timeout(600)  # twenty times what it takes: nothing here depends on the clock

MOST_GROWTH_MIB = 1024
"""Four times the pixels of the largest frame, 16 bits and alpha, as the decoder holds them."""

MOST_CPU_S = 10
"""Of one bomb: what the agent bounds a decode at by the clock."""

Outcome = tuple[str, float, float]
"""The refusal ('' for none), MiB by which the process grew, seconds of processor time."""


def defuse(results: multiprocessing.queues.SimpleQueue[tuple[str, Outcome]]) -> None:
    """In the child."""
    limit_growth(MOST_GROWTH_BYTES)
    camera = CameraSection(name="cam1", on_unjudged=Action.REJECT)
    for name, bomb in BOMBS.items():
        payload = bomb.make()
        before = resource.getrusage(resource.RUSAGE_SELF)
        refusal = ""
        try:
            image = decode_for(payload, camera)
            image.halved(image.most_halvings)
            image.halved(0)
        except UndecodableFrame as error:
            refusal = str(error)
        after = resource.getrusage(resource.RUSAGE_SELF)
        results.put((name, (refusal, (after.ru_maxrss - before.ru_maxrss) / 1024, after.ru_utime - before.ru_utime)))


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    child = context.Process(target=defuse, args=(results,))
    child.start()
    found = dict(results.get() for _ in BOMBS) if _ends_well(child) else {}
    assert len(found) == len(BOMBS), f"the process ended with {child.exitcode}"
    return found


def _ends_well(child: multiprocessing.process.BaseProcess) -> bool:
    child.join(550)
    if child.is_alive():
        child.kill()
        child.join()
    return child.exitcode == 0


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_is_bounded(outcomes: dict[str, Outcome], name: str) -> None:
    refusal, grown_mib, cpu_s = outcomes[name]
    wanted = BOMBS[name].refused
    assert (wanted or "") in refusal
    assert bool(refusal) == (wanted is not None)
    assert grown_mib < MOST_GROWTH_MIB
    assert cpu_s < MOST_CPU_S
