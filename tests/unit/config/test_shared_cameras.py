"""Cameras whose frames several agents share: what is subscribed to, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.errors import ConfigError


def config_of(camera: dict[str, Any], *gates: dict[str, Any]) -> Config:
    made = {"name": "cam1", "on_unjudged": "reject", **camera}
    return parse({"agent": {"prefix": "p"}, "camera": [made], "gate": list(gates)}, None)


def test_shared_camera_is_subscribed_to_by_its_group() -> None:
    config = config_of({"shared_group": "hall", "trigger_from": "topic"})
    assert config.subscription_of(config.camera[0]) == "$share/hall/p/cam1/frame/+"
    assert config.topic_of(config.camera[0]) == "p/cam1/frame/+"


def test_camera_of_one_agent_is_subscribed_to_by_its_topic() -> None:
    config = config_of({"topic": "x/y"})
    assert config.subscription_of(config.camera[0]) == "x/y"


@pytest.mark.parametrize(
    ("camera", "gates", "fault"),
    [
        ({}, [{"name": "g", "cameras": ["cam1"], "window_ms": 50}], "stands at a gate, whose frames one agent"),
        ({"source": "kafka"}, [], "a shared_group, which only MQTT knows"),
        ({"shared_group": "a/b"}, [], "shared_group"),
        ({"topic": "$share/hall/x"}, [], "to share its frames set shared_group"),
    ],
)
def test_shared_camera_that_cant_be_shared_is_refused(
    camera: dict[str, Any], gates: list[dict[str, Any]], fault: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        config_of({"shared_group": "hall", **camera}, *gates)
    assert fault in str(refused.value)


@pytest.mark.parametrize(
    ("keys", "others", "expected"),
    [
        ({}, [], "p/cam1/frame/+"),
        ({"trigger_from": "topic"}, [], "p/cam1/frame"),
        ({"topic": "x/y"}, [], None),
        ({"topic": "x/y", "trigger_from": "topic"}, [], "x/y"),
        ({"topic": "x/+", "trigger_from": "topic"}, [], None),
        ({}, ["p/cam1/frame/7"], None),
        ({"topic": "x/y", "trigger_from": "topic"}, ["x/y"], None),
        ({}, ["p/cam2/frame"], "p/cam1/frame/+"),
    ],
)
def test_other_form_of_a_topic_is_left_out_where_the_camera_or_another_one_says_what_comes_there(
    keys: dict[str, str], others: list[str], expected: str | None
) -> None:
    cameras = [{"name": "cam1", "on_unjudged": "reject"} | keys]
    cameras += [{"name": f"other{n}", "on_unjudged": "reject", "topic": each} for n, each in enumerate(others)]
    config = parse({"agent": {"prefix": "p"}, "camera": cameras}, None)
    assert config.other_form_of(config.camera[0]) == expected
