"""An engine that does not reproduce a version's probes, and a version whose probes were changed, judge nothing.

Everything real: exported graphs on disk, ONNX Runtime, and the loader that the agent uses.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from inspector.config.sections import EngineSection
from inspector.domain import Event, LiveSet
from inspector.training.enrol import Enrolment, EnrolmentOptions, enrol
from inspector.training.heads.student_plan import TrainingPlan
from inspector.vision.artifacts.format import Artifact, Probe, digest_of, pack, unpack
from inspector.vision.engines.onnx_runtime import OnnxEngine
from inspector.vision.engines.protocols import Bank
from inspector.vision.networks.graphs import write_cached
from inspector.vision.routing.profile import routing_profile
from inspector.vision.serving.lineup import VisionLoader
from tests.unit.drawings import good_images, version_of

pytestmark = pytest.mark.timeout(500)  # up to three exports

HEADS = {
    "prototype": EnrolmentOptions(profile="fast"),
    "student": EnrolmentOptions("student", training=TrainingPlan(steps=5)),
}


@pytest.fixture(scope="module")
def versions(engine_cache: Path) -> dict[str, Enrolment]:
    engine = OnnxEngine(engine_cache, 2)
    return {head: enrol("disc", good_images("disc", 5), options, engine) for head, options in HEADS.items()}


def load(enrolment: Enrolment, cache: Path, engine: str = "onnxruntime") -> tuple[tuple[str, ...], list[Event]]:
    version = version_of(enrolment, "disc")
    loader = VisionLoader(EngineSection(name=engine, threads=2, batch_max=2), cache)  # type: ignore[arg-type]
    lineup, events = loader.load(LiveSet("r1", (version,)), {version.digest: enrolment.artifact}.get, None)
    return lineup.products, events


def perturbed(key: str, cache: Path, target: Path, share: float) -> Path:
    """The cache with the weights of one graph moved by a share of their spread, its digest renewed."""
    shutil.copytree(cache, target)
    model = onnx.load_model_from_string((target / f"{key}.onnx").read_bytes())
    rng = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim == 4 and values.size > 1000:
            noise = rng.normal(0, share * values.std(), values.shape).astype(values.dtype)
            tensor.CopyFrom(numpy_helper.from_array(values + noise, tensor.name))
    write_cached(key, model.SerializeToString(), target, {})
    return target


def changed(enrolment: Enrolment, change: Probe | None) -> Enrolment:
    """The version with its last probe replaced, whole and under a digest of its own."""
    artifact = unpack(enrolment.artifact)
    return repacked(artifact, () if change is None else (*artifact.probes[:-1], change), enrolment)


def repacked(artifact: Artifact, probes: tuple[Probe, ...], enrolment: Enrolment) -> Enrolment:
    content, manifest = pack(replace(artifact, probes=probes))
    return replace(enrolment, artifact=content, digest=digest_of(content), manifest=manifest)


@pytest.mark.parametrize("head", HEADS)
def test_load_sound_engine_takes_the_version(versions: dict[str, Enrolment], engine_cache: Path, head: str) -> None:
    assert load(versions[head], engine_cache) == (("disc",), [])


@pytest.mark.parametrize("head", HEADS)
def test_load_torch_takes_what_onnxruntime_enrolled(
    versions: dict[str, Enrolment], engine_cache: Path, head: str
) -> None:
    assert load(versions[head], engine_cache, "torch") == (("disc",), [])


@pytest.mark.parametrize("head", HEADS)
def test_load_engine_with_moved_weights_is_refused(
    versions: dict[str, Enrolment], engine_cache: Path, tmp_path: Path, head: str
) -> None:
    key = unpack(versions[head].artifact).graph.key
    products, (event,) = load(versions[head], perturbed(key, engine_cache, tmp_path / "moved", 0.05))
    assert products == ()
    assert event.kind == "version_refused"
    assert event.detail.startswith("disc version 1 is refused: disc ")
    assert "was stored" in event.detail
    assert "it was enrolled on onnxruntime (numpy " in event.detail


def test_load_router_with_moved_weights_is_refused(
    versions: dict[str, Enrolment], engine_cache: Path, tmp_path: Path
) -> None:
    cache = perturbed(routing_profile().graph.key, engine_cache, tmp_path / "moved", 0.05)
    products, (event,) = load(versions["prototype"], cache)
    assert products == ()
    assert "is routed at" in event.detail


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("what", ["score", "map_peak", "routing_distance"])
def test_load_changed_probe_figure_is_refused(
    versions: dict[str, Enrolment], engine_cache: Path, head: str, what: str
) -> None:
    artifact = unpack(versions[head].artifact)
    probe = artifact.probes[-1]
    step = {
        "score": artifact.calibration.threshold - artifact.calibration.median,
        "map_peak": artifact.map_scale.threshold - artifact.map_scale.median,
        "routing_distance": artifact.anchors.bound,
    }[what]
    moved = replace(probe, **{what: getattr(probe, what) + 0.03 * step})
    products, (event,) = load(changed(versions[head], moved), engine_cache)
    assert products == ()
    assert "was stored" in event.detail


@pytest.mark.parametrize("head", HEADS)
def test_load_changed_probe_image_is_refused(versions: dict[str, Enrolment], engine_cache: Path, head: str) -> None:
    probe = unpack(versions[head].artifact).probes[-1]
    prepared = probe.prepared.copy()
    prepared[100:140, 100:140] = 0
    products, (event,) = load(changed(versions[head], replace(probe, prepared=prepared)), engine_cache)
    assert products == ()
    assert "was stored" in event.detail


def test_load_version_without_probes_is_refused(versions: dict[str, Enrolment], engine_cache: Path) -> None:
    products, (event,) = load(changed(versions["prototype"], None), engine_cache)
    assert products == ()
    assert "no probe images" in event.detail


def test_load_probe_of_another_size_is_refused(versions: dict[str, Enrolment], engine_cache: Path) -> None:
    probe = unpack(versions["prototype"].artifact).probes[-1]
    smaller = replace(probe, prepared=np.ascontiguousarray(probe.prepared[:128]))
    products, (event,) = load(changed(versions["prototype"], smaller), engine_cache)
    assert products == ()
    assert "probe images are not as its frames" in event.detail


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_load_bank_for_other_channels_is_refused(
    versions: dict[str, Enrolment], engine_cache: Path, engine: str
) -> None:
    """Whole in itself, and made for another backbone."""
    artifact = unpack(versions["prototype"].artifact)
    member = artifact.head.members[0]
    narrow = Bank(member.bank.mean[:-8], None, np.ascontiguousarray(member.bank.prototypes[:, :-8]))
    head = replace(artifact.head, members=(replace(member, bank=narrow), *artifact.head.members[1:]))
    foreign = replace(artifact, head=head)
    products, (event,) = load(repacked(foreign, artifact.probes, versions["prototype"]), engine_cache, engine)
    assert products == ()
    assert "another backbone" in event.detail
