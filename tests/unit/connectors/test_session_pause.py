"""The pauses between connections grow, spread and stay within their bounds."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.mqtt.wire.refusal import HungUp, NameTaken, UnreadablePacket
from connectors.mqtt.wire.session import (
    HUNG_UP_LIMIT,
    LONGEST_GIVING_WAY_S,
    LONGEST_GUESSED_GIVING_WAY_S,
    REFUSED_PAUSE_FACTOR,
    Pause,
    Takeovers,
)
from inspector.config.broker_sections import MqttSection
from inspector.errors import BrokerRefused, BrokerUnavailable, InspectorError

SETTINGS = MqttSection(reconnect_min_s=0.2, reconnect_max_s=5.0)
AWAY = BrokerUnavailable("away")
TAKEN = NameTaken("taken", is_certain=True)
GUESSED = NameTaken("taken?", is_certain=False)


@given(seed=st.integers(), tries=st.integers(1, 40))
def test_pause_between_failures_stays_within_the_configured_bounds(seed: int, tries: int) -> None:
    pause = Pause(SETTINGS, random.Random(seed))
    waits = [pause.after(AWAY, lived_s=0.0) for _ in range(tries)]
    assert all(0.1 <= wait <= 5.0 for wait in waits)
    assert all(wait >= 2.5 for wait in waits[5:])


def test_pause_after_a_long_life_starts_small_again() -> None:
    pause = Pause(SETTINGS, random.Random(1))
    for _ in range(10):
        pause.after(AWAY, lived_s=0.0)
    assert pause.after(AWAY, lived_s=60.0) <= 0.2


def test_pause_after_a_connection_dropped_at_once_goes_on_growing() -> None:
    pause = Pause(SETTINGS, random.Random(1))
    waits = [pause.after(AWAY, lived_s=0.5) for _ in range(10)]
    assert waits[-1] > 10 * waits[0]


def test_pause_after_a_refusal_is_long() -> None:
    wait = Pause(SETTINGS, random.Random(1)).after(BrokerRefused("no"), lived_s=0.0)
    assert wait >= 0.5 * 5.0 * REFUSED_PAUSE_FACTOR


def test_pause_after_the_name_was_taken_grows_until_a_connection_is_left_alone_for_long() -> None:
    pause = Pause(SETTINGS, random.Random(1))
    waits = [pause.after(TAKEN, lived_s=20.0) for _ in range(12)]
    assert waits[0] <= 5.0
    assert waits[-1] >= LONGEST_GIVING_WAY_S / 2
    assert pause.after(TAKEN, lived_s=LONGEST_GIVING_WAY_S + 1) <= 5.0


def test_pause_after_a_guessed_takeover_stays_within_a_minute() -> None:
    pause = Pause(SETTINGS, random.Random(1))
    waits = [pause.after(GUESSED, lived_s=0.3) for _ in range(12)]
    assert waits[0] <= 5.0
    assert LONGEST_GUESSED_GIVING_WAY_S / 2 <= waits[-1] <= LONGEST_GUESSED_GIVING_WAY_S
    assert pause.after(AWAY, lived_s=0.0) <= 0.2, "a broker that is away is tried as ever"
    assert pause.after(GUESSED, lived_s=0.3) <= 5.0


def test_takeover_said_by_the_broker_is_one_at_once() -> None:
    assert Takeovers(SETTINGS).is_one(TAKEN, was_opened=True, lived_s=1000.0)


def test_takeover_is_concluded_from_connections_closed_soon_after_they_were_up() -> None:
    takeovers = Takeovers(SETTINGS)
    said = [takeovers.is_one(HungUp("x"), was_opened=True, lived_s=0.3) for _ in range(4)]
    assert said == [False, False, True, True]


@pytest.mark.parametrize(
    "between",
    [(HungUp("x"), True, 7.0), (HungUp("x"), False, 0.1), (AWAY, True, 0.1), (UnreadablePacket("x"), True, 0.1)],
)
def test_takeover_is_not_concluded_from_a_link_lost_otherwise(between: tuple[InspectorError, bool, float]) -> None:
    takeovers = Takeovers(SETTINGS)
    for _ in range(5):
        for _ in range(HUNG_UP_LIMIT - 1):
            assert not takeovers.is_one(HungUp("x"), was_opened=True, lived_s=0.3)
        assert not takeovers.is_one(*between)
