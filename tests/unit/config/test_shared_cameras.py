"""Cameras whose frames several agents share: what is subscribed to, and what is refused."""

from __future__ import annotations

import re
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
    ("keys", "expected"),
    [
        ({}, "p/cam1/frame/+"),
        ({"topic": ""}, "p/cam1/frame/+"),
        ({"trigger_from": "topic"}, "p/cam1/frame"),
        ({"topic": "x/y"}, None),
        ({"topic": "x/y", "trigger_from": "topic"}, "x/y"),
        ({"topic": "x/+", "trigger_from": "topic"}, None),
    ],
)
def test_other_form_of_a_topic_is_left_out_where_the_camera_says_what_comes(
    keys: dict[str, str], expected: str | None
) -> None:
    config = config_of(keys)
    assert config.other_form_of(config.camera[0]) == expected


@pytest.mark.parametrize(
    ("first", "second", "fault"),
    [
        ({}, {"topic": "p/cam1/frame/7"}, "p/cam1/frame/+ and p/cam1/frame/7"),
        ({}, {"topic": "p/cam1/frame", "trigger_from": "topic"}, "have the same topic p/cam1/frame"),
        ({"topic": "x", "trigger_from": "topic"}, {"topic": "x"}, "have the same topic x"),
        ({"topic": "p/cam2/verdict", "trigger_from": "topic"}, {}, "on which p/cam2/verdict comes too"),
    ],
)
def test_topics_that_meet_in_their_other_form_are_refused(
    first: dict[str, str], second: dict[str, str], fault: str
) -> None:
    cameras = [{"name": f"cam{n}", "on_unjudged": "reject"} | keys for n, keys in enumerate((first, second), 1)]
    with pytest.raises(ConfigError, match=re.escape(fault)):
        parse({"agent": {"prefix": "p"}, "camera": cameras}, None)


def test_topics_that_are_apart_in_both_forms_are_taken() -> None:
    cameras = [{"name": name, "on_unjudged": "reject", "topic": topic} for name, topic in (("a", "x"), ("b", "x/y"))]
    assert len(parse({"agent": {"prefix": "p"}, "camera": cameras}, None).camera) == 2
