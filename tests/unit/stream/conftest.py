"""Frames and settings for tests of the road."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.domain import Delivery, Position
from inspector.stream.admission import Admission, Arrival, Repeat, frame_digest

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def admit(admission: Admission, delivery: Delivery) -> Arrival | Repeat:
    """As the road does it."""
    return admission.admit(delivery, frame_digest(delivery.payload))


@pytest.fixture
def gated() -> Config:
    """One gate with two views, one gate with one camera, one camera without a gate."""
    return parse(
        {
            "camera": [
                {"name": "left", "on_unjudged": "reject"},
                {"name": "right", "on_unjudged": "quarantine", "on_late": "reject"},
                {"name": "solo", "on_unjudged": "reject", "product": "alpha", "clock": "trusted"},
                {"name": "free", "on_unjudged": "quarantine"},
            ],
            "gate": [
                {"name": "pair", "cameras": ["left", "right"], "window_ms": 50, "reserve_ms": 5},
                {"name": "single", "cameras": ["solo"], "window_ms": 50, "match": "single_in_flight"},
            ],
        },
        None,
    )


@pytest.fixture
def delivery() -> Callable[..., Delivery]:
    """Makes a delivery; offsets count up."""
    count = iter(range(1, 10_000))

    def make(camera: str, payload: bytes = b"image", at_ms: float = 0, **more: Any) -> Delivery:
        properties = {key.replace("_", "-"): str(value) for key, value in more.pop("headers", {}).items()}
        return Delivery(
            position=Position(f"test:{camera}", more.pop("generation", 1), next(count)),
            camera=camera,
            payload=payload,
            properties=properties,
            received_at=more.pop("received_at", START),
            received_ns=int(at_ms * 1e6),
            not_before_ns=more.pop("not_before_ns", int(at_ms * 1e6)),
            **more,
        )

    return make
