"""What is old goes by rule, what is held stays with all that belongs to it, on both databases."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from inspector.config.sections import RetentionSection
from inspector.domain import Cause, DeadLetter, ExportedGraph, LateFrame, LateOutcome, Outcome, Verdict, key_in
from inspector.errors import UsageError
from inspector.store import audit, tables
from inspector.store.database import Database
from inspector.store.ledger import queries
from inspector.store.ledger.ledger import SqlLedger
from inspector.store.pictures.dead_letters import FolderDeadLetters
from inspector.store.pictures.folders import BoundedFolder, Held, write_whole
from inspector.store.pictures.late_frames import FolderLateFrames
from inspector.store.registry.registry import SqlRegistry
from inspector.store.retention import holds
from inspector.store.retention.graphs import prune_graphs
from inspector.store.retention.holds import Selection
from inspector.store.retention.housekeeping import Housekeeping
from inspector.store.retention.leaps import note_pruned
from inspector.store.retention.pictures import prune_pictures
from inspector.store.retention.retention import Pruned, prune
from inspector.testing.clock import START, FakeClock
from inspector.testing.edges import FakeTelemetry
from inspector.testing.late_frames_contract import late_frame
from inspector.testing.samples import command_of, decision_for, event_of, gate_action_of, verdict_of_part

NOW = START + timedelta(days=100)
EVERYTHING = RetentionSection(
    passes_days=10, rejects_days=10, unjudged_days=10, decisions_days=10, events_days=10, pictures_days=10
)


class Today:
    """The wall clock stands at NOW, or so much ahead; sleeping lets others run."""

    def __init__(self, ahead: timedelta = timedelta(0)) -> None:
        self._now = NOW + ahead

    def now(self) -> datetime:
        return self._now

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


def day(number: int, part: int, **changes: object) -> Verdict:
    """A verdict of so many days ago."""
    at = NOW - timedelta(days=number)
    return verdict_of_part(part, received_at=at, decided_at=at, gate="g1", **changes)


def letter_of(verdict: Verdict) -> DeadLetter:
    return DeadLetter(
        verdict.result_id, verdict.camera, bytes(100), {}, Cause.UNDECODABLE, "it is cut off", NOW, verdict
    )


def waiting(number: int, verdict: Verdict) -> LateFrame:
    return dataclasses.replace(
        late_frame(number), verdict=dataclasses.replace(verdict, late_outcome=LateOutcome.WAITING)
    )


def taken(pruned: Sequence[Pruned]) -> dict[str, tuple[int, int]]:
    """Rows taken and held, by rule, where there were any."""
    return {each.rule: (each.taken, each.held) for each in pruned if each.taken or each.held}


async def left(database: Database) -> list[int | None]:
    return [verdict.trigger_id for verdict in (await queries.list_results(database, limit=1000))[::-1]]


async def fill(database: Database) -> None:
    """Lot L1 of bolts 50 days ago, lot L2 of nuts 30 days ago, a part of today; all that belongs to each."""
    clock = FakeClock(NOW - timedelta(days=50))
    async with SqlLedger(database, clock) as ledger:
        for ago, lot, product, first in ((50, "L1", "bolt", 1), (30, "L2", "nut", 11), (0, None, "bolt", 21)):
            at = NOW - timedelta(days=ago)
            clock.advance((at - clock.now()).total_seconds())
            parts = [day(ago, first + number, lot=lot, product=product) for number in range(5)]
            parts[3] = dataclasses.replace(parts[3], outcome=Outcome.REJECT, cause=Cause.ANOMALY)
            parts[4] = dataclasses.replace(parts[4], outcome=Outcome.UNJUDGED, cause=Cause.LATE)
            await ledger.record(parts, [(decision_for(part), True) for part in parts], [])
            other = [dataclasses.replace(parts[0], outcome=Outcome.REJECT, agent="agent2")]
            await ledger.record(other, [], [])
            await ledger.record_gate_actions([gate_action_of(first, received_at=at)])
            await ledger.record_events([event_of("storm", at=at)])
            await ledger.record_command(command_of(f"c{ago}", received_at=at), [])
            async with database.writing() as connection:
                await connection.execute(tables.shadow_results.insert(), shadow_row(parts[0]))


def shadow_row(verdict: Verdict) -> dict[str, object]:
    return {
        "result_id": verdict.result_id,
        "camera": verdict.camera,
        "product": "bolt",
        "product_version": 2,
        "outcome": "pass",
        "decided_at": verdict.decided_at,
    }


class RetentionContract:
    async def test_prune_without_a_rule_takes_nothing(self, database: Database) -> None:
        await fill(database)
        assert await prune(database, Today(), RetentionSection()) == []
        assert len(await left(database)) == 15

    async def test_prune_takes_what_is_old_in_every_table(self, database: Database) -> None:
        await fill(database)
        assert taken(await prune(database, Today(), EVERYTHING, batch_rows=3)) == {
            "pass": (6, 0),
            "reject": (2, 0),
            "unjudged": (2, 0),
            "decisions": (10, 0),
            "gate_actions": (2, 0),
            "shadow_results": (2, 0),
            "conflicts": (2, 0),
            "events": (2, 0),
            "commands": (2, 0),
        }
        assert await left(database) == [21, 22, 23, 24, 25]
        assert taken(await prune(database, Today(), EVERYTHING)) == {}

    async def test_prune_each_outcome_has_its_own_time(self, database: Database) -> None:
        await fill(database)
        section = RetentionSection(passes_days=10, unjudged_days=40)
        assert taken(await prune(database, Today(), section)) == {"pass": (6, 0), "unjudged": (1, 0)}
        assert await left(database) == [4, 14, 15, 21, 22, 23, 24, 25]

    async def test_prune_dry_run_says_the_same_and_takes_nothing(self, database: Database) -> None:
        await fill(database)
        await holds.add(database, Today(), Selection(lot="L1"), by="ada", reason="complaint")
        seen: list[tuple[str, int, int]] = []
        rehearsed = await prune(
            database, Today(), EVERYTHING, dry_run=True, batch_rows=2, report=lambda *said: seen.append(said)
        )
        assert len(await left(database)) == 15
        assert rehearsed == await prune(database, Today(), EVERYTHING)
        assert [said for said in seen if said[0] == "pass"][-1] == ("pass", 6, 6)

    async def test_prune_keeps_a_held_lot_with_all_that_belongs_to_it(self, database: Database) -> None:
        await fill(database)
        hold = await holds.add(database, Today(), Selection(lot="L1"), by="ada", reason="complaint")
        assert taken(await prune(database, Today(), EVERYTHING, batch_rows=2)) == {
            "pass": (3, 3),
            "reject": (1, 1),
            "unjudged": (1, 1),
            "decisions": (5, 5),
            "gate_actions": (1, 1),
            "shadow_results": (1, 1),
            "conflicts": (1, 1),
            "events": (1, 1),
            "commands": (1, 1),
        }
        assert await left(database) == [1, 2, 3, 4, 5, 21, 22, 23, 24, 25]
        await holds.release(database, Today(), hold.number, by="bob", reason="settled")
        assert taken(await prune(database, Today(), EVERYTHING))["pass"] == (3, 0)
        assert await left(database) == [21, 22, 23, 24, 25]

    @pytest.mark.parametrize(
        ("selection", "numbers"),
        [
            (Selection(product="nut"), [11, 12, 13, 14, 15]),
            (Selection(result_id=day(50, 2).result_id), [2]),
            (Selection(since=NOW - timedelta(days=31), until=NOW - timedelta(days=29)), [11, 12, 13, 14, 15]),
            (Selection(lot="L1", product="nut"), []),
            (Selection(lot="L2", until=NOW - timedelta(days=30)), []),
        ],
    )
    async def test_prune_keeps_what_the_selection_names(
        self, database: Database, selection: Selection, numbers: list[int]
    ) -> None:
        await fill(database)
        everything = await queries.list_results(database, limit=1000)
        assert sorted(part.trigger_id or 0 for part in everything if selection.covers(part)) == numbers
        await holds.add(database, Today(), selection, by="ada", reason="a look")
        await prune(database, Today(), EVERYTHING)
        assert await left(database) == [*numbers, 21, 22, 23, 24, 25]

    @pytest.mark.parametrize(("product", "kept"), [(None, [1, 2]), ("nut", [1])], ids=["the lot", "a product of it"])
    async def test_prune_keeps_what_a_plc_said_of_a_held_lot_however_late(
        self, database: Database, product: str | None, kept: list[int]
    ) -> None:
        at = NOW - timedelta(days=400)
        async with SqlLedger(database, FakeClock(NOW)) as ledger:
            await ledger.record([verdict_of_part(1, lot="L1", product="nut", received_at=at)], [], [])
            for trigger, lot, hours in ((1, "L1", 0), (2, "L1", 3), (3, "L2", 3), (4, None, 3)):
                told = gate_action_of(trigger, lot=lot, received_at=at + timedelta(hours=hours))
                await ledger.record_gate_actions([told])
        await holds.add(database, Today(), Selection(lot="L1", product=product), by="ada", reason="an escape")
        await prune(database, Today(), EVERYTHING)
        async with database.reading() as connection:
            query = sa.select(tables.gate_actions.c.trigger_id).order_by(tables.gate_actions.c.trigger_id)
            assert list((await connection.execute(query)).scalars()) == kept

    async def test_prune_a_hold_that_comes_meanwhile_counts_from_the_next_batch(self, database: Database) -> None:
        await fill(database)

        class Interrupted(Today):
            is_held = False

            async def sleep(self, seconds: float) -> None:
                if not self.is_held:
                    self.is_held = True
                    await holds.add(database, Today(), Selection(lot="L2"), by="ada", reason="in time")

        await prune(database, Interrupted(), EVERYTHING, batch_rows=1)
        assert await left(database) == [11, 12, 13, 14, 15, 21, 22, 23, 24, 25]

    async def test_prune_beside_a_writer_loses_none_of_its_rows(self, database: Database) -> None:
        await fill(database)
        async with SqlLedger(database, FakeClock(NOW)) as ledger:
            for number in range(10):
                await asyncio.gather(
                    ledger.record([day(0, 100 + number)], [], []),
                    prune(database, Today(), EVERYTHING, batch_rows=1),
                )
        assert await left(database) == [21, 22, 23, 24, 25, *range(100, 110)]

    async def test_holds_are_listed_and_audited(self, database: Database) -> None:
        first = await holds.add(database, Today(), Selection(lot="L1"), by="ada", reason="complaint")
        second = await holds.add(database, Today(), Selection(product="nut", since=START), by="bob", reason="study")
        assert await holds.listed(database) == [first, second]
        released = await holds.release(database, Today(), first.number, by="bob", reason="settled")
        assert (released.released_at, released.released_by) == (NOW, "bob")
        assert await holds.listed(database) == [second]
        assert await holds.listed(database, with_released=True) == [released, second]
        assert [
            (each.user, each.object, each.old, each.new, each.reason) for each in await audit.entries(database)
        ] == [
            ("ada", f"hold/{first.number}", None, "lot L1", "complaint"),
            ("bob", f"hold/{second.number}", None, "product nut, since 2025-01-01T00:00:00.000Z", "study"),
            ("bob", f"hold/{first.number}", "lot L1", None, "settled"),
        ]
        assert await audit.verify(database) == []

    async def test_holds_that_can_not_be_are_refused(self, database: Database) -> None:
        with pytest.raises(UsageError, match="needs a lot"):
            await holds.add(database, Today(), Selection(), by="ada", reason="all")
        with pytest.raises(UsageError, match="before it begins"):
            await holds.add(database, Today(), Selection(since=NOW, until=START), by="ada", reason="never")
        with pytest.raises(UsageError, match="nothing to release: 7 is none"):
            await holds.release(database, Today(), 7, by="ada", reason="gone")
        hold = await holds.add(database, Today(), Selection(lot="L1"), by="ada", reason="complaint")
        await holds.release(database, Today(), hold.number, by="ada", reason="settled")
        with pytest.raises(UsageError, match="released already"):
            await holds.release(database, Today(), hold.number, by="ada", reason="again")

    async def test_prune_pictures_takes_old_files_but_for_held_ones(self, database: Database, tmp_path: Path) -> None:
        await fill(database)
        await holds.add(database, Today(), Selection(lot="L1"), by="ada", reason="complaint")
        files = {
            "held": tmp_path / "images" / "2025-01-01" / "cam1" / f"{day(50, 4).result_id}.heat.jpg",
            "old": tmp_path / "images" / "2025-01-02" / "cam1" / f"{day(30, 14).result_id}.jpg",
            "letter": tmp_path / "dead-letters" / "cam1" / f"{day(30, 15).result_id}.bin",
            "latest": tmp_path / "images" / "latest" / "cam1.jpg",
        }
        for path in files.values():
            write_whole(path, b"picture")
            os.utime(path, ((NOW - timedelta(days=40)).timestamp(),) * 2)
        write_whole(tmp_path / "images" / "2025-04-11" / "cam1" / "new.jpg", b"picture")
        os.utime(tmp_path / "images" / "2025-04-11" / "cam1" / "new.jpg", (NOW.timestamp(),) * 2)
        rehearsed = await prune_pictures(database, Today(), tmp_path, EVERYTHING, dry_run=True)
        assert taken(rehearsed) == {"pictures": (1, 1), "dead_letters": (1, 0)}
        assert all(path.exists() for path in files.values())
        assert await prune_pictures(database, Today(), tmp_path, EVERYTHING) == rehearsed
        assert [name for name, path in files.items() if path.exists()] == ["held", "latest"]
        assert not (tmp_path / "images" / "2025-01-02").exists()
        assert len(list((tmp_path / "images" / "2025-04-11").rglob("*.jpg"))) == 1

    async def test_hold_keeps_every_dead_letter_and_late_frame_of_220_rows(
        self, database: Database, tmp_path: Path
    ) -> None:
        """The folders have room for 4 of each. The hold comes when all are there and when their rows are not yet."""
        held, clock = Held(is_known=False), Today()
        keeper = Housekeeping(database, clock, FakeTelemetry(), RetentionSection(), tmp_path, held, [])
        await keeper.look_at_holds()
        verdicts = [verdict_of_part(number, lot="L1", received_at=NOW) for number in range(220)]
        others = [verdict_of_part(number, lot="L2", received_at=NOW) for number in range(1000, 1010)]
        letters = FolderDeadLetters(tmp_path / "dead-letters", max_bytes=1 << 20, held=held)
        late = FolderLateFrames(tmp_path / "late", max_bytes=1 << 20, clock=clock, held=held)
        async with letters, late, SqlLedger(database, clock) as ledger:
            for number, verdict in enumerate(verdicts):
                await letters.put(letter_of(verdict))
                await late.keep(waiting(number, verdict))
            await holds.add(database, clock, Selection(lot="L1"), by="ada", reason="complaint")
            await keeper.look_at_holds()
            await ledger.record(verdicts, [], [])
            letters._folder._max_bytes = late._max_bytes = 4 * 200
            for verdict in others:
                await letters.put(letter_of(verdict))
                await late.keep(waiting(900, verdict))
        kept = {path.stem for path in (tmp_path / "dead-letters").rglob("*.bin")}
        assert kept >= {verdict.result_id for verdict in verdicts}
        assert len(kept) == len(verdicts) + 1, "the newest of the others"
        assert late.waiting == len(verdicts)

    async def test_housekeeping_prunes_by_itself_and_spares_what_is_held(
        self, database: Database, tmp_path: Path
    ) -> None:
        await fill(database)
        await holds.add(database, Today(), Selection(lot="L1"), by="ada", reason="complaint")
        held, telemetry = Held(), FakeTelemetry()
        folder = BoundedFolder(tmp_path / "images", max_bytes=200, held=held)
        old, next_one, future = day(50, 1), day(30, 11), day(0, 30, lot="L1")
        folder.add(tmp_path / "images" / f"{old.result_id}.jpg", bytes(100))
        keeper = Housekeeping(database, Today(), telemetry, EVERYTHING, tmp_path, held, [])
        await keeper.look_at_holds()
        held.note(future)
        assert [each.result_id in held for each in (old, next_one, future)] == [True, False, True]
        for number in range(5):
            folder.add(tmp_path / "images" / f"other{number}.jpg", bytes(100))
        kept = sorted(path.name for path in (tmp_path / "images").iterdir())
        assert kept == sorted([f"{old.result_id}.jpg", "other4.jpg"])
        await keeper.tidy()
        assert telemetry.kinds() == ["pruned"]
        assert await left(database) == [1, 2, 3, 4, 5, 21, 22, 23, 24, 25]

    @pytest.mark.parametrize(("days_ahead", "is_believed"), [(0, True), (29, True), (31, False), (1096, False)])
    @pytest.mark.parametrize("is_noted", [True, False])
    async def test_housekeeping_removes_nothing_by_a_clock_that_is_far_ahead(
        self, database: Database, tmp_path: Path, days_ahead: int, is_believed: bool, is_noted: bool
    ) -> None:
        """The newest row is of NOW. A person who prunes vouches for the clock."""
        async with SqlLedger(database, Today()) as ledger:
            await ledger.record([verdict_of_part(n, received_at=NOW - timedelta(days=n)) for n in (0, 5, 500)], [], [])
        if is_noted:
            note_pruned(tmp_path, NOW)
        telemetry, clock = FakeTelemetry(), Today(timedelta(days=days_ahead))
        ruleless = Housekeeping(database, clock, FakeTelemetry(), RetentionSection(), tmp_path, Held(), [])
        await ruleless.tidy()  # vouches for no clock
        rules = RetentionSection(passes_days=365)
        keeper = Housekeeping(database, clock, telemetry, rules, tmp_path, Held(), [])
        await keeper.tidy()
        await keeper.tidy()
        kept = [0, 5] if is_believed else [0, 5, 500]
        assert (telemetry.kinds(), await left(database)) == (["pruned" if is_believed else "prune_held_back"], kept)
        note_pruned(tmp_path, clock.now())
        await keeper.tidy()
        assert telemetry.kinds()[-1] == "pruned"

    @pytest.mark.parametrize("is_restarted", [False, True])
    @pytest.mark.parametrize("is_first_frame_early", [False, True])
    async def test_rows_of_a_clock_that_is_far_ahead_do_not_vouch_for_it(
        self, database: Database, tmp_path: Path, is_restarted: bool, is_first_frame_early: bool
    ) -> None:
        clock, telemetry, rules = Today(timedelta(days=1096)), FakeTelemetry(), RetentionSection(passes_days=365)
        keeper = Housekeeping(database, clock, telemetry, rules, tmp_path, Held(), [])
        async with SqlLedger(database, clock) as ledger:
            await ledger.record([verdict_of_part(n, received_at=NOW - timedelta(days=n)) for n in (0, 5)], [], [])
            if not is_first_frame_early:
                await keeper.tidy()
            own = clock.now() + timedelta(seconds=1)
            await ledger.record([verdict_of_part(9, received_at=own)], [], [])
            await keeper.tidy()
        if is_restarted:
            later = Today(timedelta(days=1097))
            keeper = Housekeeping(database, later, telemetry, rules, tmp_path, Held(), [])
        await keeper.tidy()
        assert set(telemetry.kinds()) == {"prune_held_back"}
        assert await left(database) == [0, 5, 9]

    async def test_prune_graphs_takes_those_that_nothing_needs(self, database: Database) -> None:
        """A version names the pass "used"; of "used" there are two exports, of the routing pass and of "gone" one."""
        passes = {name: {"backbone": name, "embeddings": [{"strides": [8]}]} for name in ("used", "gone", "routing")}
        manifest = {"head": "prototype", "threshold": 1.0, "graph": passes["used"]}
        async with SqlRegistry(database, FakeClock(NOW - timedelta(days=40))) as registry:
            await registry.add_version("bolt", b"bolt", manifest, by="ada", activate=False)
            for key, name, exporter in (
                ("old", "used", 3),
                ("new", "used", 4),
                ("gone", "gone", 4),
                ("routing", "routing", 4),
            ):
                await registry.add_graph(ExportedGraph(key, b"graph", passes[name], exporter, {}))
        async with SqlRegistry(database, FakeClock(NOW - timedelta(days=1))) as registry:
            await registry.add_graph(ExportedGraph("young", b"graph", {"backbone": "young"}, 4, {}))
            rehearsed = await prune_graphs(database, Today(), [passes["routing"]], dry_run=True)
            assert taken(rehearsed) == {"graphs": (2, 0)}
            assert len({key_in(name)[0] for name in await registry.graph_keys()}) == 5
            assert await prune_graphs(database, Today(), [passes["routing"]]) == rehearsed
            assert {key_in(name)[0] for name in await registry.graph_keys()} == {"new", "routing", "young"}
        assert await prune_graphs(database, Today(), [passes["routing"]]) == []


class TestSqliteRetention(RetentionContract):
    @pytest.fixture
    def database(self, sqlite: Database) -> Database:
        return sqlite

    async def test_prune_finds_its_rows_by_index(self, sqlite: Database) -> None:
        query = (
            "SELECT seq FROM results WHERE received_at < '2025-01-01' AND outcome = 'pass' "
            "AND received_at >= '2024-01-01' AND (received_at > '2024-01-01' OR seq > 7) "
            "ORDER BY received_at, seq LIMIT 9"
        )
        async with sqlite.reading() as connection:
            plan = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")).all()
        assert "ix_results_outcome_received_at" in str(plan)
        assert "TEMP B-TREE" not in str(plan)


class TestPostgresRetention(RetentionContract):
    @pytest.fixture
    def database(self, postgres: Database) -> Database:
        return postgres
