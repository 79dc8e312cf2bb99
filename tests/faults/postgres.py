"""The ledger in PostgreSQL is stopped, crashes, is locked, or takes no more connections."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import asyncpg
import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tests.faults.cameras import commented
from tests.faults.outcome import fault
from tests.faults.scene import Line, Scene
from tests.plant_database import PlantDatabase, prepare, start_server

PARTS = 60
LOCK_S = 20.0
MOST_CONNECTIONS = 20
POOL = 2
BUSY = "all connections are busy"
AWAY_S = 60.0
PARTS_PER_S = 10.0
MOST_SLOWER = 2.0


def plant_database(scene: Scene) -> PlantDatabase:
    """A server of the scene's own, both products live."""
    server = start_server()
    server.__enter__()
    scene.at_end(lambda: server.__exit__(None, None, None))
    prepare(server, scene.workshop.enrolled)
    return PlantDatabase(server)


def _line(scene: Scene) -> tuple[Line, PlantDatabase]:
    """A gated camera, its agent running on a ledger in PostgreSQL, and some parts that have rows."""
    database = plant_database(scene)
    line = scene.line(more=database.config)
    scene.read_rows_by(database.rows)
    line.start()
    line.camera.shoot(20)
    line.settle()
    return line, database


def _tell_before(line: Line, undo: Callable[[], object]) -> None:
    """Parts come while the fault lasts, and the gate is told of each of them before `undo` ends it."""
    parts = {shot.trigger_id for shot in line.camera.shoot(PARTS, 0.05)}
    line.agent.until(lambda: parts <= {told["trig"] for told in _decisions(line)}, 60, "the gate is told of every part")
    undo()


def _decisions(line: Line) -> list[dict[str, Any]]:
    return line.scene.account.heard("/decision")


def _finish(line: Line, since: float, **edges: int) -> None:
    line.recover(since)
    line.scene.check_edges(line.agent, **edges)
    line.finish()
    untold = [row["trigger_id"] for row in line.scene.rows() if not (row["published"] or row["id_conflict"])]
    line.scene.check(not untold, f"the gate was not told of the parts {untold[:5]}")


@fault("PostgreSQL stopped and started")
def stopped(scene: Scene) -> None:
    line, database = _line(scene)
    database.server.stop()
    _tell_before(line, database.server.start)
    _finish(line, time.monotonic(), ledger_down=1, ledger_up=1)


@fault("PostgreSQL crashed and restarted")
def crashed(scene: Scene) -> None:
    line, database = _line(scene)
    shots = line.camera.shoot_beside(PARTS, 0.05)
    line.agent.until(lambda: database.count() >= 30, 60, "rows")
    database.server.stop(at_once=True)
    database.server.start()
    since = time.monotonic()
    shots.result()
    _finish(line, since)


@fault("PostgreSQL: a lock is held on the results table for 20 s")
def locked(scene: Scene) -> None:
    line, database = _line(scene)
    with _session(database) as run:
        run(_lock_results)
        began = time.monotonic()
        _tell_before(line, lambda: time.sleep(max(0.0, began + LOCK_S - time.monotonic())))
    _finish(line, time.monotonic())


@fault("PostgreSQL takes no more connections")
def connections_exhausted(scene: Scene) -> None:
    line, database = _line(scene)
    database.execute(f"ALTER SYSTEM SET max_connections = {MOST_CONNECTIONS}")
    database.execute("ALTER SYSTEM SET superuser_reserved_connections = 0")
    database.server.stop()
    database.server.start()
    line.camera.shoot(1)
    line.settle()
    with _session(database) as run:
        before = line.agent.log.count("event=ledger_down ")  # the restart was one already
        hogs = run(lambda first: _occupy_all(first, database))
        line.camera.shoot(1)
        line.agent.until(lambda: line.agent.log.count("event=ledger_down ") > before, 60, "the ledger counts as away")
        _tell_before(line, lambda: run(lambda _: _close_all(hogs)))
    _finish(line, time.monotonic())


@fault("connection pool exhausted in the agent")
def pool_exhausted(scene: Scene) -> None:
    """Statements that wait for other people's locks hold every connection the agent may open; rows are not locked."""
    database = plant_database(scene)
    line = scene.line(more=f"{database.config}connections = {POOL}\n")
    scene.read_rows_by(database.rows)
    line.start()
    shots = line.camera.shoot(20)
    line.settle()
    with _session(database) as run:
        run(_lock_registry_and_events)
        # Looking for new products waits by itself; this makes an event, which has to be stored.
        line.camera.send([replace(shots[-2], payload=commented(shots[-2].payload, "taken again"))])
        line.agent.until(lambda: run(_waiting_for_locks) >= POOL, 60, "every connection waits for a lock")
        line.camera.shoot(1)
        line.agent.until(lambda: BUSY in line.agent.log, 60, "the ledger counts as away, since no connection is free")
        _tell_before(line, lambda: None)
    since = time.monotonic()
    _finish(line, since)
    edges = re.findall(r"event=(ledger_(?:down|up)) ", line.agent.log)
    scene.check(edges == ["ledger_down", "ledger_up"] * (len(edges) // 2), f"the edges of the ledger are {edges}")


@fault("PostgreSQL stopped for 60 s under load")
def stopped_for_a_minute(scene: Scene) -> None:
    line, database = _line(scene)
    watch = scene.keep(Stopwatch(line))
    line.camera.shoot(20)  # warm
    before = watch.run(AWAY_S / 2)
    database.server.stop(at_once=True)
    during = watch.run(AWAY_S)
    database.server.start()
    since = time.monotonic()
    p99_before, p99_during = (float(np.percentile(times, 99)) for times in (before, during))
    said = f"p99 from frame to decision {p99_before:.1f} ms before, {p99_during:.1f} ms while it was away"
    scene.check(p99_during <= MOST_SLOWER * p99_before, f"{said}: more than {MOST_SLOWER:g} times as long")
    print(f"    {said}, of {len(before)} and {len(during)} parts", flush=True)  # noqa: T201 - stands below its row
    _finish(line, since, ledger_down=1, ledger_up=1)


class Stopwatch:
    """From a frame handed to the broker to its decision at a subscriber of its own, which is not the account's."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._heard_ns: dict[int, int] = {}
        self._is_subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="stopwatch", protocol=mqtt.MQTTv5)
        self._client.on_message = self._hear
        self._client.on_subscribe = lambda *_: self._is_subscribed.set()
        self._client.connect(line.broker.host, line.broker.port)
        self._client.loop_start()
        self._client.subscribe("t/gate/gate1/decision", qos=1)
        if not self._is_subscribed.wait(30):
            raise AssertionError("the broker did not take the subscription")

    def run(self, seconds: float) -> list[float]:
        """Parts at an even pace for so long; milliseconds of each. Raises AssertionError where one was not told."""
        sent_ns: dict[int, int] = {}
        started = time.monotonic()
        for number in range(int(seconds * PARTS_PER_S)):
            time.sleep(max(0.0, started + number / PARTS_PER_S - time.monotonic()))
            shot = self._line.camera.film.next()
            sent_ns[shot.trigger_id] = time.monotonic_ns()
            self._line.camera.send([shot])
        self._line.agent.until(lambda: sent_ns.keys() <= self._heard_ns.keys(), 60, "the gate is told of every part")
        return [(self._heard_ns[trigger] - at_ns) / 1e6 for trigger, at_ns in sent_ns.items()]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _hear(self, _client: mqtt.Client, _userdata: Any, message: mqtt.MQTTMessage) -> None:
        self._heard_ns.setdefault(json.loads(message.payload)["trig"], time.monotonic_ns())


Run = Callable[[Callable[[asyncpg.Connection], Coroutine[Any, Any, Any]]], Any]


@contextmanager
def _session(database: PlantDatabase) -> Iterator[Run]:
    """A connection that lasts; what is passed runs on it. Left: it is closed, and what it held is free."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(_plain(database)))
        try:
            yield lambda work: runner.run(work(connection))
        finally:
            runner.run(connection.close())


async def _lock_registry_and_events(connection: asyncpg.Connection) -> None:
    await connection.execute("BEGIN; LOCK TABLE registry_revision, events IN ACCESS EXCLUSIVE MODE")


async def _waiting_for_locks(connection: asyncpg.Connection) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return int(await connection.fetchval(query))


async def _lock_results(connection: asyncpg.Connection) -> None:
    # Rows can still be read, by whoever counts them, and none can be written.
    await connection.execute("BEGIN; LOCK TABLE results IN SHARE MODE")


async def _occupy_all(first: asyncpg.Connection, database: PlantDatabase) -> list[asyncpg.Connection]:
    """Takes every connection there is, also those that the agent had."""
    hogs: list[asyncpg.Connection] = []
    while len(hogs) < MOST_CONNECTIONS - 1:
        await first.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name <> 'hog' AND pid <> pg_backend_pid()"
        )
        try:
            while True:
                settings = {"application_name": "hog"}
                hogs.append(await asyncpg.connect(_plain(database), server_settings=settings, timeout=5))
        except asyncpg.TooManyConnectionsError:
            await asyncio.sleep(0.05)
    return hogs


async def _close_all(connections: list[asyncpg.Connection]) -> None:
    for connection in connections:
        await connection.close()


def _plain(database: PlantDatabase) -> str:
    return database.server.url(database.name).replace("+asyncpg", "")
