"""Enrolled drawings, and the engine without a network."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from inspector.training.enrol import Enrolment, EnrolmentOptions, enrol
from tests.unit.drawings import FakeEngine, good_images

# Checked against a peer where the extra [peer] is installed; elsewhere there is nothing to skip.
collect_ignore = [] if find_spec("anomalib") else ["evaluation/test_metrics_peer.py"]


@pytest.fixture
def fake_engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture(scope="session")
def enrolled() -> dict[str, Enrolment]:
    """Three products, enrolled once on the fake engine. Never changed by a test."""
    engine = FakeEngine()
    return {name: enrol(name, good_images(name, 8), EnrolmentOptions(), engine) for name in ("disc", "plate", "mesh")}
