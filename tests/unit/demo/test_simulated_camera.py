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

from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.demo import simulation
from inspector.demo.simulated_camera import Shooting, Tally, image_files, shoot, shots
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
    assert simulation.broker_of(None, config) == config.mqtt
    assert simulation.broker_of("mqtt://broker:1884", config) == config.mqtt
    assert simulation.broker_of("mqtt://BROKER:1884/", config) == config.mqtt
    assert simulation.broker_of("mqtt://elsewhere:1884", config).username is None
    assert simulation.broker_of("mqtt://broker:1885", config).username is None
    assert simulation.broker_of("mqtts://elsewhere", config).port == 8883


def test_broker_of_an_address_speaks_tls_as_its_scheme_says(tmp_path: Path) -> None:
    keys = {"host": "broker", "username": "u", "password_secret": "p", "ca_file": "/etc/ca.pem"}
    plain = config_of(tmp_path, mqtt={**keys, "port": 8883})
    secure = config_of(tmp_path, mqtt={**keys, "port": 8883, "tls": True})
    for config in (plain, secure):
        same = simulation.broker_of("mqtts://broker", config)
        assert (same.tls, same.port, same.username, same.ca_file) == (True, 8883, "u", Path("/etc/ca.pem"))
        beside = simulation.broker_of("mqtts://broker:8884", config)
        assert (beside.tls, beside.port, beside.username) == (True, 8884, "u")
        other = simulation.broker_of("mqtts://elsewhere", config)
        assert (other.tls, other.username, other.ca_file) == (True, None, Path("/etc/ca.pem"))
        assert not simulation.broker_of("mqtt://elsewhere", config).tls
    assert not simulation.broker_of("mqtt://broker:8883", plain).tls
    with pytest.raises(UsageError, match="configured with TLS; write mqtts://broker:8883"):
        simulation.broker_of("mqtt://broker:8883", secure)


def test_broker_of_an_ipv6_address_is_that_host(tmp_path: Path) -> None:
    config = config_of(tmp_path, mqtt={"host": "::1", "username": "u", "password_secret": "p"})
    assert simulation.broker_of("mqtt://[::1]", config) == config.mqtt
    assert simulation.broker_of("mqtt://[::2]:1884", config).host == "::2"


def test_broker_of_kafka_addresses_and_cameras(tmp_path: Path) -> None:
    config = config_of(
        tmp_path,
        kafka={"bootstrap": "one:9092,two:9093", "topics": ["parts"]},
        camera=[{"name": "cam1", "source": "kafka", "on_unjudged": "reject"}],
    )
    assert simulation.broker_of(None, config, "cam1") == config.kafka
    assert simulation.broker_of("kafka://two:9093", config) == config.kafka
    other = simulation.broker_of("kafka://elsewhere", config)
    assert (other.bootstrap, other.topics) == ("elsewhere:9092", ("parts",))


@pytest.mark.parametrize(
    "address",
    [
        *("", "h", "h:1883", "mqtt", "mqtt:", "mqtt:h", "mqtt://", "mqtt:///", "mqtt://:1883", "kafka://", "http://h"),
        *("mqtt://u:p@h", "kafka://u:p@h", "mqtt://@h", "mqtt://h/topic", "mqtt://h?x=1", "mqtt://h#x", "//h"),
        *("mqtt://h:99999", "mqtt://h:0", "mqtt://h:-1", "mqtt://h:x", "mqtt://h:1883:1", "mqtt://h:" + "9" * 5000),
        *("mqtt://[::1", "mqtt://::1", "mqtt://[::1]x", "mqtt://[h]", "mqtt://[]", "mqtt://]", "mqtt://[::g]:1"),
        *("mqtt://a b", "mqtt://a\tb", "mqtt://a\nb", " mqtt://h", "mqtt://a..b", "mqtt://" + "a" * 64, "mqtt://a,b"),
        *("kafka://[::1]:9092", "kafka://h:65536", "kafka://h1:1,h2:2", "kafka://a..b", "mqtt://" + "a." * 200 + "b"),
    ],
)
def test_broker_of_anything_else_raises_usage_error(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError) as refused:
        simulation.broker_of(address, config_of(tmp_path))
    assert "\n" not in str(refused.value)


def test_first_trigger_is_none_where_one_part_at_a_time_is_under_way(tmp_path: Path) -> None:
    cameras = [{"name": name, "on_unjudged": "reject"} for name in ("one", "many", "free")]
    gates = [
        {"name": "g1", "cameras": ["one"], "window_ms": 100, "match": "single_in_flight"},
        {"name": "g2", "cameras": ["many"], "window_ms": 100},
    ]
    config = config_of(tmp_path, camera=cameras, gate=gates)
    assert simulation.first_trigger(config, "one", None) is None
    assert simulation.first_trigger(config, "one", 7) == 7
    for name in ("many", "free", "not-configured"):
        assert simulation.first_trigger(config, name, None) is not None


def test_tally_of_a_single_frame_has_no_rate() -> None:
    assert Tally(sent=1, seconds=2.0).achieved_fps is None
    assert Tally(sent=11, seconds=2.0).achieved_fps == 5.0
