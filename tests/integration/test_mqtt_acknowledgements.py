"""Acknowledgements on their way when the link breaks: a real mosquitto behind a network that loses bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from connectors.mqtt.publisher import MqttPublisher
from connectors.mqtt.source import MqttSource
from inspector.config.loading import parse
from inspector.domain import Decision, GateState, ResultId, Verdict
from inspector.testing.ledger import InMemoryLedger
from inspector.testing.source_contract import Reader
from tests.brokers import Mosquitto, until
from tests.faults.proxy import FaultProxy
from tests.unit.stream.test_pipeline import GOOD, Plant


class CutLedger(InMemoryLedger):
    """Loses the network while the first rows are written, so that their acknowledgements go nowhere."""

    def __init__(self, proxy: FaultProxy) -> None:
        super().__init__()
        self._proxy = proxy
        self._is_armed = True

    async def record(
        self, verdicts: Sequence[Verdict], decisions: Sequence[tuple[Decision, bool | None]], gates: Sequence[GateState]
    ) -> list[ResultId]:
        if verdicts and self._is_armed:
            self._is_armed = False
            await asyncio.to_thread(self._proxy.black_hole)
        return await super().record(verdicts, decisions, gates)


def plant_behind(proxy: FaultProxy) -> Plant:
    return Plant(
        parse(
            {
                "agent": {"name": "agent", "prefix": "p", "drain_s": 2},
                "mqtt": {"host": "127.0.0.1", "port": proxy.port, "reconnect_min_s": 0.1},
                "camera": [{"name": "cam", "on_unjudged": "reject"}],
            },
            None,
        )
    )


async def test_frames_without_ids_get_no_second_row_when_their_acknowledgements_are_lost(
    mosquitto: Callable[..., Mosquitto],
) -> None:
    broker = mosquitto()
    with FaultProxy((broker.host, broker.port)) as proxy:
        plant = plant_behind(proxy)
        plant.ledger = CutLedger(proxy)
        source = MqttSource(plant.config, plant.config.camera[0], plant.clock, plant.telemetry, plant.room)
        plant.source = source  # type: ignore[assignment]  # the real one in place of the fake
        direct = plant.config.mqtt.model_copy(update={"port": broker.port})
        async with plant.running() as pipeline, MqttPublisher(direct, "camera") as publisher:
            for number in range(5):
                await publisher.publish("p/cam/frame", GOOD + b"#%d" % number)
            await plant.has_rows(5)
            await until(lambda: not source._unsettled and not pipeline._recording.waiting)
            await asyncio.to_thread(proxy.reset)
            await asyncio.to_thread(proxy.heal)
            await until(lambda: plant.telemetry.counters["redeliveries"] > 0)
            await publisher.publish("p/cam/frame", GOOD + b"#last")
            await until(lambda: any(not row.redelivered and row.frame_sha256 for row in plant.rows()[5:]))
            await until(lambda: not pipeline._recording._unconfirmed)
    assert len(plant.rows()) == 6
    assert not any(row.redelivered for row in plant.rows())


async def test_acknowledgement_is_confirmed_by_the_brokers_answer_and_not_by_the_network(
    mosquitto: Callable[..., Mosquitto],
) -> None:
    broker = mosquitto()
    with FaultProxy((broker.host, broker.port)) as proxy:
        plant = plant_behind(proxy)
        direct = plant.config.mqtt.model_copy(update={"port": broker.port})
        async with (
            MqttSource(plant.config, plant.config.camera[0], plant.clock, plant.telemetry) as source,
            MqttPublisher(direct, "camera") as publisher,
        ):
            for number in range(3):
                await publisher.publish("p/cam/frame", b"%d" % number)
            first, second, third = await Reader(source).take(3)
            assert await source.acknowledge(first.position)
            assert await source.confirmation(first.position)
            assert await source.acknowledge(second.position)
            assert await source.confirmation(second.position)
            await asyncio.to_thread(proxy.black_hole)
            assert await source.acknowledge(third.position), "the kernel takes the bytes"
            answer = source.confirmation(third.position)
            await asyncio.to_thread(proxy.reset)
            assert not await answer
            assert not await source.confirmation(third.position)
