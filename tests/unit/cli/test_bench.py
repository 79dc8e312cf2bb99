"""`inspector bench` and `inspector capacity`: wrong use, and the pages that the figures are shown on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inspector.benching import engines, pages, pipeline
from inspector.benching.alone import Arrangement, Passed
from inspector.benching.engines import EngineRun, HeadCost
from inspector.benching.line import Saturated, Shown
from inspector.benching.machine import this_machine
from inspector.benching.open_loop import Part
from inspector.benching.pipeline import PipelineRequest, PipelineRun, pieces
from inspector.benching.plant import bench_folder
from inspector.benching.plant_setting import PlantSetting
from inspector.benching.schedule import Due
from inspector.cli import bench
from inspector.config.loading import parse
from inspector.errors import UsageError
from inspector.reports.bench import BenchPage, FigureTable, bench_html, bench_markdown

MS = 1_000_000
SETTING = PlantSetting(config=parse({}, None), cameras=2)


def told(number: int, latency_ms: float | None, **record: Any) -> Part:
    heard_ns = None if latency_ms is None else round(latency_ms * MS)
    known = {"outcome": "pass", "cause": "ok", "decode_ms": 1.0, "total_ms": 9.0, **record}
    return Part(0, number, 0, 0, heard_ns, None if latency_ms is None else known)


def measured() -> PipelineRun:
    """Three windows at saturation, and five parts by the schedule: one late, one lost, one unjudged."""
    run = PipelineRun(
        PipelineRequest(setting=SETTING, deadline_ms=50), this_machine(), "mosquitto 2", "onnxruntime", "fast"
    )
    run.pass_arrangement, run.backbone_arrangement = Arrangement(2, 1, 1), Arrangement(1, 2, 4)
    run.saturated = [Saturated(frames, 2.0, frames * 0.01, 200.0 + frames) for frames in (80, 100, 60)]
    run.pass_fps, run.backbone_fps = [80.0, 100.0, 80.0], [100.0, 125.0, 120.0]
    run.backbone_p50_ms, run.offered_fps = [4.0, 5.0, 6.0], 20.0
    parts = (
        told(1, 10.0),
        told(2, 20.0),
        told(3, 60.0),
        told(4, None),
        told(5, 30.0, outcome="unjudged", cause="frame_health", total_ms=None),
    )
    run.shown = [Shown(parts, 2.5, 0.05, 190.0)]
    run.lead_ins = [Shown((told(6, 90.0), told(7, None)), 0.5, 0.02, 190.0)]
    return run


def test_document_of_a_line_has_the_contract_s_keys_and_arithmetic() -> None:
    found = pipeline.document(measured())
    contract = (
        "offered_fps", "throughput_fps", "backbone_only_fps", "latency_ms", "stages_ms", "deadline_ms",
        "deadline_misses", "cpu", "engine",
    )  # fmt: skip
    assert set(contract) <= set(found)
    assert (found["throughput_fps"], found["backbone_only_fps"], found["bare_backbone_fps"]) == (40.0, 80.0, 120.0)
    assert (found["ratio"], found["bare_ratio"]) == (
        0.5,
        0.4,
    )  # medians of the ratios of 0.5 0.5 0.375 and 0.4 0.4 0.25
    assert found["latency_ms"] == {"p50": 30.0, "p95": None, "p99": None, "p999": None, "max": None}
    assert found["latency_in_backbone_p50"]["p50"] == 6.0
    assert set(found["stages_ms"]) == {"decode", "route", "embed", "score", "total"}
    assert found["stages_ms"]["total"]["max"] == 9.0
    assert (found["frames"], found["lost"], found["unjudged"], found["deadline_missed"]) == (5, 2, 1, 2)
    assert found["after_pause"]["frames"] == 2
    assert (found["after_pause"]["latency_ms"]["p50"], found["after_pause"]["latency_ms"]["max"]) == (90.0, None)
    assert found["deadline_misses"] == 0.4  # a share: one over 50 ms and one without an answer
    assert found["cpu_ms_per_frame"] == {"saturation": 10.0, "schedule": 10.0}
    assert found["resident_mib"] == 300.0


def test_document_of_a_line_without_saturation_takes_the_paced_rate() -> None:
    run = measured()
    run.saturated, run.pass_fps, run.backbone_fps = [], [], []
    found = pipeline.document(run)
    assert (found["throughput_fps"], found["backbone_only_fps"], found["ratio"], found["windows"]) == (
        1.6,
        None,
        None,
        [],
    )


def test_page_of_a_line_has_machine_and_date_in_both_forms() -> None:
    run = measured()
    page = pages.pipeline_page(pipeline.document(run), run.machine)
    for text in (bench_html(page), bench_markdown(page)):
        assert run.machine.measured_at in text
        assert f"{run.machine.cores} cores" in text
        assert "Frames a second at saturation" in text
        assert "0.40" in text
    assert "| median | 40.0 | 80.0 | 120.0 | 0.50 | 0.40 |" in bench_markdown(page)


def test_page_text_from_outside_stays_text() -> None:
    page = BenchPage("a|b", (("<b>", "x\ny"),), (FigureTable("t", ("", "n"), (("<i>", "1|2"),)),), ("<script>",))
    assert "<script>" not in bench_html(page)
    assert bench_markdown(page).splitlines()[0] == "# a/b"
    assert "| &lt;i> | 1/2 |" in bench_markdown(page)


def test_document_of_engines_gives_milliseconds_an_image_by_batch() -> None:
    run = EngineRun(this_machine(), absent={"torch-cuda": "There is no GPU."}, head=HeadCost("p", "h", "fast", 5, 1, 2))
    passed = {Arrangement(2, 1, 1): Passed(400, 1.0, (5.0,)), Arrangement(1, 2, 8): Passed(320, 1.0, (25.0,))}
    passed[Arrangement(1, 2, 1)] = Passed(200, 1.0, (5.0,))
    run.tried, run.frame_p50_ms = {"onnxruntime": passed}, {"onnxruntime": 4.5}
    run.precision = {"onnxruntime": "float32"}
    found = engines.document(run)
    engine = found["engines"]["onnxruntime"]
    assert engine["batch"] == {"1": 2.5, "8": 3.125}  # of the fastest arrangement with that batch
    assert (engine["best"]["callers"], engine["best"]["fps"], engine["frame_p50_ms"]) == (2, 400.0, 4.5)
    markdown = bench_markdown(pages.engine_page(found, run.machine))
    assert "torch-cuda was not measured: There is no GPU." in markdown
    assert "| head | 1.00 |" in markdown


def test_pieces_of_a_schedule_keep_every_frame_and_begin_at_nought() -> None:
    plan = [Due(0.5 * number, number % 2) for number in range(10)]
    cut = pieces(plan, 1000)
    assert [len(piece) for piece in cut] == [4, 4, 2]
    assert all(piece[0].at_s == 0 for piece in cut)
    assert [due.camera for piece in cut for due in piece] == [due.camera for due in plan]
    assert [len(piece) for piece in pieces(plan, 3)] == [3, 3, 3, 1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("bench", "pipeline", "--arrivals", "bursty"), "none of periodic, poisson"),
        (("bench", "products", "--counts", "1,0"), "no list of whole numbers"),
        (("bench", "engine", "--batch", "1,,2"), "no list of whole numbers"),
        (("bench", "pipeline", "--images", "nowhere"), "is no folder"),
        (("bench", "pipeline", "--product", "bottle"), "--images"),
        (("bench", "pipeline", "--broker", "kafka://127.0.0.1:9092"), "mqtt://host:port"),
        (("bench", "pipeline", "--page", "nowhere/page.html"), "no folder"),
        (("bench", "pipeline", "--profile", "quick"), "no profile 'quick'"),
        (("bench", "engine", "--head", "none"), "no head 'none'"),
        (
            ("bench", "pipeline", "--engine", "abacus", "--broker", "mqtt://127.0.0.1:1883"),
            "can't be made with these options",
        ),
        (("capacity", "--deadline-ms", "50", "--arrivals", "x"), "none of periodic, poisson"),
        (("capacity",), "deadline-ms"),
    ],
)
def test_wrong_use_is_told_and_leaves_nothing(
    shell: Callable[..., Any], tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    answer = shell(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert said in " ".join(answer.err.split())
    assert not list(tmp_path.rglob("run-*"))


def test_missing_mosquitto_is_told_with_both_ways_out(
    shell: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("inspector.benching.plant.mosquitto_binary", lambda: None)
    for arguments in (("bench", "pipeline"), ("bench", "products"), ("capacity", "--deadline-ms", "50")):
        answer = shell(*arguments, "--state", str(tmp_path / "bench"))
        assert answer.code == 2
        assert "apt install mosquitto" in answer.err
        assert "--broker mqtt://host:port" in answer.err
        assert list((tmp_path / "bench").iterdir()) == []


def test_folder_of_a_killed_bench_is_removed_by_the_next_one(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    killed, running = tmp_path / f"run-{ended.pid}-abc", tmp_path / f"run-{os.getpid()}-def"
    for folder in (killed, running, tmp_path / "engines"):
        folder.mkdir()
        (folder / "file").write_text("")
    with bench_folder(tmp_path) as own:
        assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "engines", running, own])
    assert sorted(tmp_path.iterdir()) == [tmp_path / "engines", running]


def test_state_that_can_not_be_made_names_the_option(shell: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = shell("bench", "pipeline", "--state", str(tmp_path / "file"))
    assert answer.code == 2
    assert "--state" in answer.err


@pytest.mark.parametrize("name", ["page.txt", "page", "page.HTM.pdf"])
def test_page_of_an_unknown_form_is_refused_before_any_work(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="of no known form"):
        bench.measured("Line", lambda _: pytest.fail("work began"), tmp_path / name, True)
