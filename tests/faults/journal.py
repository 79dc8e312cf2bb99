"""The journal reaches its bound while the database is away, or is removed."""

from __future__ import annotations

import shutil
import time

from inspector.store.journal.segment_log import LOOK_S
from tests.faults.ledger import locked
from tests.faults.outcome import fault
from tests.faults.scene import Line, Scene

SMALL = "[journal]\nmax_mib = 1\nsegment_mib = 1\n"
MOST_ROUNDS = 12
ROUND_S = 5.0


def fill(line: Line) -> None:
    """Until the agent says that its journal is full; the ledger is away already."""
    for _ in range(MOST_ROUNDS):
        line.camera.shoot(150)
        waited_until = time.monotonic() + ROUND_S
        while time.monotonic() < waited_until:
            if "event=journal_full " in line.agent.log:
                return
            time.sleep(0.1)
    raise AssertionError("the journal does not fill")


@fault("journal full")
def journal_full(scene: Scene) -> None:
    """The gate is told that it is not ready, and nothing that was delivered is lost."""
    line = scene.line(more=SMALL, window_ms=2000, is_persistent=False).start()
    line.camera.shoot(20)
    line.settle()
    with locked(line.agent.state / "inspector.db"):
        fill(line)
        line.agent.until(
            lambda: scene.account.heard("gate1/heartbeat")[-1]["ready"] == 0, 60, "the gate is told it is not ready"
        )
        line.agent.until(
            lambda: scene.account.heard("agent/state")[-1]["fault"] == "journal_full", 60, "the state says so"
        )
        line.camera.shoot(20)
    since = time.monotonic()
    line.recover(since)
    line.agent.until(lambda: scene.account.heard("gate1/heartbeat")[-1]["ready"] == 1, 60, "the gate is ready again")
    scene.check_edges(line.agent, ledger_down=1, ledger_up=1)
    line.finish()


@fault("journal removed while in use")
def journal_removed(scene: Scene) -> None:
    """What is written into removed files is lost with the process. An agent that ends is started again by systemd."""
    line = scene.line().start()
    line.camera.shoot(20)
    line.settle()
    shutil.rmtree(line.agent.state / "journal")
    time.sleep(LOOK_S)
    line.camera.shoot(20)
    line.agent.until(line.agent.has_ended, 60, "the agent ends")
    scene.check("journal" in line.agent.log.splitlines()[-1], "the last line does not say why")
    since = time.monotonic()
    line.start()
    line.recover(since)
    line.finish()
