"""`inspector bench` and `inspector capacity` in small, with a real broker and agent. Counts and keys, never times."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.mqtt.broker import mosquitto_binary
from inspector.config.loading import load
from inspector.operation.capacity import kept_capacity
from tests.agents import inspector
from tests.shared import link_graphs, locked

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(mosquitto_binary() is None, reason="mosquitto is not installed"),
]

COPIES = ("--product", "disc", "--product", "bar")


@pytest.fixture
def plant(tmp_path: Path, enrolled_state: Path, engine_cache: Path) -> Iterator[Path]:
    """The configuration of a plant with two products. Graphs that the bench exports are kept for the session."""
    state = tmp_path / "state"
    shutil.copytree(enrolled_state, state)
    engines = state / "bench" / "engines"
    config = tmp_path / "inspector.toml"
    config.write_text(f'[agent]\nstate_dir = "{state}"\n')
    with locked(engine_cache):  # one test at a time: two agents beside each other time out on a small machine
        link_graphs(engine_cache, engines)
        yield config
        link_graphs(engines, engine_cache)


def measured(plant: Path, *words: str) -> Any:
    done = inspector(*words, "--config", plant, "--json")
    assert done.returncode == 0, done.stderr
    assert_nothing_left(plant)
    return json.loads(done.stdout)


def assert_nothing_left(plant: Path) -> None:
    """No folder and no process of the bench, and the plant's own database as it was."""
    bench = plant.parent / "state" / "bench"
    assert [path.name for path in bench.iterdir()] == ["engines"]
    assert processes_of(bench) == []
    done = inspector("products", "list", "--config", plant, "--json")
    assert sorted(product["product"] for product in json.loads(done.stdout)) == ["bar", "disc"]


def processes_of(folder: Path) -> list[str]:
    """Command lines of running processes that name this folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        if str(folder) in line:
            found.append(line)
    return found


def test_bench_pipeline_copies_of_products_every_frame_has_its_answer(plant: Path, parts_folder: Path) -> None:
    tiny = ("--cameras", "2", "--windows", "1", "--window-s", "0.5", "--probe-s", "0.05", "--frames", "14")
    page = plant.parent / "page.html"
    found = measured(
        plant, "bench", "pipeline", *COPIES, "--images", str(parts_folder), *tiny, "--deadline-ms", "60000", "--gates",
        "--page", str(page),
    )  # fmt: skip
    assert (found["frames"], found["lost"], found["late"], found["repeated"]) == (14, 0, 0, 0)
    assert (found["deadline_missed"], found["deadline_misses"]) == (0, 0.0)
    assert (found["cameras"], found["products"], found["gates"], found["database"]) == (2, 2, True, "sqlite")
    assert (found["profile"], found["precision"]) == ("standard", "float32")  # of the copied products
    assert len(found["windows"]) == 1
    for key in ("offered_fps", "throughput_fps", "backbone_only_fps", "bare_backbone_fps", "ratio", "resident_mib"):
        assert found[key] > 0, key
    quantiles = found["latency_ms"]
    assert 0 < quantiles["p50"] <= quantiles["p95"] <= quantiles["p99"] <= quantiles["p999"] <= quantiles["max"]
    assert found["after_pause"]["frames"] >= 3  # at least one before each piece
    assert found["after_pause"]["latency_ms"]["p50"] > 0
    assert all(found["stages_ms"][stage]["p50"] > 0 for stage in ("decode", "route", "embed", "score", "total"))
    assert found["machine"]["cpu"] in page.read_text()


def test_bench_pipeline_two_agents_with_one_store_answer_for_all_cameras(plant: Path, parts_folder: Path) -> None:
    tiny = ("--agents", "2", "--threads", "1", "--cameras", "3", "--windows", "0", "--rate", "6", "--frames", "18")
    page = plant.parent / "page.md"
    found = measured(
        plant, "bench", "pipeline", *COPIES, "--images", str(parts_folder), *tiny, "--deadline-ms", "60000", "--gates",
        "--page", str(page),
    )  # fmt: skip
    assert (found["frames"], found["lost"], found["late"], found["unjudged"], found["repeated"]) == (18, 0, 0, 0, 0)
    assert (found["agents"], found["agent_cores"], found["cameras"]) == (2, 1, 3)
    assert "3 cameras each at a gate, 2 agents with 1 core each and one store" in page.read_text()


def test_bench_products_copies_take_memory_and_no_frames(plant: Path, parts_folder: Path) -> None:
    found = measured(
        plant, "bench", "products", "--product", "disc", "--images", str(parts_folder / "disc"), "--counts", "1,4",
        "--rounds", "1", "--frames", "8", "--cameras", "1",
    )  # fmt: skip
    assert list(found["counts"]) == ["1", "4"]
    for own in found["counts"].values():
        assert (own["frames"], own["lost"], own["unjudged"]) == (8, 0, 0)  # each goes to the product that it shows
        assert own["p50_ms"] > 0
        assert own["rss_mib"] > 0


def test_bench_engine_measures_arrangements_and_a_head(plant: Path) -> None:
    tiny = ("--engine", "onnxruntime", "--window-s", "0.05", "--batch", "1,2", "--rounds", "2", "--product", "disc")
    found = measured(plant, "bench", "engine", *tiny)
    (engine,) = found["engines"].values()
    assert list(engine["batch"]) == ["1", "2"]
    assert engine["precision"] == "float32"
    assert {each["batch"] for each in engine["arrangements"]} == {1, 2}
    assert found["head"]["product"] == "disc"
    assert found["head"]["pass_ms"] > 0


def test_capacity_is_kept_where_the_plant_reads_it(plant: Path, parts_folder: Path) -> None:
    found = measured(
        plant, "capacity", "--deadline-ms", "60", "--product", "disc", "--images", str(parts_folder / "disc"),
        "--frames", "10", "--rate", "20",
    )  # fmt: skip
    kept = kept_capacity(load(plant).agent.state_dir)
    assert kept is not None
    assert (kept.rate_fps, kept.p999_ms, kept.deadline_ms) == (found["rate_fps"], found["p999_ms"], 60.0)
    assert found["trials"][0]["rate_fps"] == 20.0
    few = [trial for trial in found["trials"] if trial["rate_fps"] < 300]  # of so few frames all have to be in time
    assert [trial["is_in_time"] for trial in few] == [trial["share_in_time"] == 1.0 for trial in few]
    assert found["rate_fps"] is None or found["share_in_time"] >= 0.999
    assert found["too_high_by"] == 0.05


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_bench_ended_by_a_signal_leaves_no_process_and_no_folder(
    plant: Path, parts_folder: Path, number: signal.Signals
) -> None:
    words = ["bench", "pipeline", *COPIES, "--images", str(parts_folder), "--windows", "0", "--rate", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "inspector", *words, "--config", str(plant)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    bench = plant.parent / "state" / "bench"
    try:
        limit_s = time.monotonic() + 200
        while not any("outcome" in log.read_text() for log in bench.glob("run-*/agent.log")):  # frames are judged
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < limit_s
            time.sleep(0.1)
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert_nothing_left(plant)
