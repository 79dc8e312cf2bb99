"""The engine openvino: the same numbers in float32, heads of their own in bfloat16, no version in the wrong one.

Everything real. Skipped by name where the extra is not installed, or the processor does not compute in bfloat16.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from inspector.benching.alone import Alone, Arrangement
from inspector.config.loading import parse
from inspector.config.sections import EngineSection
from inspector.domain import Event, LiveSet
from inspector.errors import ArtifactError, ConfigError, EngineError
from inspector.training.enrol import Enrolment, EnrolmentOptions, enrol
from inspector.vision.artifacts.format import unpack
from inspector.vision.engines.factory import create_engine
from inspector.vision.engines.onnx_runtime import OnnxEngine
from inspector.vision.engines.protocols import Engine
from inspector.vision.routing.profile import routing_profile
from inspector.vision.serving.lineup import VisionLoader
from tests.unit.drawings import FakeEngine, draw, good_images, version_of

needs_openvino = pytest.mark.skipif(
    find_spec("openvino") is None, reason="openvino is not installed (extra [openvino])"
)
pytestmark = pytest.mark.timeout(500)  # two exports


@pytest.fixture(scope="module")
def float32(engine_cache: Path) -> Engine:
    return create_engine("openvino", engine_cache, 2)


@pytest.fixture(scope="module")
def bfloat16(engine_cache: Path) -> Engine:
    try:
        return create_engine("openvino", engine_cache, 2, "bfloat16")
    except EngineError as error:
        pytest.xfail(f"this processor has no bfloat16: {error}")


@pytest.fixture(scope="module")
def coarse(bfloat16: Engine) -> Enrolment:
    """A product enrolled in bfloat16."""
    return enrol("disc", good_images("disc", 6), EnrolmentOptions(profile="fast"), bfloat16)


def pixels(count: int) -> np.ndarray:
    return np.stack([draw("disc", seed, size=(128, 128)) for seed in range(count)])


def load(enrolment: Enrolment, cache: Path, engine: str, precision: str) -> tuple[tuple[str, ...], list[Event]]:
    version = version_of(enrolment, "disc")
    section = EngineSection(name=engine, precision=precision, threads=2)  # type: ignore[arg-type]  # names as text
    live = LiveSet("r1", (version,))
    lineup, events = VisionLoader(section, cache).load(live, {version.digest: enrolment.artifact}.get, None)
    return lineup.products, events


@needs_openvino
@pytest.mark.parametrize("small", [True, False])
def test_embedder_in_float32_agrees_with_onnxruntime(float32: Engine, engine_cache: Path, small: bool) -> None:
    graph = routing_profile().graph
    expected = OnnxEngine(engine_cache, 2).embedder(graph)(pixels(3))
    found = float32.embedder(graph, small=small)(pixels(3))
    assert [each.shape for each in found] == [each.shape for each in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=5e-4)


@needs_openvino
def test_embedder_in_bfloat16_is_near_and_not_equal(bfloat16: Engine, float32: Engine) -> None:
    graph = routing_profile().graph
    (exact,), (near,) = float32.embedder(graph)(pixels(1)), bfloat16.embedder(graph)(pixels(1))
    off = np.abs(near - exact).max() / np.abs(exact).max()
    assert 1e-4 < off < 0.1
    (asked,) = bfloat16.embedder(graph, precision="float32")(pixels(1))
    np.testing.assert_array_equal(asked, exact)


@needs_openvino
def test_pass_alone_of_a_bench_runs_in_the_precision_of_the_product(bfloat16: Engine, engine_cache: Path) -> None:
    graph = routing_profile().graph
    alone = Alone("openvino", engine_cache, graph, precision="bfloat16")
    (found,) = alone.embedder(Arrangement(2, 1, 1), 0)(pixels(1))
    (expected,) = bfloat16.embedder(graph, small=True)(pixels(1))
    np.testing.assert_array_equal(found, expected)


@needs_openvino
def test_embedder_from_many_threads_gives_each_its_own_frame(float32: Engine) -> None:
    """More callers than passes: a pass that is in use is waited for."""
    embed, frames = float32.embedder(routing_profile().graph, small=True), pixels(8)
    alone = [embed(frame[None])[0] for frame in frames]
    found: dict[int, list[np.ndarray]] = {}

    def work(number: int) -> None:
        found[number] = [embed(frames[number : number + 1])[0] for _ in range(5)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(8):
        for answer in found[number]:
            np.testing.assert_array_equal(answer, alone[number])


@needs_openvino
def test_embedder_of_one_frame_computes_in_the_thread_that_calls_it(engine_cache: Path) -> None:
    """Workers must not hand frames over nor spin: no thread but the caller's uses the processor for a pass."""
    program = f"""
import json, threading, time
from pathlib import Path
import numpy as np
from inspector.vision.engines.factory import create_engine
from inspector.vision.routing.profile import routing_profile
embed = create_engine("openvino", Path({str(engine_cache)!r}), 2).embedder(routing_profile().graph, small=True)
frame = np.zeros((1, 128, 128, 3), np.uint8)
embed(frame)
began, whole = time.thread_time(), time.process_time()
for _ in range(200):
    embed(frame)
print(json.dumps([time.thread_time() - began, time.process_time() - whole]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    own, whole = json.loads(done.stdout)
    assert own > 0.8 * whole


@needs_openvino
def test_engine_sends_nothing_home(engine_cache: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from inspector.vision.engines.factory import create_engine;"
        f"create_engine('openvino', Path({str(engine_cache)!r}), 1); print(sys.modules.get('openvino_telemetry'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "None"


@needs_openvino
def test_embedder_of_another_size_is_an_engine_error(float32: Engine) -> None:
    with pytest.raises(EngineError, match="OpenVINO can't run the pass"):
        float32.embedder(routing_profile().graph, small=True)(pixels(1)[:, :64])


@needs_openvino
def test_enrolment_in_bfloat16_says_so_and_is_judged_in_it(coarse: Enrolment, engine_cache: Path) -> None:
    assert coarse.manifest["engine"]["name"] == "openvino"
    assert coarse.manifest["engine"]["precision"] == unpack(coarse.artifact).precision == "bfloat16"
    assert load(coarse, engine_cache, "openvino", "bfloat16") == (("disc",), [])
    assert load(coarse, engine_cache, "openvino", "float32") == (("disc",), [])  # a version runs in its own precision


@needs_openvino
def test_load_of_bfloat16_on_an_engine_without_it_is_refused_by_name(coarse: Enrolment, engine_cache: Path) -> None:
    products, (event,) = load(coarse, engine_cache, "onnxruntime", "float32")
    assert products == ()
    assert event.kind == "version_refused"
    assert event.detail == (
        "disc version 1 is refused: It was enrolled in bfloat16, and the engine onnxruntime computes in float32, which "
        'gives other scores. Set engine.name = "openvino" on this machine, or enrol it again for onnxruntime.'
    )


@needs_openvino
def test_openvino_judges_what_onnxruntime_enrolled(engine_cache: Path) -> None:
    options = EnrolmentOptions(profile="fast")
    enrolment = enrol("disc", good_images("disc", 6), options, OnnxEngine(engine_cache, 2))
    assert load(enrolment, engine_cache, "openvino", "bfloat16") == (("disc",), [])


def test_manifest_without_a_precision_is_float32() -> None:
    """As versions are that were enrolled before there were others."""
    artifact = unpack(enrol("disc", good_images("disc", 5), EnrolmentOptions(profile="fast"), FakeEngine()).artifact)
    assert replace(artifact, manifest={"engine": {"name": "onnxruntime"}}).precision == "float32"
    assert replace(artifact, manifest={}).precision == "float32"
    with pytest.raises(ArtifactError, match="a precision that this software does not have: 'int4'"):
        _ = replace(artifact, manifest={"engine": {"precision": "int4"}}).precision


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_create_engine_of_one_precision_refuses_another(tmp_path: Path, engine: str) -> None:
    with pytest.raises(EngineError, match=r"bfloat16 needs engine\.name"):
        create_engine(engine, tmp_path, 1, "bfloat16")


def test_int8_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="Passes in int8 are not offered"):
        create_engine("openvino", tmp_path, 1, "int8")


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ({"name": "openvino", "precision": "int8"}, 'engine.precision "int8" is not offered yet'),
        ({"precision": "bfloat16"}, 'engine.precision "bfloat16" needs engine.name "openvino"'),
    ],
)
def test_configuration_of_a_precision_that_no_engine_has_is_wrong(engine: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse({"engine": engine}, None)
