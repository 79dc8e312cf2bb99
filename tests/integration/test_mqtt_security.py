"""Passwords, TLS and access lists against a real mosquitto: refused means a sentence, not a storm."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from connectors.mqtt.gate_line import MqttGateLine
from connectors.mqtt.probe import Finding, probe
from connectors.mqtt.publisher import MqttPublisher
from connectors.mqtt.source import MqttSource
from connectors.mqtt.verdict_sink import MqttVerdictSink
from connectors.mqtt.wire.connection import Connection
from inspector.config.config import Config
from inspector.errors import BrokerRefused, BrokerUnavailable, ConfigError
from inspector.testing.source_contract import Reader, payloads
from tests.brokers import Mosquitto, Notebook, RunningClock, free_port, line_config, until

PROTOCOLS = ["3.1.1", "5"]


def make_source(config: Config, notebook: Notebook) -> MqttSource:
    return MqttSource(config, config.camera_named("cam1"), RunningClock(), notebook)


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    """User agent, password right."""
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("mosquitto_passwd is not installed")
    file = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(file), "agent", "right"], check=True, capture_output=True)
    return file


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem, server.pem, server.key, client.pem, client.key and other.pem, a foreign authority."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for authority in ("ca", "other"):
        openssl("req", "-x509", *curve, "-days", "2", "-subj", f"/CN={authority}", "-keyout", f"{authority}.key",
                "-out", f"{authority}.pem")  # fmt: skip
    for name in ("server", "client"):
        openssl("req", *curve, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", "names", "-out", f"{name}.pem")  # fmt: skip
    return folder


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_source_wrong_password_is_refused_with_advice_at_the_start(
    mosquitto: Callable[..., Mosquitto],
    tmp_path: Path,
    notebook: Notebook,
    password_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    protocol: str,
) -> None:
    broker = mosquitto("allow_anonymous false", f"password_file {password_file}")
    config = line_config(broker, tmp_path, protocol=protocol, username="agent", password_secret="mqtt")
    monkeypatch.setenv("INSPECTOR_SECRET_MQTT", "wrong")
    for adapter in (
        make_source(config, notebook),
        MqttGateLine(config, RunningClock(), notebook),
        MqttVerdictSink(config, RunningClock(), notebook),
        MqttPublisher(config.mqtt, "camera"),
    ):
        with pytest.raises(BrokerRefused, match=r"check mqtt\.username"):
            await adapter.__aenter__()
    monkeypatch.setenv("INSPECTOR_SECRET_MQTT", "right")
    async with make_source(config, notebook) as source:
        assert source.is_connected


async def test_source_without_its_secret_is_a_wrong_configuration(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    config = line_config(mosquitto(), tmp_path, username="agent", password_secret="nowhere")
    with pytest.raises(ConfigError, match="nowhere"):
        await make_source(config, notebook).__aenter__()


async def test_source_refused_after_the_start_waits_long_with_one_line(
    mosquitto: Callable[..., Mosquitto],
    tmp_path: Path,
    notebook: Notebook,
    password_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    broker = mosquitto("allow_anonymous false", f"password_file {password_file}")
    monkeypatch.setenv("INSPECTOR_SECRET_MQTT", "right")
    config = line_config(broker, tmp_path, username="agent", password_secret="mqtt", reconnect_max_s=0.5)
    async with make_source(config, notebook) as source:
        subprocess.run(["mosquitto_passwd", "-b", str(password_file), "agent", "new"], check=True, capture_output=True)
        broker.restart()
        await until(lambda: "not authori" in broker.log())
        await until(lambda: not source.is_connected)
        subprocess.run(
            ["mosquitto_passwd", "-b", str(password_file), "agent", "right"], check=True, capture_output=True
        )
        broker.restart()
        await until(lambda: source.is_connected)
    assert broker.log().count("not authori") <= 2
    assert capfd.readouterr().out.count("mqtt_broker_down") <= 2


async def test_source_impossible_topic_is_refused_at_the_start(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook
) -> None:
    config = line_config(mosquitto(), tmp_path)
    camera = config.camera_named("cam1").model_copy(update={"topic": "plant/#/frame"})
    with pytest.raises(BrokerRefused, match="plant/#/frame; check the topic"):
        await MqttSource(config, camera, RunningClock(), notebook).__aenter__()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_source_over_tls_with_client_certificate_takes_large_frames(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, certificates: Path, protocol: str
) -> None:
    broker = mosquitto(*tls_lines(certificates), "require_certificate true")
    config = line_config(broker, tmp_path, protocol=protocol, **tls_settings(certificates), in_flight=3)
    frames = [bytes([number]) * 1_500_000 for number in range(12)]
    async with make_source(config, notebook) as source, MqttPublisher(config.mqtt, "camera") as camera:
        reader = Reader(source)
        for number, frame in enumerate(frames):
            await camera.publish("p/s/cam1/frame", frame)
            if number % 3 == 2:
                await source.acknowledge((await reader.take(number + 1))[-1].position)
    assert payloads(reader.got) == frames


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ca_file": "other.pem"}, "is not trusted"),
        ({"ca_file": None}, "is not trusted"),
        ({"ca_file": "missing.pem"}, "TLS files of the section mqtt can't be used"),
    ],
)
async def test_source_over_tls_that_cant_be_trusted_is_refused(
    mosquitto: Callable[..., Mosquitto],
    tmp_path: Path,
    notebook: Notebook,
    certificates: Path,
    change: dict[str, str | None],
    message: str,
) -> None:
    broker = mosquitto(*tls_lines(certificates))
    settings = tls_settings(certificates)
    settings.update({key: str(certificates / name) if name else None for key, name in change.items()})
    with pytest.raises(BrokerRefused, match=message):
        await make_source(line_config(broker, tmp_path, **settings), notebook).__aenter__()


async def test_source_speaking_tls_to_a_plain_port_is_an_error(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, notebook: Notebook, certificates: Path
) -> None:
    config = line_config(mosquitto(), tmp_path, **tls_settings(certificates))
    with pytest.raises((BrokerRefused, BrokerUnavailable)):
        await MqttPublisher(config.mqtt, "camera").__aenter__()


def tls_lines(certificates: Path) -> tuple[str, ...]:
    return (
        f"cafile {certificates / 'ca.pem'}",
        f"certfile {certificates / 'server.pem'}",
        f"keyfile {certificates / 'server.key'}",
    )


def tls_settings(certificates: Path) -> dict[str, object]:
    return {
        "tls": True,
        "ca_file": str(certificates / "ca.pem"),
        "cert_file": str(certificates / "client.pem"),
        "key_file": str(certificates / "client.key"),
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_probe_finds_a_good_broker_good(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, protocol: str
) -> None:
    broker = mosquitto(is_persistent=False)
    findings = await probe(line_config(broker, tmp_path, protocol=protocol))
    assert [each.detail for each in findings if not each.is_ok] == []
    assert {each.subject for each in findings} >= {
        "mqtt broker",
        "mqtt publish and subscribe",
        "mqtt markers of cam1",
        "mqtt topic p/s/cam1/frame",
        "mqtt topic p/s/cam2/frame/+",
        "mqtt topic p/s/gate/g1/ack",
        "mqtt queue for an absent agent",
    }


async def test_probe_names_a_broker_that_forgets_and_one_that_swallows(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    forgetful = mosquitto("max_queued_messages 100", is_persistent=False)
    faults = [each for each in await probe(line_config(forgetful, tmp_path)) if not each.is_ok]
    assert [each.subject for each in faults] == ["mqtt queue for an absent agent"]
    assert "max_queued_messages 0" in faults[0].detail
    access = tmp_path / "access"
    access.write_text("topic readwrite p/s/+/frame\n")
    silent = mosquitto(f"acl_file {access}", is_persistent=False)
    faults = [each for each in await probe(line_config(silent, tmp_path)) if not each.is_ok]
    assert "access list" in faults[0].detail
    (markers,) = [each for each in faults if each.subject == "mqtt markers of cam1"]
    assert "p/s/cam1/marker/agent1-cam1" in markers.detail
    assert "its gate would never be ready" in markers.detail


async def test_probe_says_what_the_broker_has_dropped(tmp_path: Path, mosquitto: Callable[..., Mosquitto]) -> None:
    broker = mosquitto("max_queued_messages 100", "sys_interval 1", is_persistent=False)
    config = line_config(broker, tmp_path)
    subject = "mqtt dropped for absent clients"
    first = {each.subject: each for each in await probe(config)}
    assert first[subject].is_ok, "nothing was dropped before the doctor tried"
    async with asyncio.timeout(30):
        while (found := {each.subject: each for each in await probe(config)}[subject]).is_ok:
            await asyncio.sleep(0.5)
    assert "messages since its start" in found.detail
    assert "max_queued_messages" in found.detail


async def test_probe_without_a_broker_is_one_finding(tmp_path: Path, mosquitto: Callable[..., Mosquitto]) -> None:
    broker = mosquitto()
    config = line_config(broker, tmp_path, port=free_port())
    findings = await probe(config)
    assert len(findings) == 1
    assert not findings[0].is_ok
    assert "no connection to the broker" in findings[0].detail


async def test_probe_finds_another_agent_of_this_name(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    broker = mosquitto(is_persistent=False)
    config = line_config(broker, tmp_path)
    elsewhere = line_config(broker, tmp_path / "elsewhere")

    async def said() -> Finding:
        return next(each for each in await probe(config) if each.subject == "mqtt agent name")

    assert (await said()).is_ok
    async with MqttVerdictSink(config, RunningClock(), Notebook()) as own:
        await until(lambda: own.is_connected)
        assert (await said()).is_ok, "the agent of this very state folder"
    async with MqttVerdictSink(elsewhere, RunningClock(), Notebook()) as other:
        await until(lambda: other.is_connected)
        found = await said()
        assert not found.is_ok
        assert "agent1" in found.detail
        assert "agent.name" in found.detail
    assert (await said()).is_ok, "the other one has gone"


async def test_probe_says_which_gate_is_not_ready_now(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    broker = mosquitto(is_persistent=False)
    config = line_config(broker, tmp_path)
    gate = config.gate[0].name

    async def said() -> Finding | None:
        return next((each for each in await probe(config) if each.subject == f"mqtt {gate} now"), None)

    assert await said() is None, "no agent runs"
    async with MqttVerdictSink(config, RunningClock(), Notebook()) as sink:
        await until(lambda: sink.is_connected)
        for fault, is_ok, is_needed, words in (
            ("none", True, True, "ready"),
            ("camera_link", False, True, "fault 4: a camera of this gate is not connected"),
            ("held", False, False, "fault 5: the gate is held"),
        ):
            await sink.state(
                "agent/agent1/state", {"state": "online", "gates": {gate: {"fault": fault, "owner": None}}}
            )
            found = await said()
            assert found is not None
            assert (found.is_ok, found.is_needed) == (is_ok, is_needed)
            assert words in found.detail
        await sink.state("agent/agent1/state", {"state": "online", "gates": {gate: {"fault": "of a later version"}}})
        assert await said() is None
    assert await said() is None, "the agent has gone"


async def test_probe_tries_both_forms_of_a_cameras_topic(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    broker = mosquitto(is_persistent=False)
    config = line_config(broker, tmp_path)
    camera = config.camera[0]
    findings = {each.subject: each for each in await probe(config)}
    for topic in (config.topic_of(camera), config.other_form_of(camera)):
        assert findings[f"mqtt topic {topic}"].is_ok


async def test_probe_says_what_is_lost_where_the_second_form_of_a_topic_is_refused(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = line_config(mosquitto(is_persistent=False), tmp_path)
    second = config.other_form_of(config.camera[0])
    subscribe = Connection.subscribe

    async def refuse(connection: Connection, topics: Sequence[str]) -> None:
        if second in topics:
            await connection.close()
            raise BrokerUnavailable("The broker hung up.")
        await subscribe(connection, topics)

    monkeypatch.setattr(Connection, "subscribe", refuse)
    findings = {each.subject: each for each in await probe(config)}
    refused = findings.pop(f"mqtt topic {second}")
    assert not refused.is_ok
    assert not refused.is_needed
    assert refused.detail.endswith("Nobody would hear frames of cam1 with a trigger id in their topic.")
    assert all(each.is_ok for each in findings.values()), "the checks after it have a connection of their own"


async def test_probe_says_that_the_broker_takes_smaller_packets_than_a_camera_may_send(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto("max_packet_size 2000000", is_persistent=False)
    config = line_config(broker, tmp_path)
    findings = {each.subject: each for each in await probe(config)}
    assert not findings["mqtt packet size for cam1"].is_ok
    assert "2000000" in findings["mqtt packet size for cam1"].detail
    small = tuple(camera.model_copy(update={"max_mib": 1.8}) for camera in config.camera)
    as_json = small[1].model_copy(update={"encoding": "json"})
    findings = {each.subject: each for each in await probe(config.model_copy(update={"camera": (small[0], as_json)}))}
    assert findings["mqtt packet size for cam1"].is_ok
    assert not findings["mqtt packet size for cam2"].is_ok, "base64 needs a third more"


async def test_publisher_message_larger_than_the_broker_takes_is_refused_with_a_sentence(
    mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = mosquitto("max_packet_size 2000000", is_persistent=False)
    async with MqttPublisher(line_config(broker, tmp_path).mqtt, "camera") as publisher:
        with pytest.raises(BrokerRefused, match="at most 2000000 bytes"):
            await publisher.publish("p/s/cam1/frame", b"x" * 2_000_001)
        await publisher.publish("p/s/cam1/frame", b"x" * 1_900_000)
