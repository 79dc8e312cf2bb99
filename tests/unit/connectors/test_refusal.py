"""What a broker's no means: a sentence that says what to do, and whether trying again can help."""

from __future__ import annotations

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from connectors.mqtt.wire.refusal import NameTaken, refused
from inspector.errors import BrokerRefused, BrokerUnavailable


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("Unsupported protocol version", "set mqtt.protocol"),
        ("Client identifier not valid", "check agent.name"),
        ("Bad user name or password", "check mqtt.username"),
        ("Not authorized", "access list"),
        ("Banned", "ask who runs it"),
    ],
)
def test_refused_for_a_reason_only_a_person_can_change_says_what_to_do(name: str, advice: str) -> None:
    error = refused("host:1883", "agent1-cam1", ReasonCode(PacketTypes.CONNACK, name))
    assert isinstance(error, BrokerRefused)
    assert not error.retryable
    assert advice in str(error)
    assert "host:1883" in str(error)


def test_refused_by_a_takeover_names_the_likely_reason() -> None:
    error = refused("host:1883", "agent1-cam1", ReasonCode(PacketTypes.DISCONNECT, "Session taken over"))
    assert isinstance(error, NameTaken)
    assert error.retryable
    assert "agent1-cam1" in str(error)
    assert "two agents have the same agent.name" in str(error)


@pytest.mark.parametrize("name", ["Server unavailable", "Server busy", "Quota exceeded"])
def test_refused_for_a_reason_that_may_pass_is_retryable(name: str) -> None:
    error = refused("host:1883", "agent1-cam1", ReasonCode(PacketTypes.CONNACK, name))
    assert isinstance(error, BrokerUnavailable)
    assert error.retryable
