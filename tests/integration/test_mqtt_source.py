"""The MQTT source against a real mosquitto: nothing is acknowledged early, nothing kept is lost."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from paho.mqtt.properties import Properties

from connectors.mqtt.publisher import MqttPublisher
from connectors.mqtt.source import MqttSource
from connectors.mqtt.wire import connection as connections
from connectors.mqtt.wire.properties import STRICT_READING
from inspector.config.config import Config
from inspector.domain import Delivery
from inspector.stream.envelope import PROPERTY_FAULT
from inspector.testing.source_contract import Reader, payloads
from tests.brokers import Mosquitto, Notebook, RunningClock, line_config, until

PROTOCOLS = ["3.1.1", "5"]
TOPIC = "p/s/cam1/frame"


def make_source(config: Config, notebook: Notebook, camera: str = "cam1") -> MqttSource:
    return MqttSource(config, config.camera_named(camera), RunningClock(), notebook)


async def drop_link(source: MqttSource) -> None:
    """The network is gone, after the broker has seen everything sent so far."""
    connection = source._session.connection
    assert connection is not None
    assert await connection.round_trip(5) is not None
    connection.abort()


async def send(broker: Mosquitto, *messages: str, options: tuple[str, ...] = ()) -> None:
    for message in messages:
        await asyncio.to_thread(broker.publish, "-t", TOPIC, "-q", "1", "-m", message, *options)


async def send_many(config: Config, count: int, size: int = 100, topic: str = TOPIC) -> None:
    """Numbered frames, each taken by the broker."""
    async with MqttPublisher(config.mqtt, "camera") as publisher:
        for number in range(count):
            await publisher.publish(topic, str(number).encode().ljust(size))


def rules_that_let_subscribe(folder: Path, *filters: str) -> Path:
    """Rules of mosquitto's plugin: clients may send and receive everything, and subscribe to these filters alone."""
    access = {"publishClientSend": True, "publishClientReceive": True, "subscribe": False, "unsubscribe": True}
    allowed = [{"acltype": "subscribeLiteral", "topic": each, "priority": 0, "allow": True} for each in filters]
    document = {
        "defaultACLAccess": access,
        "clients": [],
        "roles": [{"rolename": "agents", "acls": allowed}],
        "groups": [{"groupname": "all", "roles": [{"rolename": "agents"}], "clients": []}],
        "anonymousGroup": "all",
    }
    (folder / "rules.json").write_text(json.dumps(document))
    return folder / "rules.json"


def numbers(deliveries: list[Delivery]) -> list[int]:
    return [int(each.payload) for each in deliveries]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_source_unacknowledged_frames_come_again_marked_as_redelivered_backlog(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    async with make_source(line_config(broker, tmp_path, protocol=protocol), notebook) as source:
        reader = Reader(source)
        await send(broker, "0", "1", "2")
        first = list(await reader.take(3))
        assert not any(each.redelivered or each.backlog for each in first)
        await source.acknowledge(first[0].position)
        await drop_link(source)
        again = (await reader.take(5))[3:]
        assert numbers(again) == [1, 2]
        assert all(each.redelivered and each.backlog for each in again)
        assert {each.position.generation for each in again} == {2}
        await until(lambda: not source.has_backlog)
        await send(broker, "3")
        assert not (await reader.take(6))[5].backlog
    assert notebook.events == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_source_frames_outlive_a_broker_restart(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str, end: str
) -> None:
    # A marker may lie between the frames. With mosquitto's bound of 20 there would be room for 19 frames then.
    broker = mosquitto("max_inflight_messages 40")
    config = line_config(broker, tmp_path, protocol=protocol)
    async with make_source(config, notebook) as source:
        reader = Reader(source)
        await send_many(config, 30)
        first = list(await reader.take(20))
        await source.acknowledge(first[9].position)
        connection = source._session.connection
        assert connection is not None
        assert await connection.round_trip(5) is not None
        if end == "kill":  # the autosave of every change is written within its second
            await until(lambda: "Saving in-memory database" in broker.log().rpartition("PUBACK")[2])
        getattr(broker, end)()
        broker.start()
        taken = len(reader.got)
        last = (await reader.take(taken + 20))[taken:]
        assert numbers(last)[-20:] == list(range(10, 30))
        assert all(each.backlog for each in last)
        await source.acknowledge(last[-1].position)
    async with make_source(config, notebook) as source:
        reader = Reader(source)
        await until(lambda: not source.has_backlog)
        await send(broker, "99")
        assert numbers(await reader.take(1)) == [99]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_source_frames_sent_while_the_agent_is_away_are_backlog_and_later_ones_not(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    config = line_config(broker, tmp_path, protocol=protocol, in_flight=4)
    async with make_source(config, notebook):
        pass
    await send_many(config, 50)
    async with make_source(config, notebook) as source:
        got: list[Delivery] = []
        async for delivery in source.deliveries():
            got.append(delivery)
            await source.acknowledge(delivery.position)
            if len(got) == 50:
                await until(lambda: not source.has_backlog)
                await send(broker, "50")
            if len(got) == 51:
                break
    assert numbers(got) == list(range(51))
    assert [each.backlog for each in got] == [True] * 50 + [False]


async def test_source_marker_of_an_earlier_connection_does_not_end_the_backlog(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    config = line_config(broker, tmp_path)
    async with make_source(config, notebook) as source:
        marker_topic = source._marker_topic
        await drop_link(source)  # the second connection subscribes to the marker
        await until(lambda: source._generation == 2 and not source.has_backlog)
    async with MqttPublisher(config.mqtt, "camera") as publisher:
        await publisher.publish(TOPIC, b"0")
        await publisher.publish(marker_topic, b"0123456789abcdef0123456789abcdef")
        await publisher.publish(TOPIC, b"1")
    async with make_source(config, notebook) as source:
        got = await Reader(source).take(2)
    assert [(each.payload, each.backlog) for each in got] == [(b"0", True), (b"1", True)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_source_without_gate_whose_marker_is_refused_ends_its_backlog_when_nothing_waits(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    access = tmp_path / "access"
    access.write_text("topic readwrite p/s/+/frame\n")
    broker = mosquitto(f"acl_file {access}")
    config = line_config(broker, tmp_path, protocol=protocol).model_copy(update={"gate": ()})
    async with make_source(config, notebook):
        pass
    await send_many(config, 12)
    async with make_source(config, notebook) as source:
        got: list[Delivery] = []
        async for delivery in source.deliveries():
            got.append(delivery)
            if len(got) > 1 and numbers(got[-2:]) == [10, 11]:
                break
        assert source.has_backlog, "unacknowledged frames are still ahead of any live one"
        assert all(each.backlog for each in got)
        await source.acknowledge(got[-1].position)
        await until(lambda: not source.has_backlog)
        await send(broker, "12")
        assert [each.backlog for each in await Reader(source).take(1)] == [False]
    assert set(notebook.kinds) == {"marker_refused", "marker_lost"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_source_of_a_gate_whose_markers_are_refused_proves_no_age_and_says_so(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    access = tmp_path / "access"
    access.write_text("topic readwrite p/s/+/frame\n")
    broker = mosquitto(f"acl_file {access}")
    config = line_config(broker, tmp_path, protocol=protocol)
    async with make_source(config, notebook):
        pass
    async with make_source(config, notebook) as source:
        await until(lambda: "marker_refused" in notebook.kinds)
        await send(broker, "1")
        (frame,) = await Reader(source).take(1)
        assert frame.backlog
        assert frame.not_before_ns is None
        assert source.age_bound_ns("cam1") is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_source_of_a_gate_bounds_the_age_of_each_frame(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    async with make_source(line_config(broker, tmp_path, protocol=protocol), notebook) as source:
        reader = Reader(source)
        for number in range(3):
            sent_ns = time.monotonic_ns()
            await send(broker, str(number))
            frame = (await reader.take(number + 1))[-1]
            assert frame.not_before_ns is not None
            assert frame.not_before_ns <= sent_ns


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_source_of_a_gate_sees_the_time_that_a_frame_waited_in_a_stopped_broker(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    config = line_config(broker, tmp_path, protocol=protocol)
    async with make_source(config, notebook) as source, MqttPublisher(config.mqtt, "camera") as camera:
        reader = Reader(source)
        await camera.publish(TOPIC, b"0")
        await reader.take(1)
        await until(lambda: (source.age_bound_ns("cam1") or 10**12) < 400_000_000)
        broker.freeze()
        sent_ns = time.monotonic_ns()
        sending = asyncio.create_task(camera.publish(TOPIC, b"1"))
        await asyncio.sleep(0.7)
        broker.thaw()
        await sending
        frame = (await reader.take(2))[-1]
        assert frame.not_before_ns is not None
        assert frame.not_before_ns <= sent_ns


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_source_retained_frame_is_dropped_with_an_event_and_acknowledged(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    await send(broker, "old", options=("-r",))
    async with make_source(line_config(broker, tmp_path, protocol=protocol), notebook) as source:
        reader = Reader(source)
        await send(broker, "7")
        assert numbers(await reader.take(1)) == [7]
        assert notebook.kinds == ["retained_dropped"]
        assert not source._unsettled[0].is_done  # the frame; the retained one before it is acknowledged


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_source_quality_0_frames_are_taken(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    async with make_source(line_config(broker, tmp_path, protocol=protocol), notebook) as source:
        reader = Reader(source)
        await asyncio.to_thread(broker.publish, "-t", TOPIC, "-m", "5")
        got = await reader.take(1)
        assert numbers(got) == [5]
        assert await source.acknowledge(got[0].position)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("qos", [0, 1])
async def test_source_never_holds_more_than_its_bound_whatever_the_broker_sends(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str, qos: int
) -> None:
    broker = mosquitto("max_inflight_messages 0")
    config = line_config(broker, tmp_path, protocol=protocol, in_flight=5)
    async with make_source(config, notebook) as source, MqttPublisher(config.mqtt, "camera") as publisher:
        for number in range(200):
            await publisher.publish(TOPIC, str(number).encode().ljust(20_000), qos=qos)
        await publisher.publish("p/s/other", b"all sent")
        got: list[Delivery] = []
        async for delivery in source.deliveries():
            got.append(delivery)
            assert len(source._ready) <= 5
            assert sum(not message.is_done for message in source._unsettled) <= 5
            if len(got) % 5 == 0:
                await source.acknowledge(delivery.position)
            if len(got) == 200:
                break
    assert numbers(got) == list(range(200))
    assert source._generation == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_source_subscription_answered_behind_a_backlog_costs_no_connection(
    mosquitto: Callable[..., Mosquitto],
    tmp_path: Path,
    notebook: Notebook,
    protocol: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Frames that waited come first, and they are read only as fast as they are judged."""
    monkeypatch.setattr(connections, "ANSWER_TIMEOUT_S", 0.2)
    broker = mosquitto("max_inflight_messages 0")
    config = line_config(broker, tmp_path, protocol=protocol, keepalive_s=2)
    async with make_source(config, notebook):
        pass  # the broker keeps its session
    await send_many(config, 40, size=500_000)
    source = make_source(config, notebook)
    source.pause()
    async with source:
        await asyncio.sleep(1.0)  # five times as long as it waits for an answer
        assert source._generation == 1
        source.resume()
        reader = Reader(source)
        assert numbers(await reader.take(40)) == list(range(40))
        await source.acknowledge(reader.got[-1].position)
        await until(lambda: not source.has_backlog)
        assert source._generation == 1
    assert notebook.events == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_source_paused_beyond_the_keepalive_keeps_its_connection(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto("max_inflight_messages 0")
    config = line_config(broker, tmp_path, protocol=protocol, keepalive_s=2)
    async with make_source(config, notebook) as source:
        reader = Reader(source)
        source.pause()
        await send_many(config, 40, size=500_000)
        # mosquitto hangs up after one and a half keep-alives, paho's own check after two.
        await until(lambda: broker.log().count("sign-of-life") >= 5)
        assert reader.got == []
        source.resume()
        assert numbers(await reader.take(40)) == list(range(40))
        await source.acknowledge(reader.got[-1].position)
        before = broker.log().count("Received PINGREQ from agent1-cam1")
        await until(lambda: broker.log().count("Received PINGREQ from agent1-cam1") > before)
        assert source._generation == 1
        assert source.is_connected


async def test_source_frozen_broker_is_noticed_by_the_keepalive(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    async with make_source(line_config(broker, tmp_path, keepalive_s=2), notebook) as source:
        broker.freeze()
        await until(lambda: not source.is_connected)
        broker.thaw()
        await until(lambda: source.is_connected)


async def test_source_user_properties_arrive_lower_case_and_the_last_of_equals_counts(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    async with make_source(line_config(broker, tmp_path), notebook) as source:
        reader = Reader(source)
        options = ["-V", "5", "-D", "publish", "content-type", "image/png"]
        for name, value in (("Part-ID", "a"), ("part-id", "b"), ("frame-id", "ü 1")):
            options += ["-D", "publish", "user-property", name, value]
        await send(broker, "x", options=tuple(options))
        got = await reader.take(1)
    assert got[0].properties == {"content-type": "image/png", "part-id": "b", "frame-id": "ü 1"}


async def test_source_absurd_value_of_our_name_is_told_and_the_rest_is_kept(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    async with make_source(line_config(broker, tmp_path), notebook) as source:
        reader = Reader(source)
        ours = ("-V", "5", "-D", "publish", "user-property", "trigger-id", "7")
        await send(broker, "long", options=(*ours, "-D", "publish", "user-property", "part-id", "v" * 2000))
        got = await reader.take(1)
    assert got[0].properties == {"trigger-id": "7", PROPERTY_FAULT: "part-id is longer than 1024 bytes"}


async def test_source_foreign_properties_are_no_fault_however_odd_they_are(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    async with make_source(line_config(broker, tmp_path), notebook) as source:
        reader = Reader(source)
        foreign = [("long", "v" * 2000), ("", ""), ("same", "1"), ("same", "2"), ("\ufeffmark", "\ufeff")]
        foreign += [(f"k{number}", "v") for number in range(40)]
        options = [
            part for pair in [*foreign, ("Trigger-Id", "7")] for part in ("-D", "publish", "user-property", *pair)
        ]
        await send(broker, "many", options=("-V", "5", *options))
        got = await reader.take(1)
        assert source._connection is not None
        assert source._generation == 1, "the link was not lost over a property"
    assert (got[0].payload, got[0].properties["trigger-id"]) == (b"many", "7")
    assert PROPERTY_FAULT not in got[0].properties


async def test_source_packets_paho_cannot_read_cost_the_frame_its_metadata_not_the_line(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.mqtt.wire.client.ensure_texts_are_taken", lambda: None)
    monkeypatch.setattr(Properties, "readProperty", STRICT_READING)  # paho's own refuses a byte order mark
    broker = mosquitto()
    config = line_config(broker, tmp_path)
    async with make_source(config, notebook) as source:
        reader = Reader(source)
        byte_order_mark = ("-V", "5", "-D", "publish", "user-property", "part-id", "\ufeff7")
        await send(broker, "bad", options=byte_order_mark)
        await reader.take(1)
        assert PROPERTY_FAULT in reader.got[0].properties
        for each in list(reader.got):
            await source.acknowledge(each.position)
        await until(lambda: source.is_connected and not source._is_without_metadata)
        await send(broker, "good", options=("-V", "5", "-D", "publish", "user-property", "part-id", "8"))
        await until(lambda: reader.got[-1].payload == b"good")
    assert reader.got[-1].properties == {"part-id": "8"}
    assert payloads(reader.got) == [b"bad", b"good"]


async def test_source_trigger_is_the_last_level_of_the_topic_where_so_configured(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    async with make_source(line_config(broker, tmp_path), notebook, "cam2") as source:
        reader = Reader(source)
        await asyncio.to_thread(broker.publish, "-t", "p/s/cam2/frame/4711", "-q", "1", "-m", "x")
        assert (await reader.take(1))[0].properties == {"trigger-id": "4711"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("is_kept", [False, True], ids=["fresh", "kept"])
async def test_source_hears_frames_without_and_with_a_trigger_in_their_topic(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str, is_kept: bool
) -> None:
    broker = mosquitto()
    config = line_config(broker, tmp_path, protocol=protocol)
    if is_kept:
        async with make_source(config, notebook), make_source(config, notebook, "cam2"):
            pass
    async with make_source(config, notebook) as by_property, make_source(config, notebook, "cam2") as by_topic:
        await until(lambda: "p/s/cam1/frame/+" in broker.log() and "p/s/cam2/frame (" in broker.log())
        for topic in ("p/s/cam1/frame/4711", "p/s/cam2/frame"):
            await asyncio.to_thread(broker.publish, "-t", topic, "-q", "1", "-m", "x")
        for source in (by_property, by_topic):
            (frame,) = await Reader(source).take(1)
            assert frame.payload == b"x"
            assert frame.properties == {}
    assert notebook.events == []


async def test_source_whose_broker_refuses_the_other_form_says_so_once_and_takes_the_rest(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto(
        f"plugin {next(Path('/usr/lib').rglob('mosquitto_dynamic_security.so'))}",
        f"plugin_opt_config_file {rules_that_let_subscribe(tmp_path, 'p/s/cam1/frame', 'p/s/cam1/marker/agent1-cam1')}",
    )
    async with make_source(line_config(broker, tmp_path), notebook) as source:
        await until(lambda: notebook.kinds == ["frames_unheard"])
        assert "p/s/cam1/frame/+" in notebook.events[0].detail
        await send(broker, "1")
        assert payloads(await Reader(source).take(1)) == [b"1"]
        await drop_link(source)
        await until(lambda: source.is_connected)
        await send(broker, "2")
        await until(lambda: source._offset > 0)
    assert notebook.kinds == ["frames_unheard"]


async def test_source_json_camera_gives_image_and_keys(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    config = line_config(broker, tmp_path)
    camera = config.camera_named("cam1").model_copy(update={"encoding": "json"})
    async with MqttSource(config, camera, RunningClock(), notebook) as source:
        reader = Reader(source)
        body = json.dumps({"image": base64.b64encode(b"\xff\xd8jpeg").decode(), "trigger_id": 12, "part_id": "p"})
        await send(broker, body, "not json")
        good, bad = await reader.take(2)
    assert (good.payload, good.properties) == (b"\xff\xd8jpeg", {"trigger-id": "12", "part-id": "p"})
    assert bad.payload == b"not json"
    assert "not valid JSON" in bad.properties[PROPERTY_FAULT]


async def test_source_subscription_of_an_older_configuration_is_ended_with_an_event(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    config = line_config(broker, tmp_path)
    async with make_source(config, notebook):
        pass
    camera = config.camera_named("cam1").model_copy(update={"topic": "elsewhere/frame"})
    async with MqttSource(config, camera, RunningClock(), notebook) as source:
        reader = Reader(source)
        await until(lambda: not source.has_backlog)
        await send(broker, "old")
        await until(lambda: notebook.kinds == ["unexpected_topic"])
        await send(broker, "old again")
        await asyncio.to_thread(broker.publish, "-t", "elsewhere/frame", "-q", "1", "-m", "new")
        assert payloads(await reader.take(1)) == [b"new"]
    assert notebook.kinds == ["unexpected_topic"]


async def test_source_broker_away_at_the_start_is_found_later(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, capfd: pytest.CaptureFixture[str]
) -> None:
    broker = mosquitto()
    broker.stop()
    async with make_source(line_config(broker, tmp_path), notebook) as source:
        reader = Reader(source)
        assert not source.is_connected
        for _ in range(3):  # several tries, one line
            await asyncio.sleep(0.2)
        broker.start()
        await until(lambda: source.is_connected)
        await send(broker, "1")
        assert numbers(await reader.take(1)) == [1]
    log = capfd.readouterr().out
    assert log.count("mqtt_broker_down") == 1
    assert log.count("mqtt_broker_up") == 1


async def test_source_mosquitto_pub_is_enough_for_a_camera_on_either_protocol(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    broker = mosquitto()
    async with make_source(line_config(broker, tmp_path), notebook) as source:
        reader = Reader(source)
        for version in ("311", "5"):
            subprocess.run(
                ["mosquitto_pub", "-p", str(broker.port), "-V", version, "-t", TOPIC, "-q", "2", "-m", "1"], check=True
            )
        assert numbers(await reader.take(2)) == [1, 1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_sources_of_two_agents_of_one_name_say_so_once(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, protocol: str
) -> None:
    broker = mosquitto()
    config = line_config(broker, tmp_path, protocol=protocol)
    async with make_source(config, notebook), make_source(config, notebook):
        await until(lambda: "name_taken" in notebook.kinds)
        told = notebook.events[notebook.kinds.index("name_taken")]
        assert told.subject == "agent1"
        assert "agent.name" in told.detail
        assert "agent1-cam1" in told.detail
    assert notebook.kinds.count("name_taken") == 1
