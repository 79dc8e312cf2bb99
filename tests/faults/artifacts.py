"""A product's bytes in the store are damaged, half there, or gone while the agent uses them."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import time
from collections import Counter

from tests.agents import inspector
from tests.faults.outcome import fault
from tests.faults.scene import Line, Scene


def _change(line: Line, *statements: str) -> None:
    """Straight into the file, as no command of the product would; then agents are told to look."""
    with contextlib.closing(sqlite3.connect(line.agent.state / "inspector.db", timeout=30)) as database, database:
        for statement in (*statements, "UPDATE registry_revision SET revision = revision + 1"):
            database.execute(statement)


def _restart(line: Line) -> float:
    """The other product must be live again, whatever is wrong with the first."""
    line.finish()
    since = time.monotonic()
    line.start()
    return since


def _check_refused(line: Line) -> None:
    """Told by name, once."""
    refusals = [said for said in line.agent.log.splitlines() if "event=version_refused subject=bar " in said]
    line.scene.check(len(refusals) == 1, f"the damaged version is refused {len(refusals)} times, not once")


def _check_other_product(line: Line, shots: int) -> None:
    """The last frames are discs and bars by turns; discs are judged as ever."""
    products = Counter(row["product"] for row in line.scene.rows()[-shots:])
    line.scene.check(products["disc"] >= shots // 2 - 1, f"the other product suffers: {dict(products)}")


@fault("artifact corrupt in the store", is_fast=True)
def corrupt(scene: Scene) -> None:
    """Bytes flip in the live version: who has it loaded goes on, who starts now refuses it and serves the others."""
    line = scene.line().start()
    line.camera.shoot(20)
    line.settle()
    with line.shooting(60, 0.05):
        _change(
            line,
            "UPDATE product_versions SET artifact = CAST(substr(artifact, 1, 5000) || zeroblob(64) ||"
            " substr(artifact, 5065) AS BLOB) WHERE product = 'bar'",
        )
    line.settle()
    since = _restart(line)
    line.camera.shoot(10)
    line.recover(since)
    _check_refused(line)
    _check_other_product(line, 10)
    line.finish()


@fault("artifact half-written")
def half_written(scene: Scene) -> None:
    """Half of a version's bytes, live: a copy between databases that was cut short."""
    line = scene.line().start()
    line.camera.shoot(20)
    line.settle()
    with line.shooting(60, 0.05):
        _change(
            line,
            "UPDATE product_versions SET artifact = substr(artifact, 1, length(artifact) / 2) WHERE product = 'bar'",
        )
    line.settle()
    since = _restart(line)
    line.camera.shoot(10)
    line.recover(since)
    _check_refused(line)
    _check_other_product(line, 10)
    line.finish()


@fault("enrolment kill -9 while it runs")
def enrolment_killed(scene: Scene) -> None:
    """Nothing of the version is to be seen; the agent does not notice."""
    line = scene.line().start()
    line.camera.shoot(20)
    line.settle()
    images = line.scene.folder / "images"
    images.mkdir()
    for number in range(24):
        (images / f"{number}.jpg").write_bytes(line.camera.film.next().payload)
    command = [sys.executable, "-m", "inspector", "enroll", "third", str(images), "--config", str(line.agent.config)]
    with line.shooting(150, 0.05):
        enrolling = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(3)  # somewhere on its way; wherever that is, the outcome has to be the same
        enrolling.kill()
        enrolling.wait()
        since = time.monotonic()
        line.note_recovery(since)
    line.recover(since)
    scene.check(not line.agent.rows("products")[2:], "half an enrolment left a product")
    line.finish()


@fault("version removed while in use")
def removed(scene: Scene) -> None:
    """First by the command, so that its parts become unknown or unreleased; then its row is deleted by hand."""
    line = scene.line().start()
    line.camera.shoot(20)
    line.settle()
    with line.shooting(150, 0.05):
        done = inspector("products", "remove", "bar", "--yes", "--reason", "a fault", "--config", line.agent.config)
        scene.check(done.returncode == 0, f"the product could not be removed: {done.stderr}")
        _change(line, "DELETE FROM product_versions WHERE product = 'bar'")
        since = time.monotonic()
        line.note_recovery(since)
    line.recover(since)
    line.camera.shoot(10)
    line.settle()
    _check_other_product(line, 10)
    line.finish()
