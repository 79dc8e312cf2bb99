"""Frames that a decoder does not survive, and frames that come again, late, or in another order."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter

from tests.faults.outcome import fault
from tests.faults.scene import Line, Scene

POISON = "poison"
MOST_DEATHS = 2
"""So often may one frame end the agent; then it has to be given up."""

SEEN_PARTS = 120
"""More than a gate's `max_gap` of 100, so that the way back to 1 is a reset with the first frame."""


@fault("poison frame, decoder crashes", is_fast=True)
def decoder_crashes(scene: Scene) -> None:
    """The agent dies by a segmentation fault and is started again, as systemd's Restart=on-failure does."""
    line = scene.line().start(INSPECTOR_FAULT_FRAME=f"crash:{POISON}")
    line.camera.shoot(10)
    line.camera.shoot(1, note=POISON)
    line.camera.shoot(10)
    deaths, since = 0, time.monotonic()
    while not _is_all_judged(scene):
        line.agent.until(lambda: line.agent.has_ended() or _is_all_judged(scene), 60, "it goes on")
        if line.agent.has_ended():
            deaths += 1
            code = line.agent.end(signal.SIGKILL)
            scene.check(code == -signal.SIGSEGV, f"the agent ended with {code}, not by a segmentation fault")
            if deaths > MOST_DEATHS:
                raise AssertionError(f"the same frame has ended the agent {deaths} times")
            since = time.monotonic()
            line.agent.start(wait=False, INSPECTOR_FAULT_FRAME=f"crash:{POISON}")
    scene.check(deaths == MOST_DEATHS, f"the frame ended the agent {deaths} times")
    line.recover(since)
    _is_given_up(line)
    line.finish()


@fault("poison frame, decoder hangs")
def decoder_hangs(scene: Scene) -> None:
    line = scene.line().start(INSPECTOR_FAULT_FRAME=f"hang:{POISON}")
    line.camera.shoot(10)
    line.camera.shoot(1, note=POISON)
    since = time.monotonic()
    line.camera.shoot(30)
    line.recover(since)
    _is_given_up(line)
    scene.check_edges(line.agent, decoder_hung=1)
    line.finish()


def _is_all_judged(scene: Scene) -> bool:
    """Whether every frame has its row, and no late frame waits to be judged."""
    rows = scene.rows()
    return not scene.account.missing(rows) and all(row["late_outcome"] != "waiting" for row in rows)


def _is_given_up(line: Line) -> None:
    causes = Counter(row["late_cause"] or row["cause"] for row in line.scene.rows())
    line.scene.check(causes["undecodable"] == 1, f"the poisoned frame is not the one undecodable row: {causes}")


@fault("frames duplicated, reordered and replayed", is_fast=True)
def repeated(scene: Scene) -> None:
    """Every frame comes twice, the second time in any order; then all again from another client; then an old one."""
    line = scene.line().start()
    order = random.Random(4711)
    shots = line.camera.shoot(40)
    line.camera.send(order.sample(shots, len(shots)))
    line.settle()
    line.camera.send(order.sample(shots, len(shots)))
    line.agent.end(signal.SIGTERM)
    line.camera.send(order.sample(shots, len(shots)))
    line.start()
    line.camera.send(shots[:5])
    line.recover(time.monotonic())
    scene.check_edges(line.agent, counter_reset=0, id_conflict=0)
    line.finish()


@fault("trigger ids out of order within the gap")
def reordered(scene: Scene) -> None:
    """Neighbours change places, as they do behind two network paths: no epoch may begin for it."""
    line = scene.line().start()
    line.camera.shoot(4)
    line.settle()
    shots = [line.camera.film.next() for _ in range(20)]
    swapped = [shot for pair in zip(shots[1::2], shots[::2], strict=True) for shot in pair]
    line.camera.send(swapped)
    line.recover(time.monotonic())
    scene.check_edges(line.agent, counter_reset=0, id_conflict=0)
    line.finish()


@fault("frame ids used again for other frames")
def ids_used_again(scene: Scene) -> None:
    """The camera was switched off and counts ids and triggers from 1 again, within the gap: known by the third."""
    line = scene.line().start()
    line.camera.shoot(30)
    line.settle()
    line.camera.film.count_again()
    line.camera.shoot(30)
    line.recover(time.monotonic())
    epochs = [row["epoch"] for row in scene.rows()]
    scene.check(epochs == [1] * 32 + [2] * 29, f"the epochs are {epochs}")
    line.finish()
    scene.check_edges(line.agent, id_conflict=2, counter_reset=1)  # the second conflict is told by the end


@fault("trigger counter begins again at numbers seen before")
def counter_reset_to_seen(scene: Scene) -> None:
    """A PLC was switched off and nobody sent `resync`: one event and a new epoch with its first part."""
    line = scene.line().start()
    line.camera.shoot(SEEN_PARTS)
    line.settle()
    line.camera.film.count_again()
    line.camera.shoot(30)
    line.recover(time.monotonic())
    scene.check_edges(line.agent, counter_reset=1, id_conflict=0)
    epochs = [row["epoch"] for row in scene.rows()]
    scene.check(epochs == [1] * SEEN_PARTS + [2] * 31, f"the epochs are {epochs}")
    scene.check(all(row["frame_sha256"] for row in scene.rows()), "parts are said to be missed that never were")
    line.finish()


@fault("trigger counter begins again, frame ids go on")
def counter_reset(scene: Scene) -> None:
    """One event and a new epoch; nothing is invented to be missed."""
    line = scene.line().start()
    line.camera.film.set_trigger(1000)
    line.camera.shoot(30)
    line.settle()
    line.camera.film.set_trigger(1)
    line.camera.shoot(30)
    line.recover(time.monotonic())
    scene.check_edges(line.agent, counter_reset=1, id_conflict=0)
    epochs = {row["epoch"] for row in scene.rows()}
    scene.check(epochs == {1, 2}, f"there are epochs {epochs}")
    scene.check(all(row["frame_sha256"] for row in scene.rows()), "parts are said to be missed that never were")
    line.finish()
