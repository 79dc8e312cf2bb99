"""The other form of a camera's topic: asked for on each connection, unless the broker hangs up on it."""

from __future__ import annotations

import asyncio
from typing import cast

from connectors.mqtt.other_form import HANG_UPS, OtherForm
from connectors.mqtt.wire.connection import Connection


class FakeConnection:
    """A connection whose broker answers as the test says."""

    address = "broker:1883"

    def __init__(self) -> None:
        self.is_open = True
        self.answers: list[asyncio.Future[bool]] = []

    def ask_for(self, filters: list[str]) -> asyncio.Future[bool]:
        assert filters == ["p/cam1/frame/+"]
        self.answers.append(asyncio.get_running_loop().create_future())
        return self.answers[-1]

    async def answer(self, value: bool, *, is_open: bool = True) -> None:
        self.is_open = is_open
        self.answers[-1].set_result(value)
        await asyncio.sleep(0)


def asked(form: OtherForm) -> FakeConnection:
    connection = FakeConnection()
    form.ask(cast("Connection", connection))
    return connection


async def test_other_form_that_is_refused_is_told_once_and_asked_for_again() -> None:
    told: list[str] = []
    form = OtherForm("p/cam1/frame/+", told.append)
    for _ in range(3):
        await asked(form).answer(False)
    assert told == ["The broker at broker:1883 does not let this agent subscribe to p/cam1/frame/+."]
    await asked(form).answer(True)
    await asked(form).answer(False)
    assert len(told) == 2


async def test_other_form_costs_every_second_connection_at_most_when_the_broker_hangs_up_on_it() -> None:
    told: list[str] = []
    form = OtherForm("p/cam1/frame/+", told.append)
    for _ in range(HANG_UPS):
        await asked(form).answer(False, is_open=False)
    assert told == []
    for _ in range(2):
        assert asked(form).answers == []
        await asked(form).answer(False, is_open=False)
    assert told == ["The broker at broker:1883 hangs up on a subscription to p/cam1/frame/+."]


async def test_other_form_is_heard_again_after_links_that_were_lost_for_another_reason() -> None:
    told: list[str] = []
    form = OtherForm("p/cam1/frame/+", told.append)
    for _ in range(HANG_UPS):
        await asked(form).answer(False, is_open=False)
    assert asked(form).answers == []
    for _ in range(3):
        await asked(form).answer(True)
    assert len(told) == 1


async def test_other_form_that_was_answered_outlives_any_number_of_lost_connections() -> None:
    told: list[str] = []
    form = OtherForm("p/cam1/frame/+", told.append)
    for _ in range(HANG_UPS + 1):
        await asked(form).answer(False, is_open=False)
        await asked(form).answer(True)
    assert told == []
