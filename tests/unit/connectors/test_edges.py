"""A broker that goes and comes is two events of an agent, or two lines in the log, however many clients there are."""

from __future__ import annotations

import pytest

from connectors.mqtt.wire.edges import TOLD_EVERY_S, BrokerEdges
from inspector.domain import Severity


def test_edges_of_three_clients_are_one_line_each_way(capsys: pytest.CaptureFixture[str]) -> None:
    edges = BrokerEdges("box:1883")
    clients = ("cam1", "gates", "records")
    for client in clients:
        edges.up(client)
    for client in clients:
        edges.down(client, "gone")
        edges.down(client, "still gone")
    for client in clients:
        edges.up(client)
    log = [line for line in capsys.readouterr().out.splitlines() if "debug" not in line]
    assert [("broker_up" in line, "broker_down" in line) for line in log] == [
        (True, False),
        (False, True),
        (True, False),
    ]


def test_edges_of_an_agent_are_one_event_each_and_no_line_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    edges, told = BrokerEdges("box:1883"), list[tuple[str, Severity, str, str]]()
    with edges.reported(lambda *event: told.append(event)):
        for client in ("gates", "cam1"):
            edges.up(client)
        for client in ("gates", "cam1"):
            edges.down(client, "gone")
            edges.down(client, "still gone")
        for client in ("gates", "cam1"):
            edges.up(client)
    assert told == [
        ("mqtt_broker_up", Severity.INFO, "box:1883", "gates is connected"),
        ("mqtt_broker_down", Severity.WARNING, "box:1883", "gates: gone"),
        ("mqtt_broker_up", Severity.INFO, "box:1883", "cam1 is connected"),
    ]
    assert [line for line in capsys.readouterr().out.splitlines() if "debug" not in line] == []
    edges.down("gates", "gone again")
    assert (len(told), "mqtt_broker_down" in capsys.readouterr().out) == (3, True)


def test_edges_client_that_left_on_purpose_is_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    edges = BrokerEdges("box:1883")
    edges.up("a")
    edges.down("a", "gone")
    edges.down("b", "gone")
    edges.left("b")
    capsys.readouterr()
    edges.up("a")
    assert "mqtt_broker_up" in capsys.readouterr().out


def test_edges_a_name_that_is_taken_is_news_once_in_a_while() -> None:
    edges = BrokerEdges("box:1883")
    assert [edges.is_theft_news(at_s) for at_s in (0.0, 1.0, TOLD_EVERY_S - 1, TOLD_EVERY_S, TOLD_EVERY_S + 1)] == [
        True,
        False,
        False,
        True,
        False,
    ]
