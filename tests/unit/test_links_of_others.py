"""Links that another user of the group laid into the state folder: what they name is neither written nor shown."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from connectors.mqtt.gate_owners import ensure_identity, identity_file, known_identity
from inspector.agent.clock import SystemClock
from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.config.sections import RetentionSection
from inspector.domain import Cause, DeadLetter, Outcome, Picture, ResultId
from inspector.enrolment.enrolled_images import folder_of, keep_list, load_list
from inspector.enrolment.enrolment_request import EnrolmentRequest, enrol_on_request
from inspector.errors import StateUnusable
from inspector.operation.artifact_files import digest_file, write_artifact
from inspector.operation.capacity import Capacity, keep_capacity
from inspector.store.database import Database, upgrade
from inspector.store.journal.segment_log import SegmentLog
from inspector.store.pictures.dead_letters import FolderDeadLetters
from inspector.store.pictures.folders import BoundedFolder, Held
from inspector.store.pictures.images import FolderImages
from inspector.store.pictures.kept import KeptPictures
from inspector.store.pictures.reviewed import keep_reviewed, kept_frame
from inspector.store.retention.housekeeping import Housekeeping
from inspector.store.retention.pictures import prune_pictures
from inspector.testing.clock import START, FakeClock
from inspector.testing.edges import FakeTelemetry
from inspector.testing.samples import verdict_of_part
from inspector.training.dataset.folders import ImageSource, load_folder
from inspector.vision.networks.graphs import write_cached
from tests.unit.drawings import FakeEngine, draw, encode

STRANGER = 54321
SECRET = b"the secret of somebody else"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_bytes(SECRET)
    path.chmod(0o600)
    return path


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


def link(path: Path, victim: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(victim)
    return path


def is_file(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


async def test_enrolment_writes_its_report_through_no_link(
    monkeypatch: pytest.MonkeyPatch, state: Path, victim: Path
) -> None:
    monkeypatch.setattr("inspector.enrolment.enrol_product.create_engine", lambda *_: FakeEngine())
    images = state.parent / "images"
    images.mkdir()
    for seed in range(6):
        (images / f"{seed}.png").write_bytes(encode(draw("disc", seed)))
    config: Config = parse({"agent": {"name": "a", "prefix": "p", "state_dir": str(state)}}, None)
    link(folder_of(state, "disc") / "version-1.html", victim)
    wanted = EnrolmentRequest(
        product="disc",
        by="ada",
        images=(images,),
        profile="fast",
        measures_detectability=False,
        at_low_priority=False,
    )
    done = await enrol_on_request(config, wanted, lambda *_: None)
    assert is_file(done.page)
    assert victim.read_bytes() == SECRET


@pytest.mark.parametrize("name", ["cam1.jpg", "cam1.jpg.partial"])
async def test_latest_picture_is_written_through_no_link(state: Path, victim: Path, name: str) -> None:
    verdict = verdict_of_part(1, outcome=Outcome.REJECT, cause=Cause.ANOMALY)
    async with FolderImages(state / "images", max_bytes=1 << 20, keep_passes=0.0, clock=FakeClock()) as images:
        link(state / "images" / "latest" / name, victim)  # while the agent runs: a start removes partial files
        images.keep(Picture(verdict, encode(draw("disc", 1)), None))
    assert is_file(state / "images" / "latest" / "cam1.jpg")
    assert victim.read_bytes() == SECRET


@pytest.mark.parametrize("overwrites", [True, False])
def test_export_writes_its_digest_through_no_link(state: Path, victim: Path, overwrites: bool) -> None:
    file = state / "disc.artifact"
    link(digest_file(file), victim)
    write_artifact(file, b"artifact", overwrites=overwrites)
    assert is_file(digest_file(file))
    assert victim.read_bytes() == SECRET


async def test_dead_letter_is_written_through_no_link(state: Path, victim: Path) -> None:
    async with FolderDeadLetters(state, max_bytes=1 << 20) as letters:
        for name in ("r-1.bin", "r-1.bin.partial", "r-1.json", "r-1.json.partial"):
            link(state / "cam1" / name, victim)
        await letters.put(DeadLetter(ResultId("r-1"), "cam1", b"x", {}, Cause.UNDECODABLE, "it is cut off", START))
    assert is_file(state / "cam1" / "r-1.bin")
    assert victim.read_bytes() == SECRET


def test_small_files_of_the_state_are_written_through_no_link(state: Path, victim: Path) -> None:
    link(identity_file(state), victim)
    link(state / "capacity.json", victim)
    link(state / "engines" / "k.onnx", victim)
    assert known_identity(state) is None
    assert known_identity(state) != ensure_identity(state)
    assert is_file(identity_file(state))
    keep_capacity(state, Capacity(50, 10, 20, 100, 1, 1, "onnxruntime", 2, "inspector", "2025-01-01T00:00:00Z"))
    write_cached("k", b"graph", state / "engines", {})
    image = state.parent / "good.png"
    image.write_bytes(b"image")
    for ending in (".json", ".part"):
        link(folder_of(state, "disc") / f"{'d' * 16}{ending}", victim)
    assert keep_list(state, "disc", "d" * 64, [(ImageSource.of(image), "0" * 64)])
    assert victim.read_bytes() == SECRET


def test_journal_is_not_opened_through_a_link(state: Path, victim: Path) -> None:
    link(state / "journal" / "0000000001.journal", victim)
    with pytest.raises(StateUnusable, match="it is a link"), SegmentLog(state / "journal", 1 << 20):
        pass
    assert victim.read_bytes() == SECRET


def test_kept_picture_is_found_and_shown_through_no_link(state: Path, victim: Path) -> None:
    verdict = verdict_of_part(1, product="disc")
    day = state / "images" / f"{verdict.decided_at:%Y-%m-%d}" / verdict.camera
    link(day / f"{verdict.result_id}.jpg", victim)
    link(day / f"{verdict.result_id}.heat.jpg", victim)
    pictures = KeptPictures(state)
    assert pictures.frame(verdict.result_id, verdict.camera, verdict.decided_at) is None
    assert pictures.heat(verdict.result_id, verdict.camera, verdict.decided_at) is None
    assert kept_frame(state, verdict) is None
    assert keep_reviewed(state, verdict) is None


def test_linked_images_of_a_person_are_read_and_linked_devices_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (tmp_path / "there.png").write_bytes(encode(draw("disc", 1)))
    (folder / "a.png").symlink_to(tmp_path / "there.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    offered = load_folder(folder)
    assert [image.read() for image in offered.images] == [(tmp_path / "there.png").read_bytes()]
    assert [thing.reason for thing in offered.not_taken] == ["no file but a pipe, socket or device"]


def test_list_of_images_that_is_a_link_is_not_read(state: Path, victim: Path) -> None:
    link(folder_of(state, "disc") / f"{'d' * 16}.json", victim)
    with pytest.raises(OSError, match="it is a link"):
        load_list(state, "disc", "d" * 64)


@contextlib.asynccontextmanager
async def opened(state: Path) -> AsyncIterator[Database]:
    async with Database(f"sqlite:///{state}/a.db") as database:
        await upgrade(database)
        yield database


def own_by_another(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.lchown(path, STRANGER, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: STRANGER)


@pytest.mark.parametrize("name", ["images", "dead-letters"])
async def test_prune_removes_nothing_behind_the_link_of_another_user_and_says_so(
    state: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    elsewhere, other = state.parent / "elsewhere", "dead-letters" if name == "images" else "images"
    old = [elsewhere / "a.conf", elsewhere / "sub" / "b.conf", state / other / "cam1" / "old.jpg"]
    for path in old:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(SECRET)
        os.utime(path, (0, 0))
    own_by_another(link(state / name, elsewhere), monkeypatch)
    async with opened(state) as database:
        with pytest.raises(StateUnusable, match=f"{name} is a link of another user"):
            await prune_pictures(database, SystemClock(), state, RetentionSection(pictures_days=30))
        keeper = Housekeeping(database, SystemClock(), FakeTelemetry(), RetentionSection(), state, Held(), [])
        with pytest.raises(StateUnusable, match=f"{name} is a link of another user"):
            await keeper.look_at_holds()
    assert [path.exists() for path in old] == [True, True, False], "the other folder is pruned all the same"


async def test_prune_works_behind_the_own_link_to_another_disk(state: Path) -> None:
    elsewhere = state.parent / "elsewhere"
    (elsewhere / "day" / "cam1").mkdir(parents=True)
    (elsewhere / "day" / "cam1" / "old.jpg").write_bytes(b"a picture")
    os.utime(elsewhere / "day" / "cam1" / "old.jpg", (0, 0))
    link(state / "images", elsewhere)
    async with opened(state) as database:
        await prune_pictures(database, SystemClock(), state, RetentionSection(pictures_days=30))
    assert list(elsewhere.iterdir()) == []


def test_folder_of_bounded_size_behind_the_link_of_another_user_is_refused(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = BoundedFolder(state / "images", max_bytes=10)
    path = state / "images" / "day" / "cam1" / "a.jpg"
    folder.add(path, bytes(10))
    elsewhere = (state / "images").rename(state.parent / "elsewhere")
    own_by_another(link(state / "images", elsewhere), monkeypatch)
    with pytest.raises(StateUnusable, match="images is a link of another user"):
        folder._remove(path)
    with pytest.raises(StateUnusable, match="images is a link of another user"):
        BoundedFolder(state / "images", max_bytes=10)
    assert (elsewhere / "day" / "cam1" / "a.jpg").exists()
