"""Enrolled drawings, and the cache of real exported graphs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

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


@pytest.fixture(scope="session")
def engine_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where exported graphs go, once for all tests: an export takes ten seconds."""
    return tmp_path_factory.mktemp("engines")
