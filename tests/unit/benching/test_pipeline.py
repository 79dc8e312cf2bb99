"""What a bench of a line refuses before it makes anything, and what it leaves out where it can't be measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inspector.benching import engines, pipeline
from inspector.benching.line import Shown
from inspector.benching.machine import this_machine
from inspector.benching.open_loop import Part
from inspector.benching.pages import pipeline_page
from inspector.benching.plant import check
from inspector.benching.plant_setting import PlantSetting
from inspector.config.loading import parse
from inspector.errors import EngineError, UsageError


def request(setting: dict[str, Any] | None = None, **changes: Any) -> pipeline.PipelineRequest:
    return pipeline.PipelineRequest(setting=PlantSetting(config=parse({}, None), **(setting or {})), **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"windows": 0, "frames": 0}, "nothing to measure"), ({"reference": "xx"}, "There is no engine xx")],
)
async def test_run_pipeline_that_can_measure_nothing_is_refused_at_once(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        await pipeline.run_pipeline(request(**changes), lambda *_: None)


@pytest.mark.parametrize(
    ("told_s", "fps"), [([0.1, 0.6, 1.1], 2.5), ([1.0, 1.5, 2.0], 1.5), ([0.1, None, None], 0.833)]
)
def test_rate_without_saturation_counts_until_the_last_word(told_s: list[float | None], fps: float) -> None:
    parts = tuple(
        Part(0, number, round(number * 5e8), heard_ns=None if each is None else round(each * 1e9))
        for number, each in enumerate(told_s)
    )
    run = pipeline.PipelineRun(request(), this_machine(), "broker", shown=[Shown(parts, 1.2, None, None)])
    assert pipeline.document(run)["throughput_fps"] == pytest.approx(fps, abs=1e-3)


async def test_run_engines_unknown_engine_is_refused_at_once() -> None:
    asked = engines.EngineRequest(setting=PlantSetting(config=parse({}, None)), names=("tpu",))
    with pytest.raises(UsageError, match="There is no engine 'tpu'; choose one of onnxruntime"):
        await engines.run_engines(asked, lambda *_: None)


def test_check_number_of_products_beside_named_ones_is_refused() -> None:
    with pytest.raises(UsageError, match="--products 3 and --product contradict each other"):
        check(PlantSetting(config=parse({}, None), products=3, copied=("disc",)))
    check(PlantSetting(config=parse({}, None), products=2, copied=("disc", "plate")))


def test_bare_backbone_without_its_graph_is_left_out_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise EngineError("There is no exported graph of the backbone.")

    monkeypatch.setattr(pipeline, "bare_backbone", missing)
    run = pipeline.PipelineRun(request(), this_machine(), "broker", pass_fps=[100.0])
    assert pipeline._bare(run, tmp_path) is None
    found = pipeline.document(run)
    assert found["without_bare"] == "There is no exported graph of the backbone."
    assert found["bare_backbone_fps"] is found["bare_ratio"] is None
    notes = pipeline_page(found | {"unjudged": 7, "frames": 9}, run.machine).notes
    assert "The bare backbone was not measured: There is no exported graph of the backbone." in notes
    assert any(note.startswith("7 of 9 frames were not judged") for note in notes)


def test_bare_backbone_on_an_engine_that_is_not_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise EngineError("The engine is not installed.")

    monkeypatch.setattr(pipeline, "create_engine", missing)
    with pytest.raises(EngineError, match="not installed"):
        pipeline._bare(pipeline.PipelineRun(request(), this_machine(), "broker"), tmp_path)
