"""`inspector products drift`: what a person is told of parts that look otherwise than the good images did."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from inspector.config.config import Config
from inspector.domain import Verdict
from inspector.operation.opening import registry_of
from inspector.testing.samples import verdict_of_part
from tests.unit.vision.test_drift import manifest_of, usual

Shell = Callable[..., Any]


@pytest.fixture
def live(line: Config) -> None:
    async def add() -> None:
        async with registry_of(line, creates=True) as registry:
            for product in ("bolt", "nut"):
                manifest = manifest_of(usual(60, 1)) | {"head": "prototype", "threshold": 4.0}
                await registry.add_version(product, product.encode(), manifest, by="ada", activate=True)

    asyncio.run(add())


def parts(shift: float) -> list[Verdict]:
    at = datetime.now(UTC) - timedelta(minutes=5)
    return [
        verdict_of_part(number, product="bolt", product_version=1, threshold=4.0, level=float(level), received_at=at)
        for number, level in enumerate(usual(300, 2, shift=shift))
    ]


@pytest.mark.usefixtures("live")
def test_products_drift_names_the_camera_and_the_cause(shell: Shell, record: Callable[..., None]) -> None:
    record(parts(0.4))
    bolt, nut = shell("products", "drift", "--json").document
    assert (bolt["product"], bolt["cameras"][0]["direction"], bolt["why_not"]) == ("bolt", "up", None)
    assert bolt["calibrated_by"] == 60
    assert "look at light, focus and position of cam1" in bolt["cameras"][0]["cause"]
    assert (nut["cameras"], nut["why_not"]) == ([], "no camera has 100 accepted parts in this time")
    shown = shell("products", "drift").out
    assert "parts come nearer to the threshold" in shown
    assert "nut version 1 is not compared" in shown


@pytest.mark.usefixtures("live")
def test_products_drift_of_usual_parts_finds_none(shell: Shell, record: Callable[..., None]) -> None:
    record(parts(0.0))
    (found,) = shell("products", "drift", "bolt", "--since", "1h", "--json").document
    assert found["cameras"][0]["direction"] == "none"
    assert shell("products", "drift", "screw").code == 2
