"""A camera made of files shows each file in order, at its time, and one frame stays one frame over a lost link."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from inspector.cli import camera, simulate
from inspector.cli.camera import Shooting, Tally, image_files, shoot, shots
from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.errors import BrokerUnavailable, UsageError

NOW = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)


class FakeWire:
    """Takes every message, except those numbered in `lost`, where the link breaks; `is_gone`: it never comes back."""

    def __init__(self, lost: tuple[int, ...] = (), is_gone: bool = False) -> None:
        self.taken: list[tuple[str, bytes, Mapping[str, str]]] = []
        self.reconnects = 0
        self._numbers = itertools.count()
        self._lost = lost
        self._is_gone = is_gone

    async def publish(self, topic: str, payload: bytes, properties: Mapping[str, str], /) -> None:
        await asyncio.sleep(0)
        if next(self._numbers) in self._lost:
            raise BrokerUnavailable("There is no connection to the broker.")
        self.taken.append((topic, payload, properties))

    async def ensure_connected(self, timeout_s: float, /) -> None:
        if self._is_gone:
            raise BrokerUnavailable(f"The broker did not come back within {timeout_s:g} s.")
        self.reconnects += 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures = tmp_path / "pictures"
    (pictures / "more").mkdir(parents=True)
    for number, name in enumerate(("b.png", "a.JPG", "more/c.jpeg", "notes.txt")):
        (pictures / name).write_bytes(b"image %d" % number)
    return pictures


def shooting_of(folder: Path, **changes: Any) -> Shooting:
    settled: dict[str, Any] = {"rate_fps": 10_000, "topic": "line/cam1/frame", "run": "r", "trigger_start": 7}
    return Shooting(files=image_files(folder), **settled | changes)


def config_of(tmp_path: Path, **sections: Any) -> Config:
    return parse({"agent": {"state_dir": str(tmp_path), "prefix": "line"}, **sections}, None)


async def run(shooting: Shooting, wire: FakeWire) -> Tally:
    return await shoot(shooting, wire, asyncio.Event())


def test_image_files_are_pictures_only_by_name_with_those_below(folder: Path) -> None:
    assert [path.name for path in image_files(folder)] == ["a.JPG", "b.png", "c.jpeg"]


def test_shots_leave_out_what_a_system_left_and_say_the_type_by_content(folder: Path) -> None:
    (folder / "._a.JPG").write_bytes(b"\0\5\x16\7")
    (folder / "d.jfif").write_bytes(b"\x89PNG whatever its name")
    names = [path.name for path in image_files(folder)]
    assert names == ["a.JPG", "b.png", "d.jfif", "c.jpeg"]
    types = [shot.properties["content-type"] for shot in shots(shooting_of(folder), lambda: NOW)]
    assert types == ["image/jpeg", "image/jpeg", "image/png", "image/jpeg"]


def test_image_files_of_no_folder_a_file_or_nothing_raise_usage_error(folder: Path) -> None:
    (folder / "empty").mkdir()
    for wrong in (folder / "none", folder / "b.png", folder / "empty"):
        with pytest.raises(UsageError):
            image_files(wrong)


async def test_shoot_publishes_the_original_bytes_with_their_metadata(folder: Path) -> None:
    wire = FakeWire()
    tally = await run(shooting_of(folder), wire)
    assert tally.sent == 3
    topic, payload, properties = wire.taken[0]
    assert (topic, payload) == ("line/cam1/frame", b"image 1")
    assert datetime.fromisoformat(properties["captured-at"]).tzinfo is not None
    assert {name: value for name, value in properties.items() if name != "captured-at"} == {
        "frame-id": "r-1",
        "trigger-id": "7",
        "content-type": "image/jpeg",
        "simulated": "true",
    }


async def test_shoot_as_live_leaves_the_mark_away(folder: Path) -> None:
    wire = FakeWire()
    await run(shooting_of(folder, is_live=True), wire)
    assert all("simulated" not in properties for _, _, properties in wire.taken)


async def test_shoot_looping_goes_on_with_new_ids_until_the_count(folder: Path) -> None:
    wire = FakeWire()
    await run(shooting_of(folder, is_looping=True, count=7), wire)
    assert [properties["trigger-id"] for _, _, properties in wire.taken] == [str(n) for n in range(7, 14)]
    assert len({properties["frame-id"] for _, _, properties in wire.taken}) == 7


async def test_shoot_that_is_stopped_ends_with_what_was_sent(folder: Path) -> None:
    wire, stop = FakeWire(), asyncio.Event()
    endless = shooting_of(folder, is_looping=True)
    tally = await shoot(endless, wire, stop, lambda sent: stop.set() if sent >= 3 else None)
    assert tally.sent == len(wire.taken) >= 3


async def test_shoot_over_a_lost_link_sends_the_same_frame_again(folder: Path) -> None:
    wire = FakeWire(lost=(1,))
    tally = await run(shooting_of(folder), wire)
    assert (tally.sent, tally.sent_again, wire.reconnects) == (3, 1, 1)
    assert sorted(properties["frame-id"] for _, _, properties in wire.taken) == ["r-1", "r-2", "r-3"]


async def test_shoot_with_the_broker_gone_raises_broker_unavailable(folder: Path) -> None:
    with pytest.raises(BrokerUnavailable, match="did not come back"):
        await run(shooting_of(folder), FakeWire(lost=(0, 1, 2), is_gone=True))


async def test_shoot_of_a_file_that_went_away_raises_usage_error(folder: Path) -> None:
    shooting = shooting_of(folder)
    (folder / "b.png").unlink()
    with pytest.raises(UsageError, match=r"b\.png"):
        await run(shooting, FakeWire())


def test_shots_wrap_the_trigger_at_its_modulus(folder: Path) -> None:
    made = shots(shooting_of(folder, trigger_start=65535, trigger_modulus=65536), lambda: NOW)
    assert [shot.properties["trigger-id"] for shot in made] == ["65535", "0", "1"]


def test_shots_with_the_trigger_in_the_topic_carry_it_there_only(folder: Path) -> None:
    shot = next(shots(shooting_of(folder, trigger_in_topic=True), lambda: NOW))
    assert shot.topic == "line/cam1/frame/7"
    assert "trigger-id" not in shot.properties


def test_shots_as_json_hold_everything_in_the_payload(folder: Path) -> None:
    shot = next(shots(shooting_of(folder, is_json=True), lambda: NOW))
    table = json.loads(shot.payload)
    assert base64.b64decode(table["image"]) == b"image 1"
    assert (table["frame_id"], table["trigger_id"], table["simulated"]) == ("r-1", "7", "true")
    assert shot.properties == {}


def test_shots_without_triggers_have_none(folder: Path) -> None:
    made = shots(shooting_of(folder, trigger_start=None), lambda: NOW)
    assert all("trigger-id" not in shot.properties for shot in made)


def test_broker_of_the_configured_address_keeps_its_secrets(tmp_path: Path) -> None:
    config = config_of(tmp_path, mqtt={"host": "broker", "port": 1884, "username": "u", "password_secret": "p"})
    assert simulate.broker_of(None, config) == config.mqtt
    assert simulate.broker_of("mqtt://broker:1884", config) == config.mqtt
    assert simulate.broker_of("mqtt://elsewhere:1884", config).username is None
    assert simulate.broker_of("mqtts://elsewhere", config).port == 8883


def test_broker_of_kafka_addresses_and_cameras(tmp_path: Path) -> None:
    config = config_of(
        tmp_path,
        kafka={"bootstrap": "one:9092,two:9093", "topics": ["parts"]},
        camera=[{"name": "cam1", "source": "kafka", "on_unjudged": "reject"}],
    )
    assert simulate.broker_of(None, config, "cam1") == config.kafka
    assert simulate.broker_of("kafka://two:9093", config) == config.kafka
    other = simulate.broker_of("kafka://elsewhere", config)
    assert (other.bootstrap, other.topics) == ("elsewhere:9092", ("parts",))


@pytest.mark.parametrize(
    "address",
    ["kafka://u:p@h", "kafka://", "h:1883", "mqtt://", "mqtt://h:99999", "mqtt://u:p@h", "mqtt://h/topic", "http://h"],
)
def test_broker_of_anything_else_raises_usage_error(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError):
        simulate.broker_of(address, config_of(tmp_path))


def test_first_trigger_is_none_where_one_part_at_a_time_is_under_way(tmp_path: Path) -> None:
    cameras = [{"name": name, "on_unjudged": "reject"} for name in ("one", "many", "free")]
    gates = [
        {"name": "g1", "cameras": ["one"], "window_ms": 100, "match": "single_in_flight"},
        {"name": "g2", "cameras": ["many"], "window_ms": 100},
    ]
    config = config_of(tmp_path, camera=cameras, gate=gates)
    assert simulate.first_trigger(config, "one", None) is None
    assert simulate.first_trigger(config, "one", 7) == 7
    for name in ("many", "free", "not-configured"):
        assert simulate.first_trigger(config, name, None) is not None


@pytest.mark.usefixtures("line")
def test_simulate_called_wrongly_exits_2_with_one_sentence(shell: Any, folder: Path) -> None:
    common = ("simulate", str(folder), "--camera", "cam1", "--rate", "5")
    for wrong in (
        ("--count", "4"),
        ("--no-triggers", "--trigger-start", "3"),
        ("--to", "kafka://127.0.0.1:99999"),
        ("--topic", "line/+/frame"),
    ):
        answer = shell(*common, *wrong)
        assert (answer.code, answer.out) == (2, "")
        assert len(answer.err.splitlines()) == 1


def test_simulate_on_mqtt_3_1_1_without_as_live_exits_2(shell: Any, folder: Path) -> None:
    Path("inspector.toml").write_text('[mqtt]\nprotocol = "3.1.1"\n')
    answer = shell("simulate", str(folder), "--camera", "cam1", "--rate", "5")
    assert answer.code == 2
    assert "--as-live" in answer.err


@pytest.mark.usefixtures("line")
def test_simulate_with_the_broker_away_exits_1_with_one_sentence(shell: Any, folder: Path) -> None:
    answer = shell("simulate", str(folder), "--camera", "cam1", "--rate", "5", "--to", "mqtt://127.0.0.1:1")
    assert (answer.code, answer.out) == (1, "")
    assert len(answer.err.splitlines()) == 1


def test_tally_of_a_single_frame_has_no_rate() -> None:
    assert Tally(sent=1, seconds=2.0).achieved_fps is None
    assert camera.Tally(sent=11, seconds=2.0).achieved_fps == 5.0
