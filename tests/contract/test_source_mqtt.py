"""The MQTT source passes the contract of all sources, on MQTT 3.1.1 and 5, against a real mosquitto."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from connectors.mqtt.source import MqttSource
from inspector.config.config import Config
from inspector.testing.source_contract import SourceContract
from tests.brokers import Mosquitto, Notebook, RunningClock, line_config, until


class MqttRig:
    marks_redelivery = True

    def __init__(self, broker: Mosquitto, config: Config) -> None:
        self.carries_properties = config.mqtt.protocol == "5"
        self._broker = broker
        self._config = config
        self.source = self._new_source()

    def _new_source(self) -> MqttSource:
        return MqttSource(self._config, self._config.camera_named("cam1"), RunningClock(), Notebook())

    async def send(self, payload: bytes, properties: Mapping[str, str]) -> None:
        named = [part for name, value in properties.items() for part in ("-D", "publish", "user-property", name, value)]
        version = ["-V", "5" if self.carries_properties else "311"]
        file = self._config.agent.state_dir.parent / "frame.bin"
        file.write_bytes(payload)
        await asyncio.to_thread(
            self._broker.publish, "-t", "p/s/cam1/frame", "-q", "1", "-f", str(file), *version, *named
        )

    async def restart(self) -> None:
        await self.source.__aexit__()
        self.source = self._new_source()
        await self.source.__aenter__()

    async def break_link(self) -> bool:
        connection = self.source._session.connection
        assert connection is not None
        assert await connection.round_trip(5) is not None
        connection.abort()
        await until(lambda: self.source.is_connected)
        return True


@pytest.fixture(params=["3.1.1", "5"])
async def rig(
    request: pytest.FixtureRequest, mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> AsyncIterator[MqttRig]:
    broker = mosquitto()
    rig = MqttRig(broker, line_config(broker, tmp_path, protocol=request.param))
    await rig.source.__aenter__()
    yield rig
    await rig.source.__aexit__()


class TestMqttSource(SourceContract):
    pass
