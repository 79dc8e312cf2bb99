"""The pauses between connections grow, spread and stay within their bounds."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from connectors.mqtt.wire.session import REFUSED_PAUSE_FACTOR, Pause
from inspector.config.sections import MqttSection
from inspector.errors import BrokerRefused, BrokerUnavailable

SETTINGS = MqttSection(reconnect_min_s=0.2, reconnect_max_s=5.0)
AWAY = BrokerUnavailable("away")


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
