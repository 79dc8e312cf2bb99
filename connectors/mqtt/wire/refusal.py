"""Translates a broker's reason codes into sentences for the operator. No I/O."""

from __future__ import annotations

from typing import Final

from paho.mqtt.reasoncodes import ReasonCode

from inspector.errors import BrokerRefused, BrokerUnavailable, InspectorError

_REFUSALS: Final = {
    "Unsupported protocol version": "does not speak this MQTT version; set mqtt.protocol to the other one",
    "Client identifier not valid": "does not accept the client id {client_id}; check agent.name",
    "Bad user name or password": "does not accept the user name or password; check mqtt.username and its secret",
    "Not authorized": "does not authorise {client_id}; check mqtt.username, its secret and the broker's access list",
    "Banned": "has banned {client_id}; ask who runs it",
    "Bad authentication method": "wants another way of authentication than a password",
}
"""Sentences by the name of the reason code. Every other reason may pass by itself."""


_TAKEN_OVER: Final = "Session taken over"


class HungUp(BrokerUnavailable):
    """The broker or the network closed a connection that was up, without a reason."""


class NameTaken(BrokerUnavailable):
    """Another client connects under this client's id, so that each ends the other's connection.

    `is_certain`: the broker has reported it. Otherwise the agent has concluded it.
    """

    def __init__(self, message: str, *, is_certain: bool) -> None:
        super().__init__(message)
        self.is_certain = is_certain


class UnreadablePacket(BrokerUnavailable):
    """The broker sent a packet that paho can't read, so paho hung up. The broker would send the packet again."""


def refused(address: str, client_id: str, reason: ReasonCode) -> InspectorError:
    """BrokerRefused if only a person can change the cause, else BrokerUnavailable."""
    name = reason.getName()
    if name == _TAKEN_OVER:
        return name_taken(address, client_id)
    sentence = _REFUSALS.get(name)
    if sentence is None:
        return broken_link(address, name.lower())
    return BrokerRefused(f"The broker at {address} {sentence.format(client_id=client_id)}.")


def name_taken(address: str, client_id: str, *, is_certain: bool = True) -> NameTaken:
    """The error for a client id that another client uses.

    `is_certain` False: it is concluded from connections that are closed again and again as soon as they are up.
    """
    said = "gave its connection to another client of that name"
    guessed = "closes its connection again and again as soon as it is up, as it does for two clients of one name"
    return NameTaken(
        f"{client_id}: the broker at {address} {said if is_certain else guessed}. Probably two agents have the same "
        "agent.name; give each its own. This one tries again after growing pauses.",
        is_certain=is_certain,
    )


def hung_up(address: str) -> HungUp:
    """The error for a connection that the other side closed without a reason."""
    return HungUp(f"There is no connection to the broker at {address}: it was closed from the other side.")


def broken_link(address: str, reason: str) -> BrokerUnavailable:
    """The error for a link that is down for a reason that may pass."""
    return BrokerUnavailable(f"There is no connection to the broker at {address}: {reason}.")
