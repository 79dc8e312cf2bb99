"""Rules of all tests: what is missing on a machine is skipped by name, and in CI a skip is a failure."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

# A busy machine is slow now and then; what counts is what comes out. Each run tries other examples.
settings.register_profile("patient", deadline=None, max_examples=50)
settings.load_profile("patient")

# A shell that starts the tests in the background, or nohup, has these ignored, and every process would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

pytest_plugins = [
    "tests.shared",
    "tests.brokers",
    "tests.agents",
    "tests.kafka_broker",
    "tests.plant_database",
    "tests.plant_broker",
    "tests.contract_suites",
]


@pytest.fixture(scope="session")
def inspector_data() -> Path:
    """The folder of product images that INSPECTOR_DATA names."""
    named = os.environ.get("INSPECTOR_DATA")
    if not named:
        pytest.skip("INSPECTOR_DATA does not name a folder of product images")
    folder = Path(named)
    if not folder.is_dir():
        pytest.skip(f"INSPECTOR_DATA names {folder}, which is no folder")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes begins first, or a worker would be alone with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(autouse=True)
def _fresh_logging() -> Iterator[None]:
    """A command that a test runs in this process configures logging; the next test starts as a new process would."""
    yield
    structlog.reset_defaults()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI=true, a skipped test is a failed one: a check that was not made must not look green."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and CI=true allows no skips: {reason}"
    return report
