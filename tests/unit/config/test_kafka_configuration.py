"""The section `kafka` and cameras that read it: what is refused, and what follows from what."""

from __future__ import annotations

from typing import Any

import pytest

from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.errors import ConfigError


def config_of(kafka: dict[str, Any], *cameras: dict[str, Any]) -> Config:
    made = [{"name": f"cam{number}", "source": "kafka", "on_unjudged": "reject", **each}
            for number, each in enumerate(cameras)]  # fmt: skip
    return parse({"kafka": kafka, "camera": made}, None)


@pytest.mark.parametrize(
    ("kafka", "camera", "fault"),
    [
        ({"bootstrap": "nowhere"}, {}, "kafka.bootstrap"),
        ({"speed": 1}, {}, "kafka.speed: there is no such key"),
        ({"username": "u", "password_secret": "p"}, {}, "belongs to a kafka.security"),
        ({"security": "sasl_ssl"}, {}, "belongs to a kafka.security"),
        ({"security": "sasl_ssl", "username": "u"}, {}, "go together"),
        ({"security": "ssl", "cert_file": "c"}, {}, "cert_file and kafka.key_file go together"),
        ({"ca_file": "c"}, {}, "need a kafka.security of ssl"),
        ({"handover_ms": 10_000}, {}, "handover_ms must be shorter"),
        ({"topic_pattern": "("}, {}, "not a regular expression"),
        ({"verdict_topic": "frames"}, {}, "is a topic of frames too"),
        ({"topic_pattern": "line.*", "dead_letter_topic": "line9"}, {}, "is a topic of frames too"),
        ({"verdict_topic": "out"}, {"topic": "out"}, "on a topic that this agent writes to"),
        ({"topic_pattern": "line.*"}, {"topic": "other"}, "that kafka.topic_pattern does not match"),
        ({}, {"trigger_from": "topic"}, "whose topics carry no trigger"),
        ({"max_frame_mib": 5}, {"max_mib": 6}, "larger frames than kafka.max_frame_mib"),
    ],
)
def test_kafka_section_that_cant_work_is_refused(kafka: dict[str, Any], camera: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config_of(kafka, camera)
    assert any(fault in said for said in refused.value.faults), refused.value.faults


def test_kafka_cameras_with_one_topic_are_refused() -> None:
    with pytest.raises(ConfigError, match="have the same Kafka topic"):
        config_of({}, {"topic": "one"}, {"topic": "one"})


def test_kafka_topics_are_those_of_all_and_those_of_cameras() -> None:
    config = config_of({"topics": ["frames", "more"]}, {"topic": "own"}, {})
    assert config.kafka_topics == ("frames", "more", "own")


def test_kafka_is_not_needed_by_a_line_on_mqtt() -> None:
    assert parse({"camera": [{"name": "cam", "on_unjudged": "pass"}]}, None).kafka.verdict_topic is None
